"""A few trusted images of each class: from a source that nobody could change."""

import collections
from typing import NamedTuple

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays


class Classes(NamedTuple):
  """Training and trusted images, class by class, as vectors of grey levels in [0, 1]."""

  labels: list[int]  # Of the classes in the training set, rising.
  positions: list[np.ndarray]  # int64 `[n_c]`: where the class is in the training set.
  training: list[np.ndarray]  # float32 `[n_c, D]`.
  trusted: list[np.ndarray]  # float32 `[m_c, D]`.
  num_copies: int  # Trusted images that are in the training set, too, and were left out.


def by_class(
  training_set: types.TrainingSet,
  trusted: types.Dataset,
  num_trusted: int,
  key: types.Key,
) -> Classes:
  """Draws trusted images of each class that the training set has.

  An image of which there is an exact copy in its class, on either side, is left out before
  the draw: a trusted one that is in the training set shows no change. Since the rule does
  not ask on which side an image is, the others stay exchangeable on clean data.

  Args:
    training_set: images that are present are looked at.
    trusted: images that are known to be as their source made them, with true labels.
    num_trusted: how many of a class are drawn, or all if there are fewer; 0: all.
    key: consumed.

  Raises:
    errors.InputError: the images differ in shape, or a class has fewer than two trusted
      images that are no copies, or fewer than two training images.
  """
  shape, other = training_set.images.shape[1:], trusted.images.shape[1:]
  if shape != other:
    raise errors.InputError(
      f"trusted images have shape {other}, and training images {shape}: use images of one "
      "source and size"
    )
  present = training_set.present
  labels = training_set.labels[present]
  classes = Classes([int(label) for label in np.unique(labels)], [], [], [], 0)
  num_copies = 0
  for place, label in enumerate(classes.labels):
    of_class = present[labels == label]
    pixels = training_set.images[of_class]
    own = trusted.images[trusted.labels == label]
    texts = [image.tobytes() for image in np.concatenate([pixels, own])]
    times = collections.Counter(texts)
    is_single = np.array([times[text] == 1 for text in texts], bool)
    known = {*texts[: len(pixels)]}
    num_copies += sum(text in known for text in texts[len(pixels) :])
    pixels, new = pixels[is_single[: len(pixels)]], own[is_single[len(pixels) :]]
    _check(label, len(pixels), len(own), len(new))
    if 0 < num_trusted < len(new):
      draw = jax.random.permutation(jax.random.fold_in(key, place), len(new))
      new = new[np.sort(np.asarray(draw)[:num_trusted])]
    classes.positions.append(of_class)
    for listed, some in ((classes.training, pixels), (classes.trusted, new)):
      listed.append(arrays.to_float(some).reshape(len(some), -1))
  return classes._replace(num_copies=num_copies)


def _check(label: int, num_training: int, num_trusted: int, num_new: int) -> None:
  if num_training < 2:
    raise errors.InputError(
      f"class {label} has {num_training} training images of which there is one copy: two "
      "are needed to compare it with trusted ones"
    )
  if num_new < 2:
    copies = f", {num_trusted - num_new} of them with a copy in the class"
    raise errors.InputError(
      f"class {label} has {num_trusted} trusted images"
      f"{copies if num_trusted > num_new else ''}: give at least two that the training set "
      "does not have"
    )
