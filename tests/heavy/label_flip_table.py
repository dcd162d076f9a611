"""The table of docs/aggregation.md: digits certified against changed labels.

  python tests/heavy/label_flip_table.py

Least squares on the pixels of four fifths of the digits and a column of ones, with a ridge
of 1; certificates of the other fifth, at several probabilities q of the noise.
"""

import sys

import numpy as np

from pacd_jax.data import sources
from pacd_jax.defenses.aggregation import label_flips, verdicts


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
    radii = {
      "exact": verdicts.radius_of_truth(found.prediction, found.radius, labels[cut:]),
      "by divergence": verdicts.radius_of_truth(
        found.prediction, np.floor(found.kl_radius), labels[cut:]
      ),
    }
    accuracy = 100.0 * verdicts.certified_accuracy(radii["exact"], 0)
    words = [
      f"{name}: median {verdicts.median_certified(each)}, most {each.max()}"
      for name, each in radii.items()
    ]
    sys.stdout.write(f"q = {q}: right {accuracy:.1f} %; {'; '.join(words)}\n")
    sys.stdout.flush()
  return 0


if __name__ == "__main__":
  sys.exit(main())
