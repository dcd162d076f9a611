"""`pacd robustness`: its files, its numbers, and what it refuses."""

import contextlib
import io
import pathlib
import tempfile

import finished_run
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.certification import poisoning
from pacd_jax.defenses.aggregation import label_flips, nearest_neighbours
from pacd_jax.experiment import robustness_command
from pacd_jax.experiment.entries import data_sets
from pacd_jax.runtime import run_folder


def _call(*arguments):
  """The exit status, and what it says."""
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = robustness_command.main([str(each) for each in arguments])
  return status, said.getvalue(), wrong.getvalue()


def _save(path, count=25, size=3):
  """Three classes of small images as an .npz."""
  generator = np.random.default_rng(0)
  labels = np.repeat(np.arange(3), count)
  centres = generator.uniform(60, 180, (3, size, size, 1))
  images = centres[labels] + 25 * generator.normal(size=(3 * count, size, size, 1))
  np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=labels)
  return path


class RobustnessTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data, self.out = _save(self.folder / "data.npz"), self.folder / "out"
    self.given = self.data, f"--out={self.out}", "--num_points=0"

  def _splits(self):
    splits = data_sets.load("npz", path=self.data)
    flat = [
      each.images.reshape(len(each.images), -1) / np.float32(255) for each in splits[2:5]
    ]
    return splits, flat[0].astype(np.float64), flat[2].astype(np.float64)

  def test_label_flips_are_those_of_the_function(self):
    status, said, wrong = _call(*self.given, "--q=0.1,0.25")
    self.assertEqual(status, 0, wrong)
    splits, train, test = self._splits()
    for q in (0.1, 0.25):
      record = poisoning.read(self.out / f"label_flips_q_{q:g}")
      with_offset = [np.insert(each, 0, 1.0, axis=1) for each in (train, test)]
      found = label_flips.certify(
        with_offset[0], splits.train.labels, with_offset[1], q, 1.0, num_classes=3
      )
      np.testing.assert_array_equal(record.predict, found.prediction)
      np.testing.assert_array_equal(record.radius, found.radius)
      np.testing.assert_array_equal(record.label, splits.test.labels)
      np.testing.assert_allclose(record.sidecar["kl_radius"], found.kl_radius)
      self.assertEqual(record.sidecar["unit"], "changed labels")
    self.assertGreater(record.radius.max(), 0)
    self.assertIn("radius: changed labels", said)
    rows = run_folder.read_json(self.out / "robustness.json")["rows"]
    self.assertEqual([row["q"] for row in rows], [0.1, 0.25])
    self.assertEqual(rows[1]["largest"], record.radius_of_truth.max())
    self.assertTrue((self.out / "against_poison.png").exists())

  def test_neighbours_are_those_of_the_function(self):
    given = *self.given[:2], "--num_points=2", "--certificate=nearest_neighbours"
    self.assertEqual(_call(*given, "--sigma=0.5", "--k=3")[0], 0)
    splits, train, test = self._splits()
    record = poisoning.read(self.out / "nearest_neighbours_sigma_0.5")
    expected = nearest_neighbours.certify(
      train,
      splits.train.labels,
      test[record.idx],
      nearest_neighbours.levels(9, 0.5),
      sigma=0.5,
      k=3,
      num_classes=3,
    )
    np.testing.assert_array_equal(record.predict, expected[0])
    np.testing.assert_allclose(record.radius, expected[1], rtol=1e-12)
    self.assertEqual(record.sidecar["unit"], "l2 norm of all changes of training images")

  def test_finished_files_are_not_made_again(self):
    self.assertEqual(_call(*self.given, "--q=0.1")[0], 0)
    path = self.out / "label_flips_q_0.1.tsv"
    before, table = path.stat().st_mtime_ns, path.read_bytes()
    status, said, wrong = _call(*self.given, "--q=0.1,0.2")
    self.assertEqual((status, path.stat().st_mtime_ns), (0, before))
    self.assertNotIn("label_flips_q_0.1", wrong)
    self.assertRegex(said, r"(?s)0\.1 .*\n0\.2 ")
    for words, change in (
      (r"q_0.1.tsv is of another command \(ridge differs", ("--ridge=2",)),
      ("q_0.1.tsv is of another command", ("--seed=1",)),
    ):
      status, _, wrong = _call(*self.given, "--q=0.1", *change)
      self.assertEqual(status, 2)
      self.assertRegex(wrong, words)
    path.write_bytes(table.replace(b"\t1\t", b"\t0\t", 1))
    status, _, wrong = _call(*self.given, "--q=0.1")
    self.assertEqual(status, 2)
    self.assertRegex(wrong, "has changed since it was written: delete .*give the same")

  def test_what_is_refused(self):
    neighbours = "--certificate=nearest_neighbours"
    for arguments, words in (
      ((self.folder / "none.npz",), "none.npz: no such file, and no data set: .* digits"),
      ((self.data, "--q=0.5"), r"--q=0.5: use probabilities above 0 and below 1/2"),
      ((self.data, "--q=a"), "argument --q: invalid"),
      ((self.data, "--ridge=0"), "--ridge=0: use a number above 0"),
      ((self.data, "--k=3"), "--k is not for --certificate=label_flips"),
      ((self.data, neighbours, "--q=0.1"), "--q is not for --certificate=nearest_neigh"),
      ((self.data, neighbours, "--features=x"), "--features is not for"),
      ((self.data, neighbours, "--sigma=0"), "--sigma=0: use image units"),
      ((self.data, neighbours, "--k=2"), "k = 2 of 45 neighbours cannot vote"),
      ((self.data, neighbours, "--k=47"), "k = 47 of 45 neighbours cannot vote"),
      ((self.data, "--num_points=16"), "there are 15 test images"),
      ((self.data, "--num_points=-1"), "--num_points=-1: use a whole number"),
      ((self.data, "--num_train=46"), "the training split has 45 images"),
      ((self.data, "--data_dir=x"), "--data_dir is for prepared data"),
      ((self.data, "--features=/none"), "/none/config.json is no run's config"),
      ((self.data, "--out=/dev/null/x"), "/dev/null is no folder that can be written"),
      ((self.data, f"--out={self.folder}"), "is there, and of something else"),
      ((self.data, "--certificate=x"), "invalid choice: 'x'"),
      ((), "the following arguments are required: data"),
    ):
      has_out = any(str(each).startswith("--out") for each in arguments)
      out = () if has_out else (f"--out={self.out}",)
      status, said, wrong = _call(*arguments, *out)
      self.assertEqual((status, said), (2, ""), words)
      self.assertRegex(wrong, f"^error: .*{words}")
      self.assertLen(wrong.splitlines(), 1)
      self.assertFalse(self.out.exists())


class FeaturesTest(finished_run.FinishedRunTestCase):
  def test_of_a_run_on_the_same_images_are_refused(self):
    """Also of another cut of them, whose training images are not the same."""
    for seed in (0, 3):
      given = "digits", f"--features={self.finished}", f"--out={self.workdir}"
      status, _, wrong = _call(*given, f"--seed={seed}")
      self.assertEqual(status, 2)
      self.assertRegex(wrong, r"saw \d+ of these images with their labels")

  def test_of_other_shapes_are_refused(self):
    data = _save(self.workdir.with_name("data.npz"))
    status, _, wrong = _call(data, f"--features={self.finished}", f"--out={self.workdir}")
    self.assertEqual(status, 2)
    self.assertRegex(wrong, r"takes images \(8, 8, 1\), and the data are \(3, 3, 1\)")

  @pytest.mark.long
  def test_of_a_run_on_other_images(self):
    """A linear network's last layer takes pixels, so that both certify the same."""
    data = _save(self.workdir.with_name("data.npz"), size=8)
    radii = []
    for name in ("pixels", self.finished):
      out = self.workdir.with_name(f"of_{len(radii)}")
      status, _, wrong = _call(data, f"--features={name}", f"--out={out}", "--num_points=0")
      self.assertEqual(status, 0, wrong)
      radii.append(poisoning.read(out / "label_flips_q_0.1").radius)
    np.testing.assert_array_equal(*radii)


if __name__ == "__main__":
  absltest.main()
