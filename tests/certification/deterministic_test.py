"""Deterministic certificates on a linear classifier, whose radii are known."""

import contextlib
import dataclasses
import io
import json
import pathlib
import tempfile

import jax.numpy as jnp
import linear_classifier
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.certification import certificates, deterministic, provenance
from pacd_jax.results import evaluate, verified

# |w|_* of the norm's dual: a ball of radius r moves the score by r |w|_*.
_DUAL = {"l2": 5.0, "linf": 7.0}
_DISTANCES = np.array([-0.3, -0.02, 0.005, 0.07, 0.2, 0.31])  # In l2, signed.


def _verify(norm):
  def verify(params, images, radii):
    logits = linear_classifier.apply(params, images)
    return logits.argmax(axis=-1), jnp.abs(logits[:, 1]) > _DUAL[norm] * radii

  return verify


_VERIFY = {norm: _verify(norm) for norm in _DUAL}


def _procedure(norm="l2", **changes):
  settings = {"epsilon": 0.1, "most": 0.25, "num_halvings": 10, "num_classes": 2}
  settings |= changes
  return deterministic.Verification("exact", _VERIFY[norm], norm, **settings)


class CertifyTest(parameterized.TestCase):
  @parameterized.parameters("l2", "linf")
  def test_radii_are_the_margin_over_the_dual_norm(self, norm):
    predictions, radii = _procedure(norm).certify(
      linear_classifier.PARAMS, linear_classifier.images(_DISTANCES)
    )
    exact = np.minimum(5.0 * np.abs(_DISTANCES) / _DUAL[norm], 0.25)
    np.testing.assert_array_equal(predictions, _DISTANCES > 0)
    self.assertTrue((radii <= exact + 1e-6).all())
    self.assertTrue((radii >= exact - 0.15 / 2**10 - 1e-6).all())

  def test_nothing_above_the_largest_and_no_halving(self):
    _, radii = _procedure(num_halvings=0).certify(
      linear_classifier.PARAMS,
      linear_classifier.images(_DISTANCES),
    )
    np.testing.assert_allclose(radii, [0.25, 0, 0, 0, 0.1, 0.25], atol=1e-7)

  @parameterized.parameters(
    ({"norm": "l1"}, "norm 'l1' is none of"),
    ({"epsilon": 0.3}, "not 0 < epsilon <= most"),
    ({"epsilon": -0.1}, "not 0 < epsilon <= most"),
    ({"most": np.inf}, "not 0 < epsilon <= most"),
    ({"num_halvings": -1}, "num_halvings is not from 0 to 23"),
    ({"num_classes": 1}, "num_classes is under 2"),
  )
  def test_settings_that_cannot_be_used(self, changes, words):
    with self.assertRaisesRegex(errors.InputError, f"^procedure exact: {words}"):
      dataclasses.replace(_procedure(), **changes)

  @parameterized.parameters(
    ([[0.5]], r"of shape \[1, 1\] and dtype None: give"),
    (np.zeros((0, 1, 2, 1), np.float32), r"of shape \[0, 1, 2, 1\]"),
    (np.zeros((2, 1, 2), np.float32), r"of shape \[2, 1, 2\]"),
    (np.zeros((2, 1, 2, 1), np.int64), ".* dtype int64: give"),
    (np.full((2, 1, 2, 1), 16, np.float32), "reach from 16 to 16, and balls are cut"),
    (np.full((2, 1, 2, 1), np.nan, np.float32), "reach from nan to nan"),
  )
  def test_images_that_cannot_be_certified(self, images, words):
    with self.assertRaisesRegex(errors.InputError, f"^certify: images {words}"):
      _procedure().certify(linear_classifier.PARAMS, images)

  def test_parts_do_not_matter(self):
    distances = np.linspace(-0.3, 0.3, 230)  # Two parts, and some of a third.
    procedure, images = _procedure(), linear_classifier.images(distances)
    _, together = procedure.certify(linear_classifier.PARAMS, images)
    alone = [
      procedure.certify(linear_classifier.PARAMS, images[[place]])[1][0]
      for place in (0, 99, 100, 229)
    ]
    np.testing.assert_allclose(together[[0, 99, 100, 229]], alone, rtol=1e-6)
    self.assertLen(together, 230)

  def test_verified_accuracy_counts_what_is_right_in_all_of_the_ball(self):
    images = np.round(255 * linear_classifier.images(_DISTANCES)).astype(np.uint8)
    labels = np.array([0, 0, 1, 1, 1, 0])  # The last is wrong.
    accuracy = _procedure().verified_accuracy(
      linear_classifier.PARAMS, types.Dataset(images, labels)
    )
    self.assertEqual(accuracy, 2 / 6)  # -0.3 and 0.2.

  def test_verified_accuracy_shows_its_progress_from_the_first_part_on(self):
    distances = np.linspace(-0.3, 0.3, 230)
    images = np.round(255 * linear_classifier.images(distances)).astype(np.uint8)
    dataset = types.Dataset(images, (distances > 0).astype(np.int32))
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
      accuracy = _procedure().verified_accuracy(linear_classifier.PARAMS, dataset)
    self.assertAlmostEqual(accuracy, np.mean(np.abs(distances) > 0.1), delta=0.01)
    lines = stream.getvalue().splitlines()
    self.assertStartsWith(lines[0], "verified accuracy: 100/230 images")
    self.assertStartsWith(lines[-1], "verified accuracy: 230/230 images")


class FilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.stem = self.folder / "seed_0"
    self.images = np.round(255 * linear_classifier.images(_DISTANCES)).astype(np.uint8)
    self.labels = (_DISTANCES > 0).astype(np.int32)
    self.labels[2] = 0  # Wrong.

  def _write(self, procedure=None, indices=(0, 2, 3, 4, 5)):
    (procedure or _procedure()).certify_to_files(
      linear_classifier.PARAMS,
      types.Dataset(self.images, self.labels),
      np.array(indices),
      None,
      self.stem,
      seed=0,
      extra={"accuracy": 0.9, provenance.VERIFIED_ACCURACY: 0.4},
    )

  def test_files_hold_what_certify_returns(self):
    self._write()
    record = certificates.read(self.stem)
    predictions, radii = _procedure().certify(linear_classifier.PARAMS, self.images)
    np.testing.assert_array_equal(record.predict, predictions[[0, 2, 3, 4, 5]])
    np.testing.assert_array_equal(record.radius, radii[[0, 2, 3, 4, 5]])
    self.assertEqual(record.counts.shape, (5, 0))
    names = {path.name for path in self.folder.iterdir()}
    self.assertEqual(names, {"seed_0.tsv", "seed_0.json"})  # There are no votes.
    self.assertTrue(certificates.is_complete(self.stem))

  def test_a_killed_run_resumes_to_the_same_bytes(self):
    self._write()
    tsv = self.folder / "seed_0.tsv"
    whole = [line.split("\t")[:5] for line in tsv.read_text().splitlines()]
    tsv.write_text("\n".join(tsv.read_text().splitlines()[:3]) + "\n5\t1")
    self.assertFalse(certificates.is_complete(self.stem))
    self._write()
    again = [line.split("\t")[:5] for line in tsv.read_text().splitlines()]
    self.assertEqual(whole, again)
    self.assertTrue(certificates.is_complete(self.stem))

  def test_other_settings_are_refused(self):
    self._write()
    for changes, field in (({"epsilon": 0.2}, "epsilon"), ({"norm": "linf"}, "norm")):
      with self.assertRaisesRegex(errors.InputError, f"{field} was"):
        self._write(_procedure(**changes))

  def test_changed_radii_are_refused(self):
    self._write()
    tsv = self.folder / "seed_0.tsv"
    text = tsv.read_text()
    radius = text.splitlines()[1].split("\t")[3]
    tsv.write_text(text.replace(radius, "0.2", 1))
    with self.assertRaisesRegex(
      errors.InputError, "line 2: it, or its votes, have changed"
    ):
      certificates.read(self.stem)
    tsv.write_text(text.replace(radius, "0.3", 1))
    with self.assertRaisesRegex(errors.InputError, "line 2: radius 0.3 .* at most 0.25"):
      certificates.read(self.stem)

  def test_a_sidecar_out_of_range_is_refused(self):
    self._write()
    path = self.folder / "seed_0.json"
    there = json.loads(path.read_text())
    there.pop("sha256", None)
    for name, value in (
      ("norm", "l1"),
      ("epsilon", 0.7),
      ("most", "0.25"),
      ("dtype", "x"),
      ("dtype", "bfloat16"),
    ):
      path.write_text(json.dumps(there | {name: value}))
      with self.assertRaisesRegex(errors.InputError, f"{name}"):
        certificates.read(self.stem)

  def test_the_numbers_of_a_row(self):
    self._write()
    records = [certificates.read(self.stem)]
    row = evaluate.summarize("clean", records)
    right = [0.25, 0.0, 0.07, 0.2, 0.25]  # In l2; the second is wrong.
    self.assertAlmostEqual(row["acr_mean"], np.mean(right), delta=0.002)
    self.assertEqual(row["aca_mean"], 4 / 5)
    self.assertEqual((row["mode"], row["n"], row["alpha"]), (None, None, None))
    self.assertEqual(row["samples_mean"], 0.0)
    found = verified.summarize(records)
    self.assertEqual((found["procedure"], found["norm"]), ("exact", "l2"))
    self.assertEqual(found["accuracy"], [3 / 5])
    self.assertEqual(found["accuracy_of_all"], [0.4])


if __name__ == "__main__":
  absltest.main()
