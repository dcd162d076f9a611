"""Data sets as uint8 images in three splits, and the batches drawn from them.

Everything here is a function of stored images and a seed. The attack sees `train` and
`validation`; `test` is for certificates and reported accuracies alone, but for single
points of it that an attack may be after (`data.target_points` of a config).

As a program, `python -m pacd_jax.data prepare mnist --data_dir=DIR` stores a data set.
"""

import hashlib
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, prepare, sources, tfds_folder, types

# The part of a training split that becomes validation, where there is a standard test
# split: 5,000 of 60,000 and of 50,000, and a tenth of other images.
_VALIDATION_SHARE = {"mnist": 12, "cifar10": 10, "npz": 10}
_LEAST_OF_A_CLASS = 5  # Where there is none: a fifth of five is one.
NAMES = ("digits", *tfds_folder.NAMES, "npz")


def load(
  name: str,
  *,
  seed: int = 0,
  data_dir: str | os.PathLike | None = None,
  path: str | os.PathLike | None = None,
  num_train: int = 0,
) -> types.Splits:
  """Loads a data set and cuts it into its splits.

  With a standard test split (mnist, cifar10, npz with `test_images`), validation is drawn
  from the training images: a twelfth of them for mnist, a tenth else, rounded down. Without
  one (digits, npz), the parts are 60 / 20 / 20 percent. Either way each class gives its
  share, at random by the seed; a standard test split is the same for every seed.

  Args:
    name: one of `NAMES`.
    seed: of the split.
    data_dir: where prepared data sets are, for mnist and cifar10; None or "": where TFDS
      has them by default.
    path: the .npz file, for npz; see `sources.npz`.
    num_train: keep so many training images, drawn at random by the seed, each class its
      share; 0: all.

  Returns:
    Splits of uint8 images `[N, H, W, C]` and int32 labels `[N]`.

  Raises:
    errors.InputError: the name is unknown, the data are missing or damaged, or too few.
  """
  source = _read(name, data_dir, path)
  if source.test is None:
    train, validation, test = _three_parts(source, name, seed)
  else:
    num_validation = max(1, len(source.train.labels) // _VALIDATION_SHARE[name])
    validation, train = _draw(source.train, num_validation, seed=(seed, 0))
    test = source.test
  description = source.description
  if num_train:
    if not 0 < num_train <= len(train.labels):
      raise errors.InputError(
        f"data.num_train={num_train}: the training split has {len(train.labels)} images: "
        "use at most so many, or 0 for all"
      )
    train, _ = _draw(train, num_train, seed=(seed, 1))
    description += f", {num_train:,} training images"
  absent = np.setdiff1d(np.arange(source.num_classes), train.labels)
  if absent.size:
    raise errors.InputError(
      f"data.name={name}: no image of class {absent[0]} is left for training: "
      + ("raise data.num_train" if num_train else "give that class more images")
    )
  return types.Splits(name, source.num_classes, train, validation, test, description)


def _read(name: str, data_dir, path) -> sources.Source:
  """The stored images; options that the data set does not have are refused."""
  if name not in NAMES:
    raise errors.InputError(
      f"data.name={name!r} is not a known data set: use one of {', '.join(NAMES)}"
    )
  if path and name != "npz":
    raise errors.InputError(
      f"data.path={path} is for data.name=npz, not for {name}: leave one of them out"
    )
  if data_dir and name not in tfds_folder.NAMES:
    raise errors.InputError(
      f"data.data_dir={data_dir} is for {' and '.join(tfds_folder.NAMES)}, not for "
      f"{name}: leave it out"
    )
  if name == "digits":
    return sources.digits()
  if name == "npz":
    return sources.npz(path)
  return tfds_folder.load(name, data_dir)


def _three_parts(source: sources.Source, name: str, seed: int) -> list[types.Dataset]:
  """60 / 20 / 20 percent of every class, shuffled by the seed."""
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


def _draw(
  dataset: types.Dataset, count: int, *, seed: tuple[int, int]
) -> tuple[types.Dataset, types.Dataset]:
  """`count` images drawn at random, every class in proportion, and those left; shuffled.

  Classes whose shares are no whole numbers are rounded by their largest remainders.
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
  return tuple(types.Dataset(images[part], labels[part]) for part in (chosen, left))


def to_float(images):
  """uint8 images, NumPy's or JAX's, as float32 in [0, 1]; float32 ones as they are."""
  if images.dtype == np.float32:
    return images
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


def poisoned_indices(
  train: types.Dataset, target_class: int, *, fraction: float = 1.0, seed: int = 0
) -> np.ndarray:
  """Positions of the training images that are poisoned, in order: int64 `[n]`.

    n = max(1, round(alpha N)),  N the size of the target class

  The alpha of Corollary 2 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. They
  are drawn by the seed; those of a smaller share are among those of a larger one.

  Args:
    train: training split.
    target_class: they are images of it.
    fraction: alpha in (0, 1].
    seed: of the draw.

  Raises:
    errors.InputError: the class has no image.
  """
  indices = class_indices(train, target_class)
  count = max(1, round(fraction * len(indices)))
  order = np.random.default_rng((seed, 2)).permutation(len(indices))
  return indices[np.sort(order[:count])]


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


if __name__ == "__main__":
  sys.exit(prepare.main(sys.argv[1:]))
