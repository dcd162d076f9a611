"""The influence attack: inserted points that filters let pass and that raise the error.

Koh, Steinhardt and Liang (2022), "Stronger data poisoning attacks break data sanitization
defenses", section 4.1, https://arxiv.org/abs/1811.00741. In the shape descriptions `d` is
the number of features.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.linear_case import feasible_sets, linear_attack, linear_classifiers
from pacd_jax.linear_case.linear_classifiers import CriterionFn, Linear

_SETTLING = 25  # Projections in which sets and points come to agree, at most.


class Victim(NamedTuple):
  """What is attacked: the clean data, and how it trains."""

  points: np.ndarray  # `[N, d]` in [0, 1].
  signs: np.ndarray  # `[N]`, +1 or -1.
  criterion: CriterionFn
  ridge: float


class Inserted(NamedTuple):
  """The result of the attack from one start."""

  points: np.ndarray  # `[n, d]`, inside their feasible sets.
  signs: np.ndarray  # `[n]`
  values: np.ndarray  # `[T + 1]`: the upper level before each step and at the end.
  loss: float  # The upper level at the points.


def loss_of(
  criterion: CriterionFn, points: types.Array, signs: types.Array
) -> types.UpperFn:
  """-1/m sum_j l(f(x_j), y_j) on points `[m, d]` that the attacker sees."""

  def upper(params, u):
    del u
    return -criterion(linear_classifiers.scores(params, points), signs).mean()

  return upper


def soft_error_of(points: types.Array, signs: types.Array) -> types.UpperFn:
  """-1/m sum_j 1 / (1 + exp(y_j f(x_j) / t)), t the mean |f(x)| over 4.

  It is minus the share of misclassified points, made smooth, for which a point that is
  wrong by much counts no more than one that is wrong by little. t, through which no
  derivative is taken, makes it independent of the classifier's scale.
  """

  def upper(params, u):
    del u
    margins = signs * linear_classifiers.scores(params, points)
    width = 0.25 * jax.lax.stop_gradient(jnp.abs(margins).mean())
    return -jax.nn.sigmoid(-margins / width).mean()

  return upper
