"""The penalty method on ridge regression, whose hypergradient has a closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import ridge_problem
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.bilevel import penalty


def _relative(value, expected):
  return float(np.linalg.norm(value - expected) / np.linalg.norm(expected))


class PenaltyGradTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    self.u, self.lower, self.upper, self.solution = ridge_problem.make(1.0)

  def _penalty_grad(self, w, **options):
    run = functools.partial(penalty.penalty_grad, self.upper, self.lower, **options)
    return jax.jit(run)(w, self.u)

  def test_nears_the_hypergradient_as_gamma_grows(self):
    """At argmin F the error is of order 1 / gamma."""
    whole = jax.grad(lambda u: self.upper(self.solution(u), u))(self.u)
    found = {}
    for gamma in (10.0, 100.0):
      options = dict(gamma=gamma, num_steps=4000, learning_rate=1e-3)
      du, info = self._penalty_grad(self.solution(self.u), **options)
      found[gamma] = _relative(du, whole)
      self.assertLess(float(info.solve.relative_residual), 1e-3)
      self.assertFalse(bool(info.solve.negative_curvature))
    self.assertLess(found[100.0], 0.2 * found[10.0])
    self.assertLess(found[100.0], 0.02)

  @parameterized.parameters(0, 7)
  def test_is_the_penalised_functions_gradient_where_it_stopped(self, num_steps):
    """One Adam step at a rate r moves by r along the sign: theta^ is known after none."""
    w = jnp.array([0.3, -1.0, 0.5])
    du, info = self._penalty_grad(w, gamma=3.0, num_steps=num_steps, learning_rate=1e-3)
    gradient = jax.grad(self.lower)
    hessian = jax.hessian(self.lower)(w, self.u)  # Constant in w.
    # theta^ from p = -gamma grad g(theta^): the lower level is quadratic.
    p = info.adjoint
    there = w + jnp.linalg.solve(hessian, -p / 3.0 - gradient(w, self.u))
    moved = np.abs(there - w)
    self.assertLessEqual(moved.max(), 1.001e-3 * num_steps + 1e-12)
    self.assertEqual(moved.min() > 0.5e-3, num_steps > 0)

    def penalised(u):
      return self.upper(there, u) + 1.5 * jnp.sum(gradient(there, u) ** 2)

    np.testing.assert_allclose(du, jax.grad(penalised)(self.u), rtol=1e-8)
    grad_f = jax.grad(self.upper)(there, self.u)
    residual = _relative(hessian @ p, grad_f)
    np.testing.assert_allclose(info.solve.relative_residual, residual, rtol=1e-8)
    self.assertEqual(int(info.solve.num_products), num_steps + 1)

  def test_says_that_the_hessian_is_not_definite(self):
    bent = types.LowerLevel(lambda w, u: (w, u), lambda out: out[0] @ (out[1] - out[0]))
    _, info = penalty.penalty_grad(lambda w, u: w @ w, bent, jnp.ones(3), jnp.ones(3))
    self.assertTrue(bool(info.solve.negative_curvature))
    np.testing.assert_allclose(info.solve.min_curvature, -2.0)


if __name__ == "__main__":
  absltest.main()
