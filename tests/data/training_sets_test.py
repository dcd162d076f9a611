"""Poisons from elsewhere: judged by the same run, or refused with what is wrong."""

import shutil

import asked
import finished_run
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.data import arrays, poison_file


def _config(path, **overrides):
  config = finished_run.smoke(rows=("clean", "yours"), **overrides)
  config.poisons.yours = str(path)
  return config


class GivenPoisonTest(finished_run.FinishedRunTestCase):
  def given(self, **changes):
    """A stranger's file: the finished run's poison with other fields."""
    path = self.temporary("elsewhere") / "theirs.npz"
    poison = poison_file.load(self.finished / "poison" / "pacd.npz")
    poison_file.save(path, poison._replace(**changes))
    return path

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
    self.assertNotEqual(arrays.checksum(split), arrays.checksum(built.splits.train))

  @parameterized.parameters(
    ({"dataset": "mnist"}, "another data set .dataset is 'mnist' there and 'digits' here"),
    ({"checksum": "0" * 64}, "another training split .checksum"),
  )
  def test_refuses_a_poison_of_other_data(self, changes, message):
    path = self.given(**changes)
    self.refuses(f"theirs.npz was made for {message}.*set poisons.yours to", _config(path))

  def test_refuses_a_poison_of_another_class(self):
    path = self.given(target_class=3, labels=np.full(104, 3, np.int32))
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


if __name__ == "__main__":
  absltest.main()
