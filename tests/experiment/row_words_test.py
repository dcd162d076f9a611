"""A run's config in words: nothing of what is usual, all of what is not."""

from absl.testing import absltest

from configs import base
from pacd_jax.experiment import row_words


class RunWordsTest(absltest.TestCase):
  def test_what_is_usual_is_not_said(self):
    config = base.get_config().to_dict()
    self.assertEqual(row_words.training(config), "gaussian")
    self.assertEqual(row_words.remarks(config), [])
    before = {"train": {"loss": "macer"}, "attack": {}, "data": {}}  # Of a folder of then.
    self.assertEqual(row_words.training(before), "macer")
    self.assertEqual(row_words.remarks(before), [])

  def test_what_is_not_usual_is(self):
    config = base.get_config()
    config.train.update(weight_decay=5e-4, augment="none", recovery_epochs=3)
    config.attack.poisoned_fraction, config.data.target_points = 0.25, (7,)
    self.assertEqual(
      row_words.training(config.to_dict()),
      "gaussian, weight decay 0.0005, augmentation none, 3 more epochs on clean data",
    )
    poisoned, seen = row_words.remarks(config.to_dict())
    self.assertEqual(poisoned, "25 % of the class poisoned, the rest clean")
    self.assertIn("the attack saw them", seen)


if __name__ == "__main__":
  absltest.main()
