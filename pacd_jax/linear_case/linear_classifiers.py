"""Linear classifiers f(x) = w.x + b of points in d dimensions, and their exact radius.

There are two classes, +1 where f is above 0. In section 3.4 of Mehra et al. (2021),
https://arxiv.org/abs/2012.01274, the negative class is poisoned; other attacks change or
add points of both. In the shape descriptions `d` is the number of features, `p` of points
that stay as they are (there, the positive ones) and `n` of the attacker's.

Use float64 (`jax.enable_x64`) where solutions have to be exact; the problems are small.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from pacd_jax import errors, types


class Linear(NamedTuple):
  """The parameters theta of a linear classifier."""

  weights: types.Array  # `[d]`, w.
  bias: types.Array  # `[]`, b.


# `criterion(scores, signs) -> losses`, elementwise; scores are f(x), signs are +1 or -1.
CriterionFn = Callable[[types.Array, types.Array], types.Array]


def squared(scores: types.Array, signs: types.Array) -> types.Array:
  """(f(x) - y)^2: least squares, the loss of Theorem 1."""
  return (scores - signs) ** 2


def logistic(scores: types.Array, signs: types.Array) -> types.Array:
  """log(1 + exp(-y f(x))): logistic regression."""
  return jax.nn.softplus(-signs * scores)


def squared_hinge(scores: types.Array, signs: types.Array) -> types.Array:
  """max(1 - y f(x), 0)^2: a linear support vector machine (L2-SVM), once differentiable.

  Its second derivative jumps where a margin is 1; the implicit function theorem applies
  where no margin is.
  """
  return jnp.maximum(1.0 - signs * scores, 0.0) ** 2


TEMPERATURE = 0.05  # Of `smooth_hinge`, in units of the score.


def smooth_hinge(scores: types.Array, signs: types.Array) -> types.Array:
  """t log(1 + exp((1 - y f(x)) / t)), t = 0.05: the hinge loss of the SVM, made smooth.

  Of Koh and Liang (2017), section 4.2, https://arxiv.org/abs/1703.04730. It is above the
  hinge max(1 - y f(x), 0) by at most t log 2, and so is the objective of its minimiser
  above that of the SVM. With alpha_i = 1 / (1 + exp(-(1 - y_i f(x_i)) / t)) the SVM's KKT
  conditions hold, but for alpha_i that are in (0, 1) within about t of a margin of 1.
  """
  return TEMPERATURE * jax.nn.softplus((1.0 - signs * scores) / TEMPERATURE)


def scores(params: Linear, points: types.Array) -> types.Array:
  """f(x) = w.x + b, `[N, d]` -> `[N]`."""
  return points @ params.weights + params.bias


def apply(params: Linear, images: types.Array) -> types.Array:
  """Logits of the classifier, as `certify` needs them: `[B, H, W, C]` -> `[B, 2]`.

  Class 0 is the negative class. An image is flattened to a point.
  """
  score = scores(params, images.reshape(len(images), -1))
  return jnp.stack([-score, score], axis=-1)


def as_images(points: np.ndarray) -> np.ndarray:
  """Reshapes points `[N, d]` in [0, 1] to float32 images `[N, 1, d, 1]`."""
  return np.asarray(points, np.float32)[:, None, :, None]


def certified_radius(
  params: Linear, points: types.Array, signs: types.Array
) -> types.Array:
  """Distance to the boundary, max(y (w.x + b) / |w|, 0), of points `[N, d]`.

  It is the certified l2 radius of the smoothed classifier for every sigma (Cohen et al.,
  2019, https://arxiv.org/abs/1902.02918), 0 for misclassified points, in the unit of x.
  """
  distances = signs * scores(params, points) / jnp.linalg.norm(params.weights)
  return jnp.maximum(distances, 0.0)


def negative_acr(params: Linear, points: types.Array) -> types.Array:
  """The average certified radius of points `[m, d]` of the negative class, `[]`."""
  return certified_radius(params, points, -jnp.ones(len(points), points.dtype)).mean()


def lower_level(
  criterion: CriterionFn,
  points: types.Array,
  *,
  ridge: float | types.Array,
  signs: types.Array | float = 1.0,
  signs_of_poison: types.Array | float = -1.0,
) -> types.LowerLevel:
  """The victim's problem as a function of (theta, u), u `[n, d]` the attacker's points.

    g(theta, u) = 1/(p + n) [sum_i l(f(x_i), y_i) + sum_j l(f(u_j), v_j)] + ridge/2 |w|^2

  With y = 1 and v = -1, for `squared`, d = 1 and no ridge, it is problem (3) of Mehra et
  al. (2021); b is never penalised. The weights are an output too, and the criterion
  penalises them, so that the Gauss-Newton matrix is the Hessian.

  Args:
    criterion: l.
    points: x, `[p, d]`; there may be none.
    ridge: weight of the penalty, at least 0.
    signs: y, +1 or -1, `[p]` or one for all.
    signs_of_poison: v, `[n]` or one for all.
  """
  of_points = jnp.broadcast_to(jnp.asarray(signs, points.dtype), len(points))

  def outputs(params, u):
    return scores(params, jnp.concatenate([points, u])), params.weights

  def value(outputs):
    score, weights = outputs
    of_poison = jnp.asarray(signs_of_poison, score.dtype)
    of_poison = jnp.broadcast_to(of_poison, len(score) - len(points))
    losses = criterion(score, jnp.concatenate([of_points, of_poison]))
    return losses.mean() + 0.5 * ridge * weights @ weights

  return types.LowerLevel(outputs, value)


def fit(
  lower: types.LowerLevel,
  negative: types.Array,
  *,
  start: Linear | None = None,
  max_steps: int = 100,
) -> Linear:
  """argmin over theta by a regularised Newton method with a line search.

    theta <- theta - s (H + c |grad| I)^-1 grad,   s in {1, 1/2, ..., 2^-15}

  It is for the convex losses of this file. Of the fractions s that do not raise the value,
  the one with the smallest gradient is taken. The Hessian H is dense, `[d + 1, d + 1]`. It
  may be singular: far from a hinge's kinks it is 0 in b, where a bare Newton step would
  leave for where no gradient brings it back. c |grad|, with c = 0.01, bounds a step by 1/c
  and keeps the convergence quadratic (Li, Fukushima, Qi and Yamashita, 2004, "Regularized
  Newton methods for convex minimization problems with singular solutions", Computational
  Optimization and Applications 28); machine epsilon times the trace is added besides, so
  that losses that are flat in b can be solved.

  Args:
    lower: the lower level, as `lower_level` makes it.
    negative: u, `[n, d]`.
    start: where to begin; None: at 0.
    max_steps: largest number of steps; fewer if the gradient becomes 0 up to rounding.
  """
  dtype = negative.dtype
  if start is None:
    start = Linear(jnp.zeros(negative.shape[1], dtype), jnp.zeros((), dtype))
  flat, unravel = ravel_pytree(start)
  gradient = jax.grad(lambda theta: lower(unravel(theta), negative))
  value = jax.vmap(lambda theta: lower(unravel(theta), negative))
  sizes = 0.5 ** jnp.arange(16, dtype=dtype)
  tiny = jnp.finfo(dtype).eps

  def unfinished(state):
    number, _, size = state
    return (number < max_steps) & (size > 4.0 * tiny)

  def step(state):
    number, theta, size = state
    hessian = jax.jacfwd(gradient)(theta)
    damping = 0.01 * size + tiny * jnp.trace(hessian)
    hessian += damping * jnp.eye(len(theta), dtype=dtype)
    newton = jnp.linalg.solve(hessian, gradient(theta))
    candidates = theta[None] - sizes[:, None] * newton[None]
    norms = jnp.linalg.norm(jax.vmap(gradient)(candidates), axis=1)
    now = value(theta[None])
    higher = value(candidates) > now + 8.0 * tiny * jnp.abs(now)
    best = jnp.argmin(jnp.where(higher, jnp.inf, norms))
    best = jnp.where(higher.all(), len(sizes) - 1, best)
    return number + 1, candidates[best], norms[best]

  first = jnp.int32(0), flat, jnp.linalg.norm(gradient(flat))
  return unravel(jax.lax.while_loop(unfinished, step, first)[1])


@functools.partial(jax.jit, static_argnums=0)
def fit_points(
  criterion: CriterionFn,
  points: types.Array,
  signs: types.Array,
  ridge: float | types.Array,
) -> Linear:
  """The classifier of points `[N, d]` with signs `[N]`, +1 or -1, as `fit` finds it."""
  lower = lower_level(criterion, points[:0], ridge=ridge, signs_of_poison=signs)
  return fit(lower, points)


def error_rate(params: Linear, points: np.ndarray, signs: np.ndarray) -> float:
  """The share of points `[N, d]` whose score has not their sign; a score of 0 has none."""
  return float(np.mean(np.asarray(scores(params, jnp.asarray(points))) * signs <= 0.0))


def check_classes(positive: np.ndarray, negative: np.ndarray) -> None:
  """Raises an error for classes between which no boundary can be fitted.

  Raises:
    errors.InputError: a class is not `[N, d]` with at least one point, the classes differ
      in d, a value is not finite, or both classes have the same mean.
  """
  for name, points in (("positive", positive), ("negative", negative)):
    if np.ndim(points) != 2 or not np.size(points):
      raise errors.InputError(
        f"{name} has the shape {np.shape(points)}: give at least one point, as [N, d]"
      )
    if not np.isfinite(points).all():
      raise errors.InputError(f"{name} holds numbers that are not finite")
  if np.shape(positive)[1] != np.shape(negative)[1]:
    raise errors.InputError(
      f"positive points have {np.shape(positive)[1]} features and negative points "
      f"{np.shape(negative)[1]}: use the same"
    )
  if np.allclose(np.mean(positive, axis=0), np.mean(negative, axis=0), rtol=1e-12, atol=0):
    raise errors.InputError(
      "both classes have the same mean: the weights of least squares are 0, and there is "
      "no boundary"
    )
