"""A run whose victims are ensembles: its files, its numbers, and what is refused."""

import contextlib
import io

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from configs import cifar10_aggregation, digits_aggregation, mnist_aggregation
from pacd_jax import errors
from pacd_jax.certification import certificates, poisoning
from pacd_jax.experiment import checks, door, stages, together, weights_command
from pacd_jax.experiment.entries import data_sets
from pacd_jax.results import ensembles
from pacd_jax.runtime import run_folder, sharding


def _config(variant="smoke", **overrides):
  config = digits_aggregation.get_config(variant)
  config.rows = ("clean",)
  config.train.num_epochs = 15
  config.train.num_victims = 1
  config.update_from_flattened_dict(overrides)
  return config


class EnsembleRunTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = finished_run.pathlib.Path(
      cls.enterClassContext(finished_run.tempfile.TemporaryDirectory()), "run"
    )
    cls.table = asked.run(_config(), cls.folder)
    cls.row = run_folder.read_json(cls.folder / "results.json")["rows"][0]

  def _copy(self):
    folder = finished_run.pathlib.Path(
      self.enterContext(finished_run.tempfile.TemporaryDirectory()), "run"
    )
    finished_run.shutil.copytree(self.folder, folder)
    return folder

  def test_votes_are_those_of_the_networks(self):
    """Of each network, by itself, without what an ensemble is made by."""
    plan = door.load(self.folder)
    params = stages.load_victims(plan)["clean", 0]
    orders = poisoning.read_orders(plan.folder.against_poison("clean", 0))
    images = plan.splits.test.images.reshape(len(orders), -1) / np.float32(255)
    layer = params["Dense_0"]
    self.assertEqual(orders.shape, (len(images), 9, 1))
    for number in range(9):
      logits = images @ np.asarray(layer["kernel"][number])
      logits += np.asarray(layer["bias"][number])
      same = orders[:, number, 0] == np.argmax(logits, axis=1)
      self.assertGreater(same.mean(), 0.999)

  def test_results_are_those_of_the_files(self):
    record = poisoning.read(self.folder / "certificates/clean/against_poison/seed_0")
    votes = poisoning.read_orders(self.folder / "certificates/clean/against_poison/seed_0")[
      :, :, 0
    ]
    counts = np.stack([(votes == label).sum(axis=1) for label in range(10)], axis=1)
    np.testing.assert_array_equal(record.predict, counts.argmax(axis=1))
    right = record.predict == record.label
    self.assertEqual(self.row["accuracy"], [float(right.mean())])
    found = self.row["ensemble"]
    self.assertEqual(found["unit"], "replaced images")
    certified = (record.radius_of_truth >= found["median"][0]).mean()
    above = (record.radius_of_truth > found["median"][0]).mean()
    self.assertLess(above, 0.5)
    self.assertGreaterEqual(certified, 0.5)

  def test_acr_does_not_rise_with_the_poisoned_images(self):
    levels = self.row["ensemble"]["levels"]
    self.assertEqual([each["poisoned_images"] for each in levels], [1, 3])
    acrs = [self.row["acr_mean"], *(each["acr_mean"] for each in levels)]
    self.assertEqual(acrs, sorted(acrs, reverse=True))
    self.assertGreater(acrs[0], acrs[-1])
    for heading in ("median radius", "ACR, m = 1", "ACR, m = 3", "replaced images"):
      self.assertIn(heading, self.table)

  def test_pictures_and_page_have_both_curves(self):
    page = (self.folder / "report/index.html").read_text()
    for name, words in (
      ("against_poison", "Certified accuracy against the change of the training set"),
      ("acr_by_poisoned_images", "ACR against the number of changed training images"),
    ):
      self.assertTrue((self.folder / f"report/{name}.png").exists())
      self.assertIn(words, page)
    self.assertIn("ACR, m = 3", page)

  def test_what_a_kill_leaves_is_taken_up(self):
    folder = self._copy()
    (folder / "certificates/clean/against_poison/seed_0.json").unlink()
    path = folder / "certificates/clean/poisoned_3/seed_0.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    asked.run(_config(), folder)
    for name in ("poisoned_3", "poisoned_1", ""):
      found, expected = (
        certificates.read(of / "certificates/clean" / name / "seed_0")
        for of in (folder, self.folder)
      )
      np.testing.assert_array_equal(found.counts, expected.counts)
    again = ensembles.read(folder / "certificates/clean")[0]
    first = ensembles.read(self.folder / "certificates/clean")[0]
    np.testing.assert_array_equal(again.radius, first.radius)

  def test_radii_that_the_votes_do_not_certify_are_refused(self):
    folder = self._copy()
    path = folder / "certificates/clean/against_poison/seed_0"
    record, orders = poisoning.read(path), poisoning.read_orders(path)
    record.radius[5] += 1
    poisoning.write(
      path,
      idx=record.idx,
      label=record.label,
      predict=record.predict,
      radius=record.radius,
      orders=orders,
      sidecar=record.sidecar,
      seconds=1.0,
    )
    with self.assertRaisesRegex(errors.InputError, "not what its votes certify: delete"):
      asked.run(_config(), folder)

  @pytest.mark.long
  def test_without_levels_the_ordinary_certificates_are_the_same(self):
    folder = self._copy().with_name("plain")
    asked.run(_config(**{"certify.poisoned_images": ()}), folder)
    found, expected = (
      certificates.read(of / "certificates/clean/seed_0") for of in (folder, self.folder)
    )
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.radius, expected.radius)

  @parameterized.parameters("adaptive", "aca")
  @pytest.mark.long
  def test_other_sampling_rules_certify_without_levels(self, mode):
    folder = self._copy().with_name(mode)
    own = {"certify.poisoned_images": (), "certify.mode": mode}
    asked.run(_config(**own), folder)
    record = certificates.read(folder / "certificates/clean/seed_0")
    self.assertEqual(record.sidecar["mode"], mode)
    self.assertGreater(record.counts.sum(), 0)

  def test_weights_are_of_single_networks(self):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
      out = str(self.folder.with_name("w.safetensors"))
      status = weights_command.main(["export", str(self.folder), out, "--row=clean"])
    self.assertEqual(status, 2)
    self.assertRegex(said.getvalue(), r"\Aerror: .* 9 networks each.*\n\Z")

  @parameterized.parameters("finite", "run_off", "content", "rab")
  @pytest.mark.long
  def test_every_aggregation_runs(self, name):
    folder = self._copy().with_name(name)
    own = {"train.ensemble.num_models": 18}
    own |= {"train.ensemble.finite_aggregation.spread": 2}
    asked.run(_config(f"smoke,{name}", **own), folder)
    row = run_folder.read_json(folder / "results.json")["rows"][0]
    self.assertGreater(row["accuracy_mean"], 0.5)
    self.assertLen(row["ensemble"]["median"], 1)


class MemoryTest(absltest.TestCase):
  def test_networks_that_do_not_fit_are_refused(self):
    """20 linear networks of 650 numbers with two moments, on each core and once more."""
    numbers = {"train.ensemble.num_models": 10, "train.num_victims": 2}
    plan = asked.build(_config(**numbers), "/tmp/pacd_jax_never_made")
    copies = sharding.batch_mesh().size + 1
    least = 20 * 3 * 650 * 4 * copies
    checks.check_networks(plan, free=least + 1000 * copies)
    with self.assertRaisesRegex(errors.InputError, "10 networks for each of 2 .*lower tr"):
      checks.check_networks(plan, free=least)

  @pytest.mark.long
  def test_before_any_work(self):
    """A thousand networks of a million numbers or more."""
    own = {"train.ensemble.num_models": 1000, "train.batch_size": 1}
    own |= {"model.name": "resnet56", "model.norm": "affine", "train.num_victims": 100}
    folder = finished_run.pathlib.Path(
      self.enterContext(finished_run.tempfile.TemporaryDirectory())
    )
    with self.assertRaisesRegex(errors.InputError, "GiB while they train.*are free"):
      asked.run(_config(**own), folder)
    self.assertEqual([path.name for path in folder.iterdir()], [".lock"])


class ConfigsTest(parameterized.TestCase):
  @parameterized.product(
    config=(digits_aggregation, mnist_aggregation, cifar10_aggregation),
    variant=("", "finite", "run_off", "content", "rab"),
  )
  def test_every_variant_can_be_run(self, config, variant):
    made = door.parse(config.get_config(variant))
    together.check(made)
    name = made.train.ensemble.aggregation.name
    expected = {"finite": "finite_aggregation", "content": "deep_partition"}
    self.assertEqual(name, expected.get(variant, variant) or "deep_partition")


class RefusedTest(parameterized.TestCase):
  def test_equal_images_have_no_rank(self):
    """Before any work."""

    def twice(*args, **kwargs):
      splits = data_sets.load(*args, **kwargs)
      images = splits.train.images.copy()
      images[7] = images[300]
      return splits._replace(train=splits.train._replace(images=images))

    rank = {"train.ensemble.deep_partition.partition": "rank"}
    with self.assertRaisesRegex(errors.InputError, "images 7 and 300 .* are equal"):
      door.build(door.parse(_config(**rank)), "/tmp/pacd_jax_never_made", twice)

  @parameterized.parameters(
    ("smoke", {"train.ensemble.aggregation": "none"}, "poisoned_images .*one network"),
    ("smoke", {"train.recovery_epochs": 1}, "train.recovery_epochs is 1.* set it to 0"),
    ("smoke", {"train.stopping.every": 1}, "train.stopping.every is 1.* set it to 0"),
    ("smoke", {"defense.chain": ("jpeg", "l2")}, "defense.chain has 'l2', by which one"),
    ("smoke", {"defense.chain": ("unshift",)}, "defense.chain has 'unshift'"),
    ("smoke", {"certify.mode": "adaptive"}, "certify.mode is 'adaptive'"),
    ("smoke", {"certify.poisoned_images": (1, 5)}, "has 5, but 9 networks .* at most 4"),
    ("smoke", {"certify.poisoned_images": (3, 1)}, "rising whole numbers"),
    ("smoke", {"train.ensemble.num_models": 1}, "from 2 to 100000"),
    ("smoke", {"train.ensemble.num_models": 5000}, "num_models is 5000, but .* at most"),
    ("smoke", {"train.ensemble.num_models": 300}, "train.batch_size is 10, but .* 3 "),
    ("smoke,content", {"train.noise": "fixed"}, "deep_partition lets images move"),
    ("smoke,rab", {"train.noise": "fresh"}, "train.noise is 'fresh'.* 'fixed'|to fixed"),
    ("smoke,rab", {"train.loss": "standard"}, "train.loss is 'standard'"),
    ("smoke,rab", {"train.augment": "crop"}, "train.augment is 'crop'.* set it to none"),
    ("smoke,rab", {"train.mix": "mixup"}, "train.mix is 'mixup'.* set it to none"),
    ("smoke,rab", {"defense.chain": ("jpeg",)}, r"defense.chain is \('jpeg',\).*to \(\)"),
    ("smoke,rab", {"certify.poisoned_images": (1,)}, "certifies an l2 norm"),
    ("smoke,rab", {"train.ensemble.rab.num_choosing": 100}, "num_choosing is 100"),
    (
      "smoke,finite",
      {"train.ensemble.num_models": 3, "certify.poisoned_images": (1,)},
      "finite_aggregation: a part cannot go to 4 of 3 models",
    ),
  )
  def test_one_line_says_what_to_do(self, variant, overrides, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      asked.run(_config(variant, **overrides), "/tmp/pacd_jax_never_made")
    self.assertNotIn("\n", str(caught.exception))


if __name__ == "__main__":
  absltest.main()
