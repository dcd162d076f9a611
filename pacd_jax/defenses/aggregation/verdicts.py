"""Which test points are certified against how many images."""

import math

import numpy as np


def radius_of_truth(
  prediction: np.ndarray, radius: np.ndarray, labels: np.ndarray
) -> np.ndarray:
  """The certified number of images where a prediction is right, else -1: int64 `[B]`.

  Args:
    prediction: int `[B]`; -1: undecided, which is not right.
    radius: int `[B]`, at least 0.
    labels: int `[B]`, at least 0.
  """
  right = np.asarray(prediction) == np.asarray(labels)
  return np.where(right, np.asarray(radius), -1).astype(np.int64)


def certified_accuracy(radii: np.ndarray, m: int) -> float:
  """The share of all points that are right, and stay so when m images change.

  Args:
    radii: int `[B]`, of `radius_of_truth`.
    m: number of images, at least 0.
  """
  return float(np.mean(np.asarray(radii) >= m))


def median_certified(radii: np.ndarray) -> int:
  """The largest m at which the certified accuracy is at least 1/2; -1: there is none.

  The median certified robustness of Levine and Feizi (2021),
  https://arxiv.org/abs/2006.14768.

  Args:
    radii: int `[B]`, of `radius_of_truth`.
  """
  falling = -np.sort(-np.asarray(radii))
  return int(falling[math.ceil(len(falling) / 2) - 1])
