"""How far PGD must move an image to fool the smoothed classifier: l2 distortions.

The empirical side of a certificate, which bounds this distance from below: section 4.6 and
Table 5 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. The paper states neither
the steps nor the search of its radius; these are ours.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from pacd_jax import evasion, losses, noise, types


class Search(NamedTuple):
  """The attack and the search of its radius."""

  num_steps: int = 10  # Of PGD, each of 2 radius / num_steps.
  num_noise_samples: int = 8  # m of its objective, drawn once for a radius.
  num_votes: int = 100  # Noisy copies that say what the smoothed classifier predicts.
  max_radius: float = 8.0  # l2, image units: where the search begins, and ends if in vain.
  num_halvings: int = 11  # Of the interval: the last is max_radius / 2^11 wide.


@functools.partial(jax.jit, static_argnames=("apply", "search"))
def distances(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  *,
  sigma: float | types.Array,
  search: Search,
) -> tuple[types.Array, types.Array]:
  """The least l2 distortion of each image at which PGD was found to succeed, by bisection.

  At each radius r, SmoothAdv's PGD (Salman et al., 2019, https://arxiv.org/abs/1906.04584)

    max over |delta|_2 <= r, x + delta in [0, 1] of
      -log (1/m) sum_j softmax(logits(x + delta + eta_j))_y,   eta_j ~ N(0, sigma^2 I)

  has succeeded where the most votes of `num_votes` noisy copies of x + delta are not for
  y; then the search goes on below |delta|_2, else above r. It assumes that success at a
  radius goes with success at larger ones; the result is an upper bound of the distance to
  the decision boundary, up to the votes' sampling.

  Args:
    apply: base classifier.
    params: its parameters.
    images: float32 `[B, H, W, C]` in [0, 1].
    labels: int `[B]`.
    key: consumed.
    sigma: noise standard deviation in image units.
    search: steps, samples and radii.

  Returns:
    Distances `[B]` in image units: 0 where the unmoved image is misclassified already,
    `max_radius` where no radius succeeds; and whether one did, bool `[B]`.
  """
  chex.assert_rank([images, labels], [4, 1])

  def is_fooled(delta, key):
    logits = noise.noisy_logits(
      apply, params, images + delta, key, sigma=sigma, num_samples=search.num_votes
    )
    votes = jax.nn.one_hot(logits.argmax(axis=-1), logits.shape[-1]).sum(axis=0)
    return votes.argmax(axis=-1) != labels

  attack = evasion.Pgd(search.max_radius, "l2", search.num_steps)
  adversary = losses.smoothadv(
    apply, sigma=sigma, attack=attack, num_noise_samples=search.num_noise_samples
  ).adversary
  assert adversary is not None  # SmoothAdv has one.

  def halve(number, bounds):
    low, high, found = bounds
    # First at the largest radius, then in the middle of what is left.
    radius = jnp.where(number == 0, high, (low + high) / 2.0)
    attack_key, vote_key = jax.random.split(jax.random.fold_in(key, number))
    strength = (radius / search.max_radius)[:, None, None, None]
    delta = adversary(params, images, labels, attack_key, strength) - images
    fooled = is_fooled(delta, vote_key)
    size = jnp.sqrt(jnp.sum(delta**2, axis=(1, 2, 3)))
    high = jnp.where(fooled, jnp.minimum(high, size), high)
    low = jnp.where(fooled | (number == 0), jnp.minimum(low, high), radius)
    return low, high, found | fooled

  key, first_key = jax.random.split(key)
  wrong = is_fooled(jnp.zeros_like(images), first_key)
  zero = jnp.zeros(len(images), images.dtype)
  bounds = zero, zero + search.max_radius, jnp.zeros(len(images), bool)
  _, high, found = jax.lax.fori_loop(0, search.num_halvings + 1, halve, bounds)
  high = jnp.where(found, high, search.max_radius)
  return jnp.where(wrong, 0.0, high), found | wrong
