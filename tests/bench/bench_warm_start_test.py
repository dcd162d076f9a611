"""The table of warm starts: what it measures, on a few steps."""

import math
from unittest import mock

import pytest
from absl.testing import absltest

from pacd_jax.bench import warm_start


class WarmStartTest(absltest.TestCase):
  @pytest.mark.long
  def test_a_warm_start_costs_a_product_and_nothing_grows(self):
    method, _ = warm_start.METHODS["cg, 3 steps"]
    cold, warm = (
      warm_start.measure(method, warm_start=start, num_steps=4) for start in (False, True)
    )
    self.assertNotEqual(warm.residual, cold.residual)
    self.assertBetween(max(warm.residual, cold.residual), 0.01, 1.0)
    self.assertEqual((cold.products, warm.products), (4.0, 5.0))
    self.assertEqual((cold.growth, warm.growth), (0, 0))

  def test_unrolling_has_no_residual(self):
    measured = warm_start.Measured(residual=math.nan, products=3.0, growth=0)
    with mock.patch.object(warm_start, "measure", return_value=measured) as measure:
      lines = warm_start.table(["unrolling, 3 steps"], num_steps=3).splitlines()
    self.assertEqual(measure.call_count, 1)  # It has no start to go on from.
    self.assertLen(lines, 3)
    self.assertIn("| - | - | 3 | - | 0 bytes |", lines[-1])


if __name__ == "__main__":
  absltest.main()
