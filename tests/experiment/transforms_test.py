"""Runs with transforms: what is certified, what the attack has, what is refused."""

import pathlib
import tempfile

import asked
import changed_settings
import finished_run
import jax
import numpy as np
import pytest
from absl.testing import absltest

import pacd_jax
from pacd_jax import errors
from pacd_jax.certification import certificates, certify
from pacd_jax.data import arrays, training_sets
from pacd_jax.defenses.transforms import bit_depth, jpeg
from pacd_jax.experiment import (
  assembly,
  defences,
  door,
  schema,
  stages,
  weights_command,
)


def _config(inside=(), chain=(), knows=False, **overrides):
  fields = {"defense.inside": inside, "defense.chain": chain}
  fields["attack.knows_defense"] = knows
  return finished_run.smoke(**fields, **overrides)


@pytest.mark.long
class InsideTest(absltest.TestCase):
  """One run with JPEG inside the classifier, and a defence that shows in its page."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.workdir = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()), "run")
    config = _config(
      ("jpeg",),
      ("bit_depth",),
      rows=("clean", "brightness"),
      **{"train.num_victims": 1, "certify.num_points": 3},
    )
    cls.table = asked.run(config, cls.workdir)
    cls.plan = door.load(cls.workdir)

  def test_the_certificate_is_that_of_the_network_after_jpeg(self):
    plan = self.plan
    network, _ = assembly.network(plan.config, plan.splits)
    params = stages.load_victims(plan)["brightness", 0]
    points = plan.certify.indices
    images = arrays.to_float(plan.certify.dataset.images[points])

    def certified(apply):
      return certify.certify(
        apply,
        params,
        images,
        plan.certify_key(0),
        labels=plan.certify.dataset.labels[points],
        **plan.certify.settings._asdict(),
      )

    def by_hand(params, images):
      return network.apply(params, jpeg.jpeg(images, quality=10))

    record = certificates.read(plan.folder.certificate("brightness", 0))
    predicted, radii, _ = certified(by_hand)
    np.testing.assert_array_equal(record.predict, predicted)
    np.testing.assert_allclose(record.radius, radii, atol=1e-6)
    _, of_network, _ = certified(network.apply)
    self.assertFalse(np.allclose(of_network, radii, atol=1e-3))

  def test_it_is_named(self):
    self.assertEqual(self.plan.model_name, "linear after jpeg")
    path = self.workdir / "report" / "index.html"
    page = path.read_text(encoding="utf-8")
    self.assertIn("victims (linear after jpeg)", page)
    self.assertTrue((path.parent / "defence_brightness.png").exists())
    self.assertIn("as the run&#x27;s defences left them", page)

  def test_its_features_are_the_networks(self):
    images = arrays.to_float(self.plan.splits.test.images[:5])
    params = stages.load_victims(self.plan)["clean", 0]
    found = self.plan.model.features(params, images)
    wanted = jpeg.jpeg(images, quality=10).reshape(5, -1)
    np.testing.assert_allclose(found, wanted, atol=1e-6)

  def test_weights_of_the_network_alone_are_not_exported(self):
    with self.assertRaisesRegex(errors.InputError, "no victim without jpeg"):
      weights_command._run(["export", str(self.workdir), str(self.workdir / "it")])


class KnownTest(absltest.TestCase):
  def _parts(self, **fields):
    """The surrogate's classifier, and what is known of the chain."""
    config = door.parse(_config(**fields, **{"attack.selection.corners": True}))
    plan = door.build(config, "/nowhere")
    key = jax.random.key(0)
    return plan, defences.known(config, plan.splits, plan.model, key)

  def test_the_surrogate_has_what_is_inside_only_if_it_knows(self):
    for knows in (False, True):
      plan, known = self._parts(inside=("bit_depth",), knows=knows)
      images = arrays.to_float(plan.splits.test.images[:5])
      params = plan.model.init(jax.random.key(1), (8, 8, 1))
      given = bit_depth.bit_depth(images, bits=2) if knows else images
      network, _ = assembly.network(plan.config, plan.splits)
      found = plan.attack.selection.model.apply(params, images)
      np.testing.assert_allclose(found, network.apply(params, given), atol=1e-6)
      self.assertIsNone(known.transform)
      victim = plan.model.apply(params, images)
      self.assertEqual(np.allclose(victim, found, atol=1e-3), knows)

  def test_it_knows_the_transforms_of_the_chain_and_no_filter(self):
    plan, unknown = self._parts(chain=("random_share", "bit_depth"))
    whole = training_sets.whole(plan.splits.train)
    self.assertIsNone(unknown.transform)
    self.assertIs(unknown.defend(whole), whole)
    plan, known = self._parts(chain=("random_share", "bit_depth"), knows=True)
    images = arrays.to_float(whole.images[:9])
    wanted = bit_depth.bit_depth(images, bits=2)
    np.testing.assert_array_equal(known.transform(images), wanted)
    defended = known.defend(whole)
    self.assertLen(defended.present, len(whole.present))
    levels = np.rint(255 * wanted).astype(np.uint8)
    np.testing.assert_array_equal(defended.images[:9], levels)
    self.assertIsNotNone(plan.attack.selection.defend(whole))

  def test_it_knows_filters_on_pixels_before_any_transform(self):
    plan, known = self._parts(chain=("l2",), knows=True)
    self.assertLen(known.penalties, 1)
    whole = training_sets.whole(plan.splits.train)
    self.assertLess(len(known.defend(whole).present), len(whole.present))
    for chain in (("blur", "l2"), ("loss", "blur"), ("blur",)):
      self.assertEqual(self._parts(chain=chain, knows=True)[1].penalties, ())
    self.assertEqual(self._parts(chain=("l2",))[1].penalties, ())
    for of_features in (("slab",), ("l2", "slab")):
      fields = {"chain": of_features, "knows": True, "defense.slab.of": "features"}
      if len(of_features) == 2:
        self.assertLen(self._parts(**fields)[1].penalties, 1)
      else:
        with self.assertRaisesRegex(errors.InputError, "no filter l2 or slab on pixels"):
          self._parts(**fields)

  @pytest.mark.long
  def test_the_denoiser_of_the_chain_is_the_very_one(self):
    options = {"defense.denoise.num_steps": 3, "defense.denoise.width": 4}
    fields = {"chain": ("identity", "denoise"), "knows": True}
    plan, known = self._parts(**fields, **options)
    whole = training_sets.whole(plan.splits.train)
    levels = 255 * np.asarray(known.transform(arrays.to_float(whole.images[:9])))
    found = known.defend(whole).images[:9]
    self.assertLess(np.abs(levels.clip(0, 255) - found).max(), 0.502)
    self.assertFalse(np.array_equal(found, whole.images[:9]))

  @pytest.mark.long
  def test_an_attack_that_knows_makes_another_poison(self):
    poisons = []
    for knows in (False, True):
      with tempfile.TemporaryDirectory() as folder:
        config = _config((), ("blur",), knows, rows=("clean", "pacd"))
        plan = asked.build(config, folder)
        stages.run_alone(plan, ("attack",))
        poisons.append(plan.training_sets.poison("pacd").images)
    self.assertFalse(np.array_equal(*poisons))


class RefusedTest(changed_settings.TestCase):
  def test_knowledge_of_no_defence(self):
    values = schema.values(door.parse(_config(chain=("random_share",), knows=True)))
    self.assert_refused(values, "attack.knows_defense is True", "jpeg", "set it to False")

  def test_unknown_names_and_options_out_of_range(self):
    for name, value in (
      ("defense.inside", ("random_share",)),
      ("defense.inside", ("jpeg", "jpeg")),
      ("defense.jpeg.quality", 0),
      ("defense.bit_depth.bits", 9),
      ("defense.blur.sigma", 0.0),
      ("defense.denoise.noise", 2.0),
      ("attack.knows_defense", 1),
    ):
      refused = changed_settings.with_field(name, value)
      self.assert_refused(refused, name)

  def _victims(self, inside):
    images = np.random.default_rng(0).integers(0, 256, (90, 8, 8, 1), np.uint8)
    data = pacd_jax.split_arrays(images, np.arange(90) % 3)
    fields = {"train.batch_size": 30, "defense.inside": inside}
    config = schema.replaced(door.parse(_config()), fields)
    return data, pacd_jax.train_victims(data.train, config)

  def test_victims_of_arrays_have_no_trusted_images(self):
    with self.assertRaisesRegex(errors.InputError, "has denoise, which needs a run"):
      self._victims(("denoise",))

  @pytest.mark.long
  def test_victims_of_arrays_have_what_is_inside(self):
    data, victims = self._victims(("bit_depth",))
    images = arrays.to_float(data.test.images)
    squeezed = bit_depth.bit_depth(images, bits=2)
    found = [victims.apply(victims.params[0], each) for each in (images, squeezed)]
    np.testing.assert_allclose(*found, atol=1e-5)


if __name__ == "__main__":
  absltest.main()
