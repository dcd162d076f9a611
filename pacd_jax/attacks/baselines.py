"""Poisons that need no optimisation: what a bilevel attack has to beat.

Each takes the training split and returns float images `[n, H, W, C]` for the target
class, inside the budget and the box but not yet rounded to 8 bits.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import data, perturbation, types


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

  Shafahi et al. (2018), https://arxiv.org/abs/1804.00792, as the baseline of Table 2 of
  Mehra et al. (2021).

  Args:
    train: training split.
    target_class: its images are poisoned.
    key: consumed; draws x_j.
    epsilon: budget in image units.
    norm: of the budget.
    opacity: of the blended image, in [0, 1].

  Returns:
    float32 `[n, H, W, C]` in [0, 1].
  """
  base = data.to_float(train.images[data.class_indices(train, target_class)])
  others = np.flatnonzero(train.labels != target_class)
  chosen = np.asarray(jax.random.choice(key, others, (len(base),)))
  blended = (1.0 - opacity) * base + opacity * data.to_float(train.images[chosen])
  return _inside_budget(base, blended, epsilon=epsilon, norm=norm)


def classwise_shift(
  train: types.Dataset, target_class: int, *, epsilon: float, norm: str = "linf"
) -> types.Array:
  """The perturbation of `classwise`: one for the class, `[1, H, W, C]`, on the budget."""
  base = data.to_float(train.images[data.class_indices(train, target_class)])
  others = data.to_float(train.images[train.labels != target_class])
  towards = (others.mean(axis=0) - base.mean(axis=0))[None]
  return epsilon * perturbation.steepest_direction(jnp.asarray(towards), norm=norm)


def random_shift(
  key: types.Key, image_shape: tuple[int, ...], *, epsilon: float, norm: str = "linf"
) -> types.Array:
  """One random perturbation for the class, `[1, H, W, C]`, on the budget.

  The steepest direction of Gaussian noise: random signs in l_inf. The key is consumed.
  """
  noise = jax.random.normal(key, (1, *image_shape))
  return epsilon * perturbation.steepest_direction(noise, norm=norm)


def classwise(
  train: types.Dataset, target_class: int, *, epsilon: float, norm: str = "linf"
) -> np.ndarray:
  """Moves the whole target class towards the other classes by the full budget.

    u_i = x_i + epsilon s(mean of the others - mean of the class)

  with s the norm's steepest direction: the sign for l_inf. It is case 2 of Theorem 1
  (section 3.4 of Mehra et al., 2021), carried over to images.

  Args and returns: as `watermark`.
  """
  base = data.to_float(train.images[data.class_indices(train, target_class)])
  shift = classwise_shift(train, target_class, epsilon=epsilon, norm=norm)
  return _inside_budget(base, base + shift, epsilon=epsilon, norm=norm)
