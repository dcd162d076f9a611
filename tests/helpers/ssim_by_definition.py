"""Structural similarity as Wang et al. (2004) define it, pixel by pixel."""

import numpy as np


def ssim(a, b):
  """Of two images of one channel, `[H, W]`: every window's statistics by direct sums."""
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
