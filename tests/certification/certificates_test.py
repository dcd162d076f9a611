"""Tests of the files of certificates: what is written, resumed, read and refused."""

import json
import os
import tempfile
from pathlib import Path

import full_disk
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.certification import certificates, confidence
from pacd_jax.certification.rules import aca
from pacd_jax.runtime import files, sealed

SIDECAR = dict(
  mode="fixed",
  dtype="float32",
  sigma=0.25,
  n0=10,
  n=100,
  alpha=0.001,
  bound=confidence.BOUND,
  seed=3,
  indices=np.array([4, 7, 8, 15, 16]),
  num_classes=3,
  accuracy=0.9,
)
ADAPTIVE = dict(mode="adaptive", pilot=5, sizes=[20, 50, 100])
ACA = dict(mode="aca", bound=aca.BONFERRONI, stages=[50, 100], alphas=[0.0004, 0.0006])


def _point(idx, label, *counts, alpha=0.001):
  """One for `Writer.append`, certified for the class with the most votes."""
  counts = np.array(counts)
  return idx, label, confidence.certificate(counts, counts, sigma=0.25, alpha=alpha)


POINTS = (
  _point(4, 2, 1, 2, 97),
  _point(7, 2, 40, 20, 40),  # Abstains.
  _point(8, 2, 0, 99, 1),
  _point(15, 0, 100, 0, 0),
  _point(16, 2, 0, 0, 100),
)
RADII = tuple(certificate.radius for _, _, certificate in POINTS)
THIRD, LAST = (repr(RADII[i]).encode() for i in (2, 4))


def _write(path, num_points=5, sidecar=SIDECAR, points=POINTS):
  """Brings the files to `num_points` points; how many there were."""
  with certificates.Writer(path, sidecar) as writer:
    done = writer.num_done
    for idx, label, certificate in points[done:num_points]:
      writer.append(idx, label, certificate, seconds=0.25)
  return done


class CertificatesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.stem = folder / "clean" / "seed_3"
    self.tsv = folder / "clean" / "seed_3.tsv"
    self.counts = folder / "clean" / "seed_3.counts.tsv"
    self.sidecar = folder / "clean" / "seed_3.json"

  def test_a_link_to_itself_in_a_tables_place_is_refused(self):
    _write(self.stem, num_points=2)
    for path in (self.counts, self.tsv):
      path.unlink()
      path.symlink_to(path.name)
      with self.assertRaisesRegex(errors.InputError, f"{path.name} .* delete it, rerun"):
        _write(self.stem)
      path.unlink()

  def test_radii_are_those_that_the_votes_support(self):
    _write(self.stem)
    text = self.tsv.read_text()
    for old, new, message in (
      (repr(RADII[2]), "0.9", "line 4: radius 0.9, but its votes support 0.3"),
      ("7\t2\t-1\t0.0\t0", "7\t2\t0\t0.0\t0", "line 3: .* votes support none"),
      ("7\t2\t-1\t0.0\t0", "7\t2\t-1\t0.1\t0", "line 3: .* votes support 0.0"),
    ):
      self.assertEqual(text.count(old), 1)
      self.tsv.write_text(text.replace(old, new))
      with self.assertRaisesRegex(errors.InputError, f"{message}.*; delete it, rerun"):
        certificates.read(self.stem)

  def test_files_are_in_the_fields_format(self):
    _write(self.stem)
    lines = self.tsv.read_text().splitlines()
    self.assertEqual(lines[0], "idx\tlabel\tpredict\tradius\tcorrect\ttime")
    self.assertEqual(lines[1], f"4\t2\t2\t{RADII[0]!r}\t1\t0:00:00.250000")
    self.assertEqual(lines[2], "7\t2\t-1\t0.0\t0\t0:00:00.250000")
    lines = self.counts.read_text().splitlines()
    self.assertEqual(lines[:2], ["idx\t0\t1\t2", "4\t1\t2\t97"])
    expected = {**SIDECAR, "indices": [4, 7, 8, 15, 16], "counts": self.counts.name}
    written = sealed.parse(self.sidecar.read_bytes())
    self.assertLen(written.pop("digests"), 5)
    self.assertEqual(written, expected)
    self.assertLen(os.listdir(self.stem.parent), 3)

  @parameterized.parameters("", ".tsv")
  def test_reads_what_was_written(self, ending):
    _write(self.stem)
    record = certificates.read(f"{self.stem}{ending}")
    np.testing.assert_array_equal(record.idx, [p[0] for p in POINTS])
    np.testing.assert_array_equal(record.label, [p[1] for p in POINTS])
    np.testing.assert_array_equal(record.predict, [p[2][0] for p in POINTS])
    np.testing.assert_array_equal(record.radius, [p[2][1] for p in POINTS])
    np.testing.assert_array_equal(record.counts, [p[2][2] for p in POINTS])
    np.testing.assert_array_equal(record.correct, [True, False, False, True, True])
    self.assertEqual(record.radius.dtype, np.float64)
    self.assertEqual(record.idx.dtype, np.int64)
    self.assertEqual(record.sidecar["accuracy"], 0.9)

  def test_knows_whether_it_is_complete(self):
    self.assertFalse(certificates.is_complete(self.stem))
    for done in range(len(POINTS)):
      _write(self.stem, done)
      self.assertFalse(certificates.is_complete(self.stem))
      with self.assertRaisesRegex(errors.InputError, f"only {done} of 5 .*--stage"):
        certificates.read(self.stem)
      record = certificates.read(self.stem, allow_partial=True)
      self.assertEqual(record.counts.shape, (done, 3))
      self.assertEqual(record.radius.shape, (done,))
    _write(self.stem)
    self.assertTrue(certificates.is_complete(self.stem))
    self.assertEqual(_write(self.stem), len(POINTS))  # Nothing is left to do.

  @parameterized.product(cut=("tsv", "counts"), part=("header", "last two lines"))
  def test_resumes_after_a_kill_at_any_byte(self, cut, part):
    _write(self.stem)
    files = {"tsv": self.tsv, "counts": self.counts}
    whole = {name: file.read_bytes() for name, file in files.items()}
    lines = whole[cut].splitlines(keepends=True)
    header, start = len(lines[0]) + 1, len(b"".join(lines[:-2]))
    for size in range(start, len(whole[cut])) if part != "header" else range(header):
      for name, file in files.items():
        file.write_bytes(whole[name][:size] if name == cut else whole[name])
      num_complete = max(0, whole[cut][:size].count(b"\n") - 1)
      self.assertEqual(_write(self.stem), num_complete)
      for name, file in files.items():  # The times too: `_write` has one for all.
        self.assertEqual(file.read_bytes(), whole[name])
      self.assertTrue(certificates.is_complete(self.stem))

  def test_resumes_after_a_kill_before_the_digests(self):
    """All points are there, but a line that changes would not be noticed yet."""
    sidecar = SIDECAR | {"run": "3a"}
    writer = certificates.Writer(self.stem, sidecar)
    for idx, label, certificate in POINTS:
      writer.append(idx, label, certificate, seconds=0.25)
    self.assertFalse(certificates.is_complete(self.stem))
    self.assertEqual(_write(self.stem, sidecar=sidecar), len(POINTS))
    self.assertTrue(certificates.is_complete(self.stem))
    self.tsv.write_bytes(self.tsv.read_bytes().replace(b"7\t2\t-1", b"7\t1\t-1"))
    with self.assertRaisesRegex(errors.InputError, "seed_3"):
      certificates.read(self.stem)

  @parameterized.parameters(0, 15, 30, 50, 100, 150)
  def test_resumes_after_a_full_disk(self, size):
    _write(self.stem)
    whole = self.tsv.read_bytes(), self.counts.read_bytes()
    for path in (self.tsv, self.counts):
      path.unlink()
    with self.assertRaises(OSError) as caught, full_disk.room_for(size):
      _write(self.stem)
    self.assertRegex(files.in_words(caught.exception), r"seed_3(\.counts)?\.tsv: File too")
    _write(self.stem)
    self.assertEqual((self.tsv.read_bytes(), self.counts.read_bytes()), whole)

  def test_resumes_after_a_kill_before_the_first_point(self):
    _write(self.stem, 0)
    for file in (self.tsv, self.counts):
      file.unlink()
      self.assertEqual(_write(self.stem, 0), 0)
    self.assertEqual(_write(self.stem), 0)
    self.assertTrue(certificates.is_complete(self.stem))

  @parameterized.parameters(
    ("tsv", 1, b"idx\tlabel", b"index\tlabel", "header"),
    ("tsv", 2, b"4\t2\t2", b"4\t2", "5 columns instead of 6"),
    ("tsv", 3, b"7\t2\t", b"7\ttwo\t", "'two'"),
    ("tsv", 4, THIRD, b"0.33x", "'0.33x'"),
    ("tsv", 4, THIRD, b"nan", "radius nan"),
    ("tsv", 4, THIRD, b"\xff\x00", "could not convert"),
    ("tsv", 3, b"7\t2\t-1", b"8\t2\t-1", "idx 8, but .* 7"),
    ("tsv", 5, b"15\t0\t0", b"15\t0\t3", "predict 3"),
    ("tsv", 6, b"16\t2\t2\t%s\t1" % LAST, b"16\t2\t2\t%s\t0" % LAST, "correct 0"),
    ("counts", 1, b"idx\t0", b"idx\tzero", "header"),
    ("counts", 2, b"4\t1\t2\t97", b"4\t1\t2\t97\t0", "5 columns instead of 4"),
    ("counts", 2, b"97", b"98", r"sum to 101, none of \(100,\)"),
    ("counts", 4, b"8\t0", b"8\t0.5", "'0.5'"),
    ("counts", 4, b"8\t0", b"7\t0", "idx 7, but .* 8"),
  )
  def test_refuses_a_foreign_table(self, name, line, old, new, fault):
    _write(self.stem)
    file = getattr(self, name)
    self.assertEqual(file.read_bytes().count(old), 1)
    file.write_bytes(file.read_bytes().replace(old, new))
    self._assert_refused(rf"{file}, line {line}: .*{fault}.*delete it, rerun --stage")
    file.unlink()  # The advice helps.
    self.assertEqual(_write(self.stem), 0)
    self.assertTrue(certificates.is_complete(self.stem))

  @parameterized.parameters("tsv", "counts")
  def test_refuses_too_many_points(self, name):
    _write(self.stem)
    file = getattr(self, name)
    with file.open("ab") as opened:
      opened.write(file.read_bytes().splitlines(keepends=True)[-1])
    self._assert_refused(f"{file}, line 7: more points than the sidecar's 5")

  def test_refuses_a_file_without_header_or_newline(self):
    _write(self.stem)
    self.tsv.write_bytes(b"something else")
    self._assert_refused(f"{self.tsv}, line 1: the header is not")

  def test_refuses_a_table_without_sidecar(self):
    _write(self.stem)
    self.sidecar.unlink()
    self._assert_refused(f"{self.tsv}: has no sidecar {self.sidecar.name}; delete it")
    self.tsv.unlink()  # The advice helps, though old votes are still there.
    self.counts.write_text("idx\t0\t1\n4\t1\t9\n")
    _write(self.stem, sidecar=SIDECAR | {"seed": 4})
    self.assertTrue(certificates.is_complete(self.stem))

  @parameterized.parameters(b"", b'{"sigma": 0.25, "n0"', b"[1, 2]", b"\xff", b"3")
  def test_refuses_a_damaged_sidecar(self, content):
    _write(self.stem)
    self.sidecar.write_bytes(content)
    self._assert_refused(f"{self.sidecar}: not a sidecar .*; delete it and seed_3.tsv")

  def test_names_the_fields_that_a_sidecar_lacks(self):
    _write(self.stem)
    self.sidecar.write_text('{"sigma": 1, "n0": 1, "alpha": 1, "indices": []}')
    self._assert_refused(
      f"{self.sidecar}.*without mode, dtype, n, bound, seed, num_classes"
    )

  @parameterized.parameters(
    ({"sigma": 0.5}, "sigma was 0.25, now 0.5"),
    ({"n": 1000, "alpha": 0.01}, "alpha was 0.001, now 0.01, n was 100, now 1000"),
    ({"accuracy": 0.8}, "accuracy was 0.9, now 0.8"),
    ({"model": "cnn"}, "model was None, now 'cnn'"),
    ({"dtype": "bfloat16"}, "dtype was 'float32', now 'bfloat16'"),
    ({"indices": [4, 7]}, r"indices was \[.*\] \(5 of them\), now \[4, 7\] \(2 of"),
  )
  def test_refuses_to_resume_with_other_settings(self, change, message):
    _write(self.stem, 2)
    before = self.tsv.read_bytes()
    with self.assertRaisesRegex(errors.InputError, f"{self.sidecar}: .*{message}"):
      certificates.Writer(self.stem, SIDECAR | change)
    self.assertEqual(self.tsv.read_bytes(), before)

  @parameterized.parameters(
    ({"bound": "made_up"}, "bound is 'made_up'"),
    ({"mode": "fast"}, "mode is 'fast'"),
    ({"mode": "aca"}, "bound is .*, but in mode aca"),
    ({"mode": "adaptive"}, "sizes is None"),
    ({"dtype": "int8"}, "dtype is 'int8'"),
    ({"alpha": 2.0}, "alpha 2.0 is out of range"),
  )
  def test_refuses_a_sidecar_that_says_too_little(self, change, message):
    _write(self.stem)
    changed = sealed.parse(self.sidecar.read_bytes()) | change
    self.sidecar.write_text(json.dumps(changed))
    self._assert_refused(f"{self.sidecar}: not a sidecar .*{message}.*; delete it and")
    self.sidecar.unlink()
    self.tsv.unlink()
    with self.assertRaisesRegex(ValueError, message):  # Nor does it write one.
      _write(self.stem, sidecar=SIDECAR | change)
    self.assertFalse(self.sidecar.exists())

  @parameterized.parameters(
    (ADAPTIVE, [0, 1, 0, 19], [0, 0, 0, 50], [0, 60, 10, 30]),
    (ACA, [0, 0, 0, 0], [4e-4, 0, 0, 50], [6e-4, 15, 5, 80]),
  )
  def test_points_of_different_numbers_of_votes(self, rule, *rows):
    """Rows are alpha's share, or 0 for all of it, and the votes."""
    points = [
      _point(idx, 2, *votes, alpha=share or 0.001)
      for idx, (share, *votes) in zip((4, 7, 8), rows, strict=True)
    ]
    sidecar = SIDECAR | rule | {"indices": [4, 7, 8]}
    for done in range(3):
      self.assertEqual(_write(self.stem, done + 1, sidecar, points), done)
    record = certificates.read(self.stem)
    radii = [certificate.radius for _, _, certificate in points]
    np.testing.assert_array_equal(record.radius, radii)
    self.assertEqual(record.radius.astype(bool).sum(), 2)
    self.assertLen(set(record.counts.sum(axis=1)), 3)
    text = self.counts.read_text()
    self.counts.write_text(text.replace("7\t0\t0\t50", "7\t0\t0\t49"))
    with self.assertRaisesRegex(errors.InputError, "line 3: .* sum to 49, none of .*100"):
      certificates.read(self.stem)
    self.counts.write_text(text.replace("7\t0\t0\t50", "7\t1\t0\t49"))
    with self.assertRaisesRegex(errors.InputError, "line 3: radius .*, but its votes"):
      certificates.read(self.stem)

  def test_no_files(self):
    with self.assertRaisesRegex(errors.InputError, f"{self.tsv}: no such file"):
      certificates.read(self.stem)

  @parameterized.parameters(
    (7, 2, (2, RADII[0], np.array([1, 2, 97]))),
    (4, 3, (2, RADII[0], np.array([1, 2, 97]))),
    (4, 2, (2, float("nan"), np.array([1, 2, 97]))),
    (4, 2, (2, RADII[0] + 1e-5, np.array([1, 2, 97]))),
    (4, 2, (2, RADII[0], np.array([1, 2, 96]))),
    (4, 2, (2, RADII[0], np.array([3, 97]))),
  )
  def test_writes_nothing_that_it_would_not_read(self, idx, label, certificate):
    with (
      certificates.Writer(self.stem, SIDECAR) as writer,
      self.assertRaises(ValueError),
    ):
      writer.append(idx, label, certificate, seconds=1.0)
    self.assertEqual(_write(self.stem), 0)

  def _assert_refused(self, message):
    """By every function, in one line that names the file and the remedy."""
    for attempt in (_write, certificates.read, certificates.is_complete):
      with self.assertRaisesRegex(errors.InputError, message) as caught:
        attempt(self.stem)
      self.assertNotIn("\n", str(caught.exception))
      self.assertIn("rerun --stage=certify", str(caught.exception))


if __name__ == "__main__":
  absltest.main()
