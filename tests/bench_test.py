"""The benchmark's arithmetic; and that both sides of an entry do the same work."""

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.bench import entry, matmul, plain, work


class BenchTest(parameterized.TestCase):
  def test_rates_are_of_the_median_turn(self):
    calls = []
    comparison = entry.Entry(
      lambda: calls.append("ours"), lambda: calls.append("peer"), 10, "things/s"
    )
    row = entry.measure(comparison, rounds=3)
    self.assertEqual(calls, ["ours", "peer"] * 5)
    np.testing.assert_allclose(row["ratio"], row["ours"] / row["peer"])
    self.assertEqual(row["unit"], "things/s")

  @parameterized.parameters(
    "curvature_products", "convolution_gradient", "convolution_in_loop"
  )
  def test_both_sides_compute_the_same(self, name):
    with jax.numpy_rank_promotion("allow"):
      comparison = plain.ENTRIES[name]()
      ours, peer = comparison.ours(), comparison.peer()
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(peer), strict=True):
      np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5 * float(np.abs(b).max()))

  def test_products_have_as_many_multiplications(self):
    """Where the peer makes another number of them, its amount says so."""
    calls = []
    one = matmul._SIZE**3 / matmul.PASS  # Passes of one product.
    comparison = matmul._against_products(lambda: calls, 3.4 * one, 17.0, "steps/s")
    self.assertLen(comparison.peer(), 3)
    np.testing.assert_allclose(comparison.peer_amount, 17.0 * 3 / 3.4)

  def test_a_pass_is_the_networks(self):
    params = jax.eval_shape(
      lambda key: work.network().init(key, work.IMAGE_SHAPE), jax.random.key(0)
    )
    positions = {"Conv_0": 24**2, "Conv_1": 8**2, "Dense_0": 1, "Dense_1": 1}
    passed = sum(n * params[name]["kernel"].size for name, n in positions.items())
    self.assertEqual(matmul.PASS, passed)


if __name__ == "__main__":
  absltest.main()
