"""A training step of MACER and of SmoothAdv, against one of Gaussian augmentation.

The unit is the gradient of a batch: MACER takes one for each of its k noisy copies,
SmoothAdv one for each step of its PGD and one for the parameters. At a ratio r, a step of m
gradients costs m / r steps of Gaussian augmentation.
"""

from pacd_jax import evasion, losses
from pacd_jax.bench import work
from pacd_jax.bench.entry import Entry

_BATCH = 200


def macer(k: int = 16) -> Entry:
  """MACER with k noisy copies of each image."""
  loss = losses.macer(work.network().apply, sigma=work.SIGMA, num_noise_samples=k)
  return Entry(
    work.victim_step(_BATCH, loss), work.victim_step(_BATCH), k, "gradients/s", 1
  )


def smoothadv(num_steps: int = 2) -> Entry:
  """SmoothAdv with one noisy copy and this many steps of PGD."""
  attack = evasion.Pgd(epsilon=1.0, num_steps=num_steps)
  loss = losses.smoothadv(work.network().apply, sigma=work.SIGMA, attack=attack)
  ours, peer = work.victim_step(_BATCH, loss), work.victim_step(_BATCH)
  return Entry(ours, peer, num_steps + 1, "gradients/s", 1)


ENTRIES = {"macer_step": macer, "smoothadv_step": smoothadv}
