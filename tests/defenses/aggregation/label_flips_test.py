"""Radii in changed labels, beside every change of labels and every draw of the noise."""

import itertools

import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.aggregation import label_flips

# q: for p = 0.9, 0.99, 0.999, 0.9999, the radius by the divergence, and the exact one.
_TABLE = {
  0.1: ((0.291, 0.918, 1.571, 2.226), (0, 1, 2, 3)),
  0.2: ((0.614, 1.941, 3.320, 4.703), (1, 2, 5, 7)),
  0.3: ((1.507, 4.764, 8.147, 11.543), (2, 7, 14, 20)),
  0.4: ((6.299, 19.909, 34.050, 48.242), (10, 33, 58, 85)),
}
_PROBABILITIES = np.array([0.9, 0.99, 0.999, 0.9999])


def _noisy(labels, q, num_classes):
  """Every outcome of the noise, `[V, n]`, and its probability, `[V]`."""
  every = itertools.product(range(num_classes), repeat=len(labels))
  outcomes = np.array(list(every))
  chances = np.where(outcomes == labels, 1.0 - q, q / (num_classes - 1))
  return outcomes, chances.prod(axis=1)


def _distribution(alpha, labels, q, num_classes):
  """P[each class has the largest score], ties to the smaller label."""
  outcomes, chances = _noisy(labels, q, num_classes)
  scores = (outcomes[:, :, None] == np.arange(num_classes)).transpose(0, 2, 1) @ alpha
  return np.bincount(scores.argmax(axis=1), chances, minlength=num_classes)


def _worst(p, q, num_classes, r):
  """The least probability that a class of probability p keeps when r labels change."""
  old, new = np.zeros(r, int), np.ones(r, int)
  _, before = _noisy(old, q, num_classes)
  _, after = _noisy(new, q, num_classes)
  order = np.argsort(np.round(np.log(after / before), 9), kind="stable")
  left, kept = p, 0.0
  for b, a in zip(before[order], after[order], strict=True):
    taken = min(1.0, left / b)
    left, kept = left - taken * b, kept + taken * a
  return kept


def _problem(n, num_classes, seed):
  """Features around the classes' corners, and a few queries near them."""
  rng = np.random.default_rng(seed)
  labels = np.arange(n) % num_classes
  corners = np.eye(num_classes)
  features = corners[labels] + 0.2 * rng.standard_normal((n, num_classes))
  queries = corners + 0.3 * rng.standard_normal((num_classes, num_classes))
  return features, labels, np.concatenate([queries, features[:2]])


class RadiusTest(parameterized.TestCase):
  @parameterized.parameters(*_TABLE)
  def test_the_table(self, q):
    by_divergence, exact = _TABLE[q]
    found = label_flips.kl_radius(_PROBABILITIES, q)
    np.testing.assert_allclose(found, by_divergence, atol=6e-4)
    found = label_flips.neyman_pearson_radius(_PROBABILITIES, q)
    np.testing.assert_array_equal(found, exact)

  def test_by_the_formula(self):
    p, q = 0.97, 0.35
    expected = -np.log(4 * p * (1 - p)) / (2 * (1 - 2 * q) * np.log((1 - q) / q))
    np.testing.assert_allclose(label_flips.kl_radius(p, q), expected, rtol=1e-12)

  @parameterized.parameters((0.2, 2), (0.4, 2), (0.3, 3), (0.45, 4))
  def test_the_exact_one_is_of_the_worst_classifier(self, q, num_classes):
    for p in (0.4, 0.51, 0.7, 0.9, 0.97, 0.999):
      kept = [_worst(p, q, num_classes, r) for r in range(1, 7)]
      self.assertEqual(kept, sorted(kept, reverse=True))
      expected = sum(each > 0.5 for each in kept)
      found = label_flips.neyman_pearson_radius(p, q, num_classes)
      self.assertEqual(min(found, 6), expected)

  @parameterized.product(q=(0.05, 0.2, 0.45), num_classes=(2, 3, 10))
  def test_they_grow_with_p_and_the_exact_one_is_not_smaller(self, q, num_classes):
    p = 1.0 - np.concatenate([np.linspace(1.0, 0.5, 20), np.geomspace(0.5, 1e-12, 60)])
    exact = label_flips.neyman_pearson_radius(p, q, num_classes)
    divergence = label_flips.kl_radius(p, q, num_classes)
    self.assertTrue((np.diff(exact) >= 0).all() and (np.diff(divergence) >= 0).all())
    self.assertTrue((exact >= np.floor(divergence)).all())
    np.testing.assert_array_equal(exact[:21], 0)
    np.testing.assert_allclose(divergence[:21], 0.0, atol=1e-12)
    self.assertGreater(exact[-1], 0)

  def test_without_noise_no_label_may_change(self):
    self.assertEqual(label_flips.neyman_pearson_radius(0.999, 1e-6), 0)
    self.assertLess(label_flips.kl_radius(0.999, 1e-6), 1.0)

  def test_a_class_of_probability_1_has_no_largest_radius(self):
    with np.errstate(divide="ignore"), self.assertRaisesRegex(ValueError, "no largest"):
      label_flips.neyman_pearson_radius(1.0, 0.2)

  @parameterized.parameters(0.0, 0.5, -0.1, 0.7, float("nan"))
  def test_q_out_of_its_range(self, q):
    words = f"with probability {q:g}: use one above 0 and below 1/2"
    for radius in (label_flips.kl_radius, label_flips.neyman_pearson_radius):
      with self.assertRaisesRegex(errors.InputError, words):
        radius(0.9, q)
    with self.assertRaisesRegex(errors.InputError, words):
      label_flips.certify(*_problem(6, 2, 0), q=q, ridge=1.0)


class CertifyTest(parameterized.TestCase):
  def test_weights_are_those_of_least_squares(self):
    features, labels, queries = _problem(12, 3, 0)
    targets = np.eye(3)[labels]
    rows = np.concatenate([features, np.sqrt(0.1) * np.eye(3)])
    values = np.concatenate([targets, np.zeros((3, 3))])
    theta = np.linalg.lstsq(rows, values, rcond=None)[0]
    alpha = label_flips.weights(features, queries, 0.1)
    np.testing.assert_allclose(alpha @ targets, queries @ theta, rtol=1e-10, atol=1e-12)

  @parameterized.parameters(0.0, -1.0, float("nan"))
  def test_a_ridge_that_cannot_be_solved(self, ridge):
    with self.assertRaisesRegex(errors.InputError, "use one above 0"):
      label_flips.weights(np.ones((3, 2)), np.ones((1, 2)), ridge)

  def test_more_classes_than_are_said(self):
    features, labels, queries = _problem(9, 3, 0)
    words = "labels go up to 2, but there are to be 2 classes: give their number"
    with self.assertRaisesRegex(errors.InputError, words):
      label_flips.certify(features, labels, queries, 0.2, 1.0)

  @parameterized.product(q=(0.05, 0.2, 0.4), size=((10, 2), (7, 3)), seed=(0, 1))
  def test_the_bound_holds_over_all_draws(self, q, size, seed):
    features, labels, queries = _problem(*size, seed)
    for alpha in label_flips.weights(features, queries, 0.1):
      label, log_wrong = label_flips.likely_class(alpha, labels, q, size[1])
      right = _distribution(alpha, labels, q, size[1])[label]
      self.assertLessEqual(1.0 - right, np.exp(log_wrong))

  def test_the_bound_is_chernoffs(self):
    """Equal weights: log P[S <= 0] <= n log(2 (q (1 - q))^(1/2))."""
    label, log_wrong = label_flips.likely_class(np.full(40, 0.3), np.ones(40, int), 0.2, 2)
    self.assertEqual(label, 1)
    self.assertAlmostEqual(log_wrong, 40 * np.log(0.8), delta=1e-6)

  def _check_all_changes(self, n, num_classes, q, seed, strangers=1):
    """Returns the radii; up to so many labels are changed in every way.

    All images but a few strangers have the last class.
    """
    rng = np.random.default_rng(seed)
    features = np.stack([np.ones(n), 0.1 * rng.standard_normal(n)], axis=1)
    labels = np.where(np.arange(n) < strangers, 0, num_classes - 1)
    queries = features[-2:]
    found = label_flips.certify(features, labels, queries, q, 0.1, num_classes)
    weights = label_flips.weights(features, queries, 0.1)
    for alpha, label, radius in zip(weights, found.prediction, found.radius, strict=True):
      shifts = itertools.product(range(num_classes), repeat=n)
      for shift in shifts:
        if label >= 0 and np.count_nonzero(shift) <= radius:
          changed = (labels + shift) % num_classes
          after = _distribution(alpha, changed, q, num_classes)
          self.assertEqual(after.argmax(), label)
    return found.radius

  def test_no_certified_prediction_moves(self):
    self.assertGreater(self._check_all_changes(10, 2, 0.1, 1).min(), 0)

  @pytest.mark.long
  def test_no_certified_prediction_moves_in_many_cases(self):
    radii = [
      self._check_all_changes(10, 2, q, seed, strangers)
      for q in (0.05, 0.1, 0.2)
      for seed, strangers in ((2, 0), (3, 1))
    ]
    self.assertEqual(np.max(radii), 2)
    radii = [self._check_all_changes(8, 3, q, 4, 0) for q in (0.05, 0.1, 0.2)]
    self.assertEqual(np.max(radii), 2)

  def test_what_no_noise_can_tell_is_not_predicted(self):
    features = np.ones((6, 1))
    found = label_flips.certify(features, np.arange(6) % 2, features[:1], 0.2, 1.0)
    np.testing.assert_array_equal(found.prediction, [-1])
    np.testing.assert_array_equal(found.radius, [0])
    np.testing.assert_array_equal(found.kl_radius, [0.0])
    np.testing.assert_array_equal(found.log_wrong, [0.0])

  def test_tails_beyond_float64_have_radii(self):
    features = np.ones((6000, 1))
    found = label_flips.certify(features, np.ones(6000, int), features[:1], 0.2, 1.0)
    self.assertLess(found.log_wrong[0], -1000.0)
    self.assertGreater(found.kl_radius[0], 800.0)
    self.assertBetween(found.radius[0], found.kl_radius[0], 3000)

  def test_names_of_classes_change_nothing(self):
    features, labels, queries = _problem(30, 2, 5)
    found = label_flips.certify(features, labels, queries, 0.2, 0.1)
    self.assertTrue((found.radius >= np.floor(found.kl_radius)).all())
    swapped = label_flips.certify(features, 1 - labels, queries, 0.2, 0.1)
    np.testing.assert_array_equal(swapped.radius, found.radius)
    np.testing.assert_array_equal(swapped.prediction, 1 - found.prediction)
    self.assertGreater(found.radius.max(), 0)


if __name__ == "__main__":
  absltest.main()
