"""How many multiplications the work is, and the machine's own rate of them."""

from unittest import mock

import jax
import numpy as np
from absl.testing import absltest

from pacd_jax.bench import matmul, work


class BenchMatmulTest(absltest.TestCase):
  def test_flops_takes_the_best_of_its_rounds(self):
    clock = iter([0.0, 2.0, 2.0, 3.0])
    with mock.patch("time.perf_counter", lambda: next(clock)):
      rate = matmul.flops((100,), rounds=2)
    self.assertAlmostEqual(rate, 2 * 100**3 / 1e9)

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
