"""The manifold of a run: what it is fitted on, what is refused, and attacks along it."""

import contextlib
import io
import tempfile
from unittest import mock

import asked
import changed_settings
import finished_run
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

import pacd_jax
from configs import digits_dual_manifold
from pacd_jax import errors
from pacd_jax.data import arrays
from pacd_jax.experiment import door, evade_command, kinds, manifolds, schema, stages
from pacd_jax.experiment.entries import data_sets
from pacd_jax.manifolds import manifold, pca
from pacd_jax.runtime import run_folder

_SPLITS = data_sets.load("digits")


def _config(**changes):
  flat = {name.replace("__", "."): value for name, value in changes.items()}
  return schema.replaced(door.parse(finished_run.smoke()), flat)


class OfRunTest(parameterized.TestCase):
  def test_it_is_fitted_on_the_validation_images(self):
    found = manifolds.of_run(_config(data__pca__latent_dimension=5), _SPLITS)
    self.assertEqual(found.latent_dimension, 5)
    latents = found.encode(jnp.asarray(arrays.to_float(_SPLITS.validation.images)))
    np.testing.assert_allclose(latents.std(axis=0), np.ones(5), atol=1e-4)

  def test_it_is_the_same_for_all_of_a_run_and_no_other(self):
    of = manifolds.of_run
    first = of(_config(), _SPLITS)
    self.assertIs(of(_config(train__num_epochs=9), _SPLITS), first)
    for other in ({"seed": 1}, {"data__pca__latent_dimension": 3}):
      self.assertIsNot(of(_config(**other), _SPLITS), first)
    swapped = _SPLITS._replace(validation=_SPLITS.test)
    self.assertIsNot(of(_config(), swapped), first)

  def test_losses_that_move_along_it_have_it(self):
    for entry in kinds.LOSSES:
      found = manifolds.of_loss(_config(), _SPLITS, entry.name)
      self.assertEqual(found is not None, entry.name in ("on_manifold", "dual_manifold"))

  def test_it_is_fitted_once_where_it_is_first_traced(self):
    with mock.patch.object(pca, "fit", wraps=pca.fit) as fit:
      found = manifolds.of_run(_config(data__pca__latent_dimension=7), _SPLITS)
      fit.assert_not_called()
      moved = jax.jit(jax.vmap(lambda x: manifold.project(found, x[None])[0]))(_images(3))
      np.testing.assert_allclose(moved, manifold.project(found, _images(3)), atol=1e-6)
      fit.assert_called_once()


def _images(count):
  return jnp.asarray(arrays.to_float(_SPLITS.test.images[:count]))


class RefusedTest(changed_settings.TestCase):
  def test_more_latents_than_directions(self):
    for loss in ("train.loss", "attack.loss"):
      config = _config(data__pca__latent_dimension=60)
      config = schema.replaced(config, {loss: "dual_manifold"})
      with (
        tempfile.TemporaryDirectory() as folder,
        self.assertRaisesRegex(
          errors.InputError,
          "field data.pca: latent_dimension is 60, but the 360 images .* use 1 to 59",
        ) as caught,
      ):
        door.build(config, folder)
      self.assertLen(str(caught.exception).splitlines(), 1)

  def test_fields_out_of_range(self):
    for name, value in (
      ("data.manifold", "gan"),
      ("data.pca.latent_dimension", 0),
      ("data.vae.width", 0),
      ("data.vae.noise", 0.0),
      ("train.on_manifold.radius", -0.1),
      ("attack.dual_manifold.num_steps", 0),
      ("train.dual_manifold.weight", -1.0),
    ):
      refused = changed_settings.with_field(name, value)
      self.assert_refused(refused, f"config field {name} is {value!r}")

  def test_victims_of_arrays_have_no_trusted_images(self):
    config = _config(train__loss="on_manifold")
    with self.assertRaisesRegex(errors.InputError, "train.loss=on_manifold needs a run"):
      pacd_jax.train_victims(_SPLITS.train, config)


def _evade(*arguments):
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = evade_command.main([*map(str, arguments), "--attack=on_manifold"])
  return status, said.getvalue(), wrong.getvalue()


class EvadeTest(finished_run.FinishedRunTestCase):
  @pytest.mark.long
  def test_linear_victims_on_a_linear_manifold(self):
    """Distances of latents are margins over l1 norms, and accuracies follow from them."""
    run = self.copy_finished()
    given = "--rows=clean", "--epsilon=0,0.2,8", "--num_steps=5"
    status, said, wrong = _evade(run, *given)
    self.assertEqual(status, 0, wrong)
    self.assertRegex(said, r"on-manifold robust 0\.2 % +on-manifold robust 8 %")
    self.assertIn("G(E(x) + lambda) of pca with 16 latents", said)
    (path,) = (run / "evasion").glob("on_manifold_linf_base_*.json")
    made = run_folder.read_json(path)
    self.assertEqual(made["manifold"], {"name": "pca", "latent_dimension": 16})
    plan, params = door.load(run), None
    params = stages.load_victims(plan)
    found = manifolds.of_run(plan.config, plan.splits)
    zero = jnp.zeros((1, 16), jnp.float32)
    self.assertLen(made["victims"], 2)
    for each in made["victims"]:
      self.assertIsNone(each["certified_accuracy"])
      points = each["points"]
      images = arrays.to_float(plan.certify.dataset.images[points["idx"]])

      def logits(z, seed=each["seed"]):
        return plan.model.apply(params["clean", seed], found.decode(z))

      at = np.asarray(logits(found.encode(images)), np.float64)
      slopes = np.asarray(logits(jnp.eye(16)) - logits(zero), np.float64)  # `[d, K]`
      least = []
      for values, label in zip(at, points["label"], strict=True):
        margins = values[label] - np.delete(values, label)
        steps = slopes[:, [label]] - np.delete(slopes, label, axis=1)
        least.append(max(0.0, (margins / np.abs(steps).sum(axis=0)).min()))
      distance = np.array(points["distance"])
      self.assertTrue((distance >= np.array(least) - 1e-3).all())
      # PGD raises the cross-entropy, which is not the way to the nearest of ten classes.
      self.assertTrue((distance <= 4.0 * np.array(least) + 0.05).all())
      self.assertEqual(each["robust_accuracy"][0], np.mean(np.array(least) > 0.0))
      self.assertEqual(each["robust_accuracy"][1:], [np.mean(distance > 0.2), 0.0])

  @pytest.mark.long
  def test_points_of_all_classes_have_no_certificates(self):
    run = self.copy_finished()
    given = "--rows=clean", "--all_classes", "--num_points=9", "--num_steps=1"
    status, said, wrong = _evade(run, *given)
    self.assertEqual(status, 0, wrong)
    self.assertIn("points are of all classes, without certificates", said)
    self.assertNotIn("certified", said.splitlines()[0])
    (path,) = (run / "evasion").glob("on_manifold_linf_base_*.json")
    made = run_folder.read_json(path)
    self.assertTrue(made["all_classes"])
    for each in made["victims"]:
      labels = _SPLITS.test.labels[each["points"]["idx"]].tolist()
      self.assertEqual(each["points"]["label"], labels)
      self.assertGreater(len(set(labels)), 3)
      self.assertIsNone(each["acr"])

  @parameterized.parameters(
    (("--smoothed",), "--smoothed: on_manifold moves latents"),
    (("--epsilon=9",), "--epsilon=9: use units of latents, from 0 to 8 in linf"),
    (("--norm=l2",), "--norm=l2: on_manifold is for linf"),
  )
  @pytest.mark.long
  def test_refuses(self, given, message):
    status, said, wrong = _evade(self.finished, *given)
    self.assertEqual((status, said), (2, ""))
    self.assertRegex(wrong, f"^error: {message}")

  @pytest.mark.long
  def test_refuses_more_latents_than_directions(self):
    run = self.copy_finished()
    config = run_folder.read_json(run / "config.json")
    config["data"]["pca"]["latent_dimension"] = 60
    run_folder.write_json(run / "config.json", config)
    _, _, wrong = _evade(run)
    self.assertRegex(wrong, "^error: config field data.pca: latent_dimension is 60")


@pytest.mark.long
class WholeRunTest(parameterized.TestCase):
  @parameterized.parameters("pca", "vae")
  def test_the_smoke_of_its_config(self, kind):
    config = digits_dual_manifold.get_config("smoke")
    config.model.name = "linear"
    config.data.manifold = kind
    with tempfile.TemporaryDirectory() as folder:
      table = asked.run(config, f"{folder}/run")
      self.assertIn("training dual_manifold", table)
      status, _, wrong = _evade(f"{folder}/run", "--rows=pacd", "--num_steps=2")
      self.assertEqual(status, 0, wrong)


if __name__ == "__main__":
  absltest.main()
