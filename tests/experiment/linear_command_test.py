"""`pacd linear`: its table, its files, what filters remove, and what it refuses."""

import contextlib
import io
import pathlib
import tempfile

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.data import npz_arrays, training_sets
from pacd_jax.defenses.filters import l2, slab
from pacd_jax.experiment import linear_attacks, linear_command, linear_data
from pacd_jax.runtime import run_folder

_FLIPS = "--attacks=random_flips,farthest_first,alfa"


def _call(*arguments):
  """The exit status, and what it says."""
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = linear_command.main([str(each) for each in arguments])
  return status, said.getvalue(), wrong.getvalue()


def _save(path, counts=(40, 40), size=2):
  """Small images of so many of each class as an .npz."""
  rng = np.random.default_rng(0)
  labels = np.repeat(np.arange(len(counts)), counts)
  centres = rng.uniform(90, 160, (len(counts), size, size, 1))
  images = centres[labels] + 20 * rng.normal(size=(len(labels), size, size, 1))
  np.savez(path, images=np.clip(images, 0, 255).astype(np.uint8), labels=labels)
  return path


class LinearCommandTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data, self.out = _save(self.folder / "data.npz"), self.folder / "out"
    self.given = self.data, f"--out={self.out}"

  @pytest.mark.long
  def test_table_and_files(self):
    attacks = "--attacks=influence,mei_zhu,random_flips,farthest_first,alfa"
    status, said, wrong = _call(
      *self.given, attacks, "--share=0.1", "--num_steps=6", "--save"
    )
    self.assertEqual(status, 0, wrong)
    summary = run_folder.read_json(self.out / "linear.json")
    rows = {row["attack"]: row for row in summary["rows"]}
    self.assertEqual(list(rows), ["clean", *linear_attacks.ATTACKS])
    total, count = summary["num_train"], summary["num_points"]
    self.assertEqual(count, round(0.1 * total))
    data = linear_data.load(str(self.data), None, seed=0, data_dir="")
    for name, row in rows.items():
      self.assertIn(f"\n{name} ", said)
      if name == "clean":
        continue
      saved = npz_arrays.read(
        self.out / f"{name}.npz",
        ("images", "labels", "poisoned", "test_images", "test_labels"),
      )
      poisoned = saved["poisoned"]
      self.assertEqual((poisoned.sum(), row["points"]), (count, count))
      kept = slice(0, total)
      images, labels = saved["images"][kept], saved["labels"][kept]
      others = ~poisoned[kept]
      np.testing.assert_array_equal(images[others], data.train.images[others])
      np.testing.assert_array_equal(labels[others], data.train.labels[others])
      self.assertLen(saved["images"], total + count * (name == "influence"))
      if name == "mei_zhu":
        np.testing.assert_array_equal(labels, data.train.labels)
      elif name != "influence":
        np.testing.assert_array_equal(images, data.train.images)
        np.testing.assert_array_equal(labels != data.train.labels, poisoned)
      train = types.Dataset(saved["images"], saved["labels"])
      test = types.Dataset(saved["test_images"], saved["test_labels"])
      error = linear_attacks.test_error(train, test, "svm", summary["ridge"])
      self.assertEqual(row["error"], error)
    for name in linear_attacks.FILTERS:
      self.assertEqual(rows["influence"][name]["passed"], count)
    self.assertEmpty([path for path in self.out.iterdir() if ".tmp" in path.name])

  def test_draws_are_of_an_attack_not_of_its_place(self):
    """And a summary of other settings, or of what was killed, is not mixed with these."""
    found = []
    for number, attacks in enumerate(("random_flips", "farthest_first,random_flips")):
      out = self.folder / str(number)
      given = self.data, f"--out={out}", f"--attacks={attacks}", "--share=0.1", "--save"
      for _ in range(2):  # The same command again makes the same files.
        self.assertEqual(_call(*given)[0], 0)
      found.append(npz_arrays.read(out / "random_flips.npz", ("poisoned",))["poisoned"])
      status, _, wrong = _call(*given, "--seed=1")
      self.assertEqual(status, 2)
      self.assertRegex(wrong, r"linear.json is of another command \(seed differs\)")
    np.testing.assert_array_equal(*found)

  @pytest.mark.long
  def test_influence_on_digits_triples_the_error(self):
    """It sees nothing of the test split, and every point passes either filter."""
    status, _, wrong = _call(
      *("digits", "--classes=3,8", "--attacks=influence", f"--out={self.out}")
    )
    self.assertEqual(status, 0, wrong)
    clean, poisoned = run_folder.read_json(self.out / "linear.json")["rows"]
    self.assertLessEqual(poisoned["share"], 0.03)
    self.assertGreater(poisoned["error"], 3.0 * clean["error"])
    for name in linear_attacks.FILTERS:
      self.assertEqual(poisoned[name]["passed"], poisoned["points"])
      self.assertGreater(poisoned[name]["error"], 3.0 * clean["error"])

  @parameterized.parameters(("l2", l2.l2), ("slab", slab.slab))
  def test_filters_are_the_defences(self, name, defence):
    data = linear_data.load(str(self.data), None, seed=0, data_dir="")
    changed = linear_attacks.Changed(data.train, np.zeros(len(data.train.labels), bool))
    removed = linear_attacks.filtered(changed, name, 0.1)
    tools = types.Tools(None, None, data.validation, 2)
    whole = training_sets.whole(data.train)
    left, _ = defence(whole, jax.random.key(0), tools, share=0.1)
    np.testing.assert_array_equal(np.flatnonzero(~removed), left.present)
    self.assertGreater(removed.sum(), 0)

  def test_groups_of_classes(self):
    data = _save(self.folder / "four.npz", counts=(30, 30, 30, 30))
    groups = linear_data.groups("0+3,2")
    found = linear_data.load(str(data), groups, seed=0, data_dir="")
    every = np.load(data)
    of = {0: {0, 3}, 1: {2}}
    for label, expected in of.items():
      images = found.train.images[found.train.labels == label]
      labels = {
        int(every["labels"][(every["images"] == image).all((1, 2, 3)).argmax()])
        for image in images
      }
      self.assertEqual(labels, expected)

  @parameterized.parameters(
    (("--share=0",), r"--share=0: use a share in \(0, 0.5\]"),
    (("--share=0.6",), r"--share=0.6: use a share"),
    (("--share=0.001",), "is none: use a larger share"),
    (("--share=0.5",), "one of the two classes has"),
    (("--removed_share=0.97", "--attacks=influence"), "the feasible set is empty: of the"),
    (("--removed_share=0.97", "--share=0.1"), "the feasible set is empty: of the"),
    (("--attacks=random_flips,influence", "--removed_share=0.97"), "set is empty: of the"),
    (("--classes=-1,1",), "has no class -1: use some of 0 to 1"),
    (("--removed_share=1",), "--removed_share=1"),
    (("--ridge=0",), "--ridge=0: use a number above 0"),
    (("--effort=-1",), "--effort=-1"),
    (("--num_steps=-1",), "--num_steps=-1"),
    (("--attacks=alfa,beta",), "there is no 'beta': use some of influence"),
    (("--classes=0",), "--classes=0: give two different labels"),
    (("--classes=0,x",), "--classes=0,x: give two different labels"),
    (("--classes=0+1,1",), "give two different labels"),
    (("--classes=0,7",), "has no class 7: use some of 0 to 1"),
    (("--victim=forest",), "invalid choice: 'forest'"),
  )
  def test_refuses(self, arguments, words):
    status, said, wrong = _call(*self.given, *arguments)
    self.assertEqual((status, said), (2, ""))
    last = wrong.strip().splitlines()[-1]
    self.assertRegex(last, words)
    self.assertTrue(last.startswith("error: "))
    self.assertFalse(self.out.exists())

  def test_refuses_ten_classes_and_folders_of_others(self):
    self.assertIn("has 10 classes", _call("digits", f"--out={self.out}")[2])
    self.out.mkdir()
    (self.out / "notes.txt").write_text("mine")
    self.assertIn("of something else", _call(*self.given, _FLIPS)[2])


if __name__ == "__main__":
  absltest.main()
