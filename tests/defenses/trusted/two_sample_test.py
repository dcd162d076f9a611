"""Two-sample tests: exact p-values, uniform on clean data, and what they find."""

import itertools

import jax
import numpy as np
import pytest
import shifted_digits
from absl.testing import absltest, parameterized
from sklearn import covariance

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses.trusted import two_sample


def _hotelling(first, second):
  """T^2 by its definition, but for a constant that all splits share."""
  both = np.concatenate([first, second])
  matrix, _ = covariance.ledoit_wolf(both)
  difference = first.mean(axis=0) - second.mean(axis=0)
  return difference @ np.linalg.solve(matrix, difference)


class MeanShiftTest(parameterized.TestCase):
  @parameterized.parameters((5, 3), (3, 5))
  def test_is_the_share_of_all_splits(self, n, m):
    generator = np.random.default_rng(0)
    both = generator.normal(size=(n + m, 4)).astype(np.float32)
    both[n:] += 0.8
    observed = _hotelling(both[:n], both[n:])
    splits = [
      _hotelling(both[list(chosen)], np.delete(both, chosen, axis=0))
      for chosen in itertools.combinations(range(n + m), n)
    ]
    exact = np.mean(np.array(splits) >= observed * (1 - 1e-4))
    found = two_sample.mean_shift(both[:n], both[n:], generator, 20_000)
    self.assertAlmostEqual(found, exact, delta=4 * np.sqrt(exact / 20_000))

  def test_is_uniform_where_nothing_differs(self):
    """Of 400 p-values 5 and 50 % are below 0.05 and 0.5, within 4 standard deviations."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(400):
      both = generator.gamma(1.0, size=(30, 6)).astype(np.float32)
      found.append(two_sample.mean_shift(both[:24], both[24:], generator, 99))
    self.assertAlmostEqual(np.mean(np.array(found) <= 0.05), 0.05, delta=0.044)
    self.assertAlmostEqual(np.mean(np.array(found) <= 0.5), 0.5, delta=0.1)

  def test_does_not_depend_on_where_and_how_large_the_values_are(self):
    generator = np.random.default_rng(2)
    both = generator.normal(size=(40, 5)).astype(np.float32)
    both[32:, 0] += 1.0
    found = {
      two_sample.mean_shift(each[:32], each[32:], np.random.default_rng(3), 500)
      for each in (both, 2 * both, both + 8, -both)
    }
    self.assertLen(found, 1)
    self.assertLess(found.pop(), 0.2)

  def test_images_that_are_all_the_same(self):
    same = np.full((9, 4), 0.5, np.float32)
    generator = np.random.default_rng(4)
    self.assertEqual(two_sample.mean_shift(same[:6], same[6:], generator, 50), 1.0)


class ClassifierTest(absltest.TestCase):
  @pytest.mark.long
  def test_is_uniform_where_nothing_differs(self):
    generator = np.random.default_rng(5)
    found = []
    for _ in range(100):
      both = generator.normal(size=(80, 6))
      found.append(two_sample.classifier(both[:60], both[60:], generator))
    self.assertAlmostEqual(np.mean(np.array(found) <= 0.05), 0.05, delta=0.087)
    self.assertAlmostEqual(np.mean(np.array(found) <= 0.5), 0.5, delta=0.2)

  def test_finds_changes_that_leave_the_mean_as_it_is(self):
    """Patterns of either sign: the means agree, and the permutation test sees nothing."""
    generator = np.random.default_rng(6)
    ours, theirs = generator.normal(size=(400, 16)), generator.normal(size=(60, 16))
    ours = np.concatenate([ours[:200] + 2.0, ours[200:] - 2.0])
    self.assertLess(two_sample.classifier(ours, theirs, generator), 1e-4)
    shift = two_sample.mean_shift(np.float32(ours), np.float32(theirs), generator, 200)
    self.assertGreater(shift, 0.05)

  def test_one_image_tells_nothing(self):
    generator = np.random.default_rng(7)
    alone = two_sample.classifier(np.zeros((9, 2)), np.ones((1, 2)), generator)
    self.assertEqual(alone, 1.0)


class HolmTest(absltest.TestCase):
  def test_by_hand(self):
    found = two_sample.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(two_sample.holm([0.6, 0.9]), [1.0, 1.0])


def _values(training_set, **options):
  tools = shifted_digits.tools()
  after, report = two_sample.two_sample(training_set, jax.random.key(0), tools, **options)
  assert after is training_set and not any(map(len, report[:3]))
  return dict(report.values)


class DefenceTest(parameterized.TestCase):
  def test_the_class_that_was_changed_is_found(self):
    values = _values(shifted_digits.shifted(shifted_digits.signs()))
    self.assertEqual(values.pop("alarms"), 1)
    self.assertEqual(values.pop("copies"), 0)
    self.assertEqual(min(values, key=values.get), "p_value_8")
    self.assertLessEqual(values["p_value_8"], 0.01)

  @parameterized.parameters(5, 10, 20)
  @pytest.mark.long
  def test_few_trusted_images_find_it_too(self, num_trusted):
    pattern = shifted_digits.signs()
    values = _values(shifted_digits.shifted(pattern), num_trusted=num_trusted)
    self.assertLessEqual(values["p_value_8"], 0.05)

  @pytest.mark.long
  def test_clean_data_raise_no_alarm(self):
    whole = training_sets.whole(shifted_digits.splits().train)
    self.assertEqual(_values(whole)["alarms"], 0)

  def test_an_image_that_is_there_many_times_is_no_alarm(self):
    """Of clean data, a third of each class is one image: on both sides, or on one."""
    data = shifted_digits.splits()
    images, labels = data.train.images.copy(), data.train.labels
    for label in range(10):
      of_class = np.flatnonzero(labels == label)
      images[of_class[: len(of_class) // 3]] = images[of_class[0]]
    whole = training_sets.whole(types.Dataset(images, labels))
    self.assertEqual(_values(whole, num_trusted=10)["alarms"], 0)

  @parameterized.parameters(0.0, 1.0, -1.0, float("nan"))
  def test_a_level_that_is_none(self, level):
    whole = training_sets.whole(shifted_digits.splits().train)
    with self.assertRaisesRegex(errors.InputError, r"is no probability: use one in \(0, 1"):
      _values(whole, level=level)


if __name__ == "__main__":
  absltest.main()
