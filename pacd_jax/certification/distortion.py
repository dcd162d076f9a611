"""The l2 distortion at which PGD fools the smoothed classifier.

It is the empirical counterpart of a certified radius, which is a lower bound of it: section
4.6 and Table 5 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. The paper gives
neither the number of steps nor the search over radii; those here are ours.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from pacd_jax import evasion, losses, noise, types


class Search(NamedTuple):
  """The settings of the attack and of the search over radii."""

  num_steps: int = 10  # PGD steps, each of size 2 radius / num_steps.
  num_noise_samples: int = 8  # m of PGD's objective, drawn once per radius.
  num_votes: int = 100  # Noisy copies whose vote is the smoothed classifier's prediction.
  max_radius: float = 8.0  # l2, image units: the first radius, and the result of a failure.
  num_halvings: int = 11  # Halvings of the interval, to a width of max_radius / 2^11.


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
  """The least l2 distortion per image at which bisection finds that PGD succeeds.

  At each radius r, SmoothAdv's PGD (Salman et al., 2019, https://arxiv.org/abs/1906.04584)

    max over |delta|_2 <= r, x + delta in [0, 1] of
      -log (1/m) sum_j softmax(logits(x + delta + eta_j))_y,   eta_j ~ N(0, sigma^2 I)

  succeeds if the class with the most votes of `num_votes` noisy copies of x + delta is not
  y. The search continues below |delta|_2 after a success, and above r after a failure,
  except that it continues below `max_radius`, its first radius, in either case. It assumes
  that PGD succeeds at all radii above one at which it succeeds. The result is an upper
  bound of the distance to the decision boundary, up to the votes' sampling.

  Args:
    apply: base classifier.
    params: its parameters.
    images: float32 `[B, H, W, C]` in [0, 1].
    labels: int `[B]`.
    key: consumed.
    sigma: noise standard deviation in image units.
    search: settings of the attack and of the search.

  Returns:
    Distances `[B]` in image units: 0 where the original image is misclassified,
    `max_radius` where PGD fails at every radius; and bool `[B]`, False for those failures.
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
    # First the largest radius, then the middle of the remaining interval.
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
