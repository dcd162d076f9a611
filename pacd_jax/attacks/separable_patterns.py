"""Linearly separable patterns (LSP): blocks that tell a class by themselves."""

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import perturbation, types
from pacd_jax.attacks.movement import poisoned_images
from pacd_jax.data import arrays

_CLASS, _IMAGE = range(2)  # Random streams, folded from the key.


def lsp(
  train: types.Dataset,
  target_class: int,
  key: types.Key,
  *,
  epsilon: float,
  norm: str = "linf",
  num_patches: int = 4,
  class_sep: float = 10.0,
) -> np.ndarray:
  """Adds to each image of the class a pattern of blocks, drawn around the class's own.

    u_i = x_i + epsilon s(enlarged(v_i)),  v_i = class_sep c + g_i,  c in {-1, 1}^d,
    g_i ~ N(0, I)

  with s the norm's steepest direction (the sign for l_inf, so that there the images differ
  where noise turns a sign of c), and d the number of blocks times that of channels. LSP of
  Yu et al. (2022), https://arxiv.org/abs/2111.00898, section 4, whose patterns are scaled
  in l_2, and who poison all classes; their draw also mixes the values of g_i.

  Args:
    train: training split.
    target_class: the class whose images are poisoned.
    key: folded, not consumed; draws the patterns.
    epsilon: budget in image units.
    norm: norm of the budget.
    num_patches: blocks along each side, at most one for each pixel. The authors' are of
      8x8 pixels in 32x32.
    class_sep: distance of c from 0 in each value, over the noise's standard deviation.

  Returns:
    float32 `[n, H, W, C]` in [0, 1] and in the budget, for all images of the class.
  """
  base = arrays.to_float(train.images[arrays.class_indices(train, target_class)])
  labels = np.full(len(base), target_class)
  found = patterns(
    key, labels, base.shape[1:], num_patches=num_patches, class_sep=class_sep
  )
  delta = epsilon * perturbation.steepest_direction(found, norm=norm)
  return np.asarray(poisoned_images(jnp.asarray(base), delta))


def patterns(
  key: types.Key,
  labels: np.ndarray,
  image_shape: tuple[int, ...],
  *,
  num_patches: int,
  class_sep: float,
) -> types.Array:
  """Patterns before they are scaled, which a linear classifier tells apart by class.

  Args:
    key: folded, not consumed; a class has the same c whatever the other labels are.
    labels: int `[n]`.
    image_shape: (H, W, C).
    num_patches: blocks along each side.
    class_sep: as in `lsp`.

  Returns:
    float32 `[n, H, W, C]`, constant on each block.
  """
  height, width, channels = image_shape
  shape = min(num_patches, height), min(num_patches, width), channels

  def corner(label):
    own = jax.random.fold_in(jax.random.fold_in(key, _CLASS), label)
    return jax.random.rademacher(own, shape, jnp.float32)

  noise_key = jax.random.fold_in(key, _IMAGE)
  small = jax.random.normal(noise_key, (len(labels), *shape), jnp.float32)
  small = class_sep * jax.vmap(corner)(jnp.asarray(labels)) + small
  rows, columns = (
    np.arange(size) * count // size
    for size, count in zip((height, width), shape, strict=False)
  )
  return small[:, rows][:, :, columns]
