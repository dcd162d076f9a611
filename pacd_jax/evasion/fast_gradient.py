"""The fast gradient (sign) method: one step along the steepest direction."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from pacd_jax import perturbation
from pacd_jax.evasion import classifiers


class FastGradient(NamedTuple):
  """FGSM of Goodfellow et al. (2015), https://arxiv.org/abs/1412.6572: a `types.EvasionFn`.

    x' = clip(x + epsilon sign(grad_x L(x, y)), 0, 1)

  For l2, the gradient divided by its norm stands in place of its sign.
  """

  norm: str = "linf"
  targeted: bool = False

  @property
  def finds_least(self) -> bool:
    return False

  def __call__(self, classifier, images, labels, key, radius):
    """Returns delta `[B, H, W, C]`; see `types.EvasionFn`. The key is not used."""
    del key
    chex.assert_rank([images, labels], [4, 1])
    images = jax.lax.stop_gradient(images)
    loss = classifiers.objective(classifier, labels, targeted=self.targeted)
    direction = perturbation.steepest_direction(jax.grad(loss)(images), norm=self.norm)
    size = jnp.broadcast_to(radius, len(images))[:, None, None, None]
    delta = jnp.clip(images + size * direction, 0.0, 1.0) - images
    return jax.lax.stop_gradient(delta)
