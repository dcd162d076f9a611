"""The authors' stochastic solve against their loop, written out with explicit matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl.testing import absltest

from pacd_jax import types
from pacd_jax.bilevel import hypergradient, redrawn

_RNG = np.random.default_rng(0)
_N = 5
_U = jnp.asarray(_RNG.normal(size=(7, _N)), jnp.float32)
_W = jnp.asarray(_RNG.normal(size=_N), jnp.float32)
_Z = jnp.asarray(_RNG.normal(size=(3, _N)), jnp.float32)


def _lower(draw):
  """mean tanh(U (1 + noise) w)^4 + |w|^2: curved in w, and another function each draw."""
  noise = 0.3 * jax.random.normal(jax.random.fold_in(jax.random.key(1), draw), _U.shape)

  def criterion(outputs):
    predicted, w = outputs
    return jnp.mean(jnp.tanh(predicted) ** 4) + 0.5 * jnp.sum(w**2)

  return types.LowerLevel(lambda w, u: ((u * (1.0 + noise)) @ w, w), criterion)


def _upper(draw):
  noise = jax.random.normal(jax.random.fold_in(jax.random.key(2), draw), (3,))
  return lambda w, u: jnp.sum((_Z @ w - noise) ** 2) + 0.1 * jnp.sum(u**2)


_LEVELS = (
  types.UpperLevel(_upper(99), redraw=_upper),
  _lower(99)._replace(redraw=_lower),
)


def _by_hand(num_steps, rate, damping, p, state):
  """grad of |H_t p + damping p - grad f_t|^2 by autodiff, one Adam step for each draw."""
  adam = optax.adam(rate)
  for t in range(num_steps):
    matrix = jax.hessian(lambda w, t=t: _lower(t)(w, _U))(_W) + damping * jnp.eye(_N)
    b = jax.grad(_upper(t))(_W, _U)
    gradient = jax.grad(lambda p, a=matrix, b=b: jnp.sum((a @ p - b) ** 2))(p)
    updates, state = adam.update(gradient, state)
    p = p + updates
  last = _lower(num_steps)
  cross = jax.grad(lambda u: jnp.vdot(jax.grad(last)(_W, u), p))(_U)
  return jax.grad(_upper(num_steps), argnums=1)(_W, _U) - cross, p, state


class RedrawnTest(absltest.TestCase):
  @pytest.mark.long
  def test_is_the_authors_loop(self):
    """Two outer steps: p and Adam's moments go on, the draws are new at every step."""
    p, state = jnp.zeros(_N), optax.adam(0.05).init(jnp.zeros(_N))
    carry = None
    for _ in range(2):
      expected, p, state = _by_hand(6, 0.05, 0.1, p, state)
      du, info = redrawn.redrawn_approx_grad(
        *_LEVELS, _W, _U, carry, damping=0.1, num_steps=6, learning_rate=0.05
      )
      carry = info.carry
      np.testing.assert_allclose(du, expected, rtol=1e-3, atol=1e-5)
      np.testing.assert_allclose(carry.adjoint, p, rtol=1e-3, atol=1e-5)
    self.assertEqual(int(info.solve.num_products), 12)

  @pytest.mark.long
  def test_draws_make_a_difference(self):
    fixed = [level._replace(redraw=None) for level in _LEVELS]
    one, other = (
      redrawn.redrawn_approx_grad(*levels, _W, _U)[1].adjoint for levels in (_LEVELS, fixed)
    )
    self.assertGreater(float(jnp.abs(one - other).max()), 1e-3)

  def test_without_draws_it_converges_to_approx_grad(self):
    """One fixed draw, many outer steps: p goes on to the solution of the linear system."""
    upper, lower = (level._replace(redraw=None) for level in _LEVELS)
    matrix = jax.hessian(lambda w: lower(w, _U))(_W) + 1e-3 * jnp.eye(_N)
    solution = jnp.linalg.solve(matrix, jax.grad(upper)(_W, _U))

    def exact(matvec, b, start):
      del matvec, b, start
      return solution, None

    expected, _ = hypergradient.approx_grad(
      upper, lower, _W, _U, curvature=hypergradient.hessian, solve=exact
    )
    step = jax.jit(redrawn.redrawn_approx_grad, static_argnums=(0, 1))
    carry, residuals = None, []
    for _ in range(200):
      du, info = step(upper, lower, _W, _U, carry, learning_rate=0.05)
      carry = info.carry
      residuals.append(float(info.solve.relative_residual))
    self.assertLess(residuals[-1], 0.05 * residuals[0])
    error = np.linalg.norm(du - expected) / np.linalg.norm(expected)
    self.assertLess(error, 0.05)


if __name__ == "__main__":
  absltest.main()
