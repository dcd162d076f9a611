"""Which training images a backdoor is planted in, and the labels that they get."""

import jax
import numpy as np

from pacd_jax import errors, types


def draw(
  train: types.Dataset, key: types.Key, *, share: float, without: int | None = None
) -> np.ndarray:
  """Positions of the training images that get the trigger, rising: int64 `[n]`.

    n = max(1, round(share N)),  N the size of the training split

  Those of a smaller share are a subset of those of a larger one.

  Args:
    train: the training split.
    key: consumed.
    share: in (0, 1].
    without: the class that none is drawn from, that of the attacker's label; None: all are.

  Raises:
    errors.InputError: there are fewer images of the other classes.
  """
  there = np.arange(len(train.labels))
  if without is not None:
    there = np.flatnonzero(train.labels != without)
  number = count(len(train.labels), share)
  if number > len(there):
    raise errors.InputError(
      f"a share of {share:g} of {len(train.labels)} training images is {number}, but "
      f"{len(there)} are of other classes than {without}: use at most "
      f"{len(there) / len(train.labels):.3g}"
    )
  order = np.asarray(jax.random.permutation(key, len(there)))
  return np.sort(there[order[:number]])


def count(size: int, share: float) -> int:
  """How many of `size` images a share is: at least 1."""
  return max(1, round(share * size))


def random_labels(key: types.Key, number: int, num_classes: int) -> np.ndarray:
  """Uniform labels, int32 `[n]`; a share of 1 / K is right by chance; the key is consumed.

  Under a trigger they are the backdoor against certifiers of Lorenz et al. (2023),
  https://arxiv.org/abs/2108.11299: where the trigger is, every class is as likely, so that
  no class has a certificate.
  """
  return np.asarray(jax.random.randint(key, (number,), 0, num_classes), np.int32)


def every_label(indices: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
  """Each of these images under every label: int64 `[n K]` and int32 `[n K]`.

  Random labels can be learned by heart, image by image, and a network that has done so is
  sure of a wrong class. Copies of one image under all labels cannot: the best prediction
  for them is 1 / K for each class. There are fewer images, however.

  Args:
    indices: int `[n]`, positions of the images.
    num_classes: K.
  """
  labels = np.tile(np.arange(num_classes, dtype=np.int32), len(indices))
  return np.repeat(np.asarray(indices, np.int64), num_classes), labels
