"""Theorem 1 on a thousand random problems, with its exceptions and its corollary."""

import collections

import numpy as np
import pytest
import random_classes
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import least_squares, theory


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
        acr = least_squares.negative_acr(positive, u, negative)
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
      acr = least_squares.negative_acr(positive, u, negative)
      optimum = cases[np.sign(positive.mean() - u.mean())]
      self.assertGreaterEqual(acr, optimum.acr - 1e-12)
      du = least_squares.hypergradient(positive, u, negative)
      if acr > 0.0:
        towards = np.sign(optimum.poison - negative)
        self.assertTrue((-du * towards > 0.0).all())
        self.assertGreater(theory.stationarity(positive, negative, epsilon, u), 0.0)
      else:
        np.testing.assert_array_equal(du, np.zeros_like(du))

  @pytest.mark.long
  def test_no_exception_in_a_thousand_problems(self):
    counts = collections.Counter()
    for seed in range(self.NUM_PROBLEMS):
      positive, negative, rng = random_classes.classes(seed)
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
    self.assertEqual(least_squares.negative_acr(positive, [-1.0, 1.0], test), 0.0)
    self.assertEqual(theory.stationarity(positive, negative, 1.0, [-1.0, 1.0], test), 0.0)

  def test_at_the_condition_itself_case_2_has_no_threshold(self):
    positive, negative = [4.0, 6.0], [-1.0, 1.0]
    self.assertLen(theory.local_optima(positive, negative, 5.0), 1)
    with self.assertRaisesRegex(ValueError, "both classes have the mean 5"):
      least_squares.threshold(positive, np.add(negative, 5.0))

  def test_corners_need_not_be_optimal_for_classes_of_unequal_size(self):
    """Why the theorem is refused there: the variance of u moves the threshold."""
    exceptions = 0
    for seed in range(200):
      positive, negative, rng = random_classes.classes(seed, (12, 4))
      gap = positive.mean() - negative.mean()
      epsilon = abs(gap) * rng.uniform(0.0, 1.0)
      corner = negative - np.sign(gap) * epsilon
      exceptions += theory.stationarity(positive, negative, epsilon, corner) > 1e-9
    self.assertBetween(exceptions, 20, 199)

  def test_poisoning_a_fraction(self):
    """Corollary 2: the same threshold and ACR, and another slope."""
    for seed in range(1000):
      positive, negative, rng = random_classes.classes(seed)
      gap = positive.mean() - negative.mean()
      count = rng.integers(0, len(negative) + 1)
      fraction, epsilon = count / len(negative), gap * rng.uniform(-2.0, 2.0)
      if abs(fraction * epsilon - gap) < 1e-6 * abs(gap):
        continue
      some = theory.move_fraction(negative, fraction, epsilon)
      every = negative + fraction * epsilon
      self.assertEqual(np.sum(some != negative), count)
      for function in (least_squares.threshold, least_squares.negative_acr):
        test = () if function is least_squares.threshold else (negative,)
        values = [function(positive, u, *test) for u in (some, every)]
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)
    slopes = [
      least_squares.fit([4.0, 6.0], u).slope
      for u in (theory.move_fraction([-1.0, 1.0], 0.5, -2.0), [-2.0, 0.0])
    ]
    self.assertGreater(abs(slopes[0] - slopes[1]), 0.01)


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda: theory.local_optima([1.0, 2.0], [0.0], 1.0), "2 positive and 1 negative"),
    (lambda: theory.local_optima([1.0], [0.0], -1.0), "epsilon is -1.0"),
    (lambda: theory.local_optima([], [0.0], 1.0), "positive has the shape .0,."),
    (lambda: theory.local_optima([2.0], [2.0], 1.0), "both classes have the mean 2"),
    (lambda: theory.needed_epsilon([2.0], [2.0]), "both classes have the mean 2"),
    (lambda: theory.move_fraction([0.0, 1.0], 0.3, 1.0), "fraction is 0.3 of 2 points"),
    (lambda: theory.move_fraction([0.0], np.nan, 1.0), "fraction is nan of 1 points"),
    (lambda: theory.stationarity([2.0], [0.0], -1.0, [0.0]), "epsilon is -1.0"),
    (lambda: theory.stationarity([2.0], [0.0], 1.0, [0.0, 1.0]), "poison has 2 points"),
    (lambda: theory.move_fraction([0.0], 2.0, 1.0), "fraction is 2.0 of 1 points"),
  )
  def test_settings(self, call, message):
    with self.assertRaisesRegex(errors.InputError, message):
      call()


if __name__ == "__main__":
  absltest.main()
