"""Tests of the noises and of the votes: those of a linear classifier are known."""

import jax
import numpy as np
from absl.testing import absltest
from scipy.stats import norm

from pacd_jax import types
from pacd_jax.bench import double_sampling, double_sampling_noises

OFFSET, SIZE, N = 1.2, 16, 20_000


def linear(params, images):
  """Class 0 where the first pixel is below OFFSET / 2."""
  del params
  first = images[:, 0, 0, 0]
  return jax.numpy.stack([0.5 * OFFSET - first, first - 0.5 * OFFSET], axis=1)


class VotesTest(absltest.TestCase):
  def test_a_half_space_has_its_share_under_every_noise_and_gains_nothing(self):
    points = types.Dataset(np.zeros((1, 4, 4, 1), np.uint8), np.zeros(1, np.int32))
    votes = double_sampling.sampler(linear, {}, 0.5)
    first = double_sampling_noises.Gaussian(SIZE)
    noises = double_sampling_noises.second_noises(first, SIZE)
    drawn = double_sampling.draw(votes, points, first, noises, N, 3)
    np.testing.assert_allclose(drawn.under_p.mean(), norm.cdf(OFFSET), atol=0.01)
    self.assertLen(drawn.under_q, 5)
    for noise, under_q in drawn.under_q.items():
      expected = noise.least_favourable(norm.cdf(OFFSET))
      np.testing.assert_allclose(under_q.mean(), expected, atol=0.012, err_msg=str(noise))
    ordinary = double_sampling.ordinary(drawn, N)
    self.assertBetween(ordinary[0], OFFSET - 0.08, OFFSET)
    noise = next(each for each in drawn.under_q if "ball" in str(each))
    single = double_sampling.single(drawn, noise, N)
    self.assertBetween(single[0], ordinary[0] - 0.02, ordinary[0])
    double = double_sampling.double(drawn, noise, N)
    self.assertBetween(double[0], OFFSET - 0.15, OFFSET)

  def test_a_generalised_gaussian_has_the_same_mean_square_and_a_wider_spread(self):
    shares = (np.arange(20_000) + 0.5) / 20_000
    spread = []
    for degrees in (64.0, 8.0):
      noise = double_sampling_noises.ball.Noise(64, degrees)
      square = double_sampling_noises.Generalised(noise).norms(shares) ** 2
      np.testing.assert_allclose(square.mean(), 64.0, rtol=1e-3)
      spread.append(square.std() / 64.0)
    np.testing.assert_allclose(spread, np.sqrt(2.0 / np.array([64.0, 8.0])), rtol=0.01)


if __name__ == "__main__":
  absltest.main()
