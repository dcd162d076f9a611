"""The distortion at which an attack fools the smoothed classifier.

It is the empirical counterpart of a certified radius, which is a lower bound of it: section
4.6 and Table 5 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. The paper gives
neither the number of steps nor the search over radii; those here are ours.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from pacd_jax import evasion, noise, types


class Search(NamedTuple):
  """The settings of the search over radii, and of what is attacked."""

  num_noise_samples: int = 8  # m of what is attacked, drawn once per radius.
  num_votes: int = 100  # Noisy copies whose vote is the smoothed classifier's prediction.
  max_radius: float = 8.0  # Image units: the first radius, and the result of a failure.
  num_halvings: int = 11  # Halvings of the interval, to a width of max_radius / 2^11.


class Found(NamedTuple):
  """What an attack found on each image."""

  distance: types.Array  # `[B]`, in the attack's norm and image units.
  is_found: types.Array  # bool `[B]`.
  wrong: types.Array  # bool `[B]`: as the attack wants it without a perturbation.
  # `[B, H, W, C]`, of that size where it was found, else unspecified; None: not kept.
  delta: types.Array | None = None


PGD = evasion.ProjectedGradient()
_VOTES_AT_ONCE = 100


@functools.partial(jax.jit, static_argnames=("apply", "search", "attack", "keeps"))
def distances(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  *,
  sigma: float | types.Array,
  search: Search,
  attack: types.EvasionFn = PGD,
  keeps: bool = False,
) -> Found:
  """The least distortion per image at which bisection finds that the attack succeeds.

  At each radius r, the attack looks for |delta| <= r, x + delta in [0, 1]; by default it is
  SmoothAdv's PGD (Salman et al., 2019, https://arxiv.org/abs/1906.04584) on

    -log (1/m) sum_j softmax(logits(x + delta + eta_j))_y,   eta_j ~ N(0, sigma^2 I)

  It succeeds if the class with the most votes of `num_votes` noisy copies of x + delta is
  not y, or is y if the attack is targeted. The search continues below |delta| after a
  success, and above r after a failure, except that it continues below its first radius,
  `max_radius`, in either case. It assumes that the attack succeeds at all radii above one
  at which it succeeds. The result is an upper bound of the distance to the decision
  boundary, up to the votes' sampling.

  An attack that finds the least perturbation itself is made once. Its success was that of m
  copies, not of votes, so the search is then along its direction: from its size, which
  doubles until it succeeds, and below that. Where it found none, there is no direction, and
  it has failed.

  At sigma 0, of one copy and one vote, it is the base classifier that is attacked.

  Args:
    apply: base classifier.
    params: its parameters.
    images: float32 `[B, H, W, C]` in [0, 1].
    labels: int `[B]`: the true classes, or those that are wanted.
    key: consumed.
    sigma: noise standard deviation in image units.
    search: settings of the search over radii.
    attack: hashable, so that it is compiled once.
    keeps: whether to return the perturbations, too; the program is then another one, and
      rounds otherwise in the last bits.

  Returns:
    Distances in image units: 0 where the original image is misclassified (or is of the
    wanted class), `max_radius` where the attack fails at every radius.
  """
  chex.assert_rank([images, labels], [4, 1])
  victim = _Victim(apply, params, images, labels, sigma, search, attack)
  first_radius = jnp.zeros(len(images), images.dtype) + search.max_radius
  key, first_key = jax.random.split(key)
  least = None
  if attack.finds_least:  # Its stream is behind those of all radii.
    last = jax.random.fold_in(key, 2 * search.num_halvings + 3)
    least_key, start_key = jax.random.split(last)
    least = victim.perturbed(least_key, start_key, search.max_radius)
    size = _sizes(least, attack.norm)
    first_radius = jnp.where(size > 0.0, jnp.minimum(size, first_radius), first_radius)

  def halve(number, bounds):
    low, high, found, best = bounds
    # First the largest radius, then the middle of the remaining interval.
    is_first = number == 0 if least is None else ~found
    radius = jnp.where(is_first, high, (low + high) / 2.0)
    attack_key, vote_key = jax.random.split(jax.random.fold_in(key, number))
    if least is None:
      start_key = jax.random.fold_in(key, search.num_halvings + 1 + number)
      delta = victim.perturbed(attack_key, start_key, radius)
    else:
      delta = _scaled(images, least, radius, attack.norm)
    fooled = victim.is_fooled(delta, vote_key)
    size = _sizes(delta, attack.norm)
    if least is not None:
      fooled &= size > 0.0  # Else the votes are on the image as it is, once more.
    if keeps:
      better = fooled & ((size < high) | ~found)
      best = jnp.where(better[:, None, None, None], delta, best)
    if least is not None:
      high = jnp.where(found | fooled, high, jnp.minimum(2.0 * high, search.max_radius))
    high = jnp.where(fooled, jnp.minimum(high, size), high)
    low = jnp.where(fooled | (number == 0), jnp.minimum(low, high), radius)
    return low, high, found | fooled, best

  zeros = jnp.zeros_like(images)
  wrong = victim.is_fooled(zeros, first_key)
  zero = jnp.zeros(len(images), images.dtype)
  bounds = zero, first_radius, jnp.zeros(len(images), bool), zeros if keeps else None
  _, high, found, best = jax.lax.fori_loop(0, search.num_halvings + 1, halve, bounds)
  high = jnp.where(found, high, search.max_radius)
  if keeps:
    best = jnp.where(wrong[:, None, None, None], 0.0, best)
  return Found(jnp.where(wrong, 0.0, high), found | wrong, wrong, best)


@functools.partial(jax.jit, static_argnames=("apply", "search", "attack"))
def within(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  *,
  wrong: types.Array,
  radius: float | types.Array,
  sigma: float | types.Array,
  search: Search,
  attack: types.EvasionFn = PGD,
) -> Found:
  """One attack at one radius; arguments and votes as for `distances`, key consumed.

  `wrong` is bool `[B]`, as `distances` found it. There is one vote on each original image,
  so that what is wrong does not depend on how many radii are asked for.

  Returns:
    The sizes of the perturbations, 0 where the original image is misclassified, and whether
    the votes on them were fooled. A perturbation of size 0 fools none.
  """
  chex.assert_rank([images, labels, wrong], [4, 1, 1])
  victim = _Victim(apply, params, images, labels, sigma, search, attack)
  attack_key, start_key, vote_key, _ = jax.random.split(key, 4)
  delta = victim.perturbed(attack_key, start_key, radius)
  size = _sizes(delta, attack.norm)
  fooled = victim.is_fooled(delta, vote_key) & (size > 0.0)
  delta = jnp.where(wrong[:, None, None, None], 0.0, delta)
  return Found(jnp.where(wrong, 0.0, size), fooled | wrong, wrong, delta)


@functools.partial(jax.jit, static_argnames=("apply", "num"))
def num_votes(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  key: types.Key,
  *,
  sigma: float | types.Array,
  num: int,
) -> types.Array:
  """Votes of `num` noisy copies of each image `[B, H, W, C]`, 100 of them at once.

  The key is consumed; up to 100 votes are one draw by it.

  Returns:
    float32 `[B, K]`, which sum to `num`.
  """
  chex.assert_rank(images, 4)

  def of_some(key, number):
    logits = noise.noisy_logits(apply, params, images, key, sigma=sigma, num_samples=number)
    return jax.nn.one_hot(logits.argmax(axis=-1), logits.shape[-1]).sum(axis=0)

  if num <= _VOTES_AT_ONCE:
    return of_some(key, num)
  whole, rest = divmod(num, _VOTES_AT_ONCE)
  keys = jax.random.split(key, whole + 1)
  votes = jax.lax.map(lambda key: of_some(key, _VOTES_AT_ONCE), keys[:whole]).sum(axis=0)
  return votes + of_some(keys[whole], rest) if rest else votes


class _Victim(NamedTuple):
  """A smoothed classifier under attack."""

  apply: types.ApplyFn
  params: types.Params
  images: types.Array
  labels: types.Array
  sigma: float | types.Array
  search: Search
  attack: types.EvasionFn

  def perturbed(self, noise_key, start_key, radius) -> types.Array:
    """The attack's perturbations, as float32 images carry them."""
    eta = self.sigma * noise.draw(noise_key, self.search.num_noise_samples, self.images)
    classifier = evasion.smoothed(self.apply, jax.lax.stop_gradient(self.params), eta)
    delta = self.attack(classifier, self.images, self.labels, start_key, radius)
    return (self.images + delta) - self.images

  def is_fooled(self, delta, key) -> types.Array:
    """Whether the votes on x + delta are those that the attack wants, bool `[B]`."""
    votes = num_votes(
      self.apply,
      self.params,
      self.images + delta,
      key,
      sigma=self.sigma,
      num=self.search.num_votes,
    )
    is_label = votes.argmax(axis=-1) == self.labels
    return is_label if self.attack.targeted else ~is_label


def _sizes(delta, norm):
  """The norm of each perturbation, `[B]`."""
  axes = (1, 2, 3)
  if norm == "linf":
    return jnp.abs(delta).max(axis=axes)
  return jnp.sqrt(jnp.sum(delta**2, axis=axes))


def _scaled(images, direction, radius, norm):
  """Perturbations of a size along directions, cut to the box."""
  size = jnp.maximum(_sizes(direction, norm), 1e-12)
  delta = (radius / size)[:, None, None, None] * direction
  return jnp.clip(images + delta, 0.0, 1.0) - images
