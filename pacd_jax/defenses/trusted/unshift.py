"""Takes off the change that a class shares, as a few trusted images show it."""

import numpy as np
from scipy import linalg

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.trusted import covariance, images

# The variance of a pixel's rounding to 8 bits: no pixel is known better.
_ROUNDING = (1 / 255) ** 2 / 12


def unshift(
  training_set: types.TrainingSet,
  key: types.Key,
  tools: types.Tools,
  *,
  num_trusted: int = 20,
  most: float = 0.1,
) -> tuple[types.TrainingSet, types.DefenceReport]:
  """Subtracts `shared_change` from every image of every class; a `types.DefenceFn`.

  Images are rounded and cut to 8 bits. The report's values are `shift_<class>`, the largest
  change of a pixel that was taken off a class, in image units, and `copies`, the number of
  trusted images that were left out since the training set has them, too.

  Args:
    training_set: the set to repair.
    key: consumed.
    tools: its validation images are the trusted ones.
    num_trusted: trusted images of each class; 0: all.
    most: the largest change of a pixel that is believed, in image units: the l_inf budget
      that a poison is expected to keep; 0: any.

  Raises:
    errors.InputError: `most` is below 0, or `images.by_class` raises it.
  """
  if not most >= 0.0:
    raise errors.InputError(f"a change of at most {most} cannot be: use 0 or more")
  classes = images.by_class(training_set, tools.validation, num_trusted, key)
  repaired, values = training_set.images.copy(), {}
  for label, positions, ours, theirs in zip(*classes[:4], strict=True):
    shift = shared_change(ours, theirs).reshape(repaired.shape[1:])
    largest = float(np.abs(shift).max())
    values[f"shift_{label}"] = min(largest, most) if most else largest
    repaired[positions] = subtract(repaired[positions], shift, most)
  after = training_set._replace(images=repaired)
  if not any(values.values()):  # The same array: nothing needs comparing.
    after = training_set
  values["copies"] = float(classes.num_copies)
  return after, training_sets.difference(training_set, after, values)


def subtract(stored: np.ndarray, shift: np.ndarray, most: float = 0.0) -> np.ndarray:
  """Takes a change off images, in 8 bits.

  Args:
    stored: uint8 `[n, H, W, C]`.
    shift: `[H, W, C]`, image units.
    most: the change is cut to -most and most; 0: it is not cut.
  """
  if most:
    shift = np.clip(shift, -most, most)
  return np.rint(np.clip(stored - 255 * shift, 0, 255)).astype(np.uint8)


def shared_change(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
  """Estimates the difference of two means, shrunk as the sample sizes ask for.

  The positive-part estimator of James and Stein (1961; Baranchik, 1964) for a difference d
  of means with covariance C = S (1/n + 1/m), S that of `ours`, which Ledoit and Wolf (2004)
  shrink, and of their rounding to 8 bits:

    (1 - (D - 2) / d' C^-1 d)_+ d

  So a difference no longer than chance makes is zero, and clean data stay nearly as they
  are; one far longer, as of a poison that a whole class shares, is kept nearly whole.

  Args:
    ours: float `[n, D]`, n >= 2, in image units.
    theirs: float `[m, D]`, m >= 1.

  Returns:
    `[D]`: what `ours` have more than `theirs`.
  """
  difference = ours.mean(axis=0, dtype=np.float64) - theirs.mean(axis=0, dtype=np.float64)
  centred = (ours - ours.mean(axis=0)).astype(np.float64)
  share, isotropic = covariance.shrunk(centred)
  length = _inverse_form(centred, share, isotropic + _ROUNDING, difference)
  length /= 1 / len(ours) + 1 / len(theirs)
  chance = max(len(difference) - 2, 0)
  return difference * max(0.0, 1 - chance / length) if length else difference


def _inverse_form(
  centred: np.ndarray, share: float, isotropic: float, vector: np.ndarray
) -> float:
  """d' (a X'X + c I)^-1 d, in the smaller of the spaces of X `[n, D]`."""
  size, num_pixels = centred.shape
  if num_pixels <= size:
    matrix = share * centred.T @ centred + isotropic * np.eye(num_pixels)
    return float(vector @ linalg.solve(matrix, vector, assume_a="pos"))
  along = centred @ vector  # Woodbury's identity.
  matrix = share * centred @ centred.T + isotropic * np.eye(size)
  inside = share * along @ linalg.solve(matrix, along, assume_a="pos")
  return float((vector @ vector - inside) / isotropic)
