"""Estimators of a mean under poison, against SciPy, closed forms and random attackers."""

import functools

import numpy as np
import scipy.stats
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import estimators

_CLEAN = np.random.default_rng(0).normal(size=40)
_trimmed = functools.partial(estimators.trimmed_mean, share=0.2)
_filtered = functools.partial(estimators.filtered_mean, radius=2.5)


class EstimatorsTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.1, 0.2, 0.45)
  def test_trimmed_mean_is_scipys(self, share):
    for seed in range(20):
      points = np.random.default_rng(seed).standard_t(1, 3 + seed)
      expected = scipy.stats.trim_mean(points, share)
      np.testing.assert_allclose(estimators.trimmed_mean(points, share), expected)

  def test_filtered_mean_drops_what_is_far(self):
    self.assertEqual(estimators.filtered_mean([0.0, 1.0, 2.0, 99.0], 2.0), 1.0)
    self.assertEqual(estimators.filtered_mean([-9.0, 9.0], 1.0), 0.0)

  def test_one_point_moves_the_mean_anywhere(self):
    for bound in (1e2, 1e6):
      shift, place = estimators.worst_shift(estimators.mean, _CLEAN, 1, bound=bound)
      self.assertEqual(place, bound)
      np.testing.assert_allclose(shift, (bound - _CLEAN.mean()) / 41)

  @parameterized.parameters((estimators.median, 40), (_trimmed, 10))
  def test_up_to_their_breakdown_they_stay_among_clean_points(self, estimator, most):
    """Of 40 + k points, half or more than a fifth have to be the attacker's."""
    before = estimator(_CLEAN)
    shift, _ = estimators.worst_shift(estimator, _CLEAN, most - 1, bound=1e9)
    self.assertLessEqual(before + shift, _CLEAN.max())
    self.assertGreater(shift, 0.0)
    shift, _ = estimators.worst_shift(estimator, _CLEAN, most + 1, bound=1e9)
    self.assertGreater(before + shift, 1e6)

  @parameterized.parameters(estimators.mean, estimators.median, _trimmed)
  def test_no_attacker_does_more_than_the_worst_shift(self, estimator):
    rng = np.random.default_rng(1)
    for num_poison in (1, 7, 30):
      shift, _ = estimators.worst_shift(estimator, _CLEAN, num_poison, bound=3.0)
      for _ in range(200):
        poison = rng.uniform(-3.0, 3.0, num_poison)
        moved = estimator(np.append(_CLEAN, poison)) - estimator(_CLEAN)
        self.assertLessEqual(moved, shift + 1e-12)

  def test_an_adaptive_attacker_stays_just_inside_the_filter(self):
    plain, _ = estimators.worst_shift(_filtered, _CLEAN, 5, bound=100.0)
    self.assertLess(abs(plain), 0.2)  # Dropped; the median moves a little.
    options = dict(bound=100.0, num_places=5000)
    adaptive, place = estimators.worst_shift(_filtered, _CLEAN, 5, **options)
    moved_median = np.median(np.append(_CLEAN, np.full(5, place)))
    self.assertBetween(place - moved_median, 2.4, 2.5)
    self.assertGreater(adaptive, plain + 0.2)

  @parameterized.parameters(
    (lambda: estimators.mean([]), "points have the shape .0,.: give at least one"),
    (lambda: estimators.median([[1.0]]), "points have the shape .1, 1."),
    (lambda: estimators.mean([np.inf]), "not finite"),
    (lambda: estimators.trimmed_mean([1.0], 0.5), "share is 0.5"),
    (lambda: estimators.filtered_mean([1.0], 0.0), "radius is 0.0"),
    (
      lambda: estimators.worst_shift(estimators.mean, [1.0], -1, bound=1.0),
      "num_poison=-1",
    ),
    (lambda: estimators.worst_shift(estimators.mean, [1.0], 1, bound=0.0), "bound=0.0"),
  )
  def test_refuses(self, call, message):
    with self.assertRaisesRegex(errors.InputError, message):
      call()


if __name__ == "__main__":
  absltest.main()
