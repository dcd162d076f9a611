"""A run in words: nothing of what is usual, all of what is not; and what its rows are."""

import dataclasses

from absl.testing import absltest

from pacd_jax.experiment import config, kinds, schema, words


class RunWordsTest(absltest.TestCase):
  def test_what_is_usual_is_not_said(self):
    usual = config.Config()
    self.assertEqual(words.training(usual.train), "gaussian")
    self.assertEqual(words.remarks(usual), [])

  def test_a_weight_decay_that_is_chosen(self):
    chosen = {"train.weight_decay_choices": (0.0, 0.1)}
    unusual = schema.replaced(config.Config(), chosen)
    expected = "gaussian, weight decay chosen on each training set"
    self.assertEqual(words.training(unusual.train), expected)

  def test_features_that_are_frozen(self):
    frozen = {"train.frozen_features": "validation", "train.weight_decay": 0.1}
    unusual = schema.replaced(config.Config(), frozen)
    expected = "gaussian, last layer alone, on features of clean validation images, weight"
    self.assertEqual(words.training(unusual.train), f"{expected} decay 0.1")

  def test_what_is_not_usual_is(self):
    changes = {
      "train.weight_decay": 5e-4,
      "train.augment": "none",
      "train.stopping.every": 5,
      "train.mix": "cutmix",
      "train.clip_norm": 1.0,
      "train.noise_multiplier": 0.01,
      "train.recovery_epochs": 3,
      "attack.poisoned_fraction": 0.25,
      "data.target_points": (7,),
    }
    unusual = schema.replaced(config.Config(), changes)
    self.assertEqual(
      words.training(unusual.train),
      "gaussian, weight decay 0.0005, augmentation none, cutmix, gradients clipped to 1, "
      "noise multiplier 0.01, 3 more epochs on clean data, early stopping by the ACR on "
      "trusted images",
    )
    poisoned, seen = words.remarks(unusual)
    self.assertEqual(poisoned, "25 % of the class poisoned, the rest clean")
    self.assertIn("the attack saw them", seen)

  def test_a_manifold_that_training_moves_along(self):
    unusual = schema.replaced(config.Config(), {"train.loss": "dual_manifold"})
    (found,) = words.remarks(unusual)
    self.assertEqual(found, "training moves 16 latents of pca, fitted on validation images")

  def test_an_attack_on_other_certificates(self):
    other = schema.replaced(config.Config(), {"certify.procedure": "crown"})
    (found,) = words.remarks(other)
    self.assertEqual(
      found,
      "the attack minimises acr, and not certified_margin, the objective of crown",
    )
    own = {"certify.procedure": "ibp", "attack.objective": "certified_margin"}
    self.assertEmpty(words.remarks(schema.replaced(config.Config(), own)))
    given = dataclasses.replace(other, poisons={"pacd": "a_run"})
    self.assertEmpty(words.remarks(given))
    for usual in (
      {"certify.procedure": "ibp", "rows": ("clean",)},
      {"attack.objective": "accuracy"},
    ):
      self.assertEmpty(words.remarks(schema.replaced(config.Config(), usual)))

  def test_procedures_have_objectives_that_there_are(self):
    for entry in kinds.PROCEDURES:
      self.assertIn(entry.objective, ("", *kinds.OBJECTIVES.names))


class RowsTest(absltest.TestCase):
  def test_every_row_has_its_words_and_a_line_of_its_own(self):
    of_rows = [words.origin(row, config.Config()) for row in kinds.ROWS.names]
    self.assertLen(set(filter(None, of_rows)), len(kinds.ROWS.names))
    styles = [words.style(row) for row in kinds.ROWS.names]
    self.assertLen(set(map(str, styles)), len(styles))

  def test_the_attack_on_accuracy_is_told_from_that_on_the_radius(self):
    changed = schema.replaced(config.Config(), {"attack.objective": "accuracy"})
    self.assertIn("the attack on accuracy", words.origin("pacd", changed))

  def test_a_poison_from_elsewhere_is_named_by_its_place(self):
    given = schema.replaced(config.Config(), {"poisons.mine": "there.npz"})
    self.assertEqual(words.origin("mine", given), "the poison there.npz, as given.")
    self.assertIsNone(words.style("mine"))


if __name__ == "__main__":
  absltest.main()
