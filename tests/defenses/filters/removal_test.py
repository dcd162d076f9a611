"""What filters remove by scores: how many, which, and what they say."""

import numpy as np
import point_clouds
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.filters import removal


def _scored(seed=0):
  """A training set of classes of 29, 24 and 34 images, and a score for each."""
  training_set = point_clouds.images()
  count = len(training_set.present)
  return training_set, np.random.default_rng(seed).permutation(count) / count


class ByShareTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.05, 0.1, 0.5, 0.97)
  def test_of_each_class_the_highest_scores_are_removed(self, share):
    training_set, scores = _scored()
    after, report = removal.by_share("l2", training_set, scores, share)
    labels = training_set.labels[training_set.present]
    stays = np.isin(training_set.present, after.present)
    for label, count in enumerate((29, 24, 34)):
      kept = scores[stays & (labels == label)]
      self.assertLen(kept, round((1 - share) * count))
      self.assertEqual(report.values[f"threshold_of_class_{label}"], kept.max())
      lost = scores[~stays & (labels == label)]
      self.assertGreater(lost.min(initial=2.0), kept.max())
      of_class = report.values[f"removed_share_of_class_{label}"]
      self.assertEqual(of_class, len(lost) / count)
    np.testing.assert_array_equal(report.removed, training_set.present[~stays])
    most = int(report.values["most_removed_class"])
    shares = [report.values[f"removed_share_of_class_{label}"] for label in range(3)]
    self.assertEqual(report.values["most_removed_share"], max(shares))
    self.assertEqual(shares[most], max(shares))

  def test_of_equal_scores_the_first_stay(self):
    training_set, scores = _scored()
    after, _ = removal.by_share("l2", training_set, np.zeros_like(scores), 0.5)
    labels = training_set.labels[training_set.present]
    for label, kept in enumerate((14, 12, 17)):
      of_class = training_set.present[labels == label]
      found = after.present[training_set.labels[after.present] == label]
      np.testing.assert_array_equal(found, of_class[:kept])

  @parameterized.parameters(-0.01, 1.0, 1.5, float("nan"))
  def test_a_share_out_of_range(self, share):
    with self.assertRaisesRegex(errors.InputError, r"'knn' is to .*: use one in \[0, 1\)"):
      removal.check_share("knn", point_clouds.images(), share)

  def test_a_class_that_would_be_empty_is_named(self):
    training_set = point_clouds.images(sizes=(30, 3, 35))
    removal.check_share("l2", training_set, 0.7)
    words = "'l2' would remove all 2 images of class 1: remove a smaller share, or take it"
    with self.assertRaisesRegex(errors.InputError, words):
      removal.check_share("l2", training_set, 0.76)


class ByThresholdTest(absltest.TestCase):
  def test_what_is_above_it_is_removed(self):
    training_set, scores = _scored()
    after, report = removal.by_threshold("x", training_set, scores, scores[3], "-")
    np.testing.assert_array_equal(after.present, training_set.present[scores <= scores[3]])
    self.assertEqual(report.values["threshold"], scores[3])

  def test_a_class_that_would_be_empty_is_named(self):
    training_set, scores = _scored()
    labels = training_set.labels[training_set.present]
    with self.assertRaisesRegex(errors.InputError, "all 34 images of class 2: use k, or"):
      removal.by_threshold("x", training_set, scores + 2 * (labels == 2), 1.0, "use k")


if __name__ == "__main__":
  absltest.main()
