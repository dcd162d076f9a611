"""The package's work against the plain JAX way of doing the same, on digits."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import losses, train, types
from pacd_jax.bench import work
from pacd_jax.bench.entry import Entry
from pacd_jax.bilevel import hypergradient
from pacd_jax.certification import certify
from pacd_jax.data import training_sets
from pacd_jax.defenses.aggregation import ensemble, partitions
from pacd_jax.experiment.entries import data_sets, networks
from pacd_jax.models import convolution
from pacd_jax.runtime import sharding

_SIGMA = 0.25


def _small_cnn() -> tuple[types.Model, types.Params]:
  model = networks.make("small_cnn", num_classes=10, image_shape=(8, 8, 1))
  return model, model.init(jax.random.key(0), (8, 8, 1))


def certification() -> Entry:
  """One image, 10,000 samples: counted on the device, against a loop over batches.

  The loop is the algorithm of Cohen et al.'s code: the network is compiled; noise, votes
  and counts pass through the host, batch by batch.
  """
  model, params = _small_cnn()
  image, n, batch = np.full((8, 8, 1), 0.5, np.float32), 10_000, 1000
  certify_points = certify.make_certifier(
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

  def ours():
    return list(certify_points(params, image[None], jax.random.key(1)[None]))

  return Entry(ours, loop, n, "samples/s")


def _trainer(
  model: types.Model, batch_size: int, mesh: jax.sharding.Mesh | None = None
) -> train.Trainer:
  return train.make(
    model,
    losses.gaussian_augmentation(model.apply, sigma=_SIGMA),
    lambda num_steps: optax.adam(1e-3),
    image_shape=(8, 8, 1),
    num_epochs=1,
    batch_size=batch_size,
    mesh=mesh,
  )


def _epochs(
  trainer: train.Trainer,
  data: types.Rows,
  rows: types.Array,
  keys: types.Key,
  mesh: jax.sharding.Mesh | None = None,
) -> Callable[[], types.Aux]:
  """An epoch at each call, from the state of the last one, whose buffers it takes."""
  state, given = trainer.init(keys), (data, rows, keys)
  if mesh is not None:
    state, given = sharding.hold_rows(state, mesh), sharding.replicate(given, mesh)

  def epoch():
    nonlocal state
    state, values = trainer.epoch(state, *given)
    return values

  return epoch


def _clean() -> types.TrainingSet:
  return training_sets.whole(data_sets.load("digits").train)


def victims() -> Entry:
  """One epoch of five victims: one program, against five runs of one victim."""
  model, _ = _small_cnn()
  trainer = _trainer(model, 50)
  data = jax.tree.map(jnp.asarray, training_sets.stack([_clean()]))
  rows, keys = train.every_row(train.victim_keys(jax.random.key(0), 5), 1)
  together = _epochs(trainer, data, rows, keys)
  alone = [
    _epochs(trainer, data, rows[k : k + 1], keys[k : k + 1]) for k in range(len(rows))
  ]
  return Entry(together, lambda: [epoch() for epoch in alone], 5, "victim epochs/s")


def victims_by_core() -> Entry:
  """One epoch of ten victims: each device has its share, against the first one alone."""
  model, _ = _small_cnn()
  data = training_sets.stack([_clean()])
  rows, keys = train.every_row(train.victim_keys(jax.random.key(0), 10), 1)
  ours, peer = (
    _epochs(_trainer(model, 50, mesh), data, rows, jax.random.clone(keys), mesh)
    for mesh in (sharding.mesh(), sharding.mesh(1))
  )
  return Entry(ours, peer, len(rows), "victim epochs/s")


def ensemble_networks(name: str) -> Entry:
  """One epoch of an ensemble's 30 networks: one program, against one after the other.

  Each has a thirtieth of the images, in batches of 12: `configs/digits_aggregation.py`.
  The peer is the same trainer on one network at a time, compiled once for all of them.
  """
  number = 30
  model = networks.make(name, num_classes=10, image_shape=(8, 8, 1))
  clean = _clean()
  members = partitions.members(
    clean, partitions.by_position(clean, number), number, positional=True
  )
  data = training_sets.stack([clean])._replace(
    present=members.positions, sizes=members.sizes, source=np.zeros(number, np.int32)
  )
  rows, keys = jnp.arange(number), ensemble.model_keys(jax.random.key(0), number)
  data, trainer = jax.tree.map(jnp.asarray, data), _trainer(model, 12)
  together = _epochs(trainer, data, rows, keys)
  alone = [_epochs(trainer, data, rows[k : k + 1], keys[k : k + 1]) for k in range(number)]
  return Entry(together, lambda: [epoch() for epoch in alone], number, "network epochs/s")


def _lower_level(
  model: types.Model, image_shape: tuple[int, int, int]
) -> tuple[types.LowerLevel, jax.Array]:
  loss = losses.gaussian_augmentation(model.apply, sigma=_SIGMA)
  images = jax.random.uniform(jax.random.key(2), (200, *image_shape))
  labels = jnp.arange(200) % 10
  lower = types.LowerLevel(
    lambda params, poison: loss.outputs(params, poison, jax.random.key(3)),
    lambda logits: loss.criterion(logits, labels)[0],
  )
  return lower, images


def curvature_products() -> Entry:
  """Ten Gauss-Newton products: linearised once, against `jvp` and `vjp` each time."""
  model, params = _small_cnn()
  lower, images = _lower_level(model, (8, 8, 1))

  def afresh(params, v):
    def outputs(theta):
      return lower.outputs(theta, images)

    logits, tangent = jax.jvp(outputs, (params,), (v,))
    _, tangent = jax.jvp(jax.grad(lower.criterion), (logits,), (tangent,))
    return jax.vjp(outputs, params)[1](tangent)[0]

  def chain(product, v):
    return jax.lax.fori_loop(0, 10, lambda _, v: product(v), v)

  def package(params, v):
    return chain(hypergradient.gauss_newton(lower, params, images).matvec, v)

  ours = jax.jit(package)
  peer = jax.jit(lambda p, v: chain(functools.partial(afresh, p), v))
  return Entry(lambda: ours(params, params), lambda: peer(params, params), 10, "products/s")


def hessian_in_reverse() -> Entry:
  """Ten Hessian products of the MNIST CNN by `vjp` of `grad`, against `jvp` of `grad`."""
  params = work.parameters()
  lower, images = _lower_level(work.network(), work.IMAGE_SHAPE)

  def products(reverse):
    def chain(params, v):
      chosen = lower._replace(reverse_products=reverse)
      product = hypergradient.hessian(chosen, params, images).matvec
      return jax.lax.fori_loop(0, 10, lambda _, v: product(v), v)

    compiled = jax.jit(chain)
    return lambda: compiled(params, params)

  return Entry(products(True), products(False), 10, "products/s")


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


def convolution_in_loop() -> Entry:
  """Ten gradients of a ResNet's convolution in a loop, against `lax`'s in that loop."""
  images = jax.random.uniform(jax.random.key(2), (50, 32, 32, 16))
  kernel = 0.1 * jax.random.normal(jax.random.key(3), (3, 3, 16, 16))

  def descend(layout):
    def step(_, kernel):
      def value(kernel):
        return jnp.sum(jnp.tanh(layout.conv(images, kernel, 1, "SAME")))

      return kernel - 1e-6 * jax.grad(value)(kernel)

    return jax.jit(lambda kernel: jax.lax.fori_loop(0, 10, step, kernel))

  ours, peer = descend(convolution.SPLIT), descend(convolution.NHWC)
  return Entry(lambda: ours(kernel), lambda: peer(kernel), 10, "gradients/s")


def certify_devices() -> Entry:
  """Certificates of a CNN on every device, against the first one alone."""
  num_samples = work.NUM_POINTS * (100 + work.NUM_SAMPLES)
  one = work.certification(sharding.mesh(1))
  return Entry(work.certification(), one, num_samples, "samples/s")


ENTRIES = {
  "certify_small_cnn": certification,
  "victims_together": victims,
  "victims_by_core": victims_by_core,
  "ensemble_together_linear": functools.partial(ensemble_networks, "linear"),
  "ensemble_together_mlp": functools.partial(ensemble_networks, "mlp"),
  "ensemble_together_small_cnn": functools.partial(ensemble_networks, "small_cnn"),
  "curvature_products": curvature_products,
  "hessian_in_reverse": hessian_in_reverse,
  "convolution_gradient": convolution_gradient,
  "convolution_in_loop": convolution_in_loop,
  "certify_devices": certify_devices,
}
