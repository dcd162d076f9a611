"""Solvers against dense ones, and what they say of the way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.bilevel import linear_solve


def _problem(num=8, lowest=0.5):
  rng = np.random.default_rng(0)
  basis, _ = np.linalg.qr(rng.normal(size=(num, num)))
  matrix = basis @ np.diag(np.linspace(lowest, 4.0, num)) @ basis.T
  return matrix, rng.normal(size=num)


def _as_tree(vector):
  return {"a": vector[:3], "b": vector[3:]}


def _matvec(matrix):
  def product(v):
    return _as_tree(matrix @ jnp.concatenate([v["a"], v["b"]]))

  return product


class ConjugateGradientTest(parameterized.TestCase):
  def test_solves_as_numpy_in_as_many_steps_as_unknowns(self):
    matrix, b = _problem()
    with jax.enable_x64(True):
      x, info = linear_solve.conjugate_gradient(
        _matvec(jnp.asarray(matrix)), _as_tree(jnp.asarray(b)), max_steps=8
      )
      solution = np.concatenate([x["a"], x["b"]])
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, b), rtol=1e-10)
    self.assertEqual(int(info.num_steps), 8)
    self.assertLess(float(info.relative_residual), 1e-10)
    self.assertFalse(bool(info.negative_curvature))
    self.assertBetween(float(info.min_curvature), 0.5, 4.0)

  @parameterized.parameters(1, 2, 4)
  def test_reports_the_true_residual(self, steps):
    matrix, b = _problem()
    with jax.enable_x64(True):
      x, info = linear_solve.conjugate_gradient(
        _matvec(jnp.asarray(matrix)), _as_tree(jnp.asarray(b)), max_steps=steps
      )
      residual = b - matrix @ np.concatenate([x["a"], x["b"]])
    expected = np.linalg.norm(residual) / np.linalg.norm(b)
    np.testing.assert_allclose(info.relative_residual, expected, rtol=1e-8)

  def test_tolerance_stops_early(self):
    matrix, b = _problem()
    _, info = linear_solve.conjugate_gradient(
      _matvec(jnp.asarray(matrix, jnp.float32)),
      _as_tree(jnp.asarray(b, jnp.float32)),
      max_steps=50,
      tolerance=0.1,
    )
    self.assertLess(int(info.num_steps), 8)
    self.assertLessEqual(float(info.relative_residual), 0.1)

  def test_zero_right_hand_side_gives_zero(self):
    matrix, b = _problem()
    x, info = jax.jit(
      lambda b: linear_solve.conjugate_gradient(_matvec(jnp.asarray(matrix)), b)
    )(_as_tree(jnp.zeros_like(jnp.asarray(b))))
    for leaf in jax.tree.leaves(x):
      np.testing.assert_array_equal(leaf, 0.0)
    self.assertEqual(int(info.num_steps), 0)
    self.assertEqual(float(info.relative_residual), 0.0)
    self.assertTrue(all(np.isfinite(np.asarray(field)) for field in info))

  def test_negative_curvature_in_the_first_step_gives_b(self):
    b = jnp.array([1.0, 0.0])
    x, info = linear_solve.conjugate_gradient(lambda v: jnp.array([-1.0, 1.0]) * v, b)
    np.testing.assert_array_equal(x, b)
    self.assertTrue(bool(info.negative_curvature))
    self.assertEqual(float(info.min_curvature), -1.0)
    self.assertEqual(float(info.relative_residual), 2.0)  # |b - A b| = 2 |b|.

  @parameterized.parameters(1e-30, 1e-19, 1e19)
  def test_does_not_depend_on_the_size_of_b(self, size):
    """Squares of such entries underflow or overflow float32."""
    matrix, b = (jnp.asarray(array, jnp.float32) for array in _problem())
    solve = functools.partial(linear_solve.conjugate_gradient, max_steps=6)
    x, info = solve(_matvec(matrix), _as_tree(b))
    small, small_info = solve(_matvec(matrix), _as_tree(size * b))
    for one, other in zip(jax.tree.leaves(x), jax.tree.leaves(small), strict=True):
      np.testing.assert_allclose(other / np.float64(size), one, rtol=1e-4)
    self.assertEqual(int(info.num_steps), int(small_info.num_steps))
    np.testing.assert_allclose(
      small_info.relative_residual, info.relative_residual, rtol=0.01
    )

  def test_residual_in_float32_is_the_true_one_past_convergence(self):
    """The recurrence would go on to fall; b - A x cannot."""
    matrix, b = _problem()
    x, info = linear_solve.conjugate_gradient(
      _matvec(jnp.asarray(matrix, jnp.float32)),
      _as_tree(jnp.asarray(b, jnp.float32)),
      max_steps=40,
    )
    solution = np.concatenate([x["a"], x["b"]]).astype(np.float64)
    expected = np.linalg.norm(b - matrix @ solution) / np.linalg.norm(b)
    np.testing.assert_allclose(info.relative_residual, expected, atol=3e-7)
    self.assertGreater(float(info.relative_residual), 1e-9)

  def test_negative_curvature_later_keeps_what_was_reached(self):
    """diag(2, -1), b = (2, 1): p0 = b has curvature 7/5, the next direction is negative."""
    diagonal, b = jnp.array([2.0, -1.0]), jnp.array([2.0, 1.0])
    x, info = linear_solve.conjugate_gradient(lambda v: diagonal * v, b, max_steps=10)
    np.testing.assert_allclose(x, 5.0 / 7.0 * b, rtol=1e-6)
    self.assertTrue(bool(info.negative_curvature))
    self.assertEqual(int(info.num_steps), 1)
    residual = np.asarray(b - diagonal * x)
    np.testing.assert_allclose(
      info.relative_residual, np.linalg.norm(residual) / np.linalg.norm(b), rtol=1e-6
    )

  def test_damping_is_added_to_the_diagonal(self):
    matrix, b = _problem(lowest=-0.4)
    with jax.enable_x64(True):
      product = linear_solve.damped(_matvec(jnp.asarray(matrix)), 0.5)
      x, info = linear_solve.conjugate_gradient(
        product, _as_tree(jnp.asarray(b)), max_steps=8
      )
      solution = np.concatenate([x["a"], x["b"]])
    expected = np.linalg.solve(matrix + 0.5 * np.eye(8), b)
    np.testing.assert_allclose(solution, expected, rtol=1e-8)
    self.assertFalse(bool(info.negative_curvature))


class IdentityTest(absltest.TestCase):
  def test_returns_b_and_the_residual_that_leaves(self):
    matrix, b = _problem()
    x, info = linear_solve.identity(lambda v: jnp.asarray(matrix) @ v, jnp.asarray(b))
    np.testing.assert_array_equal(x, jnp.asarray(b))
    expected = np.linalg.norm(b - matrix @ b) / np.linalg.norm(b)
    np.testing.assert_allclose(info.relative_residual, expected, rtol=1e-5)
    np.testing.assert_allclose(info.min_curvature, b @ matrix @ b / (b @ b), rtol=1e-5)

  def test_zero_gives_zero(self):
    x, info = linear_solve.identity(lambda v: 2.0 * v, jnp.zeros(3))
    np.testing.assert_array_equal(x, 0.0)
    self.assertFalse(bool(info.negative_curvature))
    self.assertTrue(all(np.isfinite(np.asarray(field)) for field in info))


class LargestFloatsTest(parameterized.TestCase):
  """Right-hand sides near the ends of float32, up to where 1 / |b| is subnormal."""

  @parameterized.parameters(1e-37, 1.0, 8e37)
  def test_solves(self, size):
    def halve(v):
      return jax.tree.map(lambda leaf: 2.0 * leaf, v)

    b = jnp.full(4, size, jnp.float32)
    solve = jax.jit(lambda b: linear_solve.conjugate_gradient(halve, b))
    x, info = solve(b)
    np.testing.assert_allclose(x, b / 2.0, rtol=1e-6)
    self.assertLess(float(info.relative_residual), 1e-6)

  @parameterized.parameters(9e37, 3e38, np.inf)
  def test_above_them_nothing_is_solved_in_silence(self, size):
    def solve(b):
      return linear_solve.conjugate_gradient(lambda v: 2.0 * v, b)[0]

    b = jnp.full(4, size, jnp.float32)
    for x in (solve(b), jax.jit(solve)(b)):
      self.assertFalse(np.isfinite(np.asarray(x)).any())


if __name__ == "__main__":
  absltest.main()
