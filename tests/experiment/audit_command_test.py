"""`pacd audit`: what it finds, writes and repairs, and what it refuses."""

import contextlib
import io
import pathlib
import tempfile

import finished_run
import numpy as np
import pytest
import shifted_digits
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax.experiment import audit_command
from pacd_jax.runtime import sealed


def _audit(*arguments):
  """The exit status, and what it says."""
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = audit_command.main([str(each) for each in arguments])
  return status, said.getvalue(), wrong.getvalue()


def _blobs(seed, count, shift=0.0):
  """Three classes of 6x6 images; the second is brighter by `shift`, in grey levels."""
  generator = np.random.default_rng(seed)
  labels = np.repeat(np.arange(3), count)
  centres = np.random.default_rng(7).uniform(60, 180, (3, 6, 6, 1))
  images = centres[labels] + 20 * generator.normal(size=(3 * count, 6, 6, 1))
  images[labels == 1] += shift
  return np.clip(images, 0, 255).astype(np.uint8), labels


class AuditTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.report = self.folder / "audit"

  def _save(self, name, images, labels, **others):
    path = self.folder / f"{name}.npz"
    np.savez(path, images=images, labels=labels, **others)
    return path

  def _found(self):
    return sealed.parse((self.report / "audit.json").read_bytes())

  @pytest.mark.long
  def test_finds_a_class_that_has_moved_and_repairs_it(self):
    images, labels = _blobs(0, 60, shift=15.0)
    tests = {"test_images": images[:3], "test_labels": labels[:3]}
    data = self._save("data", images, labels, **tests)
    trusted = self._save("trusted", *_blobs(1, 20))
    out = self.folder / "repaired.npz"
    given = data, "--trusted", trusted, "--report", self.report
    status, said, _ = _audit(*given, "--out", out)
    self.assertEqual(status, 0)
    self.assertIn("1 of 3 classes differ from their trusted images at level 0.05", said)
    self.assertIn("Their shared change was taken off 60 images", " ".join(said.split()))
    first, *others = self._found()["classes"]
    self.assertEqual((first["name"], first["num_images"]), ("1", 60))
    self.assertLess(first["p_value"], 0.02)
    self.assertGreater(min(each["p_value"] for each in others), 0.05)
    self.assertEqual([each["images_repaired"] for each in (first, *others)], [60, 0, 0])
    with np.load(out) as repaired:
      moved = repaired["images"].astype(float) - images
      np.testing.assert_array_equal(repaired["labels"], labels)
      np.testing.assert_array_equal(repaired["test_images"], images[:3])
    np.testing.assert_array_equal(moved[labels != 1], 0.0)
    self.assertAlmostEqual(moved[labels == 1].mean(), -15.0, delta=3.0)
    page = (self.report / "index.html").read_text()
    for words in ("p = ", "activation_clustering", "image/png;base64", "0 of them copies"):
      self.assertIn(words, page)
    # Again, with the same numbers.
    before = self._found()
    self.assertEqual(_audit(*given)[0], 0)
    same = {"classes", "most_suspicious", "level"}
    for each in before["classes"]:
      each["images_repaired"] = 0
    self.assertEqual({k: before[k] for k in same}, {k: self._found()[k] for k in same})

  @pytest.mark.long
  def test_without_trusted_images(self):
    images, labels = _blobs(0, 40)
    images[5] = 255 - images[100]  # One that does not fit.
    data = self._save("data", images, labels)
    status, said, _ = _audit(data, "--report", self.report)
    self.assertEqual(status, 0)
    self.assertIn("Without trusted images no change that a whole class shares", said)
    found = self._found()
    first = found["most_suspicious"][0]
    self.assertEqual((first["position"], first["file"], first["class"]), (5, None, "0"))
    self.assertEqual({each["p_value"] for each in found["classes"]}, {None})

  @pytest.mark.long
  def test_a_folder_of_classes(self):
    for name, (images, labels) in {"data": _blobs(0, 12), "own": _blobs(1, 6)}.items():
      if name == "data":
        images[5] = 255 - images[30]  # One that does not fit.
      for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = self.folder / name / f"kind_{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    given = self.folder / "data", "--trusted", self.folder / "own"
    status, said, _ = _audit(*given, "--report", self.report)
    self.assertEqual(status, 0)
    first = self._found()["most_suspicious"][0]
    self.assertEqual((first["file"], first["class"]), ("kind_0/5.png", "kind_0"))
    self.assertRegex(said, r"kind_0/5.png +kind_0 +\d")
    self.assertIn(">kind_0/5.png</th>", (self.report / "index.html").read_text())
    names = {each["name"] for each in self._found()["classes"]}
    self.assertEqual(names, {"kind_0", "kind_1", "kind_2"})

  @pytest.mark.long
  def test_digits_with_a_pattern_and_an_own_image_set(self):
    data = shifted_digits.splits()
    trusted = self._save("trusted", *data.validation)
    poisoned = shifted_digits.shifted(shifted_digits.signs())
    for name, images, alarms in (
      ("poisoned", poisoned.images, [8]),
      ("clean", data.train.images, []),
    ):
      given = self._save(name, images, data.train.labels)
      status, _, wrong = _audit(given, "--trusted", trusted, "--report", self.report)
      self.assertEqual(status, 0, wrong)
      found = self._found()["classes"]
      self.assertEqual([e["label"] for e in found if e["p_value"] <= 0.05], alarms)

  @pytest.mark.long
  def test_a_detector_that_the_data_do_not_suit(self):
    """Two classes whose centroids are the same: there is no line for slabs."""
    images, _ = _blobs(0, 20)
    pair = np.concatenate([images[:20], images[:20]]), np.repeat([0, 1], 20)
    data = self._save("data", *pair)
    self.assertEqual(_audit(data, "--report", self.report)[0], 0)
    found = self._found()
    self.assertIn("slab", found["failed"])
    self.assertNotIn("slab", found["classes"][0]["top_share"])
    self.assertIn("do not suit: slab", (self.report / "index.html").read_text())

  def test_what_is_refused(self):
    data = self._save("data", *_blobs(0, 5))
    copies = self._save("copies", *_blobs(0, 5))
    larger = self._save("larger", np.zeros((6, 7, 6, 1), np.uint8), np.arange(6) % 3)
    two = self._save("two", *(each[:10] for each in _blobs(1, 5)))
    unlabelled = self.folder / "unlabelled.npz"
    np.savez(unlabelled, images=np.zeros((4, 2, 2, 1), np.uint8))
    out = self.folder / "out.npz"
    for arguments, words in (
      ((self.folder / "none.npz",), r"none.npz: no such file or folder"),
      ((data, "--report", "/dev/null/x"), "/dev/null is no folder that can be written"),
      ((data, "--report", two), "two.npz is there, and no audit's"),
      ((data, "--trusted", two, "--out", "/proc/x/a.npz"), "/proc/x is no folder that"),
      ((unlabelled,), "unlabelled.npz: it has no array labels"),
      ((data, "--out", out), "--out needs --trusted"),
      ((data, "--trusted", copies), "class 0 has 0 training images of which there is one"),
      ((data, "--trusted", two), "has the classes 0, 1, and the data 0, 1, 2"),
      ((data, "--trusted", larger), r"has images \(7, 6, 1\), and the data \(6, 6, 1\)"),
      ((data, "--trusted", two, "--out", data), "data.npz is there already"),
      ((data, "--trusted", two, "--out", "a.png"), "the repaired set is an .npz"),
      ((data, "--level=1.5"), r"--level=1.5: use a probability in \(0, 1\)"),
      ((data, "--most=0"), r"--most=0.0: use image units"),
      ((data, "--seed=-1"), "--seed=-1: use a whole number from 0"),
      ((data, "--levl=1"), "unrecognized arguments: --levl=1: see pacd audit --help"),
      ((), "the following arguments are required: data"),
    ):
      has_report = not arguments or "--report" in arguments
      report = () if has_report else ("--report", self.report)
      status, said, wrong = _audit(*arguments, *report)
      self.assertEqual((status, said), (2, ""), words)
      *_, line = wrong.splitlines()  # Progress may stand before it.
      self.assertRegex(line, f"^error: .*{words}")
      self.assertFalse(self.report.exists())
      self.assertFalse(out.exists())


class RunTest(finished_run.FinishedRunTestCase):
  def test_refuses_a_row_that_is_none(self):
    for arguments, words in (
      ((), "is a run: say which training set by --row=pacd"),
      (("--row=pacs",), "--row=pacs: the run has clean, classwise, brightness, pacd"),
    ):
      status, _, wrong = _audit(self.finished, *arguments)
      self.assertEqual(status, 2)
      self.assertIn(words, wrong)

  @pytest.mark.long
  def test_a_row_of_a_run(self):
    report = self.temporary("audit")
    for row, first in (("brightness", 8), ("clean", None)):
      given = self.finished, f"--row={row}", "--report", report
      self.assertEqual(_audit(*given)[0], 0)
      about = sealed.parse((report / "audit.json").read_bytes())
      alarms = [e["label"] for e in about["classes"] if e["p_value"] <= 0.05]
      self.assertEqual(alarms, [first] if first else [])


if __name__ == "__main__":
  absltest.main()
