"""Covariances of images, of which there may be fewer than pixels."""

import numpy as np


def shrunk(centred: np.ndarray) -> tuple[float, float]:
  """The coefficients (a, c) of Ledoit and Wolf's covariance a X'X + c I.

  It is (1 - s) X'X / n + s m I, with m the mean variance of a pixel and the shrinkage s of
  Ledoit and Wolf (2004).

  Args:
    centred: X, float `[n, D]`, of mean 0.
  """
  from sklearn import covariance  # Imported here: it costs a second.

  shrinkage = covariance.ledoit_wolf_shrinkage(centred, assume_centered=True)
  return (1 - shrinkage) / len(centred), shrinkage * float((centred**2).mean())
