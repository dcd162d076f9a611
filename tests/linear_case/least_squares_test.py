"""Least squares as a classifier against numeric minimisation, complex steps, retraining."""

import numpy as np
import random_classes
import scipy.optimize
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import least_squares

_SIZES = ((1, 2), (5, 5), (7, 4), (3, 9))


def _lstsq(positive, negative):
  """(w*, b*) by the normal equations, of real or complex points."""
  x = np.concatenate([positive, negative])
  y = np.concatenate([np.ones(len(positive)), -np.ones(len(negative))])
  a = np.stack([x, np.ones_like(x)], axis=1)
  return np.linalg.solve(a.T @ a, a.T @ y)


class LeastSquaresTest(parameterized.TestCase):
  @parameterized.parameters(*_SIZES)
  def test_against_numeric_minimisation(self, *sizes):
    positive, negative, _ = random_classes.classes(0, sizes)

    def loss(theta):
      w, b = theta
      residual = np.concatenate([w * positive + b - 1.0, w * negative + b + 1.0])
      points = np.concatenate([positive, negative])
      return residual @ residual, 2.0 * np.array([residual @ points, residual.sum()])

    found = scipy.optimize.minimize(
      loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    line = least_squares.fit(positive, negative)
    np.testing.assert_allclose((line.slope, line.intercept), found.x, atol=1e-8)
    expected = -found.x[1] / found.x[0]
    np.testing.assert_allclose(line.threshold, expected, rtol=1e-8)
    boundary = least_squares.threshold(positive, negative)
    np.testing.assert_allclose(boundary, expected, rtol=1e-8)
    radii = np.maximum(np.sign(found.x[0]) * (expected - negative), 0.0)
    acr = least_squares.negative_acr(positive, negative, negative)
    np.testing.assert_allclose(acr, radii.mean(), atol=1e-8)

  def test_a_flat_line_where_the_means_are_equal(self):
    line = least_squares.fit([0.0, 2.0, 1.0], [1.0])
    self.assertEqual((line.slope, line.intercept), (0.0, 0.5))
    self.assertTrue(np.isinf(line.threshold))

  @parameterized.parameters(*_SIZES)
  def test_hypergradient_against_a_complex_step(self, *sizes):
    """Of the threshold by the normal equations: no difference, so nothing cancels."""
    for seed in range(50):
      positive, negative, rng = random_classes.classes(seed, sizes)
      test = np.concatenate([negative, random_classes.sample(rng, 5)])
      line = least_squares.fit(positive, negative)
      certified = np.mean(np.sign(line.slope) * (line.threshold - test) > 0.0)
      expected = []
      for direction in np.eye(len(negative)):
        w, b = _lstsq(positive.astype(complex), negative + 1e-100j * direction)
        expected.append(np.sign(w.real) * certified * (-b / w).imag / 1e-100)
      du = least_squares.hypergradient(positive, negative, test)
      scale = max(1.0, np.abs(expected).max())
      np.testing.assert_allclose(du / scale, np.array(expected) / scale, atol=1e-10)

  def test_hypergradient_against_retraining(self):
    """With classes of the same size R is linear between kinks: no truncation error."""
    for seed in range(20):
      positive, negative, _ = random_classes.classes(seed, (8, 8))
      boundary = least_squares.threshold(positive, negative)
      h = 0.1 * np.abs(boundary - np.append(negative, positive.mean())).min()
      du = least_squares.hypergradient(positive, negative, negative)
      for i, move in enumerate(h * np.eye(8)):
        acr = [
          least_squares.negative_acr(positive, negative + s * move, negative)
          for s in (1, -1)
        ]
        np.testing.assert_allclose((acr[0] - acr[1]) / (2.0 * h), du[i], atol=1e-10)


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(
    ([], [1.0], "positive has the shape .0,.: give at least one point"),
    ([1.0], [], "negative has the shape .0,.: give at least one point"),
    ([[1.0]], [1.0], "positive has the shape .1, 1.: .* as .n."),
    ([1.0, np.nan], [0.0], "positive holds numbers that are not finite"),
    ([1.0, 3.0], [2.0, 2.0], "both classes have the mean 2: the slope is 0"),
    ([0.1 + 0.2], [0.3], "both classes have the mean 0.3"),
  )
  def test_classes(self, positive, negative, message):
    for function in (
      least_squares.threshold,
      least_squares.gap,
      lambda *classes: least_squares.negative_acr(*classes, [0.0]),
      lambda *classes: least_squares.hypergradient(*classes, [0.0]),
    ):
      with self.assertRaisesRegex(errors.InputError, message):
        function(positive, negative)

  @parameterized.parameters(
    ([1, 1, 1], "all labels are .1: a classifier needs points of both classes"),
    ([-1, -1, -1], "all labels are -1"),
    ([0, 1, 1], r"labels are \[0 1\]: use .1 and -1"),
    ([1, -1], r"3 points have labels of shape \(2,\): give one for each"),
  )
  def test_labels(self, labels, message):
    with self.assertRaisesRegex(ValueError, message):
      least_squares.split([0.0, 1.0, 2.0], labels)

  def test_split(self):
    positive, negative = least_squares.split([[0.0], [1.0], [2.0]], [1, -1, 1])
    np.testing.assert_array_equal(positive, [[0.0], [2.0]])
    np.testing.assert_array_equal(negative, [[1.0]])
    with self.assertRaisesRegex(ValueError, "there are no labels"):
      least_squares.split([], [])

  def test_settings(self):
    with self.assertRaisesRegex(errors.InputError, "test has the shape"):
      least_squares.negative_acr([1.0], [0.0], [])
    with self.assertRaisesRegex(errors.InputError, "all points are the same"):
      least_squares.fit([1.0], [1.0])


if __name__ == "__main__":
  absltest.main()
