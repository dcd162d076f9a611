"""Certificates in sound mode against ordinary ones: the cost of noise on a grid."""

from pacd_jax.bench import work
from pacd_jax.bench.entry import Entry


def certification() -> Entry:
  """The certificates of `work.certification`, of the CNN for MNIST."""
  num_samples = work.NUM_POINTS * (100 + work.NUM_SAMPLES)
  return Entry(
    work.certification(sound=True), work.certification(), num_samples, "samples/s"
  )


ENTRIES = {"certify_sound": certification}
