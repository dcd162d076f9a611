"""Evaluation against numbers worked out by hand."""

import json
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.certification import certificates, confidence
from pacd_jax.certification.rules import aca
from pacd_jax.results import evaluate, tables

_RADIUS = (0.4, 0.2, 0.9, 0.0, 0.6)
_PREDICT = (8, 8, 3, -1, 8)  # Of class 8: right, right, wrong, abstained, right.


def _record(seed=0, *, predict=_PREDICT, radius=_RADIUS, idx=None, label=8, **sidecar):
  """Five test points of one class; 90, 70, 20, 50 and 100 % of the votes are right."""
  predict = np.array(predict)
  counts = np.zeros((len(predict), 10), np.int64)
  counts[:, label] = np.array([90, 70, 20, 50, 100])[: len(predict)]
  counts[:, 3] = 100 - counts[:, label]
  labels = np.full(len(predict), label)
  settings = {"sigma": 0.25, "n0": 10, "n": 100, "alpha": 0.001}
  settings |= {"mode": "fixed", "bound": confidence.BOUND, "dtype": "float32"}
  return certificates.Record(
    idx=np.arange(len(predict)) if idx is None else np.array(idx),
    label=labels,
    predict=predict,
    radius=np.array(radius),
    correct=predict == labels,
    counts=counts,
    sidecar=settings | {"seed": seed, "accuracy": 0.9} | sidecar,
  )


def _results(records, **overrides):
  words = {"dataset": "digits", "target_class": 8, "epsilon": 0.1, "norm": "linf"}
  words |= {"model": "small_cnn", "training": "gaussian_augmentation"}
  return evaluate.results(records, **words | overrides)


def _aca_record(seed):
  return _record(seed, mode="aca", bound=aca.BONFERRONI)


def _poisoned(seed):
  return _record(seed, radius=(0.2, 0.0, 0.9, 0.0, 0.4), accuracy=0.8)


class OneVictimTest(parameterized.TestCase):
  def test_average_certified_radius_counts_wrong_points_as_zero(self):
    acr = evaluate.average_certified_radius(_record())
    np.testing.assert_allclose(acr, (0.4 + 0.2 + 0.0 + 0.0 + 0.6) / 5, rtol=1e-12)

  def test_approximate_certified_accuracy(self):
    self.assertEqual(evaluate.approximate_certified_accuracy(_record()), 3 / 5)

  def test_a_correct_point_without_radius_is_not_certified(self):
    record = _record(predict=(8, 8), radius=(0.0, 0.1))
    self.assertEqual(evaluate.approximate_certified_accuracy(record), 0.5)

  def test_certified_accuracy_includes_the_radius_itself(self):
    accuracy = evaluate.certified_accuracy(
      _record(), np.array([0.0, 0.2, 0.21, 0.4, 0.6, 0.61, 0.9])
    )
    np.testing.assert_array_equal(accuracy, [0.6, 0.6, 0.4, 0.4, 0.2, 0.0, 0.0])

  def test_area_under_certified_accuracy_is_the_acr(self):
    radii = (np.arange(100_000) + 0.5) * 1e-5  # Midpoints: exact for steps at 1e-5 k.
    area = evaluate.certified_accuracy(_record(), radii).sum() * 1e-5
    acr = evaluate.average_certified_radius(_record())
    np.testing.assert_allclose(area, acr, rtol=1e-9)

  def test_top_probability_is_the_true_class_share(self):
    p_a = evaluate.top_probability(_record())
    np.testing.assert_array_equal(p_a, [0.9, 0.7, 0.2, 0.5, 1.0])

  def test_top_probability_is_of_each_points_own_votes(self):
    record = _record()
    record.counts[0] *= 3
    record.counts[2] = 0
    p_a = evaluate.top_probability(record)
    np.testing.assert_array_equal(p_a, [0.9, 0.7, np.nan, 0.5, 1.0])


class SummarizeTest(parameterized.TestCase):
  def test_row_over_seeds(self):
    row = evaluate.summarize("pacd", [_record(0), _poisoned(1)])
    self.assertEqual(row["data"], "pacd")
    np.testing.assert_allclose(row["acr"], [0.24, 0.12], rtol=1e-12)
    np.testing.assert_allclose(row["acr_mean"], 0.18, rtol=1e-12)
    # With one degree of freedom removed, of two numbers: |a - b| / sqrt(2).
    np.testing.assert_allclose(row["acr_std"], 0.12 / np.sqrt(2), rtol=1e-12)
    np.testing.assert_allclose(row["aca"], [0.6, 0.4], rtol=1e-12)
    np.testing.assert_allclose(row["aca_mean"], 0.5, rtol=1e-12)
    np.testing.assert_allclose(row["aca_std"], 0.2 / np.sqrt(2), rtol=1e-12)
    self.assertEqual(row["accuracy"], [0.9, 0.8])
    np.testing.assert_allclose(row["accuracy_mean"], 0.85, rtol=1e-12)
    self.assertEqual((row["num_seeds"], row["num_points"]), (2, 5))
    self.assertEqual((row["n0"], row["n"], row["alpha"]), (10, 100, 0.001))
    self.assertEqual(row["bound"], confidence.BOUND)
    self.assertEqual((row["mode"], row["dtype"]), ("fixed", "float32"))
    self.assertEqual(row["samples_mean"], 110.0)

  def test_samples_are_counted_point_by_point(self):
    records = [_record(k, mode="adaptive", pilot=7) for k in (0, 1)]
    records[1].counts[:] *= 2
    row = evaluate.summarize("clean", records)
    self.assertEqual(row["samples_mean"], 10 + 7 + 150)

  def test_sampling_for_aca_has_no_acr(self):
    aca = [_aca_record(k) for k in (0, 1)]
    row = evaluate.summarize("clean", aca)
    for name in ("acr", "acr_mean", "acr_std"):
      self.assertIsNone(row[name])
    self.assertEqual((row["aca"], row["aca_mean"]), ([0.6, 0.6], 0.6))
    self.assertEqual(json.loads(json.dumps(row)), row)

  def test_one_seed_has_no_spread(self):
    row = evaluate.summarize("clean", [_record()])
    self.assertEqual((row["acr_std"], row["aca_std"]), (0.0, 0.0))

  def test_row_goes_through_json_unchanged(self):
    row = evaluate.summarize("clean", [_record(0), _record(1)])
    self.assertEqual(json.loads(json.dumps(row)), row)

  @parameterized.named_parameters(
    ("no_records", [], "no certificates"),
    ("no_points", [_record(predict=(), radius=())], "no test points"),
    ("same_seed", [_record(1), _record(1)], "seed is there twice"),
    ("other_points", [_record(0), _record(1, idx=(0, 1, 2, 3, 5))], "test points"),
    ("other_order", [_record(0), _record(1, idx=(1, 0, 2, 3, 4))], "test points"),
    ("other_class", [_record(0), _record(1, label=7)], "test points"),
    ("other_sigma", [_record(0), _record(1, sigma=0.5)], "sigma: 0.5 and 0.25"),
    ("other_n0", [_record(0), _record(1, n0=20)], "n0: 20 and 10"),
    ("other_n", [_record(0), _record(1, n=50)], "in n: 50 and 100"),
    ("other_alpha", [_record(0), _record(1, alpha=0.1)], "alpha: 0.1 and 0.001"),
    ("other_bound", [_record(0), _record(1, bound="x")], "bound: x and clopper"),
    ("other_mode", [_record(0), _aca_record(1)], "mode: aca and fixed"),
    ("other_dtype", [_record(0), _record(1, dtype="bfloat16")], "dtype: bfloat16 and"),
  )
  def test_refuses(self, records, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      evaluate.summarize("pacd", records)
    self.assertNotIn("\n", str(caught.exception))

  def test_refuses_a_record_without_the_victims_accuracy(self):
    record = _record()
    del record.sidecar["accuracy"]
    with self.assertRaisesRegex(errors.InputError, "lacks the victim's accuracy"):
      evaluate.summarize("clean", [record])


class ResultsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.records = {
      "clean": [_record(0), _record(1)],
      "pacd": [_poisoned(0), _poisoned(1)],
    }

  def test_top_level(self):
    results = _results(self.records)
    rows = results.pop("rows")
    self.assertEqual(
      results,
      {
        "dataset": "digits",
        "description": "digits",
        "target_class": 8,
        "sigma": 0.25,
        "epsilon": 0.1,
        "norm": "linf",
        "model": "small_cnn",
        "training": "gaussian_augmentation",
      },
    )
    self.assertEqual([row["data"] for row in rows], ["clean", "pacd"])

  @parameterized.named_parameters(
    ("points", [_record(k, idx=(5, 6, 7, 8, 9)) for k in (0, 1)], "test points"),
    ("settings", [_record(k, n=1000) for k in (0, 1)], "pacd/seed_0 and clean/seed_0"),
    ("victims", [_record(0)], "clean 2, pacd 1"),
  )
  def test_refuses_rows_that_cannot_be_compared(self, records, message):
    with self.assertRaisesRegex(errors.InputError, message):
      _results(self.records | {"pacd": records})

  def test_refuses_no_rows(self):
    with self.assertRaisesRegex(errors.InputError, "no certificates"):
      _results({})

  def test_percent_of_clean(self):
    results = _results(self.records)
    np.testing.assert_allclose(evaluate.percent_of_clean(results), [100.0, 50.0])

  def test_a_percentage_of_next_to_nothing_is_none(self):
    self.assertIsNone(evaluate.percent(0.1, 4e-4))
    self.assertIsNone(evaluate.percent(None, 0.5))
    self.assertAlmostEqual(evaluate.percent(0.1, 6e-4), 100.0 * 0.1 / 6e-4)

  def test_percent_needs_a_clean_row(self):
    results = _results({"pacd": self.records["pacd"]})
    self.assertEqual(evaluate.percent_of_clean(results), [None])

  def test_table_holds_every_row_and_setting(self):
    lines = tables.table(_results(self.records)).splitlines()
    expected = (
      "data             ACR  % of clean       ACA %  accuracy %",
      "-----  -------------  ----------  ----------  ----------",
      "clean  0.240 ± 0.000       100.0  60.0 ± 0.0        90.0",
      "pacd   0.120 ± 0.000        50.0  40.0 ± 0.0        80.0",
    )
    self.assertSequenceEqual(lines[:4], expected)
    self.assertLessEqual(max(map(len, lines)), 90)
    caption = " ".join(lines[4:])
    for words in (
      "digits, class 8: small_cnn",
      "sigma 0.25",
      "epsilon 0.1 (linf)",
      "gaussian_augmentation",
      "victims: 2",
      "test points: 5",
      "n0 10, n 100, alpha 0.001",
      "bound clopper_pearson_one_sided",
    ):
      self.assertIn(words, caption)
    for words in ("sampling", "float32"):
      self.assertNotIn(words, caption)

  def test_table_has_the_remarks(self):
    plain, told = _results(self.records), _results(self.records, remarks=["half", "seen"])
    self.assertNotIn("remarks", plain)
    self.assertIn("\nhalf;\nseen;\n", tables.table(told))

  @parameterized.parameters(("adaptive", "31,060"), ("aca", "30,060"))
  def test_table_says_how_it_was_sampled(self, mode, samples):
    settings = {"mode": mode, "n": 100_000, "dtype": "bfloat16", "pilot": 1000}
    records = {"clean": [_record(**settings)], "pacd": [_record(**settings)]}
    records["pacd"][0].counts[:] *= 600
    results = _results(records, description="CIFAR-10 (JPEG-75)", training="smoothadv" * 4)
    lines = tables.table(results).splitlines()
    self.assertLess(max(map(len, lines)), 90)
    caption = " ".join(lines[5:])
    self.assertStartsWith(caption, "CIFAR-10 (JPEG-75), class 8: small_cnn, sigma 0.25")
    self.assertIn(
      f"{mode} sampling: n0 10, n at most 100,000, samples a point {samples} on average; "
      "alpha 0.001, bound clopper_pearson_one_sided; base classifier in bfloat16",
      caption,
    )

  def test_table_without_acr(self):
    results = _results({"clean": [_aca_record(0)], "pacd": [_aca_record(0)]})
    self.assertEqual(evaluate.percent_of_clean(results), [None, None])
    lines = tables.table(results).splitlines()
    self.assertEqual(lines[2].split(), ["clean", "-", "-", "60.0", "90.0"])

  def test_table_of_one_victim_shows_no_spread(self):
    table = tables.table(_results({"clean": [_record()]}))
    self.assertNotIn("±", table.splitlines()[2])


class ReadRecordsTest(absltest.TestCase):
  def test_reads_every_seed_in_order(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    votes = _record().counts[0]
    certificate = confidence.certificate(votes, votes, sigma=0.25, alpha=0.001)
    for seed in (10, 2):
      sidecar = _record(seed).sidecar | {"indices": [4], "num_classes": 10}
      with certificates.Writer(f"{folder}/seed_{seed}", sidecar) as writer:
        writer.append(4, 8, certificate, seconds=0.0)
    records = evaluate.read_records(folder)
    self.assertEqual([record.sidecar["seed"] for record in records], [2, 10])
    self.assertEqual(records[0].radius, [certificate.radius])

  def test_no_folder_has_no_records(self):
    self.assertEmpty(evaluate.read_records("no/such/folder"))


if __name__ == "__main__":
  absltest.main()
