"""The benchmark's arithmetic; and that both sides of an entry do the same work."""

import contextlib
import io
import json
import pathlib
import re
import tempfile
from unittest import mock

import as_users_run
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.bench import __main__ as bench
from pacd_jax.bench import entry, plain

_DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def _both_sides(name):
  comparison = plain.ENTRIES[name]()
  return comparison.ours(), comparison.peer()


class BenchTest(parameterized.TestCase):
  def test_rates_are_of_the_median_turn(self):
    """Two of each are not counted, then three: 1, 2 and 9 seconds, 4 and twice 5."""
    now, calls = [0.0], []
    ours, peer = iter([7, 7, 1, 9, 2]), iter([8, 8, 5, 4, 5])

    def spend(name, seconds):
      calls.append(name)
      now[0] += next(seconds)

    comparison = entry.Entry(
      lambda: spend("ours", ours), lambda: spend("peer", peer), 10, "things/s", 100
    )
    with mock.patch.object(entry.time, "perf_counter", lambda: now[0]):
      row = entry.measure(comparison, rounds=3)
    self.assertEqual(calls, ["ours", "peer"] * 5)
    expected = {
      **{"ours": 10 / 2, "peer": 100 / 5, "ratio": 5 / 20, "unit": "things/s"},
      "spread": 9 / 1 - 1,
    }
    self.assertEqual(row, expected)

  def test_the_page_has_every_figure(self):
    row = {"with": "PyTorch", "ours": 30.0, "peer": 10.0, "ratio": 3.0, "unit": "x/s"}
    page = bench.markdown({"certify_cnn": row}, "two abaci")
    self.assertIn("| `certify_cnn` | PyTorch | 30 | 10 | 3.00 | x/s |", page)
    self.assertIn("two abaci", page)

  def test_a_line_whose_turns_differ_by_more_than_a_fifth_is_noisy(self):
    row = {"with": "PyTorch", "ours": 30.0, "peer": 10.0, "ratio": 3.0, "unit": "x/s"}
    results = {"calm": row | {"spread": 0.19}, "restless": row | {"spread": 0.21}}
    page = bench.markdown(results, "two abaci")
    self.assertRegex(page, r"`calm` .*[|] x/s [|]\n")
    self.assertRegex(page, r"`restless` .*[|] x/s \(noisy\) [|]\n")

  def test_a_line_says_how_many_programs_were_compiled_again(self):
    row = {"with": "none", "ours": 30.0, "peer": 10.0, "ratio": 3.0, "unit": "x/s"}
    row |= {"spread": 0.21, "programs": 87, "compiled_again": 2}
    page = bench.markdown({"kept": row}, "two abaci")
    self.assertIn("| x/s (noisy; 87 programs, 2 compiled again) |", page)

  def test_without_a_compiler_the_rest_is_measured(self):
    row = {"ours": 3.0, "peer": 1.0, "ratio": 3.0, "unit": "x/s", "spread": 0.0}
    names = [f"of_{number}" for number in range(20)]
    tables = {"torch.compile": {"two": self.fail}}
    tables["plain JAX"] = dict.fromkeys(names, lambda: row)
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.enterContext(contextlib.chdir(folder))
    for holder, name, value in (
      (bench, "tables", lambda with_pytorch: tables),
      (bench.pytorch, "COMPILED", tables["torch.compile"]),
      (bench.peers, "without_compiler", lambda: "no compiler"),
      (bench.matmul, "flops", lambda: 7.0),
      (bench.sharding, "cores_as_devices", lambda: None),
    ):
      self.enterContext(mock.patch.object(holder, name, value))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
      self.assertEqual(bench.main([]), 0)
    self.assertIn(
      "torch.compile does not run here, no comparisons: no compiler", said.getvalue()
    )
    self.assertEqual([*json.loads((folder / "bench.json").read_text())], names)
    with contextlib.redirect_stdout(said):
      self.assertEqual(bench.main(["--only", "two"]), 1)

  def test_sections_of_the_page_before_stay(self):
    before = bench.markdown({}, "one abacus") + "\n## Growth\n\nNone.\n\n## Rest\n"
    page = bench.markdown({}, "two abaci", before)
    self.assertEndsWith(page, "|\n\n## Growth\n\nNone.\n\n## Rest\n")
    self.assertNotIn("one abacus", page)

  def test_the_hardware_has_instructions_and_threads(self):
    flags = "model name : Abacus 9\nflags\t: fpu avx avx2 sse\nmodel name : Other\n"
    with (
      mock.patch.object(bench.pathlib.Path, "read_text", return_value=flags),
      mock.patch.object(bench.sharding, "num_cores", return_value=5),
    ):
      found = bench.hardware(7.0)
    self.assertRegex(found, r"^5 cores of Abacus 9 \(avx2\), \d+ devices; .* 7 GFLOP/s; ")

  def test_the_page_in_docs_is_of_this_bench(self):
    """Its words, and an entry's line for each, whatever the figures are."""
    written = _DOCS.read_text()
    words, _, _ = bench.markdown({}, "two abaci").partition("Measured on")
    self.assertStartsWith(written, words)
    names = [name for table in bench.tables(True).values() for name in table]
    self.assertEqual(re.findall(r"^\| `(\w+)` \|", written, re.MULTILINE), names)

  def test_the_entries_that_others_read(self):
    names = [name for table in bench.tables(True).values() for name in table]
    self.assertLen(set(names), len(names))
    promised = ("certify_cnn", "victim_step_200", "victim_step_1000", "attack_step")
    self.assertContainsSubset(promised, names)
    self.assertContainsSubset([f"{name}_vs_matmul" for name in promised], names)

  @parameterized.parameters(
    "curvature_products",
    "hessian_in_reverse",
    "convolution_gradient",
    "convolution_in_loop",
  )
  @pytest.mark.long
  def test_both_sides_compute_the_same(self, name):
    ours, peer = as_users_run.call(_both_sides, name)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(peer), strict=True):
      np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5 * float(np.abs(b).max()))

  @pytest.mark.long
  def test_networks_of_an_ensemble_learn_the_same_together(self):
    ours, peer = as_users_run.call(_both_sides, "ensemble_together_linear")
    for name, values in ours.items():
      alone = np.concatenate([each[name] for each in peer])
      np.testing.assert_allclose(values, alone, rtol=1e-4)


if __name__ == "__main__":
  absltest.main()
