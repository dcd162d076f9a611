"""The growth of time and memory: its fits, its section, and one small measurement."""

import contextlib
import io
import pathlib
import re

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.bench import growth, growth_page, growth_resident, growth_votes, growth_work
from pacd_jax.models import networks
from pacd_jax.runtime import sharding

_DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def _row(power, *, memory=1.0):
  sizes = np.array([1, 2, 4])
  seconds = 0.5 * np.array([1.0, 9.0, 3.0])[:, None] * sizes[None] ** power
  return growth_page.Row("things", "work", sizes, seconds, 10**6 * sizes**memory)


class FitTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.5, 1.0, 2.0)
  def test_of_exact_powers(self, power):
    sizes = np.array([100, 200, 400, 800])
    self.assertAlmostEqual(growth_page.exponent(sizes, 3.0 * sizes**power), power, places=9)

  def test_a_line_has_medians_and_the_rounds_spread(self):
    """The rounds' loads are 1, 9 and 3: each has the same exponent, the median is 3."""
    line = growth_page.cells(_row(2.0))
    expected = ["things", "work", "1 to 4", "1.5 to 24", "2.00 ± 0.00", "2.00"]
    self.assertEqual(line, [*expected, "1 to 4", "1.00"])

  def test_the_last_doubling_is_that_of_the_largest_two(self):
    """1, 2, 8: 1.5 on the whole, 2 at the end."""
    seconds = np.array([[1.0, 2.0, 8.0], [1.0, 2.0, 8.0]])
    line = growth_page.cells(_row(1.0)._replace(seconds=seconds))
    self.assertEqual(line[4:6], ["1.50 ± 0.00", "2.00"])

  def test_growth_of_a_process_is_from_n_to_4_n(self):
    found = growth_resident.Resident(5, [200_000_000, 205_000_000, 210_000_000], [7, 7, 7])
    line = growth_page.resident_cells("steps", found)
    self.assertEqual(line[:4], ["steps", "5 / 10 / 20", "200.0 / 205.0 / 210.0", "5.0 %"])


class SectionTest(parameterized.TestCase):
  @parameterized.parameters("", "\n## Growth\n\nOld.\n")
  def test_others_stay_and_it_is_there_once(self, before):
    page = f"# Performance\n\nA table.\n\n## First\n\n1\n{before}\n## Last\n\n2\n"
    text = growth_page.section([growth_page.cells(_row(1.0))], [], "two abaci")
    changed = growth_page.replaced(page, text)
    self.assertNotIn("Old.", changed)
    self.assertEqual(changed.count("\n## Growth\n"), 1)
    self.assertEqual(changed.replace(text, "").split(), page.replace(before, "").split())
    order = re.findall("^## .*", changed, re.MULTILINE)
    last = ["## Growth", "## Last"] if before else ["## Last", "## Growth"]
    self.assertEqual(order, ["## First", *last])
    self.assertEqual(growth_page.replaced(changed, text), changed)

  def test_the_page_in_docs_has_every_quantity(self):
    page = _DOCS.read_text(encoding="utf-8")
    words, _, _ = growth_page.section([], [], "two abaci").partition("Measured on")
    written = page.partition(words)[2]
    self.assertNotEmpty(written, "its words are others: python -m pacd_jax.bench.growth")
    for entry in growth.ENTRIES.values():
      self.assertIn(f"| {entry.quantity} | {entry.of} | ", written)
    for kind in growth.RESIDENT:
      self.assertRegex(written, rf"\| {kind} \| \d+ / \d+ / \d+ \|")


class EntriesTest(absltest.TestCase):
  def test_sizes_double(self):
    for name, entry in growth.ENTRIES.items():
      sizes = np.array(entry.sizes)
      self.assertGreaterEqual(len(sizes), 3, name)
      np.testing.assert_array_equal(sizes[1:], 2 * sizes[:-1], name)

  def test_every_process_has_its_program(self):
    self.assertEqual(growth.RESIDENT.keys(), growth_resident.PROGRAMS.keys())


class ResidentTest(parameterized.TestCase):
  @parameterized.parameters((False, [4, 4, 4]), (True, [12, 20, 36]))
  def test_arrays_that_stay_are_seen(self, leaks, expected):
    """Four bytes a step, after 2, 4 and 8 of them, and those of the state."""
    kept, before = [], sum(array.nbytes for array in jax.live_arrays())

    def step(state):
      state = jax.device_put(np.asarray(state) + np.int32(1))
      kept.extend([jax.device_put(np.int32(0))] if leaks else [])
      return state, {"loss": np.float32(0.0)}

    program = growth_work.Program(step, jax.device_put(np.int32(0)), 0, 0)
    with contextlib.redirect_stderr(io.StringIO()):
      found = growth_resident.here(program, 2, "loss")
    first = 4  # The program's own state.
    self.assertEqual([size - before - first for size in found.live], expected)
    self.assertLen(found.peak, 3)
    self.assertGreater(min(found.peak), 10_000_000)


class CommandTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(absltest.mock.patch.object(sharding, "cores_as_devices"))
    self.out, self.err = io.StringIO(), io.StringIO()
    self.enterContext(contextlib.redirect_stdout(self.out))
    self.enterContext(contextlib.redirect_stderr(self.err))

  def test_a_name_that_is_none_is_one_line(self):
    self.assertEqual(growth.main(["--only", "points", "patience"]), 2)
    self.assertRegex(self.err.getvalue(), "^error: --only: no entry patience: use .*\n$")

  def test_the_page_is_of_all_entries(self):
    self.assertEqual(growth.main(["--only", "points", "--write-docs"]), 2)
    self.assertRegex(self.err.getvalue(), "^error: --write-docs is for all .*\n$")

  def test_a_small_quantity_from_end_to_end(self):
    """Samples, on images of 4x4 pixels: the program is one, whatever n is."""
    model = networks.linear(num_classes=10, image_shape=(4, 4, 1))
    small = growth.ENTRIES["samples"]._replace(
      make=lambda samples: growth_votes.certification(samples=samples, points=1, side=4),
      sizes=(10, 20),
    )
    with (
      absltest.mock.patch.dict(growth.ENTRIES, {"samples": small}),
      absltest.mock.patch.object(growth.matmul, "flops", return_value=7.0),
      absltest.mock.patch.object(growth_work, "network", return_value=model),
    ):
      self.assertEqual(growth.main(["--only", "samples"]), 0)
    _, line, _, on, *_ = self.out.getvalue().splitlines()
    self.assertRegex(line, r"^noise samples n +4 certificates +10 to 20 .* 0\.00$")
    self.assertIn("7 GFLOP/s", on)


if __name__ == "__main__":
  absltest.main()
