"""Poisons that need no optimisation: the baselines of a bilevel attack.

Each function takes the training split and returns float images `[n, H, W, C]` for the
target class, within the budget and the box but not yet rounded to 8 bits. Attacks that
train a surrogate are in `error_minimizing.py` and `targeted_adversarial.py`.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import perturbation, types
from pacd_jax.data import arrays


def _base_images(train, target_class):
  return arrays.to_float(train.images[arrays.class_indices(train, target_class)])


def _inside_budget(base, images, *, epsilon, norm):
  delta = perturbation.project(jnp.asarray(images) - base, epsilon=epsilon, norm=norm)
  return np.asarray(jnp.clip(base + delta, 0.0, 1.0))


def watermark(
  train: types.Dataset,
  target_class: int,
  key: types.Key,
  *,
  epsilon: float,
  norm: str = "linf",
  opacity: float = 0.1,
) -> np.ndarray:
  """Blends each target image with a random image of another class.

    u_i = x_i + clip(opacity (x_j - x_i), epsilon)

  Shafahi et al. (2018), https://arxiv.org/abs/1804.00792; the baseline of Table 2 of Mehra
  et al. (2021).

  Args:
    train: training split.
    target_class: the class whose images are poisoned.
    key: consumed; draws x_j.
    epsilon: budget in image units.
    norm: norm of the budget.
    opacity: opacity of x_j, in [0, 1].

  Returns:
    float32 `[n, H, W, C]` in [0, 1].
  """
  base = _base_images(train, target_class)
  others = np.flatnonzero(train.labels != target_class)
  chosen = np.asarray(jax.random.choice(key, others, (len(base),)))
  blended = (1.0 - opacity) * base + opacity * arrays.to_float(train.images[chosen])
  return _inside_budget(base, blended, epsilon=epsilon, norm=norm)


def classwise_shift(
  train: types.Dataset, target_class: int, *, epsilon: float, norm: str = "linf"
) -> types.Array:
  """The shared perturbation of `classwise`, `[1, H, W, C]`, of size epsilon."""
  base = _base_images(train, target_class)
  others = arrays.to_float(train.images[train.labels != target_class])
  towards = (others.mean(axis=0) - base.mean(axis=0))[None]
  return epsilon * perturbation.steepest_direction(jnp.asarray(towards), norm=norm)


def random_shift(
  key: types.Key, image_shape: tuple[int, ...], *, epsilon: float, norm: str = "linf"
) -> types.Array:
  """The perturbation of `random`, `[1, H, W, C]`, of size epsilon; the key is consumed."""
  pattern = jax.random.normal(key, (1, *image_shape), jnp.float32)
  return epsilon * perturbation.steepest_direction(pattern, norm=norm)


def brightness_shift(
  image_shape: tuple[int, ...], *, epsilon: float, norm: str = "linf"
) -> types.Array:
  """The perturbation of `brightness`, `[1, H, W, C]`, of size epsilon."""
  return epsilon * perturbation.steepest_direction(
    jnp.ones((1, *image_shape), jnp.float32), norm=norm
  )


def classwise(
  train: types.Dataset, target_class: int, *, epsilon: float, norm: str = "linf"
) -> np.ndarray:
  """Moves the whole target class towards the other classes by the full budget.

    u_i = x_i + epsilon s(mean of the others - mean of the class)

  with s the norm's steepest direction: the sign for l_inf. It is case 2 of Theorem 1
  (section 3.4 of Mehra et al., 2021), applied to images.

  Args and returns: as in `watermark`.
  """
  base = _base_images(train, target_class)
  shift = classwise_shift(train, target_class, epsilon=epsilon, norm=norm)
  return _inside_budget(base, base + shift, epsilon=epsilon, norm=norm)


def random(
  train: types.Dataset,
  target_class: int,
  key: types.Key,
  *,
  epsilon: float,
  norm: str = "linf",
) -> np.ndarray:
  """Adds one random pattern of size epsilon to the whole class.

    u_i = x_i + epsilon s(g),  g ~ N(0, I)

  with s the norm's steepest direction: for l_inf each pixel value moves up or down by
  epsilon, in all images alike. It is the class-wise random noise of Huang et al. (2021),
  https://arxiv.org/abs/2101.04898, section 4.

  Args and returns: as in `watermark`; the key is consumed and draws g.
  """
  base = _base_images(train, target_class)
  shift = random_shift(key, base.shape[1:], epsilon=epsilon, norm=norm)
  return _inside_budget(base, base + shift, epsilon=epsilon, norm=norm)


def brightness(
  train: types.Dataset, target_class: int, *, epsilon: float, norm: str = "linf"
) -> np.ndarray:
  """Makes the whole class brighter, every pixel value by the same amount.

    u_i = x_i + epsilon s(1)

  with s the norm's steepest direction. Args and returns: as in `classwise`.
  """
  base = _base_images(train, target_class)
  shift = brightness_shift(base.shape[1:], epsilon=epsilon, norm=norm)
  return _inside_budget(base, base + shift, epsilon=epsilon, norm=norm)


def convolution(
  train: types.Dataset,
  target_class: int,
  key: types.Key,
  *,
  epsilon: float,
  norm: str = "linf",
  kernel_size: int = 9,
  blur: float = 1.0,
) -> np.ndarray:
  """Passes the whole class through one random filter, projected to the budget.

    u_i = x_i + P(filtered(x_i) - x_i),  P the projection to the budget

  CUDA of Sadasivan et al. (2023), https://arxiv.org/abs/2303.04278, which has no budget.

  Args:
    train: training split.
    target_class: the class whose images are poisoned.
    key: consumed; draws the filter.
    epsilon: budget in image units.
    norm: norm of the budget.
    kernel_size: k, side of the filter in pixels.
    blur: p_b, upper bound of the entries other than the one that is 1. CUDA has k = 3 and
      p_b = 0.3.

  Returns:
    float32 `[n, H, W, C]` in [0, 1].
  """
  base = _base_images(train, target_class)
  images = filtered(jnp.asarray(base), random_filter(key, kernel_size, blur))
  return _inside_budget(base, images, epsilon=epsilon, norm=norm)


def random_filter(key: types.Key, kernel_size: int, blur: float) -> types.Array:
  """A CUDA filter `[k, k]`: U(0, blur), but 1 at a random entry; the key is consumed."""
  entries_key, place_key = jax.random.split(key)
  entries = jax.random.uniform(entries_key, (kernel_size**2,), jnp.float32, maxval=blur)
  place = jax.random.randint(place_key, (), 0, kernel_size**2)
  return entries.at[place].set(1.0).reshape(kernel_size, kernel_size)


def filtered(images: types.Array, kernel: types.Array) -> types.Array:
  """Filtered images, each divided by its largest value so that it is in [0, 1].

    (k * x_i) / max(k * x_i)

  As in CUDA's code, `*` is the cross-correlation with zero padding, with the same kernel in
  every channel. A black image stays black.

  Args:
    images: `[n, H, W, C]` in [0, 1].
    kernel: `[k, k]`, at least 0.

  Returns:
    `[n, H, W, C]` in [0, 1].
  """
  chex.assert_rank([images, kernel], [4, 2])
  channels = images.shape[-1]
  of_channels = jnp.broadcast_to(kernel[:, :, None, None], (*kernel.shape, 1, channels))
  images = jax.lax.conv_general_dilated(
    images,
    of_channels,
    window_strides=(1, 1),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=channels,
    precision="highest",
  )
  largest = images.max(axis=(1, 2, 3), keepdims=True)
  return images / jnp.where(largest > 0.0, largest, 1.0)
