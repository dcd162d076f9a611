"""What a config's fields become: victims' optimisers and images, the attacker's view."""

import dataclasses
from unittest import mock

import asked
import chex
import finished_run
import jax
import jax.numpy as jnp
import long
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import arrays
from pacd_jax.experiment import assembly, attack_assembly, door, kinds, manifolds
from pacd_jax.experiment.entries import data_sets, networks
from pacd_jax.models import augment, microbatches

_WHOLE = ("adversarial", "on_manifold", "dual_manifold", "ibp", "crown_ibp")
_SELECTED = {"attack.selection.corners": True}  # Candidates, so that surrogates choose.


def _build(**overrides):
  return asked.build(finished_run.smoke(**overrides), "unused")


def _trainings(**overrides):
  """What `train.make` was given for a selection's fresh surrogates, and for victims."""
  with mock.patch.object(assembly.train, "make", wraps=assembly.train.make) as make:
    _build(**_SELECTED, **overrides)
  return make.call_args_list


class LossesTest(parameterized.TestCase):
  @parameterized.parameters(*kinds.LOSSES.names)
  @long.after(2)
  def test_one_that_can_be_taken_apart_has_the_whole_batchs_gradient(self, name):
    config = door.parse(finished_run.smoke(**{"train.loss": name}))
    splits = data_sets.load("digits")
    model = networks.make("mlp", num_classes=10, image_shape=(8, 8, 1))
    manifold = manifolds.of_loss(config, splits, name)
    loss = assembly.loss(config.train, model, config.sigma, manifold)
    if loss.num_noise_draws is None:
      self.assertIn(name, _WHOLE)
      return
    self.assertTrue(kinds.LOSSES[name].is_mean)
    params = model.init(jax.random.key(0), (8, 8, 1))
    images = arrays.to_float(splits.train.images[:9])
    given = params, images, jnp.asarray(splits.train.labels[:9])
    expected = jax.value_and_grad(loss, has_aux=True)(*given, jax.random.key(1))
    found = microbatches.value_and_grad(
      loss,
      *given,
      jax.random.key(1),
      jax.random.key(2),
      size=3,
      num_noise_draws=loss.num_noise_draws,
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-3, atol=1e-4)


class VictimsTest(parameterized.TestCase):
  def test_gradients_may_be_in_parts(self):
    """But for mixtures, clipped gradients, and losses that are no mean over images."""

    def found(**fields):
      with mock.patch.object(assembly.microbatches, "gradient_fn", return_value="parts"):
        return _trainings(**fields)[-1].kwargs["gradient_fn"]

    self.assertEqual(found(), "parts")
    self.assertIsNone(found(**{"train.mix": "mixup"}))
    self.assertNotEqual(found(**{"train.clip_norm": 1.0}), "parts")
    entry = dataclasses.replace(kinds.LOSSES["gaussian"], is_mean=False)
    with mock.patch.dict(kinds.LOSSES._entries, gaussian=entry):
      self.assertIsNone(found(**{"train.loss": "gaussian"}))

  def test_weight_decay_is_of_victims_alone(self):
    """theta <- theta - lr (m / sqrt(v) + w theta): at the first step, m / sqrt(v) = +-1."""
    rate = {"train.learning_rate": 0.01, "train.schedule": "constant"}
    params, gradient = np.array([2.0, -3.0, 0.0]), np.array([0.5, 0.25, -4.0])
    found = []
    for call in _trainings(**rate, **{"train.weight_decay": 0.5}):
      optimizer = call.args[2](100)
      updates, _ = optimizer.update(gradient, optimizer.init(params), params)
      found.append(updates)
    adam = -0.01 * np.sign(gradient)
    np.testing.assert_allclose(found, [adam, adam - 0.01 * 0.5 * params], atol=1e-6)

  @parameterized.parameters(
    ("none", "", None, None),
    ("none", "crop_and_flip", augment.crop_and_flip, None),
    ("crop_and_flip", "", augment.crop_and_flip, augment.crop_and_flip),
    ("crop_and_flip", "none", None, augment.crop_and_flip),
  )
  def test_the_attacker_knows_no_augmentation_of_the_victims_own(
    self, of_data, own, of_victims, of_surrogates
  ):
    config = {"data.augment": of_data, "train.augment": own}
    found = [call.kwargs["augment"] for call in _trainings(**config)]
    self.assertEqual(found, [of_surrogates, of_victims])
    model = networks.make("linear", num_classes=10, image_shape=(8, 8, 1))
    settings = attack_assembly.settings(door.parse(finished_run.smoke(**config)), model)
    self.assertIs(settings.augment, of_surrogates)

  def test_the_attacker_knows_nothing_of_mixtures_and_clipped_gradients(self):
    for fields, name in (
      ({"train.mix": "mixup", "train.mixup.alpha": 0.5}, "mix"),
      ({"train.clip_norm": 2.0, "train.noise_multiplier": 0.1}, "gradient_fn"),
    ):
      of_surrogates, of_victims = (call.kwargs[name] for call in _trainings(**fields))
      self.assertIsNone(of_surrogates)
      expected = {n.split(".")[-1]: v for n, v in fields.items() if n != "train.mix"}
      self.assertContainsSubset(expected.items(), of_victims.keywords.items())

  def test_an_attack_that_knows_mixes_as_victims_do(self):
    fields = {"train.mix": "mixup", "train.mixup.alpha": 0.5}
    for knows in (False, True):
      config = fields | {"attack.knows_defense": knows}
      of_surrogates, of_victims = (call.kwargs["mix"] for call in _trainings(**config))
      model = networks.make("linear", num_classes=10, image_shape=(8, 8, 1))
      settings = attack_assembly.settings(door.parse(finished_run.smoke(**config)), model)
      for found in (of_surrogates, settings.mix):
        self.assertEqual(found is not None, knows)
        if knows:
          self.assertEqual(found.keywords, of_victims.keywords)

  def test_a_loss_of_surrogates_that_takes_no_mixed_labels_is_refused(self):
    mixes = {"train.mix": "cutmix", "attack.loss": "macer"}
    _build(**mixes)
    with self.assertRaisesRegex(errors.InputError, "attack.loss=macer takes no mixed lab"):
      _build(**mixes, **{"attack.knows_defense": True})

  def test_a_box_that_is_larger_than_the_images_is_refused(self):
    for group in ("data", "train"):
      message = f"config field {group}.augment: cutout.size is 16, .* 8x8 .* such as 4"
      with self.assertRaisesRegex(errors.InputError, message):
        _build(**{f"{group}.augment": "cutout"})
      _build(**{f"{group}.augment": "cutout", f"{group}.cutout.size": 4})


class TargetPointsTest(parameterized.TestCase):
  """Of the digits' test split, 7, 15 and 21 are the first of class 8."""

  def test_attack_selection_and_certificates_are_of_these_points_alone(self):
    sizes = {"attack.val_batch": 2, "certify.num_points": 0}
    plan = _build(**_SELECTED, **sizes, **{"data.target_points": (21, 7, 15)})
    test, seen = plan.splits.test, plan.attack.attack_data()
    np.testing.assert_array_equal(seen.val_images, test.images[[7, 15, 21]])
    np.testing.assert_array_equal(seen.val_labels, [8, 8, 8])
    for certified in (plan.certify, plan.attack.selection.certify):
      self.assertEqual(certified.split, "test")
      self.assertIs(certified.dataset, test)
      np.testing.assert_array_equal(certified.indices, [7, 15, 21])

  @parameterized.parameters(
    ((7, 0), {}, "data.target_points has 0, which is of class 7, not .*=8: .* as 7, 15"),
    ((7, 360), {}, "data.target_points has 360, but .* has 360 images: use at most 359"),
    ((7, 15), {"attack.val_batch": 3}, "attack.val_batch is 3, .* use at most 2"),
    ((7, 15), {"certify.num_points": 3}, "certify.num_points is 3, .* use at most 2"),
    ((7,), {"attack.selection.num_points": 2}, "selection.num_points is 2, .* at most 1"),
    ((7,), {"certify.split": "validation"}, "of the test split, but .* set it to test"),
    ((7, 7), {}, "data.target_points is .*different places"),
    ((-1,), {}, "data.target_points is .*different places"),
    ((7.0,), {}, "data.target_points is .*different places"),
    ((True,), {}, "data.target_points is .*different places"),
  )
  def test_refuses(self, points, changes, message):
    sizes = {"attack.val_batch": 1, "certify.num_points": 0}
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      _build(**sizes | changes, **{"data.target_points": points})
    self.assertNotIn("\n", str(caught.exception))


if __name__ == "__main__":
  absltest.main()
