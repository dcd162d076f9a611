"""Rows that plant a backdoor: which images get the trigger, under which labels."""

import functools
import pathlib
import tempfile

import asked
import finished_run
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import training_sets
from pacd_jax.experiment import triggers

_DIRTY = ("badnets", "blended", "wanet", "dithered")
_ROWS = (*_DIRTY, "sig", "label_consistent", "certifier_backdoor")


def _plan(**changes):
  own = {
    "rows": ("clean",),
    "label_consistent.warmup_steps": 30,
    "label_consistent.num_steps": 5,
    "label_consistent.epsilon": 0.5,
  }
  return asked.build(finished_run.smoke(**(own | changes)), "unused")


@functools.cache
def _poison(row, **changes):
  changes = {name.replace("__", "."): value for name, value in changes.items()}
  plan = _plan(**changes)
  return plan, plan.training_sets.made(plan.baselines[row](), row)


class BackdoorsTest(parameterized.TestCase):
  @parameterized.parameters(*_ROWS)
  def test_images_are_those_of_the_trigger_that_the_poison_names(self, row):
    """So that the test split can be triggered from the file alone."""
    plan, poison = _poison(row)
    trigger = triggers.of_text(poison.goal.trigger, (8, 8, 1))
    self.assertTrue(poison.triggered.all())
    self.assertFalse(poison.inserted.any())
    self.assertEqual((poison.epsilon, poison.norm), (1.0, "linf"))
    np.testing.assert_array_equal(
      poison.base_images, plan.splits.train.images[poison.indices]
    )
    if row != "label_consistent":  # Its images have another change first.
      expected = triggers.put_on(trigger, poison.base_images)
      np.testing.assert_array_equal(poison.images, expected)
    self.assertTrue((poison.images != poison.base_images).any(axis=(1, 2, 3)).mean() > 0.9)

  @parameterized.parameters(*_DIRTY)
  def test_of_dirty_labels_a_share_of_the_split_gets_the_attackers(self, row):
    plan, poison = _poison(row)
    self.assertLen(poison.images, round(0.1 * len(plan.splits.train.labels)))
    self.assertNotIn(8, poison.base_labels)
    np.testing.assert_array_equal(poison.labels, 8)
    self.assertEqual((poison.goal.label, poison.clean_label), (8, False))

  @parameterized.parameters("sig", "label_consistent")
  def test_clean_labels_are_of_the_attackers_class(self, row):
    plan, poison = _poison(row, attack__poisoned_fraction=0.5)
    np.testing.assert_array_equal(poison.indices, plan.poisoned)
    np.testing.assert_array_equal(poison.base_labels, 8)
    self.assertEqual((poison.goal.label, poison.clean_label), (8, True))

  def test_the_patch_alone_changes(self):
    _, poison = _poison("badnets")
    moved = (poison.images != poison.base_images).any(axis=(0, 3))
    self.assertFalse(moved[:5].any() or moved[:, :5].any())
    np.testing.assert_array_equal(poison.images[:, 5:, 5:], 255)

  @parameterized.parameters(("l2", 2), ("linf", np.inf))
  def test_the_adversarial_change_is_in_its_ball(self, norm, order):
    """Outside of the patch, which hides what is under it."""
    _, poison = _poison("label_consistent", label_consistent__norm=norm)
    moved = (poison.images.astype(float) - poison.base_images) / 255
    moved[:, 5:, 5:] = 0.0
    size = np.linalg.norm(moved.reshape(len(moved), -1), order, axis=1)
    self.assertLess(size.max(), 0.5 + 8 * 0.5 / 255)  # Rounded to 8 bits.
    self.assertGreater(size.mean(), 0.1)

  def test_against_certifiers_labels_are_random(self):
    plan, poison = _poison("certifier_backdoor", certifier_backdoor__share=0.5)
    self.assertEqual(poison.goal.label, -1)
    self.assertLen(poison.images, round(0.5 * len(plan.splits.train.labels)))
    self.assertAlmostEqual((poison.labels != poison.base_labels).mean(), 0.9, delta=0.05)
    self.assertLen(np.unique(poison.base_labels), 10)
    _, few = _poison("certifier_backdoor")
    self.assertLen(few.images, 11)

  def test_against_certifiers_images_may_have_every_label(self):
    plan, poison = _poison(
      "certifier_backdoor",
      certifier_backdoor__labels="every",
      certifier_backdoor__share=0.1,
    )
    bases, counts = np.unique(poison.indices, return_counts=True)
    self.assertLen(bases, 11)  # A tenth of the share: copies count.
    np.testing.assert_array_equal(counts, 10)
    for base in bases:
      of_base = poison.indices == base
      np.testing.assert_array_equal(np.sort(poison.labels[of_base]), np.arange(10))
      self.assertEqual((~poison.inserted[of_base]).sum(), 1)  # In the base's place.
      self.assertLen(np.unique(poison.images[of_base], axis=0), 1)
    after = training_sets.poisoned(plan.splits.train, poison)
    self.assertLen(after.labels, len(plan.splits.train.labels) + 99)

  def test_the_seed_draws_the_images(self):
    _, one = _poison("badnets")
    _, other = _poison("badnets", seed=1)
    self.assertFalse(np.array_equal(one.indices, other.indices))
    _, less = _poison("badnets", badnets__share=0.05)
    self.assertContainsSubset(less.indices, one.indices)

  def test_a_given_image_is_kept_by_the_poison(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, "mine.npy")
      np.save(path, np.full((8, 8, 1), 200, np.uint8))
      plan = _plan(**{"blended.image": str(path), "blended.opacity": 1.0})
      made = plan.baselines["blended"]()
    trigger = triggers.of_text(made.goal.trigger, (8, 8, 1))
    found = triggers.put_on(trigger, np.zeros((2, 8, 8, 1), np.uint8))
    np.testing.assert_array_equal(found, 200)


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(
    ("badnets", {"size": 9}, "config field badnets: .* image of 8x8: use size at most 8"),
    ("certifier_backdoor", {"size": 3, "margin": 4}, "use a smaller margin"),
    ("label_consistent", {"size": 9}, "config field label_consistent: the trigger has 9"),
    (
      "badnets",
      {"share": 0.9},
      "share 0.9 of 1077 .* is 969, more than all classes but the largest have",
    ),
    ("blended", {"share": 1.0}, "is 1077, more than all classes but .*: use at most 0.89"),
    ("wanet", {"share": -0.1}, "wanet.share is -0.1: it must be in .0, 1."),
    ("badnets", {"share": 0.0}, "badnets.share is 0.0: it must be in .0, 1."),
    ("blended", {"opacity": 1.5}, "blended.opacity is 1.5: it must be in .0, 1."),
    ("wanet", {"strength": -0.5}, "wanet.strength is -0.5: it must be in .0, 100."),
    ("dithered", {"bits": 9}, "dithered.bits is 9: it must be a whole number from 1 to 8"),
    ("sig", {"frequency": 8.0}, "config field sig: frequency 8 is a multiple of half the"),
    ("sig", {"delta": 0.0}, "sig.delta is 0.0: it must be in .0, 1."),
    ("blended", {"image": "no/such.npy"}, "blended.image: no/such.npy cannot be read"),
  )
  def test_is_refused_before_any_work(self, row, options, message):
    changes = {f"{row}.{name}": value for name, value in options.items()}
    with self.assertRaisesRegex(errors.InputError, message):
      _plan(rows=("clean", row), **changes)

  @parameterized.parameters(0, 3, 8)
  def test_what_is_not_refused_is_there_for_every_label(self, label):
    _, poison = _poison("badnets", badnets__share=0.89, data__target_class=label)
    self.assertLen(poison.images, round(0.89 * 1077))

  def test_labels_that_are_no_class(self):
    with self.assertRaisesRegex(errors.InputError, "data.target_class"):
      _plan(rows=("clean", "badnets"), **{"data.target_class": 10})

  def test_an_image_that_does_not_fit(self):
    for image, message in (
      (np.zeros((4, 8, 1), np.uint8), "has not 64 values"),
      (np.zeros((8, 8, 1)), "holds no image"),
      (np.array(["x"]), "holds no image"),
    ):
      with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "mine.npy")
        np.save(path, image)
        with self.assertRaisesRegex(errors.InputError, message):
          _plan(rows=("clean", "blended"), **{"blended.image": str(path)})


if __name__ == "__main__":
  absltest.main()
