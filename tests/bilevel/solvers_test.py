"""Every solver against a dense one, the products it counts, and what sets it apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from jax import experimental

from pacd_jax import errors
from pacd_jax.bilevel import linear_solve
from pacd_jax.bilevel.solvers import (
  adam_residual,
  ekfac,
  neumann,
  normal_equations,
  nystrom,
  single_loop,
)

_cg = linear_solve.conjugate_gradient
_normal = normal_equations.normal_equations
_adam = functools.partial(adam_residual.adam_residual, learning_rate=0.02)
_ekfac = functools.partial(ekfac.ekfac, num_probes=3)
_soba = functools.partial(single_loop.single_loop, step_size=0.2)
# Solver with a number of steps, and that number to reach a relative error of 1e-6 on the
# matrix of `_symmetric`; of Adam's, which jitters, one of 1e-2.
_SOLVERS = {
  "cg": (lambda steps: functools.partial(_cg, max_steps=steps), 8),
  "normal_equations": (lambda steps: functools.partial(_normal, max_steps=steps), 8),
  "ekfac": (lambda steps: functools.partial(_ekfac, max_steps=steps), 10),
  "neumann": (lambda steps: functools.partial(neumann.neumann, num_steps=steps), 200),
  "single_loop": (lambda steps: functools.partial(_soba, num_steps=steps), 300),
  "adam_residual": (lambda steps: functools.partial(_adam, num_steps=steps), 800),
}


def _symmetric(eigenvalues=(0.5, 0.7, 1.0, 1.6, 2.0, 2.5, 3.0, 4.0), seed=0):
  """A matrix with these eigenvalues, and a right-hand side."""
  rng = np.random.default_rng(seed)
  basis, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))
  return basis @ np.diag(eigenvalues) @ basis.T, rng.normal(size=len(eigenvalues))


def _tree(vector):
  return {"a": vector[:6].reshape(2, 3), "b": vector[6:]}


def _vector(tree):
  return jnp.concatenate([tree["a"].ravel(), tree["b"]])


def _product(matrix):
  return lambda v: _tree(jnp.asarray(matrix, v["b"].dtype) @ _vector(v))


def _runner(make, matrix):
  """`(steps, b, start, dtype) -> (x, info, products really taken)`, compiled once."""
  calls, product = [], _product(matrix)

  def counted(v):
    experimental.io_callback(lambda: calls.append(None), None)
    return product(v)

  call = jax.jit(lambda steps, b, start: make(steps)(counted, b, start))

  def run(steps, b, start=None, dtype=jnp.float64):
    calls.clear()
    start = None if start is None else _tree(jnp.asarray(start, dtype))
    x, info = call(steps, _tree(jnp.asarray(b, dtype)), start)
    jax.effects_barrier()
    return np.asarray(_vector(x)), info, len(calls)

  return run


def _solve(solver, matrix, b, start=None, dtype=jnp.float64):
  return _runner(lambda steps: solver, matrix)(0, b, start, dtype)


def _relative(value, expected):
  return np.linalg.norm(value - expected) / np.linalg.norm(expected)


class EverySolverTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))

  @parameterized.parameters(*_SOLVERS)
  def test_solves_as_numpy_does_and_reports_the_true_residual(self, name):
    make, steps = _SOLVERS[name]
    matrix, b = _symmetric()
    run = _runner(make, matrix)
    x, info, _ = run(steps, b)
    within = 1e-2 if name == "adam_residual" else 1e-6
    self.assertLess(_relative(x, np.linalg.solve(matrix, b)), within)
    self.assertFalse(bool(info.negative_curvature))
    # Residuals at rounding's size mean nothing: those after three steps do.
    x, info, num_products = run(3, b)
    self.assertEqual(int(info.num_products), num_products)
    self.assertEqual(int(info.num_steps), 3)
    self.assertBetween(float(info.min_curvature), 0.5, 4.0)
    np.testing.assert_allclose(info.relative_residual, _relative(matrix @ x, b), rtol=1e-9)

  @parameterized.parameters(*_SOLVERS, "nystrom")
  def test_zero_gives_zero_in_float32(self, name):
    solver = functools.partial(nystrom.nystrom, damping=0.1, rank=3)
    if name != "nystrom":
      solver = _SOLVERS[name][0](3)
    x, info, _ = _solve(solver, _symmetric()[0], np.zeros(8), dtype=jnp.float32)
    self.assertEqual(x.dtype, jnp.float32)
    np.testing.assert_array_equal(x, 0.0)
    self.assertTrue(all(np.isfinite(np.asarray(field)) for field in info))

  @parameterized.parameters(*_SOLVERS)
  def test_a_start_at_the_solution_stays_there(self, name):
    matrix, b = _symmetric()
    solution = np.linalg.solve(matrix, b)
    x, info, num_products = _solve(_SOLVERS[name][0](2), matrix, b, solution)
    self.assertEqual(int(info.num_products), num_products)
    if name == "adam_residual":  # Its steps are of its rate at rounding's gradients, too.
      self.assertLess(np.abs(x - solution).max(), 2 * 0.02)
    else:
      self.assertLess(_relative(x, solution), 1e-6)
      self.assertLess(float(info.relative_residual), 1e-6)

  @parameterized.parameters(*_SOLVERS)
  def test_a_start_of_another_model_is_refused(self, name):
    solver, (matrix, b) = _SOLVERS[name][0](2), _symmetric()
    other = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(3)}
    with self.assertRaisesRegex(ValueError, "warm start"):
      jax.eval_shape(functools.partial(solver, _product(matrix)), _tree(b), other)


class NormalEquationsTest(absltest.TestCase):
  def test_solves_an_indefinite_system_and_says_that_it_is(self):
    matrix, b = _symmetric((-3.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0))
    with jax.enable_x64(True):
      x, info, _ = _solve(_SOLVERS["normal_equations"][0](8), matrix, b)
      _, cg_info, _ = _solve(_SOLVERS["cg"][0](8), matrix, b)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b), rtol=1e-8)
    self.assertTrue(bool(info.negative_curvature))
    self.assertBetween(float(info.min_curvature), -3.0, 0.0)  # Of A, not of its square.
    self.assertGreater(float(cg_info.relative_residual), 1e-3)

  def test_tolerance_stops_early(self):
    solver = functools.partial(_normal, max_steps=50, tolerance=0.1)
    _, info, _ = _solve(solver, *_symmetric(), dtype=jnp.float32)
    self.assertLess(int(info.num_steps), 8)
    self.assertLessEqual(float(info.relative_residual), 0.1)


class AdamResidualTest(absltest.TestCase):
  def test_the_first_step_is_the_learning_rate_along_the_signs(self):
    """Adam's first step is -rate * sign(gradient); the gradient is -2 A b."""
    matrix, b = _symmetric()
    with jax.enable_x64(True):
      x, info, _ = _solve(_SOLVERS["adam_residual"][0](1), matrix, b)
    np.testing.assert_allclose(x, 0.02 * np.sign(matrix @ b), rtol=1e-6)
    np.testing.assert_allclose(info.min_curvature, b @ matrix @ b / (b @ b), rtol=1e-9)


class NeumannTest(absltest.TestCase):
  def test_is_the_series_in_the_scaled_matrix(self):
    matrix, b = _symmetric()
    with jax.enable_x64(True):
      power = functools.partial(linear_solve.largest_eigenvalue, num_products=60)
      largest = jax.jit(lambda b: power(_product(matrix), b))(_tree(jnp.asarray(b)))
      solver = functools.partial(neumann.neumann, num_steps=4, power_steps=60)
      x, _, _ = _solve(solver, matrix, b)
    np.testing.assert_allclose(largest, 4.0, rtol=1e-6)
    term, total = b / 4.0, np.zeros(8)
    for _ in range(4):
      total, term = total + term, term - matrix @ term / 4.0
    np.testing.assert_allclose(x, total, rtol=1e-6)

  def test_a_scale_that_is_too_long_for_the_series_does_not_diverge(self):
    """Eigenvalues up to 4,000 and steps of 10 / lambda_max: |I - eta A| is 9."""
    matrix, b = _symmetric((1e3, 1.2e3, 1.5e3, 2e3, 2.5e3, 3e3, 3.5e3, 4e3))
    solver = functools.partial(neumann.neumann, num_steps=100, scale=10.0)
    _, info, _ = _solve(solver, matrix, b, dtype=jnp.float32)
    self.assertLess(float(info.relative_residual), 1e-3)

  def test_says_that_the_matrix_is_not_definite(self):
    matrix, b = _symmetric((-3.0, -1.0, 0.5, 0.5, 1.0, 2.0, 3.0, 4.0))
    _, info, _ = _solve(_SOLVERS["neumann"][0](20), matrix, b, dtype=jnp.float32)
    self.assertTrue(bool(info.negative_curvature))


class SingleLoopTest(absltest.TestCase):
  def test_one_step_is_sobas(self):
    matrix, b = _symmetric()
    v = np.linspace(-1.0, 1.0, 8)
    with jax.enable_x64(True):
      x, _, _ = _solve(_SOLVERS["single_loop"][0](1), matrix, b, v)
    np.testing.assert_allclose(x, v + 0.2 * (b - matrix @ v), rtol=1e-10)

  def test_follows_a_solution_that_moves_over_outer_steps(self):
    """b turns into another: v, one step a time, ends at the last one's solution."""
    matrix, b = _symmetric()
    end = b[::-1]
    solve = jax.jit(functools.partial(_soba, _product(matrix)))
    v = _tree(jnp.zeros(8))
    for t in range(150):
      share = min(t / 50, 1.0)
      v, info = solve(_tree(jnp.asarray((1 - share) * b + share * end, jnp.float32)), v)
    self.assertLess(_relative(_vector(v), np.linalg.solve(matrix, end)), 1e-3)
    self.assertEqual(int(info.num_products), 2)


class NystromTest(parameterized.TestCase):
  def test_is_exact_at_full_rank(self):
    matrix, b = _symmetric((-3.0, -1.0, 0.5, 0.5, 1.0, 2.0, 3.0, 4.0))
    with jax.enable_x64(True):
      solver = functools.partial(nystrom.nystrom, damping=0.3, rank=50)
      x, info, num_products = _solve(solver, matrix, b)
    expected = np.linalg.solve(matrix + 0.3 * np.eye(8), b)
    np.testing.assert_allclose(x, expected, rtol=1e-9)
    self.assertLess(float(info.relative_residual), 1e-9)
    self.assertEqual((int(info.num_products), num_products), (9, 9))
    np.testing.assert_allclose(info.min_curvature, -2.7, rtol=1e-9)

  def test_inverts_the_paper_s_low_rank_matrix(self):
    matrix, b = _symmetric()
    with jax.enable_x64(True):
      solver = functools.partial(nystrom.nystrom, damping=0.3, rank=3, seed=4)
      x, info, _ = _solve(solver, matrix, b)
      chosen = jax.random.choice(jax.random.key(4), 8, (3,), replace=False)
    columns = matrix[:, chosen]
    low_rank = columns @ np.linalg.inv(matrix[np.ix_(chosen, chosen)]) @ columns.T
    np.testing.assert_allclose(x, np.linalg.solve(low_rank + 0.3 * np.eye(8), b), rtol=1e-8)
    residual = _relative((matrix + 0.3 * np.eye(8)) @ x, b)
    np.testing.assert_allclose(info.relative_residual, residual, rtol=1e-9)

  def test_units_that_are_dead_do_no_harm(self):
    """Columns of zeros make the core singular; there (A + rho)^-1 b is b / rho."""
    matrix, b = np.diag([2.0, 0.0, 0.0, 0.0, 1.0, 3.0, 0.0, 1.0]), np.arange(1.0, 9.0)
    solver = functools.partial(nystrom.nystrom, damping=0.5, rank=8)
    x, _, _ = _solve(solver, matrix, b, dtype=jnp.float32)
    np.testing.assert_allclose(x, b / (np.diag(matrix) + 0.5), rtol=1e-5)

  @parameterized.parameters(0.0, -0.1, float("nan"))
  def test_a_damping_that_is_not_above_zero_is_refused(self, damping):
    matrix, b = _symmetric()
    with self.assertRaisesRegex(errors.InputError, "damping above 0") as caught:
      nystrom.nystrom(_product(matrix), _tree(jnp.asarray(b)), damping=damping)
    self.assertLen(str(caught.exception).splitlines(), 1)


class EkfacTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    left, _ = _symmetric(np.geomspace(1.0, 300.0, 8), seed=1)
    right, _ = _symmetric(np.geomspace(1.0, 300.0, 6), seed=2)
    self.left, self.right = jnp.asarray(left), jnp.asarray(right)
    self.b = jax.random.normal(jax.random.key(0), (2, 4, 6), jnp.float64)

  def _kronecker(self, v):
    return (self.left @ v.reshape(8, 6) @ self.right).reshape(v.shape)

  def test_with_many_probes_inverts_a_kronecker_product(self):
    """Q_L' S Q_R = |eigenvalue| Z in the product's eigenbasis: d is exact there."""
    make = functools.partial(ekfac.preconditioner, self._kronecker, num_probes=2000)
    x = jax.jit(lambda b: make(b)(b))(self.b)
    left, right = (jnp.linalg.inv(side) for side in (self.left, self.right))
    expected = (left @ self.b.reshape(8, 6) @ right).reshape(2, 4, 6)
    self.assertLess(_relative(x, expected), 0.05)  # 1 / sqrt(2000) is 0.02.

  def test_solves_an_ill_conditioned_one_in_fewer_products_than_cg(self):
    """Condition number 90,000 in 48 unknowns."""
    x, info = jax.jit(
      functools.partial(ekfac.ekfac, self._kronecker, num_probes=8, max_steps=20)
    )(self.b)
    _, plain = jax.jit(functools.partial(_cg, self._kronecker, max_steps=28))(self.b)
    self.assertEqual(int(info.num_products), int(plain.num_products))
    self.assertLess(float(info.relative_residual), 1e-2 * float(plain.relative_residual))
    self.assertTrue(np.all(np.isfinite(x)))

  def test_a_diagonal_matrix_is_solved_at_once_without_a_basis(self):
    """Sides over `max_side`, and vectors: one probe tells the whole diagonal."""
    diagonal = {"w": jnp.geomspace(1.0, 1e4, 48).reshape(2, 4, 6), "b": jnp.arange(1.0, 4)}
    product = functools.partial(jax.tree.map, jnp.multiply, diagonal)
    solver = functools.partial(ekfac.ekfac, product, num_probes=1, max_side=1, max_steps=1)
    x, _ = jax.jit(solver)({"w": self.b, "b": jnp.ones(3)})
    np.testing.assert_allclose(x["w"], self.b / diagonal["w"], rtol=1e-9)
    np.testing.assert_allclose(x["b"], 1.0 / diagonal["b"], rtol=1e-9)

  def test_stops_at_negative_curvature(self):
    matrix, b = _symmetric((-3.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0, 4.0))
    _, info, _ = _solve(_SOLVERS["ekfac"][0](8), matrix, b)
    self.assertTrue(bool(info.negative_curvature))
    self.assertLess(int(info.num_steps), 8)


if __name__ == "__main__":
  absltest.main()
