"""On-manifold adversarial examples: PGD on latents."""

from collections.abc import Callable

import chex
import jax

from pacd_jax import evasion, types
from pacd_jax.manifolds.manifold import Manifold


def check(attack: evasion.Pgd) -> None:
  """Raises ValueError unless the radius is at least 0 and there is at least one step."""
  if not attack.epsilon >= 0.0 or attack.num_steps < 1:
    raise ValueError(
      f"the on-manifold PGD has radius {attack.epsilon} and {attack.num_steps} steps: use "
      "a radius of at least 0 and at least 1 step"
    )


def perturbations(
  attack: evasion.Pgd,
  manifold: Manifold,
  objective: Callable[[types.Array], types.Scalar],
  images: types.Array,
  *,
  key: types.Key | None = None,
  strength: types.Array | float = 1.0,
) -> types.Array:
  """Moves of latents that increase an objective of the images that they give.

    max over |lambda| <= epsilon of objective(G(E(x) + lambda))

  by PGD: OM-PGD of Lin et al. (2020), https://arxiv.org/abs/2009.02470, with steps
  of 2 epsilon / num_steps. There is no box: latents have none.

  Args:
    attack: ball and steps; the radius is in units of the latents.
    manifold: E and G.
    objective: `images -> scalar`, a sum over the images.
    images: x, `[B, H, W, C]`.
    key: draws a start in the ball, `[]` or `[B]`, consumed; None: it starts from 0.
    strength: the share of the radius that is used, as in a warm-up.

  Returns:
    lambda `[B, d]`, constants.
  """
  chex.assert_rank(images, 4)
  latents = as_images(jax.lax.stop_gradient(manifold.encode(images)))
  start = None
  if key is not None:
    start = evasion.uniform_in_ball(attack, key, latents, strength)
  moved = evasion.pgd(
    attack,
    lambda z: objective(manifold.decode(as_latents(z))),
    latents,
    start=start,
    strength=strength,
    box=False,
  )
  return as_latents(moved)


def as_images(latents: types.Array) -> types.Array:
  """Latents `[B, d]` in the shape `[B, 1, 1, d]` that attacks on images take."""
  chex.assert_rank(latents, 2)
  return latents[:, None, None, :]


def as_latents(images: types.Array) -> types.Array:
  """`[B, 1, 1, d]` back to latents `[B, d]`."""
  chex.assert_shape(images, (None, 1, 1, None))
  return images[:, 0, 0, :]
