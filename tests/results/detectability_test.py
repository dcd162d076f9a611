"""Distances of poisons: closed forms, and SSIM by its definition pixel by pixel."""

import numpy as np
from absl.testing import absltest
from ssim_by_definition import ssim

from pacd_jax import types
from pacd_jax.results import detectability


def _poison(base, images):
  fields = dict.fromkeys(("labels", "base_labels", "indices", "inserted", "clean_label"))
  fields |= dict(epsilon=0.1, norm="linf", target_class=8)
  fields |= dict(dataset="", sigma=0.25, checksum="", triggered=None, goal=None)
  return types.Poison(images=images, base_images=base, **fields)


class DistancesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.base = np.random.default_rng(0).integers(0, 200, (3, 12, 9, 2)).astype(np.uint8)

  def test_of_a_constant_shift(self):
    found = detectability.distances(_poison(self.base, self.base + np.uint8(51)))
    np.testing.assert_allclose(found.linf, 0.2)
    np.testing.assert_allclose(found.l2, 0.2 * np.sqrt(12 * 9 * 2))
    np.testing.assert_allclose(found.psnr, -20.0 * np.log10(0.2))
    self.assertLess(found.ssim.max(), 1.0)

  def test_of_no_change(self):
    found = detectability.distances(_poison(self.base, self.base))
    np.testing.assert_array_equal(found.linf, 0.0)
    np.testing.assert_array_equal(found.psnr, np.inf)
    np.testing.assert_allclose(found.ssim, 1.0)

  def test_ssim_is_its_definition(self):
    generator = np.random.default_rng(1)
    a, b = generator.uniform(0, 1, (2, 2, 12, 9, 2))
    b = 0.7 * a + 0.3 * b
    expected = [
      np.mean([ssim(a[n, ..., c], b[n, ..., c]) for c in range(2)]) for n in range(2)
    ]
    np.testing.assert_allclose(detectability.ssim(a, b), expected, rtol=1e-9)


if __name__ == "__main__":
  absltest.main()
