"""What an attacker of a linear classifier wants: upper levels, the lower the better."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pacd_jax import types
from pacd_jax.linear_case import linear_classifiers
from pacd_jax.linear_case.linear_classifiers import CriterionFn, Linear


def loss(
  criterion: CriterionFn, params: Linear, points: types.Array, signs: types.Array
) -> types.Array:
  """-1/m sum_j l(f(x_j), y_j): the victim's own loss on points `[m, d]`, `[]`.

  The aim of Koh, Steinhardt and Liang (2022), https://arxiv.org/abs/1811.00741, on the
  points that the attacker knows.
  """
  return -criterion(linear_classifiers.scores(params, points), signs).mean()


def soft_error(
  criterion: CriterionFn, params: Linear, points: types.Array, signs: types.Array
) -> types.Array:
  """-1/m sum_j 1 / (1 + exp(y_j f(x_j) / t)), t a quarter of the mean |f(x_j)|: `[]`.

  Minus the share of misclassified points, made smooth: a point that is wrong by much counts
  no more than one that is wrong by little. t, through which no derivative is taken, makes
  it independent of the scale of f.
  """
  del criterion
  score = linear_classifiers.scores(params, points)
  width = 0.25 * jax.lax.stop_gradient(jnp.abs(score).mean())
  return -jax.nn.sigmoid(-signs * score / width).mean()


def distance_to(target: Linear) -> types.UpperFn:
  """1/2 |theta - theta*|^2, the attacker's risk of Mei and Zhu (2015), section 3.

  Args:
    target: theta*, the parameters that the victim is to end with.
  """

  def upper(params, u):
    del u
    gap, _ = ravel_pytree(jax.tree.map(jnp.subtract, params, target))
    return 0.5 * jnp.sum(gap**2)

  return upper
