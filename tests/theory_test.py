"""The linear case against numeric minimisation, complex steps, and a thousand problems."""

import collections

import numpy as np
import scipy.optimize
from absl.testing import absltest, parameterized

from pacd_jax import errors, theory

_SIZES = ((1, 2), (5, 5), (7, 4), (3, 9))
_DRAWS = (
  lambda rng, n: rng.normal(size=n),
  lambda rng, n: rng.uniform(-1.0, 1.0, n),
  lambda rng, n: rng.exponential(size=n),
  lambda rng, n: rng.standard_t(2, size=n),  # Of infinite variance.
  lambda rng, n: rng.choice([-1.0, 1.0], n) + 0.1 * rng.normal(size=n),
  lambda rng, n: rng.integers(0, 2, n).astype(float),
)


def _sample(rng, num_points):
  """Points of any of six distributions, at any place and scale."""
  draw = _DRAWS[rng.integers(len(_DRAWS))]
  return rng.normal() + np.exp(rng.normal()) * draw(rng, num_points)


def _classes(seed, sizes=None):
  """(positive, negative) of different means; by default, of one random size."""
  rng = np.random.default_rng(seed)
  sizes = sizes or 2 * (int(rng.integers(1, 31)),)
  positive, negative = _sample(rng, sizes[0]), _sample(rng, sizes[1])
  while abs(positive.mean() - negative.mean()) < 1e-6:  # As points of 0 and 1 may.
    positive = positive + rng.normal()
  return positive, negative, rng


def _lstsq(positive, negative):
  """(w*, b*) by the normal equations, of real or complex points."""
  x = np.concatenate([positive, negative])
  y = np.concatenate([np.ones(len(positive)), -np.ones(len(negative))])
  a = np.stack([x, np.ones_like(x)], axis=1)
  return np.linalg.solve(a.T @ a, a.T @ y)


class LeastSquaresTest(parameterized.TestCase):
  @parameterized.parameters(*_SIZES)
  def test_against_numeric_minimisation(self, *sizes):
    positive, negative, _ = _classes(0, sizes)

    def loss(theta):
      w, b = theta
      residual = np.concatenate([w * positive + b - 1.0, w * negative + b + 1.0])
      points = np.concatenate([positive, negative])
      return residual @ residual, 2.0 * np.array([residual @ points, residual.sum()])

    found = scipy.optimize.minimize(
      loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    line = theory.least_squares(positive, negative)
    np.testing.assert_allclose((line.slope, line.intercept), found.x, atol=1e-8)
    expected = -found.x[1] / found.x[0]
    np.testing.assert_allclose(line.threshold, expected, rtol=1e-8)
    boundary = theory.threshold(positive, negative)
    np.testing.assert_allclose(boundary, expected, rtol=1e-8)
    radii = np.maximum(np.sign(found.x[0]) * (expected - negative), 0.0)
    acr = theory.negative_acr(positive, negative, negative)
    np.testing.assert_allclose(acr, radii.mean(), atol=1e-8)

  def test_a_flat_line_where_the_means_are_equal(self):
    line = theory.least_squares([0.0, 2.0, 1.0], [1.0])
    self.assertEqual((line.slope, line.intercept), (0.0, 0.5))
    self.assertTrue(np.isinf(line.threshold))

  @parameterized.parameters(*_SIZES)
  def test_hypergradient_against_a_complex_step(self, *sizes):
    """Of the threshold by the normal equations: no difference, so nothing cancels."""
    for seed in range(50):
      positive, negative, rng = _classes(seed, sizes)
      test = np.concatenate([negative, _sample(rng, 5)])
      line = theory.least_squares(positive, negative)
      certified = np.mean(np.sign(line.slope) * (line.threshold - test) > 0.0)
      expected = []
      for direction in np.eye(len(negative)):
        w, b = _lstsq(positive.astype(complex), negative + 1e-100j * direction)
        expected.append(np.sign(w.real) * certified * (-b / w).imag / 1e-100)
      du = theory.hypergradient(positive, negative, test)
      scale = max(1.0, np.abs(expected).max())
      np.testing.assert_allclose(du / scale, np.array(expected) / scale, atol=1e-10)

  def test_hypergradient_against_retraining(self):
    """With classes of the same size R is linear between kinks: no truncation error."""
    for seed in range(20):
      positive, negative, _ = _classes(seed, (8, 8))
      boundary = theory.threshold(positive, negative)
      h = 0.1 * np.abs(boundary - np.append(negative, positive.mean())).min()
      du = theory.hypergradient(positive, negative, negative)
      for i, move in enumerate(h * np.eye(8)):
        acr = [
          theory.negative_acr(positive, negative + s * move, negative) for s in (1, -1)
        ]
        np.testing.assert_allclose((acr[0] - acr[1]) / (2.0 * h), du[i], atol=1e-10)


class TheoremTest(absltest.TestCase):
  """1,000 random problems: half below the condition, half above, on either side."""

  NUM_PROBLEMS = 1000

  def _check_optimum(self, problem, optimum, rng):
    positive, negative, epsilon = problem
    self.assertEqual(theory.stationarity(positive, negative, epsilon, optimum.poison), 0.0)
    # No point of the box near it is better.
    for size in (1e-3, 1e-1):
      inwards = np.sign(negative - optimum.poison) * rng.uniform(size=(8, len(negative)))
      for u in optimum.poison + size * epsilon * inwards:
        if np.sign(positive.mean() - u.mean()) != np.sign(optimum.line.slope):
          continue  # Beyond the jump at equal means, however near it is.
        acr = theory.negative_acr(positive, u, negative)
        self.assertGreaterEqual(acr, optimum.acr - 1e-12)
        if optimum.is_isolated:
          self.assertGreater(acr, optimum.acr)

  def _check_the_rest(self, problem, optima, rng):
    """No other u is optimal: R falls from it, towards the case on its side."""
    positive, negative, epsilon = problem
    cases = {np.sign(optimum.line.slope): optimum for optimum in optima}
    for _ in range(8):
      centre = rng.uniform(-1.0, 1.0)  # So that means are spread, too.
      share = np.clip(centre + 0.5 * rng.uniform(-1, 1, len(negative)), -0.999, 0.999)
      u = negative + epsilon * share
      acr = theory.negative_acr(positive, u, negative)
      optimum = cases[np.sign(positive.mean() - u.mean())]
      self.assertGreaterEqual(acr, optimum.acr - 1e-12)
      du = theory.hypergradient(positive, u, negative)
      if acr > 0.0:
        towards = np.sign(optimum.poison - negative)
        self.assertTrue((-du * towards > 0.0).all())
        self.assertGreater(theory.stationarity(positive, negative, epsilon, u), 0.0)
      else:
        np.testing.assert_array_equal(du, np.zeros_like(du))

  def test_no_exception_in_a_thousand_problems(self):
    counts = collections.Counter()
    for seed in range(self.NUM_PROBLEMS):
      positive, negative, rng = _classes(seed)
      gap = abs(positive.mean() - negative.mean())
      epsilon = gap * rng.uniform(0.0, 2.0)
      self.assertAlmostEqual(theory.needed_epsilon(positive, negative), gap, delta=1e-12)
      if abs(epsilon - gap) < 1e-6:
        counts["within 1e-6"] += 1
        continue
      problem = positive, negative, epsilon
      optima = theory.local_optima(*problem)
      side = "above" if epsilon > gap else "below"
      counts[side] += 1
      self.assertEqual([o.case for o in optima], [1, 2] if side == "above" else [1])
      direction = np.sign(positive.mean() - negative.mean())
      for optimum, sign in zip(optima, (-1.0, 1.0), strict=False):
        expected = negative + sign * direction * epsilon
        np.testing.assert_array_equal(optimum.poison, expected)
        self._check_optimum(problem, optimum, rng)
        counts[f"case {optimum.case}, a plateau"] += not optimum.is_isolated
      self._check_the_rest(problem, optima, rng)
      if side == "below":  # Unique: even where it leaves an ACR of 0 to no other.
        self.assertTrue(optima[0].is_isolated)
        other = negative + direction * epsilon
        self.assertGreater(theory.stationarity(*problem, other), 0.0)
    self.assertEqual(counts["below"] + counts["above"] + counts["within 1e-6"], 1000)
    self.assertGreater(min(counts["below"], counts["above"]), 400)
    # Both kinds of Case 2 were met: isolated, and with nothing left to certify.
    self.assertBetween(counts["case 2, a plateau"], 50, counts["above"] - 50)

  def test_points_beyond_the_threshold_leave_no_unique_optimum(self):
    """The exception below the condition: P- is another sample than the training points."""
    positive, negative, test = [4.0, 6.0], [-1.0, 1.0], [3.0, 3.5]
    only = theory.local_optima(positive, negative, 1.0, test)
    self.assertLen(only, 1)
    self.assertEqual((only[0].acr, only[0].is_isolated), (0.0, False))
    self.assertEqual(theory.negative_acr(positive, [-1.0, 1.0], test), 0.0)
    self.assertEqual(theory.stationarity(positive, negative, 1.0, [-1.0, 1.0], test), 0.0)

  def test_at_the_condition_itself_case_2_has_no_threshold(self):
    positive, negative = [4.0, 6.0], [-1.0, 1.0]
    self.assertLen(theory.local_optima(positive, negative, 5.0), 1)
    with self.assertRaisesRegex(ValueError, "both classes have the mean 5"):
      theory.threshold(positive, np.add(negative, 5.0))

  def test_corners_need_not_be_optimal_for_classes_of_unequal_size(self):
    """Why the theorem is refused there: the variance of u moves the threshold."""
    exceptions = 0
    for seed in range(200):
      positive, negative, rng = _classes(seed, (12, 4))
      gap = positive.mean() - negative.mean()
      epsilon = abs(gap) * rng.uniform(0.0, 1.0)
      corner = negative - np.sign(gap) * epsilon
      exceptions += theory.stationarity(positive, negative, epsilon, corner) > 1e-9
    self.assertBetween(exceptions, 20, 199)

  def test_poisoning_a_fraction(self):
    """Corollary 2: the same threshold and ACR, and another slope."""
    for seed in range(1000):
      positive, negative, rng = _classes(seed)
      gap = positive.mean() - negative.mean()
      count = rng.integers(0, len(negative) + 1)
      fraction, epsilon = count / len(negative), gap * rng.uniform(-2.0, 2.0)
      if abs(fraction * epsilon - gap) < 1e-6 * abs(gap):
        continue
      some = theory.move_fraction(negative, fraction, epsilon)
      every = negative + fraction * epsilon
      self.assertEqual(np.sum(some != negative), count)
      for function in (theory.threshold, theory.negative_acr):
        test = () if function is theory.threshold else (negative,)
        values = [function(positive, u, *test) for u in (some, every)]
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)
    slopes = [
      theory.least_squares([4.0, 6.0], u).slope
      for u in (theory.move_fraction([-1.0, 1.0], 0.5, -2.0), [-2.0, 0.0])
    ]
    self.assertGreater(abs(slopes[0] - slopes[1]), 0.01)


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
      theory.threshold,
      theory.needed_epsilon,
      lambda *classes: theory.negative_acr(*classes, [0.0]),
      lambda *classes: theory.hypergradient(*classes, [0.0]),
      lambda *classes: theory.local_optima(*classes, 0.1),
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
      theory.split([0.0, 1.0, 2.0], labels)

  def test_split(self):
    positive, negative = theory.split([[0.0], [1.0], [2.0]], [1, -1, 1])
    np.testing.assert_array_equal(positive, [[0.0], [2.0]])
    np.testing.assert_array_equal(negative, [[1.0]])
    with self.assertRaisesRegex(ValueError, "there are no labels"):
      theory.split([], [])

  @parameterized.parameters(
    (lambda: theory.local_optima([1.0, 2.0], [0.0], 1.0), "2 positive and 1 negative"),
    (lambda: theory.local_optima([1.0], [0.0], -1.0), "epsilon is -1.0"),
    (lambda: theory.negative_acr([1.0], [0.0], []), "test has the shape"),
    (lambda: theory.move_fraction([0.0, 1.0], 0.3, 1.0), "fraction is 0.3 of 2 points"),
    (lambda: theory.move_fraction([0.0], 2.0, 1.0), "fraction is 2.0 of 1 points"),
    (lambda: theory.least_squares([1.0], [1.0]), "all points are the same"),
  )
  def test_settings(self, call, message):
    with self.assertRaisesRegex(errors.InputError, message):
      call()


if __name__ == "__main__":
  absltest.main()
