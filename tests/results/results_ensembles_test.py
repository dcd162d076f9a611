"""The numbers of ensembles, against their definitions, and the words of their tables."""

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.results import ensembles


class NumbersTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 7, 40, 41)
  def test_the_median_is_the_largest_that_half_of_all_points_reach(self, num_points):
    radii = np.random.default_rng(num_points).integers(-1, 9, num_points)
    reached = [m for m in range(10) if (radii >= m).mean() >= 0.5]
    self.assertEqual(ensembles.median_radius(radii), max(reached, default=-1))

  def test_shares_are_of_all_points(self):
    radii, sizes = np.array([-1, 0, 3, 3]), np.array([0.0, 0.5, 3.0, 3.5])
    np.testing.assert_array_equal(
      ensembles.certified_share(radii, sizes), [0.75, 0.5, 0.5, 0.0]
    )


def _row(name, median, num_seeds=2):
  levels = [{"poisoned_images": m, "acr_mean": 0.1 / m, "acr_std": 0.01} for m in (1, 4)]
  of_row = {"median_mean": median, "levels": levels, "num_models": 9}
  of_row |= {"aggregation": "deep_partition", "unit": "replaced images"}
  return {"data": name, "num_seeds": num_seeds, "ensemble": of_row}


class TableTest(absltest.TestCase):
  def test_cells(self):
    rows = [_row("clean", 7.5), _row("pacd", -1.0, num_seeds=1)]
    self.assertEqual(
      ensembles.cells({"rows": rows}),
      [
        ("data", "median radius", "ACR, m = 1", "ACR, m = 4"),
        ("clean", "7.5", "0.100 ± 0.010", "0.025 ± 0.010"),
        ("pacd", "none", "0.100", "0.025"),
      ],
    )

  def test_single_networks_have_none(self):
    results = {"rows": [{"data": "clean"}]}
    self.assertEqual(ensembles.cells(results), [])
    self.assertEqual(ensembles.caption(results), [])


if __name__ == "__main__":
  absltest.main()
