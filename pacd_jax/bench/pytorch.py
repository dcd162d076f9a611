"""The paper's MNIST network at the authors' sizes, against PyTorch on the same CPU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import certify, losses, models, types
from pacd_jax.bench import check, peers
from pacd_jax.bench.entry import Entry

_SIGMA, _KEY = 0.25, 1
# Multiplications and additions of one forward pass: 2 x 2.3 million.
_FLOP = 2 * (24**2 * 25 * 20 + 8**2 * 500 * 50 + 800 * 500 + 500 * 10)


def _network() -> tuple[types.Model, types.Params]:
  shape = check.IMAGE_SHAPE
  model = models.make("mnist_cnn", num_classes=10, image_shape=shape)
  return model, model.init(jax.random.key(0), shape)


def _certification(n: int = 10_000, num_points: int = 8):
  """Certificates of several points: the function, and its samples."""
  model, params = _network()
  images = np.full((num_points, *check.IMAGE_SHAPE), 0.5, np.float32)
  keys = jax.random.split(jax.random.key(_KEY), num_points)
  certify_points = certify.make_certifier(
    model.apply, sigma=_SIGMA, n0=100, n=n, alpha=0.001, batch_size=500
  )
  return lambda: list(certify_points(params, images, keys)), num_points * (n + 100)


def certify_cnn(channels_last: bool = False) -> Entry:
  """Samples of a certificate: votes on the device, against the loop of Cohen et al."""
  ours, num_samples = _certification()
  params, image, n = _network()[1], np.full(check.IMAGE_SHAPE, 0.5, np.float32), 20_000
  peer = peers.certify_loop(
    params, image, sigma=_SIGMA, n0=100, n=n, channels_last=channels_last
  )
  return Entry(ours, peer, num_samples, "samples/s", n + 100)


def certify_cnn_vs_matmul() -> Entry:
  """The same, against the float32 matrix products of as many multiplications."""
  ours, num_samples = _certification()
  size = 2048
  a = jnp.ones((size, size))
  dot = jax.jit(jnp.dot)
  as_many = round(num_samples * _FLOP / (2 * size**3))
  samples = as_many * 2 * size**3 / _FLOP  # Of as many multiplications.
  return Entry(
    ours, lambda: [dot(a, a) for _ in range(as_many)], num_samples, "samples/s", samples
  )


def victim_step(batch_size: int, channels_last: bool = False) -> Entry:
  """Gradient of Gaussian augmentation's loss and Adam's step."""
  model, params = _network()
  loss = losses.gaussian_augmentation(model.apply, sigma=_SIGMA)
  adam = optax.adam(1e-3)
  images = jax.random.uniform(jax.random.key(2), (batch_size, *check.IMAGE_SHAPE))
  labels = jnp.arange(batch_size) % 10

  @jax.jit
  def step(state, number):
    params, opt_state = state
    key = jax.random.fold_in(jax.random.key(_KEY), number)
    gradient = jax.grad(lambda p: loss(p, images, labels, key)[0])(params)
    updates, opt_state = adam.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  state, number = (params, adam.init(params)), 0

  def ours():
    nonlocal state, number
    state, number = step(state, number), number + 1
    return state

  peer = peers.victim_step(
    params, images, labels, sigma=_SIGMA, channels_last=channels_last
  )
  return Entry(ours, peer, 1, "steps/s")


def attack_step(curvature: str) -> Entry:
  """One outer step at the authors' sizes; PyTorch's derivatives are by double backward."""
  params, attack_data = check.problem()
  setting = peers.Setting(curvature=curvature)
  ours = check.pacd_step(params, attack_data, setting, jax.random.key(_KEY))
  if (steps := int(ours()[1]["num_steps"])) != setting.solver_steps:
    raise ValueError(f"bench: the solve ended after {steps} steps")
  peer = peers.attack_step(params, attack_data, setting)
  return Entry(ours, peer, 1, "steps/s")


ENTRIES = {
  "certify_cnn": certify_cnn,
  "certify_cnn_vs_matmul": certify_cnn_vs_matmul,
  "victim_step_200": functools.partial(victim_step, 200),
  "victim_step_1000": functools.partial(victim_step, 1000),
  # PyTorch with its kernels in the layout that is faster here.
  "certify_cnn_channels_last": functools.partial(certify_cnn, True),
  "victim_step_200_channels_last": functools.partial(victim_step, 200, True),
  "victim_step_1000_channels_last": functools.partial(victim_step, 1000, True),
  "attack_step": functools.partial(attack_step, "hessian"),
  "attack_step_gauss_newton": functools.partial(attack_step, "gauss_newton"),
}
