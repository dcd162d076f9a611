"""The package's work against PyTorch's on the same CPU; `check.py` compares the results."""

import functools

import numpy as np

from pacd_jax.bench import peers, work
from pacd_jax.bench.entry import Entry


def certify_cnn(**layout: bool) -> Entry:
  """Samples of certificates: votes on the devices, against the loop of Cohen et al."""
  image, n = np.full(work.IMAGE_SHAPE, 0.5, np.float32), 20_000
  peer = peers.certify_loop(
    work.parameters(), image, sigma=work.SIGMA, n0=100, n=n, **layout
  )
  num_samples = work.NUM_POINTS * (100 + work.NUM_SAMPLES)
  return Entry(work.certification(), peer, num_samples, "samples/s", n + 100)


def victim_step(batch_size: int, **layout: bool) -> Entry:
  """Gradient of Gaussian augmentation's loss and Adam's step."""
  batch = work.training_batch(batch_size)
  peer = peers.victim_step(work.parameters(), *batch, sigma=work.SIGMA, **layout)
  return Entry(work.victim_step(batch_size), peer, 1, "steps/s")


def attack_step(curvature: str) -> Entry:
  """One outer step at the authors' sizes; PyTorch's derivatives are by double backward."""
  setting = work.Setting(curvature=curvature)
  peer = peers.attack_step(*work.attack_problem(), setting)
  return Entry(work.attack_step(setting), peer, 1, "steps/s")


ENTRIES = {
  "certify_cnn": certify_cnn,
  "victim_step_200": functools.partial(victim_step, 200),
  "victim_step_1000": functools.partial(victim_step, 1000),
  # PyTorch with its kernels in the layout that is faster here.
  "certify_cnn_channels_last": functools.partial(certify_cnn, channels_last=True),
  "victim_step_200_channels_last": functools.partial(victim_step, 200, channels_last=True),
  "victim_step_1000_channels_last": functools.partial(
    victim_step, 1000, channels_last=True
  ),
  "attack_step": functools.partial(attack_step, "hessian"),
  "attack_step_gauss_newton": functools.partial(attack_step, "gauss_newton"),
}
_BOTH = dict(channels_last=True, compiled=True)
# Where `torch.compile` runs; it has no double backward, which the attack's step needs.
COMPILED = {
  "certify_cnn_compiled": functools.partial(certify_cnn, **_BOTH),
  "victim_step_200_compiled": functools.partial(victim_step, 200, **_BOTH),
  "victim_step_1000_compiled": functools.partial(victim_step, 1000, **_BOTH),
}
