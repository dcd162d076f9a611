"""Distances of poisons: closed forms, and SSIM by its definition pixel by pixel."""

import numpy as np
from absl.testing import absltest

from pacd_jax import detectability, types


def _ssim_by_definition(a, b):
  """Of one channel, `[H, W]`: every window's statistics by direct sums."""
  steps = np.arange(-5, 6)
  line = np.exp(-(steps**2) / (2 * 1.5**2))
  window = np.outer(line, line) / line.sum() ** 2
  padded = [np.pad(image, 5, mode="reflect") for image in (a, b)]
  values = []
  for i in range(a.shape[0]):
    for j in range(a.shape[1]):
      pa, pb = (image[i : i + 11, j : j + 11] for image in padded)
      ma, mb = (window * pa).sum(), (window * pb).sum()
      va, vb = (window * (pa - ma) ** 2).sum(), (window * (pb - mb) ** 2).sum()
      covariance = (window * (pa - ma) * (pb - mb)).sum()
      top = (2 * ma * mb + 1e-4) * (2 * covariance + 9e-4)
      values.append(top / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
  return np.mean(values)


def _poison(base, images):
  fields = dict(labels=None, indices=None, epsilon=0.1, norm="linf", target_class=8)
  fields |= dict(dataset="", sigma=0.25, checksum="")
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
      np.mean([_ssim_by_definition(a[n, ..., c], b[n, ..., c]) for c in range(2)])
      for n in range(2)
    ]
    np.testing.assert_allclose(detectability.ssim(a, b), expected, rtol=1e-9)


if __name__ == "__main__":
  absltest.main()
