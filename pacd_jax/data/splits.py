"""The three splits of an experiment, drawn from stored images by a seed.

The attack sees `train` and `validation`; `test` is for certificates and reported accuracies
alone, except for single test points that an attack may target (`data.target_points`).
"""

import numpy as np

from pacd_jax import errors, types
from pacd_jax.data.sources import Source

_LEAST_OF_A_CLASS = 5  # Without a test split: a fifth of five images is one.


def cut(
  source: Source,
  name: str,
  *,
  seed: int = 0,
  num_train: int = 0,
  validation_share: int = 10,
) -> types.Splits:
  """Splits stored images into training, validation and test.

  With a standard test split, validation is one part in `validation_share` of the training
  images, rounded down but at least 1. Without one, the parts are 60 / 20 / 20 percent.
  Either way the draw is stratified by class, and made by the seed; a standard test split is
  the same for every seed.

  Args:
    source: the images.
    name: name of the data set.
    seed: seed of the split.
    num_train: number of training images to keep, a stratified draw by the seed; 0: all.
    validation_share: 12 for a twelfth.

  Returns:
    Splits of uint8 images `[N, H, W, C]` and int32 labels `[N]`.

  Raises:
    errors.InputError: there are too few images, of a class or in total.
  """
  if source.test is None:
    train, validation, test = three_parts(source, name, seed)
  else:
    num_validation = max(1, len(source.train.labels) // validation_share)
    validation, train = draw(source.train, num_validation, seed=(seed, 0))
    test = source.test
  description = source.description
  if num_train:
    if not 0 < num_train <= len(train.labels):
      raise errors.InputError(
        f"data.num_train={num_train}: the training split has {len(train.labels)} images: "
        "use at most so many, or 0 for all"
      )
    train, _ = draw(train, num_train, seed=(seed, 1))
    description += f", {num_train:,} training images"
  absent = np.setdiff1d(np.arange(source.num_classes), train.labels)
  if absent.size:
    raise errors.InputError(
      f"data.name={name}: no image of class {absent[0]} is left for training: "
      + ("raise data.num_train" if num_train else "give that class more images")
    )
  return types.Splits(name, source.num_classes, train, validation, test, description)


def three_parts(source: Source, name: str, seed: int) -> list[types.Dataset]:
  """Splits every class into 60 / 20 / 20 percent, shuffled by the seed.

  Raises:
    errors.InputError: a class has too few images.
  """
  from sklearn import model_selection  # Imported here: it costs a second.

  images, labels = source.train
  counts = np.bincount(labels)
  if counts.min() < _LEAST_OF_A_CLASS:
    raise errors.InputError(
      f"data.name={name}: class {counts.argmin()} has {counts.min()} images: three "
      f"splits need at least {_LEAST_OF_A_CLASS} of each class"
    )
  rest, test = model_selection.train_test_split(
    np.arange(len(labels)), test_size=0.2, random_state=seed, stratify=labels
  )
  train, validation = model_selection.train_test_split(
    rest, test_size=0.25, random_state=seed, stratify=labels[rest]
  )
  return [types.Dataset(images[part], labels[part]) for part in (train, validation, test)]


def draw(
  dataset: types.Dataset, count: int, *, seed: tuple[int, int]
) -> tuple[types.Dataset, types.Dataset]:
  """Draws `count` images, stratified by class; returns them and the others, shuffled.

  Classes whose shares are not integers are rounded by the largest remainders.
  """
  images, labels = dataset
  order = np.random.default_rng(seed).permutation(len(labels))
  classes, sizes = np.unique(labels, return_counts=True)
  quotas, remainders = np.divmod(sizes * count, len(labels))
  quotas[np.argsort(-remainders, kind="stable")[: count - quotas.sum()]] += 1
  drawn = np.zeros(len(labels), bool)
  for label, quota in zip(classes, quotas, strict=True):
    drawn[order[labels[order] == label][:quota]] = True
  chosen, left = order[drawn[order]], order[~drawn[order]]
  return (
    types.Dataset(images[chosen], labels[chosen]),
    types.Dataset(images[left], labels[left]),
  )
