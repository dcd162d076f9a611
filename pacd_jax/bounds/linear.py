"""Linear bounds (CROWN): a lower bound of <a, z> by lines through the nonlinear layers.

Zhang et al. (2018), https://arxiv.org/abs/1811.00866. From the last layer to the first, the
coefficients a pass affine layers by their transposes, and a ReLU with inputs in [l, u],
l < 0 < u, lies between two lines,

  alpha x <= max(x, 0) <= u (x - l) / (u - l)

where a positive coefficient takes the lower line and a negative one the upper. Then
<a, x> + const is bounded on the ball of images. `SLOPES` are the choices of alpha:

  zero      0: on the intervals of IBP never looser than IBP
  adaptive  1 where u >= -l, else 0: CROWN's own
  parallel  u / (u - l): the lines of Wong and Kolter (2018),
            https://arxiv.org/abs/1711.00851; theirs are on other intermediate bounds

Of 2x2 pixels in [l_i, u_i], max-pooling gives at least the one with the largest l_i, and at
most the largest u_i; it gives that pixel itself where its l_i is at least the others' u_j.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pacd_jax import types
from pacd_jax.bounds import interval
from pacd_jax.bounds import layers as _layers

SLOPES = ("zero", "adaptive", "parallel")
_NUMBERS_AT_ONCE = 2**24  # Of the coefficients of intermediate bounds, at the image.


class Step(NamedTuple):
  """A layer with what is known of its inputs."""

  layer: Any
  # Of a nonlinear layer an `Interval`; of a residual sum the steps of both parts.
  known: Any
  shape: tuple[int, ...]  # Of its inputs, `[B, ...]`.


Linear = tuple[types.Array, types.Array]  # a `[S, B, ...]` and the constant `[S, B]`.


def relax(
  layers: types.Layers, ball: interval.Ball, *, slopes: str | None = None
) -> tuple[tuple[Step, ...], interval.Region]:
  """The layers with the intervals of their inputs, and the region of their outputs.

  Args:
    layers: any layers, not only a whole network's.
    ball: their inputs.
    slopes: of the linear bounds that each interval is cut with; None: intervals are those
      of IBP alone.
  """
  return _relax(layers, (), ball, ball, slopes)


def _relax(
  layers: types.Layers,
  before: tuple[Step, ...],
  ball: interval.Ball,
  region: interval.Region,
  slopes: str | None,
) -> tuple[tuple[Step, ...], interval.Region]:
  done = list(before)
  for layer in layers:
    known: Any = None
    after: interval.Region
    if isinstance(layer, _layers.NONLINEAR):
      known = interval.pixels(region)
      if slopes is not None:
        known = known.intersect(_outputs(tuple(done), ball, known.shape, slopes))
      after = interval.through(layer, known)
    elif isinstance(layer, _layers.Residual):
      parts = [
        _relax(part, tuple(done), ball, region, slopes)
        for part in (layer.branch, layer.shortcut)
      ]
      known = [inside for inside, _ in parts]
      after = interval.summed(*(interval.pixels(end) for _, end in parts))
    else:
      after = interval.through(layer, region)
    done.append(Step(layer, known, region.shape))
    region = after
  return tuple(done[len(before) :]), region


def _outputs(steps, ball, shape, slopes) -> interval.Interval:
  """Linear bounds of all outputs of the steps, `[B, ...]`, a part of them at a time."""
  batch, size = shape[0], _layers.size_of(shape)

  def bounds(unit):  # The bounds of x_i and of -x_i, `[2, B]`.
    a = jnp.zeros((2, batch, size), jnp.float32)
    a = a.at[:, :, unit].set(jnp.array([1.0, -1.0], jnp.float32)[:, None])
    return least(
      steps, ball, (a.reshape(2, *shape), jnp.zeros((2, batch), jnp.float32)), slopes
    )

  image = 2 * batch * max(_layers.size_of(ball.shape), size)
  at_once = max(1, min(size, _NUMBERS_AT_ONCE // image))
  found = jax.lax.map(bounds, jnp.arange(size), batch_size=at_once)  # `[size, 2, B]`.
  found = found.transpose(1, 2, 0).reshape(2, *shape)
  return interval.known(found[0], -found[1])


def least(
  steps: tuple[Step, ...], ball: interval.Ball, linear: Linear, slopes: str
) -> types.Array:
  """A lower bound, `[S, B]`, of <a, z> + const on the ball, z the outputs of the steps."""
  a, constant = backward(steps, linear, slopes)
  return interval.least(ball, a) + constant


def backward(steps: tuple[Step, ...], linear: Linear, slopes: str) -> Linear:
  """The linear lower bound of <a, z> + const in the steps' inputs."""
  a, constant = linear
  for step in reversed(steps):
    if isinstance(step.layer, _layers.Relu):
      a, constant = _relu(step, a, constant, slopes)
    elif isinstance(step.layer, _layers.MaxPool):
      a, constant = _max_pool(step, a, constant)
    elif isinstance(step.layer, _layers.Residual):
      branch, shortcut = step.known
      of_branch, constant = backward(branch, (a, constant), slopes)
      of_shortcut, constant = backward(shortcut, (a, constant), slopes)
      a = of_branch + of_shortcut
    else:
      if (shift := _layers.offset(step.layer)) is not None:
        per_channel = a.reshape(*a.shape[:2], -1, a.shape[-1]).sum(axis=2)
        constant = constant + per_channel @ shift
      a = _transposed(lambda x, step=step: _layers.product(step.layer, x), step.shape, a)
  return a, constant


def _transposed(
  function: Callable[[types.Array], types.Array], shape: tuple[int, ...], a: types.Array
) -> types.Array:
  """W^T a of a linear function of `[B, ...]`, for a `[S, B, ...]`."""
  merged = a.reshape(-1, *a.shape[2:])
  _, transpose = jax.vjp(function, jnp.zeros((len(merged), *shape[1:]), a.dtype))
  return transpose(merged)[0].reshape(*a.shape[:2], *shape[1:])


def lines(
  inside: interval.Interval, slopes: str
) -> tuple[types.Array, types.Array, types.Array]:
  """(alpha, s, t): alpha x <= max(x, 0) <= s x + t for x in the interval."""
  lower, upper = inside
  is_on = lower >= 0.0
  is_unstable = ~is_on & (upper > 0.0)
  stable = is_on.astype(lower.dtype)
  s = jnp.where(is_unstable, upper / jnp.where(is_unstable, upper - lower, 1.0), stable)
  t = jnp.where(is_unstable, -s * lower, 0.0)
  alpha = {"zero": 0.0, "adaptive": 1.0 * (upper >= -lower), "parallel": s}[slopes]
  return jnp.where(is_unstable, alpha, stable), s, t


def _relu(step, a, constant, slopes):
  alpha, s, t = lines(step.known, slopes)
  positive, negative = jnp.maximum(a, 0.0), jnp.minimum(a, 0.0)
  constant = constant + (negative * t[None]).reshape(*a.shape[:2], -1).sum(axis=-1)
  return positive * alpha[None] + negative * s[None], constant


def _max_pool(step, a, constant):
  lower, upper = (_layers.pool_windows(end) for end in step.known)  # `[B, h, w, C, 4]`.
  chosen = jax.nn.one_hot(lower.argmax(axis=-1), 4, dtype=a.dtype)
  others = jnp.where(chosen > 0.0, -jnp.inf, upper).max(axis=-1)
  is_known = lower.max(axis=-1) >= others
  t = jnp.where(is_known, 0.0, upper.max(axis=-1))
  negative = jnp.minimum(a, 0.0)
  constant = constant + (negative * t[None]).reshape(*a.shape[:2], -1).sum(axis=-1)
  of_pixel = jnp.maximum(a, 0.0) + negative * is_known[None]
  of_window = of_pixel[..., None] * chosen[None]
  return _transposed(_layers.pool_windows, step.shape, of_window), constant
