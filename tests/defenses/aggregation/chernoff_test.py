"""Chernoff's bound, beside all outcomes and beside a search over a grid."""

import itertools

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.defenses.aggregation import chernoff


def _problem(seed):
  rng = np.random.default_rng(seed)
  plus, minus, _ = rng.dirichlet([4.0, 1.0, 1.0], 7).T
  return rng.uniform(-0.2, 1.0, 7) * 10.0 ** rng.integers(-9, 9), plus, minus


class LogTailTest(parameterized.TestCase):
  @parameterized.parameters(*range(8))
  def test_it_holds_over_all_outcomes(self, seed):
    alpha, plus, minus = _problem(seed)
    chances = np.stack([minus, 1.0 - plus - minus, plus])
    ways = np.array(list(itertools.product((0, 1, 2), repeat=7)))
    tail = chances[ways, np.arange(7)].prod(axis=1)[(ways - 1) @ alpha <= 0.0].sum()
    self.assertLessEqual(tail, np.exp(chernoff.log_tail(alpha, plus, minus)))

  @parameterized.parameters(*range(4))
  def test_it_is_the_best_of_a_grid(self, seed):
    alpha, plus, minus = _problem(seed)
    t = np.geomspace(1e-3, 1e3, 20_001)[:, None] / np.abs(alpha).max()
    with np.errstate(over="ignore"):
      mean = plus * np.exp(-t * alpha) + minus * np.exp(t * alpha) + 1.0 - plus - minus
    best = np.log(mean).sum(axis=1).min()
    found = chernoff.log_tail(alpha, plus, minus)
    np.testing.assert_allclose(found, best, rtol=1e-5)

  def test_of_equal_weights_it_has_a_closed_form(self):
    """n log(2 (q (1 - q))^(1/2))."""
    ones = np.ones(5000)
    found = chernoff.log_tail(0.3 * ones, 0.8 * ones, 0.2 * ones)
    np.testing.assert_allclose(found, 5000 * np.log(0.8), rtol=1e-8)

  @parameterized.parameters(([1.0, -1.0],), ([0.0, 0.0],), ([-1.0, 0.5],))
  def test_a_mean_that_is_not_positive_has_no_bound(self, alpha):
    found = chernoff.log_tail(np.array(alpha), np.full(2, 0.8), np.full(2, 0.2))
    self.assertEqual(found, 0.0)

  def test_small_weights_among_large_ones(self):
    alpha = np.concatenate([np.full(1000, 1e-6), [1.0]])
    plus = np.concatenate([np.full(1000, 0.9), [0.5]])
    found = chernoff.log_tail(alpha, plus, 1.0 - plus)
    self.assertLess(found, 0.0)


if __name__ == "__main__":
  absltest.main()
