"""What of the peers needs no PyTorch; `make bench` itself checks the rest before timing."""

from unittest import mock

from absl.testing import absltest, parameterized

from configs import base
from pacd_jax.bench import peers


class BenchPeersTest(parameterized.TestCase):
  @parameterized.parameters(
    "epsilon",
    "step_size",
    "num_noise_samples",
    "inverse_temperature",
    "lower_steps",
    "learning_rate",
    "solver_steps",
  )
  def test_the_setting_is_that_of_the_experiments(self, name):
    setting, config = peers.Setting(), base.get_config()
    self.assertEqual(getattr(setting, name), config.attack[name])
    self.assertEqual(setting.sigma, config.sigma)

  def test_matmul_flops_takes_the_best_of_its_rounds(self):
    clock = iter([0.0, 2.0, 2.0, 3.0])
    with mock.patch("time.perf_counter", lambda: next(clock)):
      rate = peers.matmul_flops((100,), rounds=2)
    self.assertAlmostEqual(rate, 2 * 100**3 / 1e9)


if __name__ == "__main__":
  absltest.main()
