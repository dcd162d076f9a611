"""The change that a class shares: its estimate by hand, its risk, and what is repaired."""

import jax
import numpy as np
import shifted_digits
from absl.testing import absltest, parameterized
from sklearn import covariance

from pacd_jax import errors
from pacd_jax.data import training_sets
from pacd_jax.defenses.trusted import unshift


class SharedChangeTest(parameterized.TestCase):
  @parameterized.parameters(30, 3)
  def test_is_its_formula(self, count):
    generator = np.random.default_rng(3)
    scales = np.array([0.1, 0.3, 0.5, 0.2])
    ours = generator.normal(size=(count, 4)) * scales + [0.3, 0.0, -0.4, 0.3]
    theirs = generator.normal(size=(5, 4)) * scales
    shrunk = covariance.LedoitWolf().fit(ours).covariance_ + np.eye(4) / 12 / 255**2
    difference = ours.mean(axis=0) - theirs.mean(axis=0)
    length = difference @ np.linalg.inv(shrunk * (1 / count + 1 / 5)) @ difference
    expected = (1 - 2 / length) * difference
    self.assertGreater(length, 2)
    np.testing.assert_allclose(unshift.shared_change(ours, theirs), expected, rtol=1e-9)

  def test_a_difference_that_chance_makes_is_none(self):
    generator = np.random.default_rng(0)
    risks = {"plain": 0.0, "shrunk": 0.0}
    for _ in range(200):
      ours, theirs = generator.normal(size=(50, 40)), generator.normal(size=(10, 40))
      plain = ours.mean(axis=0) - theirs.mean(axis=0)
      risks["plain"] += (plain**2).sum() / 200
      risks["shrunk"] += (unshift.shared_change(ours, theirs) ** 2).sum() / 200
    self.assertAlmostEqual(risks["plain"], 40 * (1 / 50 + 1 / 10), delta=0.3)
    self.assertLess(risks["shrunk"], 0.1 * risks["plain"])

  def test_a_long_difference_is_kept(self):
    generator = np.random.default_rng(1)
    ours, theirs = generator.normal(size=(50, 40)) + 5, generator.normal(size=(10, 40))
    plain = ours.mean(axis=0) - theirs.mean(axis=0)
    found = unshift.shared_change(ours, theirs)
    np.testing.assert_allclose(found, plain, rtol=0.01)

  def test_equal_means(self):
    same = np.full((4, 3), 0.5)
    np.testing.assert_array_equal(unshift.shared_change(same, same), np.zeros(3))


def _repaired(training_set, **options):
  tools = shifted_digits.tools()
  return unshift.unshift(training_set, jax.random.key(0), tools, **options)


class DefenceTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_a_pattern_is_taken_off(self, seed):
    """Most of what 20 images can tell: the length of the error is at most half of it."""
    before = shifted_digits.shifted(shifted_digits.signs(seed))
    clean = training_sets.whole(shifted_digits.splits().train)
    after, report = _repaired(before)
    of_class = before.labels == shifted_digits.LABEL
    left, taken = (
      np.linalg.norm(
        each.images[of_class].mean(axis=0) - clean.images[of_class].mean(axis=0)
      )
      for each in (after, before)
    )
    self.assertLess(left, 0.5 * taken)
    self.assertAlmostEqual(report.values["shift_8"], 0.1, places=6)
    self.assertContainsSubset(np.flatnonzero(of_class), report.changed)
    self.assertEqual(after.images.dtype, np.uint8)

  def test_clean_images_stay_as_they_are_but_for_chance(self):
    clean = training_sets.whole(shifted_digits.splits().train)
    after, report = _repaired(clean)
    change = after.images.astype(float) - clean.images
    self.assertLess(np.sqrt((change**2).mean()) / 255, 0.01)
    changed = {label for label in range(10) if report.values[f"shift_{label}"]}
    self.assertLessEqual(len(changed), 4)

  def test_what_is_believed(self):
    before = shifted_digits.shifted(shifted_digits.signs())
    for most, expected in ((0.03, 0.03), (1.0, None), (0.0, None)):
      shift = _repaired(before, most=most)[1].values["shift_8"]
      if expected:
        self.assertAlmostEqual(shift, expected, places=6)
      else:
        self.assertGreater(shift, 0.1)
    with self.assertRaisesRegex(errors.InputError, "at most -1.0 cannot be: use 0 or more"):
      _repaired(before, most=-1.0)


if __name__ == "__main__":
  absltest.main()
