"""The package's work against float32 matrix products of as many multiplications.

The ratio is the share of what the machine's own products would allow. Multiplications are
counted as the formulas need them, in passes through the network's layers: 1 for logits, 3
for a gradient (in the images too: 4 % more than in theta alone), and 6 for a product with
the Hessian once the gradient is done: 2 for the tangents of the logits and 4 for those of
their transposes.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from pacd_jax.bench import work
from pacd_jax.bench.entry import Entry

# Multiplications of one pass of one image: two convolutions, two dense layers.
PASS = 24**2 * 25 * 20 + 8**2 * 500 * 50 + 800 * 500 + 500 * 10
_SIZE = 2048


def flops(sizes: tuple[int, ...] = (1024, 2048, 4096), *, rounds: int = 3) -> float:
  """The best GFLOP/s of square float32 products by `jnp.dot`, 2 n^3 operations each."""
  dot, best = jax.jit(functools.partial(jnp.dot, precision="highest")), 0.0
  for size in sizes:
    a = jnp.ones((size, size), jnp.float32)
    dot(a, a).block_until_ready()
    for _ in range(rounds):
      start = time.perf_counter()
      dot(a, a).block_until_ready()
      best = max(best, 2e-9 * size**3 / (time.perf_counter() - start))
  return best


def _against_products(run: Callable, passes: float, amount: float, unit: str) -> Entry:
  """Compares `amount` units, of `passes` passes of one image, with as many products."""
  a = jnp.ones((_SIZE, _SIZE))
  dot = jax.jit(functools.partial(jnp.dot, precision="highest"))
  num_products = max(1, round(passes * PASS / _SIZE**3))
  peer_amount = amount * num_products * _SIZE**3 / (passes * PASS)
  return Entry(
    run, lambda: [dot(a, a) for _ in range(num_products)], amount, unit, peer_amount
  )


def certify_cnn() -> Entry:
  """Samples of certificates, one pass each."""
  num_samples = work.NUM_POINTS * (100 + work.NUM_SAMPLES)
  return _against_products(work.certification(), num_samples, num_samples, "samples/s")


def victim_step(batch_size: int) -> Entry:
  """A gradient on one batch."""
  return _against_products(work.victim_step(batch_size), 3 * batch_size, 1, "steps/s")


def attack_step() -> Entry:
  """An outer step: T1 + 1 gradients, the ACR's, T2 products, and du, counted as one."""
  setting = work.Setting()
  batch, upper = 1000, 100 * setting.num_noise_samples
  gradients, products = setting.lower_steps + 1, setting.solver_steps + 1
  passes = batch * (3 * gradients + 6 * products) + 3 * upper
  return _against_products(work.attack_step(setting), passes, 1, "steps/s")


ENTRIES = {
  "certify_cnn_vs_matmul": certify_cnn,
  "victim_step_200_vs_matmul": functools.partial(victim_step, 200),
  "victim_step_1000_vs_matmul": functools.partial(victim_step, 1000),
  "attack_step_vs_matmul": attack_step,
}
