"""Projected gradient ascent on images, within a ball and the box [0, 1]."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from pacd_jax import perturbation, types
from pacd_jax.evasion import classifiers
from pacd_jax.evasion.ascent import normalized


class Pgd(NamedTuple):
  """The settings of projected gradient descent (PGD)."""

  epsilon: float  # Radius of the ball, in image units.
  norm: str = "l2"  # "l2" or "linf".
  num_steps: int = 2
  ascent: types.AscentFn = normalized  # Given the step size 2 epsilon / num_steps.


def check(attack: Pgd) -> None:
  """Raises ValueError unless the radius is above 0 and there is at least one step."""
  if not attack.epsilon > 0.0 or attack.num_steps < 1:
    raise ValueError(
      f"the PGD has epsilon {attack.epsilon} and {attack.num_steps} steps: use a radius "
      "above 0 and at least 1 step"
    )


def pgd(
  attack: Pgd,
  objective: Callable[[types.Array], types.Scalar],
  images: types.Array,
  *,
  start: types.Array | None = None,
  strength: types.Array | float = 1.0,
  box: bool = True,
) -> types.Array:
  """Perturbations that increase an objective, each within the ball and the box.

    delta <- P(delta + step(grad objective(x + delta))),  |delta|_norm <= epsilon,
    x + delta in [0, 1]

  Madry et al. (2018), https://arxiv.org/abs/1706.06083; with the objective of a smoothed
  classifier, SmoothAdv_PGD of Salman et al. (2019), https://arxiv.org/abs/1906.04584. The
  step size 2 epsilon / num_steps and the order of projections (box, then ball) are theirs.

  Args:
    attack: ball and steps.
    objective: `images -> scalar`, a sum over the images.
    images: `[B, H, W, C]` in [0, 1].
    start: the initial perturbation, shaped like the images; it is projected first. None: 0.
    strength: at least 0; radius and steps are this times those of the attack, such as a
      share in a warm-up, or the radius itself where epsilon is 1. `[]`, or per image as
      `[B, 1, 1, 1]`.
    box: whether x + delta is kept in [0, 1]; False for what are no pixels.

  Returns:
    delta `[B, H, W, C]`, a constant: no derivative passes through it or the steps. Values
    that the objective closes over should be constant as well (`jax.lax.stop_gradient`).
  """
  chex.assert_rank(images, 4)
  images = jax.lax.stop_gradient(images)
  epsilon = attack.epsilon * strength
  ascent = attack.ascent(2.0 * epsilon / attack.num_steps, attack.norm)

  def inside(delta):
    if box:
      delta = jnp.clip(images + delta, 0.0, 1.0) - images
    return perturbation.project(delta, epsilon=epsilon, norm=attack.norm)

  def step(_, carry):
    delta, state = carry
    descent = jax.grad(lambda delta: -objective(images + delta))(delta)
    updates, state = ascent.update(descent, state)
    return inside(delta + updates), state

  delta = jnp.zeros_like(images) if start is None else inside(start)
  delta, _ = jax.lax.fori_loop(0, attack.num_steps, step, (delta, ascent.init(delta)))
  return jax.lax.stop_gradient(delta)


def uniform_in_ball(
  attack: Pgd, key: types.Key, images: types.Array, strength: types.Array | float = 1.0
) -> types.Array:
  """Perturbations drawn uniformly from each image's ball; the key is consumed.

  Args:
    attack: the attack, for its epsilon and norm.
    key: `[]`, or `[B]` with one key per image.
    images: `[B, H, W, C]`.
    strength: at least 0, as for `pgd`.

  Returns:
    `[B, H, W, C]`.
  """
  chex.assert_rank(images, 4)
  epsilon = attack.epsilon * strength
  if not key.shape:
    key = jax.random.split(key, len(images))

  def of_one(key, image):
    if attack.norm == "linf":
      return jax.random.uniform(key, image.shape, image.dtype, -1.0, 1.0)
    # pyrefly: ignore[missing-attribute]: JAX does not say what `ball` returns.
    return jax.random.ball(key, image.size, dtype=image.dtype).reshape(image.shape)

  return epsilon * jax.vmap(of_one)(key, images)


class ProjectedGradient(NamedTuple):
  """PGD as a `types.EvasionFn`: `pgd` on the cross-entropy, within any radius."""

  norm: str = "l2"
  targeted: bool = False
  num_steps: int = 10
  random_start: bool = False  # From a uniform draw in the ball, instead of the image.
  ascent: types.AscentFn = normalized
  box: bool = True  # Whether x + delta is kept in [0, 1].

  @property
  def finds_least(self) -> bool:
    return False

  def __call__(self, classifier, images, labels, key, radius):
    """Returns delta `[B, H, W, C]`; see `types.EvasionFn`. The key draws the start."""
    chex.assert_rank([images, labels], [4, 1])
    attack = Pgd(1.0, self.norm, self.num_steps, self.ascent)
    loss = classifiers.objective(classifier, labels, targeted=self.targeted)
    size = jnp.broadcast_to(radius, len(images))[:, None, None, None]
    start = uniform_in_ball(attack, key, images, size) if self.random_start else None
    return pgd(attack, loss, images, start=start, strength=size, box=self.box)
