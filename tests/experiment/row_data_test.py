"""Poisons from elsewhere: judged by the same run, or refused with what is wrong."""

import shutil
import tempfile

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import arrays, poison_file, training_sets
from pacd_jax.experiment import door, kinds, row_data, row_tools, stages


def _config(path, **overrides):
  config = finished_run.smoke(rows=("clean", "yours"), **overrides)
  config.poisons.yours = str(path)
  return config


def _kernel(params):
  return np.asarray(params["Dense_0"]["kernel"])


class GivenPoisonTest(finished_run.FinishedRunTestCase):
  def given(self, **changes):
    """A stranger's file: the finished run's poison with other fields."""
    path = self.temporary("elsewhere") / "theirs.npz"
    poison = poison_file.load(self.finished / "poison" / "pacd.npz")
    poison_file.save(path, poison._replace(**changes))
    return path

  @pytest.mark.long
  def test_the_folder_of_a_run_means_its_poison(self):
    table = asked.run(_config(self.finished), self.workdir)
    self.assertIn("yours", table)
    copy = self.workdir / "poison" / "yours.npz"
    original = self.finished / "poison" / "pacd.npz"
    self.assertEqual(copy.read_bytes(), original.read_bytes())
    certificates = "certificates/{}/seed_0.tsv"
    columns = [
      [line.split("\t")[:5] for line in path.read_text().splitlines()]
      for path in (
        self.workdir / certificates.format("yours"),
        self.finished / certificates.format("pacd"),
      )
    ]
    self.assertEqual(*columns)

  def test_a_file_of_another_budget_is_trained_on_as_it_is(self):
    path = self.given(epsilon=0.3, sigma=1.0, norm="linf")
    built = asked.build(_config(path), self.workdir)
    built.training_sets.check_given("yours")
    built.training_sets.copy_given("yours")
    poison = poison_file.load(path)
    split = built.training_sets.split("yours")
    np.testing.assert_array_equal(split.images[poison.indices], poison.images)
    self.assertNotEqual(training_sets.checksum(split), arrays.checksum(built.splits.train))

  @pytest.mark.long
  def test_a_file_that_inserts_and_relabels_is_trained_on_beside_the_clean_row(self):
    """Of 104 images 60 are put beside the split: one row is larger than the other."""
    poison = poison_file.load(self.finished / "poison" / "pacd.npz")
    labels = poison.labels.copy()
    labels[50:70] = 3
    given = dict(labels=labels, clean_label=False, inserted=np.arange(104) < 60)
    asked.run(_config(self.given(**given)), self.workdir, ("attack", "train"))
    plan = door.load(self.workdir)
    there = plan.training_sets.split("yours")
    self.assertLen(there.present, 1077 + 60)
    self.assertEqual((there.labels == 3).sum(), (there.labels[:1077] == 3).sum() + 10)
    victims = stages.load_victims(plan)
    as_before = stages.load_victims(door.load(self.finished))
    for seed in plan.seeds:
      clean, yours = victims["clean", seed], victims["yours", seed]
      self.assertGreater(np.abs(_kernel(clean) - _kernel(yours)).max(), 1e-3)
      np.testing.assert_allclose(
        _kernel(clean), _kernel(as_before["clean", seed]), rtol=1e-3, atol=1e-5
      )

  @parameterized.parameters(
    ({"dataset": "mnist"}, "another data set .dataset is 'mnist' there and 'digits' here"),
    ({"checksum": "0" * 64}, "another training split .checksum"),
  )
  def test_refuses_a_poison_of_other_data(self, changes, message):
    path = self.given(**changes)
    self.refuses(f"theirs.npz was made for {message}.*set poisons.yours to", _config(path))

  def test_refuses_a_poison_of_another_class(self):
    path = self.given(target_class=3)
    self.refuses("another target class .target_class is 3 there and 8", _config(path))

  def test_refuses_a_poison_of_another_seed(self):
    config = _config(self.finished, seed=1)
    self.refuses("pacd.npz was made for another training split", config)

  def test_refuses_what_does_not_stand_at_its_indices(self):
    poison = poison_file.load(self.finished / "poison" / "pacd.npz")
    path = self.given(base_images=poison.images)
    self.refuses("theirs.npz: .*base images or labels are not those", _config(path))

  @parameterized.parameters("no/such/run", "no/such.npz")
  def test_refuses_what_is_not_there(self, path):
    message = f"{path}: no such poison: give the file of a poison, or the folder of a run"
    self.refuses(message, _config(path))

  def test_refuses_a_folder_without_a_poison(self):
    folder = self.temporary("no_run")
    folder.mkdir()
    self.refuses("poisons.yours: .*no_run has no poison/pacd.npz: give", _config(folder))

  def test_refuses_a_poison_without_a_row(self):
    config = _config(self.given())
    config.rows = ("clean",)
    self.refuses("poisons.yours is set, but rows has no 'yours': add it", config)

  def test_refuses_a_damaged_file(self):
    path = self.given()
    path.write_bytes(path.read_bytes()[:300])
    self.refuses("theirs.npz: it is truncated .*give the file of a poison", _config(path))

  def test_refuses_a_file_that_changed_after_it_was_copied(self):
    path = self.given()
    asked.run(_config(path), self.workdir, ("attack",))
    poison = poison_file.load(path)
    poison_file.save(path, poison._replace(sigma=0.75))
    self.refuses("theirs.npz has changed since .*yours.npz was copied", _config(path))
    shutil.rmtree(path.parent)  # Gone: the copy is enough.
    asked.run(_config(path), self.workdir, ("train",))


class MadeTest(parameterized.TestCase):
  """What an attack of anybody's returns is looked at before it is saved."""

  @parameterized.parameters(
    (None, "returned object of shape"),
    (np.zeros((4, 8, 8, 1), np.uint8), "returned uint8 of shape"),
    (np.zeros((3, 8, 8, 1)), "it must return float images .4, 8, 8, 1. in .0, 1."),
    (np.full((4, 8, 8, 1), np.nan), "not finite"),
    (np.full((4, 8, 8, 1), 200.0), "returned images up to 200"),
    (row_tools.Poisoned(np.zeros((4, 8, 8, 1)), indices=np.arange(3)), "images .3, 8, 8"),
  )
  def test_what_is_no_poison_is_refused(self, made, message):
    with self.assertRaisesRegex(errors.InputError, message):
      row_data._check_made("mine", made, 4, (8, 8, 1))

  def test_what_is_one_is_not(self):
    row_data._check_made("mine", np.full((4, 8, 8, 1), 1.3, np.float32), 4, (8, 8, 1))


class UnboundedRowsTest(parameterized.TestCase):
  @parameterized.parameters((True, 25, 0.1), (False, 255, 1.0))
  def test_the_budget_of_a_row(self, is_bounded, change, epsilon):
    """What its own options bound may turn black pixels white, and its file says so."""

    def made(tools, options):
      return np.full((len(tools.poisoned), 8, 8, 1), tools.epsilon, np.float32)

    kinds.ROWS.add(kinds.Row("white", made, "all white.", is_bounded=is_bounded))
    self.addCleanup(kinds.ROWS.remove, "white")
    workdir = self.enter_context(tempfile.TemporaryDirectory())
    plan = asked.build(finished_run.smoke(rows=("clean", "white")), workdir)
    stages.attack(plan)
    poison = plan.training_sets.poison("white")
    moved = poison.images.astype(int) - poison.base_images
    self.assertEqual(np.abs(moved).max(), change)
    self.assertEqual((poison.epsilon, poison.norm), (epsilon, "linf"))


if __name__ == "__main__":
  absltest.main()
