"""Data sets as uint8 images in three splits, and the batches drawn from them.

Everything here is a function of a name and a seed. The attack sees `train` and
`validation`; `test` is for certificates and reported accuracies alone.
"""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types


def _load_digits() -> types.Dataset:
  """scikit-learn's 1,797 handwritten 8x8 digits (UCI), 16 grey levels, as uint8."""
  from sklearn import (
    datasets,
  )  # Imported here: it costs a second, and others need none.

  images, labels = datasets.load_digits(return_X_y=True)
  pixels = np.rint(images * (255.0 / 16.0)).astype(np.uint8)
  return types.Dataset(pixels.reshape(-1, 8, 8, 1), labels.astype(np.int32))


def _stratified_split(dataset: types.Dataset, *, seed: int) -> list[types.Dataset]:
  """60 / 20 / 20 percent of every class, shuffled by the seed."""
  from sklearn import model_selection

  rest, test = model_selection.train_test_split(
    np.arange(len(dataset.labels)),
    test_size=0.2,
    random_state=seed,
    stratify=dataset.labels,
  )
  train, validation = model_selection.train_test_split(
    rest, test_size=0.25, random_state=seed, stratify=dataset.labels[rest]
  )
  return [
    types.Dataset(dataset.images[part], dataset.labels[part])
    for part in (train, validation, test)
  ]


def load(name: str, *, seed: int = 0) -> types.Splits:
  """Loads a data set and cuts it into its splits.

  Args:
    name: one of `NAMES`.
    seed: of the split.

  Returns:
    Splits of uint8 images `[N, H, W, C]` and int32 labels `[N]`.

  Raises:
    errors.InputError: the name is unknown.
  """
  if name not in _LOADERS:
    raise errors.InputError(
      f"data.name={name!r} is not a known data set: use one of {', '.join(NAMES)}"
    )
  dataset = _LOADERS[name]()
  train, validation, test = _stratified_split(dataset, seed=seed)
  return types.Splits(name, int(dataset.labels.max()) + 1, train, validation, test)


_LOADERS = {"digits": _load_digits}
NAMES = tuple(_LOADERS)


def to_float(images: np.ndarray) -> np.ndarray:
  """uint8 images as float32 in [0, 1]."""
  return images.astype(np.float32) / np.float32(255.0)


def checksum(dataset: types.Dataset) -> str:
  """SHA-256 over shapes, images and labels: names the split that indices point into."""
  digest = hashlib.sha256(repr((dataset.images.shape, dataset.labels.shape)).encode())
  digest.update(np.ascontiguousarray(dataset.images))
  digest.update(np.ascontiguousarray(dataset.labels.astype("<i4")))
  return digest.hexdigest()


def class_indices(dataset: types.Dataset, target_class: int) -> np.ndarray:
  """Positions of the target class, in order: int64 `[n]`.

  Raises:
    errors.InputError: the data set has no such image.
  """
  indices = np.flatnonzero(dataset.labels == target_class)
  if not indices.size:
    present = ", ".join(str(label) for label in np.unique(dataset.labels))
    raise errors.InputError(
      f"data.target_class={target_class} has no image in this data: use one of {present}"
    )
  return indices


def apply_poison(train: types.Dataset, poison: types.Poison) -> types.Dataset:
  """The training split with the poison's images in their places; nothing else moves.

  Raises:
    errors.InputError: the poison was made for another training split, or does not say
      the truth about what stands at its indices.
  """
  if poison.checksum != checksum(train):
    raise errors.InputError(
      f"the poison was made for another training split of {poison.dataset!r} (its "
      "checksum differs): use the data and the seed that it was made with"
    )
  fits = (
    poison.indices.max(initial=0) < len(train.labels)
    and np.array_equal(train.labels[poison.indices], poison.labels)
    and np.array_equal(train.images[poison.indices], poison.base_images)
  )
  if not fits:
    raise errors.InputError(
      "the poison's base images or labels are not those at its indices in "
      f"{poison.dataset!r}: make it again"
    )
  images = train.images.copy()
  images[poison.indices] = poison.images
  return types.Dataset(images, train.labels)


def batch_indices(
  key: types.Key, step: types.Array, *, num_examples: int, batch_size: int
) -> types.Array:
  """The step's mini-batch in a stream of epochs without replacement.

  Epoch e is the permutation drawn from `fold_in(key, e)`, cut into whole batches; what
  does not fill a batch is left out and differs from epoch to epoch.

  Args:
    key: of the stream; folded, not consumed.
    step: `[]` int, number of the batch since the stream began.
    num_examples: size of the data.
    batch_size: at most `num_examples`.

  Returns:
    int32 `[batch_size]` in [0, num_examples).
  """
  batches_per_epoch = num_examples // batch_size
  epoch, position = step // batches_per_epoch, step % batches_per_epoch
  order = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
  return jax.lax.dynamic_slice_in_dim(
    order.astype(jnp.int32), position * batch_size, batch_size
  )
