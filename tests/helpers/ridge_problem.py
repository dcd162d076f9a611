"""Ridge regression as a bilevel problem, whose lower level has a closed form."""

import jax.numpy as jnp
import numpy as np

from pacd_jax import types


def make(decay):
  """Lower |U w - y|^2 / 2 + decay |w|^2 / 2; upper |V w - z|^2 / 2 + a term in u itself.

  Returns:
    (u, lower, upper, solution), of 8 points and 3 weights; solution is argmin_w lower.
  """
  rng = np.random.default_rng(0)
  u, v = jnp.asarray(rng.normal(size=(8, 3))), jnp.asarray(rng.normal(size=(5, 3)))
  y, z = jnp.asarray(rng.normal(size=8)), jnp.asarray(rng.normal(size=5))

  def criterion(outputs):
    predicted, w = outputs
    return 0.5 * jnp.sum((predicted - y) ** 2) + 0.5 * decay * w @ w

  def upper(w, u):
    return 0.5 * jnp.sum((v @ w - z) ** 2) + 0.1 * jnp.sum(u**3)

  def solution(u):
    return jnp.linalg.solve(u.T @ u + decay * jnp.eye(3), u.T @ y)

  return u, types.LowerLevel(lambda w, u: (u @ w, w), criterion), upper, solution
