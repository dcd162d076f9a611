"""Mei and Zhu's attacks: KKT conditions of victims; least squares in closed form."""

import jax
import jax.numpy as jnp
import long
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import aims, linear_classifiers, mei_zhu
from pacd_jax.linear_case.linear_classifiers import Linear

_RIDGE = 0.05


def _problem(count=24, d=3):
  rng = np.random.default_rng(0)
  signs = np.where(np.arange(count) % 2, 1.0, -1.0)
  points = 0.5 + 0.1 * signs[:, None] + 0.15 * rng.normal(size=(count, d))
  return np.clip(points, 0.0, 1.0), signs


def _run(criterion, positions=(0, 5), **changes):
  points, signs = _problem()
  given = {"ridge": _RIDGE, "num_steps": 20, "step_size": 0.2}
  target = Linear(jnp.array([-1.0, 0.5, 2.0]), jnp.float64(-1.0))
  given["risk"] = aims.distance_to(target)
  return mei_zhu.run(
    points, signs, np.array(positions, int), criterion=criterion, **given | changes
  )


def _poisoned(points, moved, positions=(0, 5)):
  after = points.copy()
  after[list(positions)] = moved
  return after


def _least_squares(points, signs):
  """argmin 1/N |Xw + b - y|^2 + ridge/2 |w|^2 by normal equations: `[d + 1]`."""
  x = np.insert(points, points.shape[1], 1.0, axis=1)
  penalty = 0.5 * _RIDGE * len(x) * np.diag([1.0] * points.shape[1] + [0.0])
  return np.linalg.solve(x.T @ x + penalty, x.T @ signs)


class MeiZhuTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))

  def test_svm_satisfies_its_kkt_conditions(self):
    """w = sum_i a_i y_i x_i / (ridge N), sum_i a_i y_i = 0, a_i 1 below, 0 above margin 1.

    a_i may be between only near the margin: |a_i - 1[y f < 1]| = 1 / (1 + e^(|1 - y f|/t)).
    """
    found = _run(linear_classifiers.smooth_hinge)
    points, signs = _problem()
    points = _poisoned(points, found.points)
    margins = signs * (points @ found.params.weights + found.params.bias)
    t = linear_classifiers.TEMPERATURE
    multipliers = 1.0 / (1.0 + np.exp(-(1.0 - margins) / t))
    stationary = _RIDGE * len(signs) * found.params.weights - points.T @ (
      multipliers * signs
    )
    np.testing.assert_allclose(stationary, 0.0, atol=1e-8)
    np.testing.assert_allclose(multipliers @ signs, 0.0, atol=1e-8)
    far = np.abs(margins - 1.0) > 10 * t
    self.assertTrue(far.any())
    np.testing.assert_allclose(multipliers[far], margins[far] < 1.0, atol=1e-4)

  def test_least_squares_is_the_closed_form(self):
    """Victim, and hypergradient against differences of the closed-form victim's risk."""
    found = _run(linear_classifiers.squared, num_steps=2)
    points, signs = _problem()
    solved = _least_squares(_poisoned(points, found.points), signs)
    np.testing.assert_allclose(np.append(*found.params), solved, atol=1e-9)
    target = np.array([-1.0, 0.5, 2.0, -1.0])

    def value(moved):
      gap = _least_squares(_poisoned(points, moved), signs) - target
      return 0.5 * gap @ gap

    base = points[[0, 5]]
    np.testing.assert_allclose(found.values[0], value(base), atol=1e-10)
    gradient = np.zeros_like(base)
    for place in np.ndindex(*base.shape):
      step = np.zeros_like(base)
      step[place] = 1e-5
      gradient[place] = (value(base + step) - value(base - step)) / 2e-5
    # The first step is of this length along minus the gradient of each point.
    lengths = np.linalg.norm(gradient, axis=1, keepdims=True)
    first = _run(linear_classifiers.squared, num_steps=1, step_size=1e-3)
    expected = base - 1e-3 * gradient / lengths
    np.testing.assert_allclose(first.points, expected, atol=1e-8)

  @parameterized.parameters("smooth_hinge", "logistic", "squared")
  @long.after(1)
  def test_small_steps_descend(self, name):
    criterion = getattr(linear_classifiers, name)
    found = _run(criterion, step_size=0.01, effort=0.1)
    self.assertTrue((np.diff(found.values) < 0.0).all(), found.values)
    self.assertBetween(found.points.min(), 0.0, 1.0)
    self.assertLessEqual(found.points.max(), 1.0)

  def test_effort_is_counted(self):
    """A weight that outdoes the risk leaves the points where they are, or nearly so."""
    points, _ = _problem()
    moves = [
      np.abs(_run(linear_classifiers.squared, effort=effort).points - points[[0, 5]]).max()
      for effort in (0.0, 1e3)
    ]
    self.assertGreater(moves[0], 0.1)
    self.assertLess(moves[1], 0.01)

  @parameterized.parameters(
    ({"positions": ()}, "no point is to be moved"),
    ({"effort": -1.0}, "effort is -1.0"),
    ({"step_size": np.nan}, "step_size is nan"),
  )
  def test_refuses(self, changes, words):
    with self.assertRaisesRegex(errors.InputError, words):
      _run(linear_classifiers.squared, **changes)


class AimsTest(absltest.TestCase):
  def test_values(self):
    params = Linear(jnp.array([2.0]), jnp.float32(0.0))
    points, signs = jnp.array([[1.0], [-1.0]]), jnp.array([1.0, 1.0])
    loss = aims.loss(linear_classifiers.squared, params, points, signs)
    self.assertAlmostEqual(float(loss), -(1.0 + 9.0) / 2, places=5)
    error = aims.soft_error(linear_classifiers.squared, params, points, signs)
    expected = -(1 / (1 + np.exp(4.0)) + 1 / (1 + np.exp(-4.0))) / 2
    self.assertAlmostEqual(float(error), expected, places=5)
    away = aims.distance_to(Linear(jnp.array([1.0]), jnp.float32(2.0)))(params, points)
    self.assertAlmostEqual(float(away), 2.5, places=5)


if __name__ == "__main__":
  absltest.main()
