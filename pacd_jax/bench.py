"""Speed as ratios, measured side by side in one run: `make bench`, into bench.json.

Each entry times what the package does against the plain way of doing the same, in turn
(A B A B ...), and reports the medians. A ratio above 1 is faster than the plain way.
"""

import functools
import pathlib
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import (
  certify,
  data,
  hypergradient,
  losses,
  models,
  run_folder,
  train,
  types,
)

_SIGMA = 0.25
_ROUNDS = 7


class Entry(NamedTuple):
  """One comparison: two functions that do `amount` units of the same work."""

  ours: Callable[[], object]
  peer: Callable[[], object]
  amount: float
  unit: str


def _seconds(function: Callable[[], object]) -> float:
  start = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - start


def measure(entry: Entry, *, rounds: int = _ROUNDS) -> dict[str, float | str]:
  """Medians over `rounds` turns, after one of each that is not counted."""
  both = entry.ours, entry.peer
  for function in both:
    _seconds(function)
  turns = [[_seconds(function) for function in both] for _ in range(rounds)]
  ours, peer = (
    entry.amount / statistics.median(times) for times in zip(*turns, strict=True)
  )
  return {"ours": ours, "peer": peer, "ratio": ours / peer, "unit": entry.unit}


def _small_cnn() -> tuple[types.Model, types.Params]:
  model = models.make("small_cnn", num_classes=10, image_shape=(8, 8, 1))
  return model, model.init(jax.random.key(0), (8, 8, 1))


def certification() -> Entry:
  """One image, 10,000 samples: counted on the device, against a loop over batches.

  The loop is the algorithm of Cohen et al.'s code: the network is compiled, noise, votes
  and counts go batch by batch through the host.
  """
  model, params = _small_cnn()
  image, n, batch = np.full((8, 8, 1), 0.5, np.float32), 10_000, 1000
  point = certify.make_certifier(
    model.apply, sigma=_SIGMA, n0=100, n=n, alpha=0.001, batch_size=batch
  )
  forward = jax.jit(model.apply)

  def loop():
    key, counts = jax.random.key(1), np.zeros(10, np.int64)
    for size in [100] + [batch] * (n // batch):
      key, noise_key = jax.random.split(key)
      noise = _SIGMA * jax.random.normal(noise_key, (size, *image.shape))
      votes = np.asarray(forward(params, image[None] + noise).argmax(axis=-1))
      for vote in votes:
        counts[vote] += 1
    return counts

  return Entry(lambda: point(params, image, jax.random.key(1)), loop, n, "samples/s")


def victims() -> Entry:
  """One epoch of five victims: one program, against five runs of one victim."""
  model, _ = _small_cnn()
  loss = losses.gaussian_augmentation(model.apply, sigma=_SIGMA)
  trainer = train.make(model, loss, optax.adam(1e-3), image_shape=(8, 8, 1), batch_size=50)
  split = data.load("digits").train
  images, labels = jnp.asarray(data.to_float(split.images)), jnp.asarray(split.labels)
  keys = train.victim_keys(jax.random.key(0), 5)
  together = trainer.init(keys)
  alone = [trainer.init(keys[k : k + 1]) for k in range(5)]
  return Entry(
    lambda: trainer.epoch(together, images, labels, keys),
    lambda: [
      trainer.epoch(state, images, labels, keys[k : k + 1]) for k, state in enumerate(alone)
    ],
    5,
    "victim epochs/s",
  )


def _lower_level(model: types.Model) -> tuple[types.LowerLevel, jax.Array]:
  loss = losses.gaussian_augmentation(model.apply, sigma=_SIGMA)
  images = jax.random.uniform(jax.random.key(2), (200, 8, 8, 1))
  labels = jnp.arange(200) % 10
  lower = types.LowerLevel(
    lambda params, poison: loss.outputs(params, poison, labels, jax.random.key(3)),
    lambda logits: loss.criterion(logits, labels)[0],
  )
  return lower, images


def curvature_products() -> Entry:
  """Ten Gauss-Newton products: linearised once, against `jvp` and `vjp` each time."""
  model, params = _small_cnn()
  lower, images = _lower_level(model)

  def afresh(params, v):
    def outputs(theta):
      return lower.outputs(theta, images)

    logits, tangent = jax.jvp(outputs, (params,), (v,))
    _, tangent = jax.jvp(jax.grad(lower.criterion), (logits,), (tangent,))
    return jax.vjp(outputs, params)[1](tangent)[0]

  def chain(product, v):
    return jax.lax.fori_loop(0, 10, lambda _, v: product(v), v)

  ours = jax.jit(lambda p, v: chain(hypergradient.gauss_newton(lower, p, images), v))
  peer = jax.jit(lambda p, v: chain(functools.partial(afresh, p), v))
  return Entry(lambda: ours(params, params), lambda: peer(params, params), 10, "products/s")


def convolution_gradient() -> Entry:
  """Gradients of five CNNs at batch 200 under vmap, against `lax` convolutions."""
  model, params = _small_cnn()
  images = jax.random.uniform(jax.random.key(2), (200, 8, 8, 1))
  labels = jnp.arange(200) % 10

  def by_lax(params, x):
    for layer in ("Conv_0", "Conv_1"):
      x = jax.lax.conv_general_dilated(
        x,
        params[layer]["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )
      x = jax.nn.relu(x + params[layer]["bias"])
      window = (1, 2, 2, 1)
      x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
    x = x.reshape(x.shape[0], -1)
    x = jax.nn.relu(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    return x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]

  def gradients(apply):
    loss = losses.standard(apply)
    key = jax.random.key(0)  # The standard loss draws nothing.
    one = jax.grad(lambda params: loss(params, images, labels, key)[0])
    return jax.jit(jax.vmap(one))

  stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), params)
  ours, peer = gradients(model.apply), gradients(by_lax)
  return Entry(lambda: ours(stacked), lambda: peer(stacked), 5, "gradients/s")


ENTRIES = {
  "certify_small_cnn": certification,
  "victims_together": victims,
  "curvature_products": curvature_products,
  "convolution_gradient": convolution_gradient,
}


def main() -> None:
  """Measures every entry, prints the table and writes bench.json."""
  results = {}
  write = sys.stdout.write
  write(f"{'':24}{'ours':>12}{'plain':>12}{'ratio':>8}  unit\n")
  for name, make_entry in ENTRIES.items():
    row = results[name] = measure(make_entry())
    write(
      f"{name:24}{row['ours']:12.4g}{row['peer']:12.4g}{row['ratio']:8.2f}  {row['unit']}\n"
    )
    sys.stdout.flush()
  run_folder.write_json(pathlib.Path("bench.json"), results)


if __name__ == "__main__":
  main()
