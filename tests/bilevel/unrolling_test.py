"""Unrolled gradients against finite differences and the Neumann series they are."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import ridge_problem
from absl.testing import absltest, parameterized

from pacd_jax.bilevel import unrolling


class UnrolledGradTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))

  @parameterized.parameters(False, True)
  def test_is_the_derivative_of_what_the_steps_reach(self, checkpoint):
    u, lower, upper, _ = ridge_problem.make(0.3)
    w = jnp.array([0.3, -1.0, 0.5])

    def reached(u):
      theta = w
      for _ in range(3):
        theta = theta - 0.05 * jax.grad(lower)(theta, u)
      return upper(theta, u)

    du, info = jax.jit(
      functools.partial(
        unrolling.unrolled_grad,
        upper,
        lower,
        num_steps=3,
        learning_rate=0.05,
        checkpoint=checkpoint,
      )
    )(w, u)
    direction = jnp.cos(jnp.arange(24.0)).reshape(8, 3)
    expected = (reached(u + 1e-5 * direction) - reached(u - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(jnp.vdot(du, direction), expected, rtol=1e-8)
    self.assertEqual(int(info.solve.num_products), 3)
    unknown = (info.solve.relative_residual, info.solve.min_curvature, info.adjoint)
    self.assertEqual(unknown, (None, None, None))

  @parameterized.parameters(1, 5, 2000)
  def test_at_the_solution_is_a_neumann_series(self, num_steps):
    """p = eta sum_{j < K} (I - eta H)^j grad f; with many terms, the whole derivative."""
    u, lower, upper, solution = ridge_problem.make(0.3)
    w, eta = solution(u), 0.05
    hessian = np.asarray(jax.hessian(lower)(w, u))
    term, p = eta * np.asarray(jax.grad(upper)(w, u)), np.zeros(3)
    for _ in range(num_steps):
      p, term = p + term, term - eta * hessian @ term
    cross = jax.jacobian(jax.grad(lower), argnums=1)(w, u)
    expected = jax.grad(upper, argnums=1)(w, u) - jnp.tensordot(p, cross, axes=1)
    du, _ = unrolling.unrolled_grad(
      upper, lower, w, u, num_steps=num_steps, learning_rate=eta
    )
    chex.assert_trees_all_close(du, expected, rtol=1e-8, atol=1e-10)
    if num_steps == 2000:
      whole = jax.grad(lambda u: upper(solution(u), u))(u)
      chex.assert_trees_all_close(du, whole, rtol=1e-6, atol=1e-8)


if __name__ == "__main__":
  absltest.main()
