"""The table of docs/aggregation.md: digits certified against changed labels.

  python tests/heavy/label_flip_table.py

Least squares on the pixels of four fifths of the digits and a column of ones, with a ridge
of 1; certificates of the other fifth, at several probabilities q of the noise.
"""

import sys

import numpy as np

from pacd_jax.data import sources
from pacd_jax.defenses.aggregation import label_flips
from pacd_jax.results import ensembles


def main() -> int:
  """Writes a line for each q; returns the exit status."""
  images, labels = sources.digits().train
  order = np.random.default_rng(0).permutation(len(labels))
  pixels = images.reshape(len(images), -1)[order] / 255.0
  features, labels = np.insert(pixels, 0, 1.0, axis=1), labels[order]
  cut = len(labels) * 4 // 5
  for q in (0.05, 0.1, 0.2, 0.3, 0.4):
    found = label_flips.certify(
      features[:cut], labels[:cut], features[cut:], q, 1.0, num_classes=10
    )
    is_right = found.prediction == labels[cut:]
    radii = {
      "exact": np.where(is_right, found.radius, -1),
      "by divergence": np.where(is_right, np.floor(found.kl_radius), -1),
    }
    words = [
      f"{name}: median {ensembles.median_radius(each):g}, most {each.max():g}"
      for name, each in radii.items()
    ]
    sys.stdout.write(
      f"q = {q}: right {100.0 * is_right.mean():.1f} %; {'; '.join(words)}\n"
    )
    sys.stdout.flush()
  return 0


if __name__ == "__main__":
  sys.exit(main())
