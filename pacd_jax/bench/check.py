"""Checks that `peers.py` computes what the package does, before anything is timed."""

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax.attacks import problem
from pacd_jax.bench import peers, work
from pacd_jax.data import batches


def check(tolerance: float = 1e-3) -> dict[str, float]:
  """Compares both sides on the same numbers: |PyTorch - package| / |package|.

  Compared are the network's logits, the training gradient, a product with either curvature,
  and theta and du of an attack step with either. The attack step is short here, since a
  difference of one bit grows with every step of Adam.

  Raises:
    ValueError: a difference is not below the tolerance.
  """
  params, attack_data = work.attack_problem(90, 10, 10)
  found = _check_training(params, attack_data)
  for curvature in work.CURVATURES:
    setting = work.Setting(
      curvature=curvature, num_noise_samples=5, lower_steps=4, solver_steps=5
    )
    for name, difference in _check_step(params, attack_data, setting).items():
      found[f"{name}, {curvature} step"] = difference
  wrong = {name: value for name, value in found.items() if not value < tolerance}
  if wrong:
    raise ValueError(f"bench: PyTorch and the package do not compute the same: {wrong}")
  return found


def _difference(peer, ours) -> float:
  """The relative difference, in the l2 norm over all entries; NaN where `ours` is 0."""
  peer, ours = np.asarray(peer.detach()), np.asarray(ours)
  norm = np.linalg.norm(ours)
  return float(np.linalg.norm(peer - ours) / norm) if norm else np.nan


def _check_training(params, attack_data) -> dict[str, float]:
  """Compares logits, the gradient, and its curvature products, on noisy images."""
  setting, key = work.Setting(), jax.random.key(1)
  settings = work.pacd_settings(attack_data, setting)
  labels = jnp.concatenate([attack_data.clean_labels, attack_data.base_labels])

  @jax.jit
  def package(params, clean, poison, key):
    batch = problem.Batch(clean, labels, jnp.arange(len(poison)))
    lower = problem.lower_level(settings, batch, key)
    gradient = jax.grad(lower)(params, poison)
    products = [
      curvature(lower, params, poison).matvec(gradient)
      for curvature in work.CURVATURES.values()
    ]
    return lower.outputs(params, poison), gradient, products

  clean, poison = attack_data.clean_images, attack_data.base_images
  logits, v, products = package(params, clean, poison, jax.random.clone(key))

  images = jnp.concatenate([clean, poison])
  noisy = images + setting.sigma * jax.random.normal(key, images.shape)
  noisy, targets = peers.to_nchw(noisy), peers.to_labels(labels)
  network, flatten = peers.make_network(params), peers.flatten
  found = {"logits": _difference(network(noisy), logits)}
  for name, product in zip(work.CURVATURES, products, strict=True):
    gradient, peer = peers.lower_level(network, noisy, targets, name)
    found["gradient"] = _difference(gradient, flatten(v))
    found[f"{name} product"] = _difference(peer(flatten(v)), flatten(product))
  return found


def _check_step(params, attack_data, setting: work.Setting) -> dict[str, float]:
  """Compares `pacd_step` with `attack_step` on the batch and the noise that it drew."""
  key = jax.random.key(0)
  state, metrics = work.pacd_step(params, attack_data, setting, key)()
  if metrics["num_steps"] < setting.solver_steps:
    raise ValueError(f"bench: the solve ended after {metrics['num_steps']} steps")

  settings = work.pacd_settings(attack_data, setting)
  batch = problem.draw_batch(settings, attack_data, key, state.step - 1, key)
  num_val = settings.val_batch
  val_rows = batches.batch_indices(
    jax.random.fold_in(key, problem.VAL), 0, num_examples=num_val, batch_size=num_val
  )
  in_order = attack_data._replace(
    clean_images=batch.images,
    clean_labels=batch.labels[: settings.clean_batch],
    base_images=attack_data.base_images[batch.rows],
    val_images=attack_data.val_images[val_rows],
  )

  lower_key = problem.fold(key, problem.LOWER_NOISE, 0)
  keys = [jax.random.fold_in(lower_key, t) for t in range(setting.lower_steps + 1)]
  keys.insert(-1, problem.fold(key, problem.VAL_NOISE, 0))  # Drawn before the noise of du.
  keys = iter(keys)

  def draw(images):
    *batch_shape, channels, height, width = images.shape
    shape = *batch_shape, height, width, channels
    return peers.to_nchw(jax.random.normal(next(keys), shape))

  _, du, theta = peers.attack_step(params, in_order, setting, draw)()
  surrogate = jax.tree.map(lambda leaf: leaf[0], state.surrogates)
  return {
    "theta": _difference(theta, peers.flatten(surrogate.params)),
    "du": _difference(du, peers.to_nchw(state.memory.first[batch.rows])),
  }
