"""A victim's step whose gradient is taken in parts, against that of the whole batch."""

import functools

from pacd_jax import losses
from pacd_jax.bench import work
from pacd_jax.bench.entry import Entry


def step_in_parts(batch_size: int, copies: int = 1) -> Entry:
  """Gaussian augmentation, or MACER with so many copies of each image, of the MNIST CNN."""
  loss = None
  if copies > 1:
    loss = losses.macer(work.network().apply, sigma=work.SIGMA, num_noise_samples=copies)
  ours = work.victim_step(batch_size, loss)
  return Entry(ours, work.victim_step(batch_size, loss, in_parts=False), 1, "steps/s")


ENTRIES = {
  "gradient_in_parts": functools.partial(step_in_parts, 1000),
  "macer_in_parts": functools.partial(step_in_parts, 200, 16),
}
