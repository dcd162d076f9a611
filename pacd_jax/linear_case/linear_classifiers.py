"""Linear classifiers f(x) = w.x + b of points in d dimensions, and their exact radius.

There are two classes, +1 where f is above 0; the negative class is poisoned, as in section
3.4 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274. In the shape descriptions `d`
is the number of features, `p` of positive points and `n` of negative.

Use float64 (`jax.enable_x64`) where solutions have to be exact; the problems are small.
"""

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
  criterion: CriterionFn, positive: types.Array, *, ridge: float
) -> types.LowerLevel:
  """The victim's problem as a function of (theta, u), u `[n, d]` the negative points.

    g(theta, u) = 1/(p + n) [sum_i l(f(x_i^+), 1) + sum_i l(f(u_i), -1)] + ridge/2 |w|^2

  For `squared`, d = 1 and no ridge it is problem (3) of Mehra et al. (2021); b is never
  penalised. The weights are an output too, and the criterion penalises them, so that the
  Gauss-Newton matrix is the Hessian.

  Args:
    criterion: l.
    positive: x^+, `[p, d]`.
    ridge: weight of the penalty, at least 0.
  """
  signs_of_positive = jnp.ones(len(positive), positive.dtype)

  def outputs(params, u):
    return scores(params, jnp.concatenate([positive, u])), params.weights

  def value(outputs):
    score, weights = outputs
    num_negative = len(score) - len(positive)
    signs = jnp.concatenate([signs_of_positive, -jnp.ones(num_negative, score.dtype)])
    return criterion(score, signs).mean() + 0.5 * ridge * weights @ weights

  return types.LowerLevel(outputs, value)


def fit(lower: types.LowerLevel, negative: types.Array, *, max_steps: int = 50) -> Linear:
  """argmin over theta by Newton's method with a line search on the gradient's norm.

  It is for the convex losses of this file. Of the fractions 1, 1/2, ..., 2^-15 of a Newton
  step, the one with the smallest gradient is taken. The Hessian is dense, `[d + 1, d + 1]`;
  machine epsilon times its trace is added to the diagonal, so that losses that are flat in
  b can be solved.

  Args:
    lower: the lower level, as `lower_level` makes it.
    negative: u, `[n, d]`.
    max_steps: largest number of steps; fewer if the gradient becomes 0 up to rounding.
  """
  dtype = negative.dtype
  zero = Linear(jnp.zeros(negative.shape[1], dtype), jnp.zeros((), dtype))
  flat, unravel = ravel_pytree(zero)
  gradient = jax.grad(lambda theta: lower(unravel(theta), negative))
  sizes = 0.5 ** jnp.arange(16, dtype=dtype)
  tiny = jnp.finfo(dtype).eps

  def unfinished(state):
    number, _, size = state
    return (number < max_steps) & (size > 4.0 * tiny)

  def step(state):
    number, theta, _ = state
    hessian = jax.jacfwd(gradient)(theta)
    hessian += tiny * jnp.trace(hessian) * jnp.eye(len(theta), dtype=dtype)
    newton = jnp.linalg.solve(hessian, gradient(theta))
    candidates = theta[None] - sizes[:, None] * newton[None]
    norms = jnp.linalg.norm(jax.vmap(gradient)(candidates), axis=1)
    best = jnp.argmin(norms)
    return number + 1, candidates[best], norms[best]

  first = jnp.int32(0), flat, jnp.linalg.norm(gradient(flat))
  return unravel(jax.lax.while_loop(unfinished, step, first)[1])


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
