"""The attack of Carlini and Wagner (2017) for the l2 norm, as one program."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.evasion import classifiers

_INSIDE = 0.999999  # Pixels of 0 and 1 are moved inside, where arctanh is finite.
_CHECKS = 10  # How often a search looks whether it still gets on,
_LEAST_GAIN = 1e-4  # which is by at least this share of its loss.
_LARGEST_C = 1e10  # As long as nothing succeeds, c grows tenfold up to here.


class _Search(NamedTuple):
  """The state of one image's search at one c; every field has a leading axis `[B]`."""

  w: types.Array
  optimizer: Any
  least: types.Array  # |delta|^2 of the best success; infinite if there is none.
  delta: types.Array
  checked: types.Array  # Loss at the last check.
  stalled: types.Array  # bool: it no longer moves.


class CarliniWagner(NamedTuple):
  """The l2 attack of https://arxiv.org/abs/1608.04644, section VI: a `types.EvasionFn`.

    min over w of |x'(w) - x|_2^2 + c max(margin(x'(w)), -kappa),
    x'(w) = (tanh(w) + 1) / 2

  by Adam from w = arctanh(2x - 1), anew for each c of a binary search: c is raised tenfold
  until it succeeds, and halved between the largest that failed and the smallest that
  succeeded. The margin is of logits, and of the log of the mean softmax for a smoothed
  classifier. An image whose loss has not fallen by 1e-4 in a tenth of the steps stops
  there, as in the authors' code; a search ends when all have. Steps beyond that differ from
  image to image, so no image depends on the others of its batch.
  """

  targeted: bool = False
  num_searches: int = 9  # Values of c.
  num_steps: int = 1000  # Of Adam for each; the authors take 10,000.
  learning_rate: float = 1e-2
  first_c: float = 1e-3
  confidence: float = 0.0  # kappa: the margin by which the wrong class is to win.

  @property
  def norm(self) -> str:
    return "l2"

  @property
  def finds_least(self) -> bool:
    return True

  def __call__(self, classifier, images, labels, key, radius):
    """Returns delta `[B, H, W, C]`; see `types.EvasionFn`. The key is not used."""
    del key
    chex.assert_rank([images, labels], [4, 1])
    images = jax.lax.stop_gradient(images)
    num = len(images)
    zero = jnp.zeros(num, images.dtype)

    def halve(_, carry):
      low, high, c, least, delta = carry
      found_least, found = self._search(classifier, images, labels, c)
      succeeded = jnp.isfinite(found_least)
      low, high = jnp.where(succeeded, low, c), jnp.where(succeeded, c, high)
      grown = jnp.minimum(10.0 * c, _LARGEST_C)
      c = jnp.where(jnp.isfinite(high), (low + high) / 2.0, grown)
      better = found_least < least
      delta = jnp.where(_per_image(better), found, delta)
      return low, high, c, jnp.where(better, found_least, least), delta

    first = zero, zero + jnp.inf, zero + self.first_c, zero + jnp.inf
    found = jax.lax.fori_loop(0, self.num_searches, halve, (*first, jnp.zeros_like(images)))
    least, delta = found[-2:]
    within = least <= jnp.broadcast_to(radius, num) ** 2
    return jax.lax.stop_gradient(jnp.where(_per_image(within), delta, 0.0))

  def _search(self, classifier, images, labels, c):
    """The least |delta|^2 `[B]` that succeeds at one c, infinite if none, and its delta."""
    adam = optax.adam(self.learning_rate)
    every = max(self.num_steps // _CHECKS, 1)

    def losses(w):
      delta = (jnp.tanh(w) + 1.0) / 2.0 - images
      size = jnp.sum(delta**2, axis=(1, 2, 3))
      margin = classifiers.margin(
        classifier(images + delta), labels, targeted=self.targeted
      )
      loss = size + c * jnp.maximum(margin, -self.confidence)
      return loss.sum(), (loss, size, margin, delta)

    def step(carry):
      number, state = carry
      gradient, (loss, size, margin, delta) = jax.grad(losses, has_aux=True)(state.w)
      better = (margin < -self.confidence) & (size < state.least) & ~state.stalled
      updates, optimizer = adam.update(gradient, state.optimizer)
      is_check = number % every == 0
      lags = is_check & (loss > (1.0 - _LEAST_GAIN) * state.checked)
      return number + 1, _Search(
        jnp.where(_per_image(state.stalled), state.w, state.w + updates),
        optimizer,
        jnp.where(better, size, state.least),
        jnp.where(_per_image(better), delta, state.delta),
        jnp.where(is_check, loss, state.checked),
        state.stalled | lags,
      )

    def goes_on(carry):
      number, state = carry
      return (number < self.num_steps) & ~state.stalled.all()

    w = jnp.arctanh(_INSIDE * (2.0 * images - 1.0))
    unknown = jnp.full(len(images), jnp.inf, images.dtype)
    nothing = jnp.zeros_like(images), unknown, jnp.zeros(len(images), bool)
    first = _Search(w, adam.init(w), unknown, *nothing)
    _, last = jax.lax.while_loop(goes_on, step, (jnp.int32(0), first))
    return last.least, last.delta


def _per_image(values: types.Array) -> types.Array:
  return values[:, None, None, None]
