"""That `peers.py` computes what the package does, before anything is timed."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import (
  data,
  hypergradient,
  linear_solve,
  losses,
  models,
  types,
)
from pacd_jax.attacks import pacd
from pacd_jax.bench import peers

IMAGE_SHAPE = (28, 28, 1)
_NUM_CLASSES, _TARGET = 10, 8
_CURVATURES = {
  "hessian": hypergradient.hessian,
  "gauss_newton": hypergradient.gauss_newton,
}


def problem(
  num_clean: int = 900, num_poison: int = 100, num_val: int = 100
) -> tuple[types.Params, pacd.AttackData]:
  """MNIST-like images that are learned in a few steps, and parameters to start from.

  One coarse random pattern for each class under pixel noise. The defaults are the sizes
  of the authors' batches, so that a batch is the whole of it.
  """
  rng = np.random.default_rng(0)
  patterns = 0.5 + 0.2 * np.kron(rng.uniform(-1, 1, (10, 7, 7, 1)), np.ones((4, 4, 1)))

  def images(labels):
    noisy = patterns[labels] + 0.1 * rng.normal(size=(len(labels), *IMAGE_SHAPE))
    return jnp.asarray(np.clip(noisy, 0, 1), jnp.float32), jnp.asarray(labels, jnp.int32)

  others = [c for c in range(_NUM_CLASSES) if c != _TARGET]
  attack_data = pacd.AttackData(
    *images(np.resize(others, num_clean)),
    *images(np.full(num_poison, _TARGET)),
    *images(np.full(num_val, _TARGET)),
  )
  return _model().init(jax.random.key(0), IMAGE_SHAPE), attack_data


@functools.cache
def _model() -> types.Model:
  return models.make("mnist_cnn", num_classes=_NUM_CLASSES, image_shape=IMAGE_SHAPE)


def _pacd_settings(attack_data: pacd.AttackData, setting: peers.Setting) -> pacd.Settings:
  def solve(matvec, b):
    matvec = linear_solve.damped(matvec, setting.damping)
    return linear_solve.conjugate_gradient(matvec, b, max_steps=setting.solver_steps)

  return pacd.Settings(
    model=_model(),
    loss=losses.gaussian_augmentation(_model().apply, sigma=setting.sigma),
    hypergradient=functools.partial(
      hypergradient.approx_grad, curvature=_CURVATURES[setting.curvature], solve=solve
    ),
    optimizer=optax.adam(setting.learning_rate),
    sigma=setting.sigma,
    epsilon=setting.epsilon,
    clean_batch=len(attack_data.clean_labels),
    poison_batch=len(attack_data.base_labels),
    val_batch=len(attack_data.val_labels),
    num_noise_samples=setting.num_noise_samples,
    inverse_temperature=setting.inverse_temperature,
    lower_steps=setting.lower_steps,
    step_size=optax.constant_schedule(setting.step_size),
  )


def pacd_step(
  params: types.Params,
  attack_data: pacd.AttackData,
  setting: peers.Setting,
  key: types.Key,
) -> Callable[[], tuple[pacd.AttackState, types.Aux]]:
  """The package's side of `attack_step`: `pacd.step`, compiled, from `params`."""
  settings = _pacd_settings(attack_data, setting)
  attack = pacd.make(settings)
  state = attack.init(attack_data, key)
  state = state._replace(params=params, opt_state=settings.optimizer.init(params))
  step = jax.jit(attack.step)
  return lambda: step(state, attack_data, key)


def check(tolerance: float = 1e-3) -> dict[str, float]:
  """Both sides on the same numbers: |PyTorch - package| / |package| of what is timed.

  The network's logits, the training gradient, a product with either curvature, and theta
  and du of an attack step with either. A step is short here: a difference of one bit
  grows with every step of Adam.

  Raises:
    ValueError: a difference is not below the tolerance.
  """
  params, attack_data = problem(90, 10, 10)
  found = _check_training(params, attack_data)
  for curvature in _CURVATURES:
    setting = peers.Setting(
      curvature=curvature, num_noise_samples=5, lower_steps=4, solver_steps=5
    )
    for name, difference in _check_step(params, attack_data, setting).items():
      found[f"{name}, {curvature} step"] = difference
  wrong = {name: value for name, value in found.items() if not value < tolerance}
  if wrong:
    raise ValueError(f"bench: PyTorch and the package do not compute the same: {wrong}")
  return found


def _difference(peer, ours) -> float:
  """In the l2 norm over all entries; NaN where `ours` is 0."""
  peer, ours = np.asarray(peer.detach()), np.asarray(ours)
  norm = np.linalg.norm(ours)
  return float(np.linalg.norm(peer - ours) / norm) if norm else np.nan


def _check_training(params, attack_data) -> dict[str, float]:
  """On noisy images; the products are with the gradient."""
  setting, key = peers.Setting(), jax.random.key(1)
  settings = _pacd_settings(attack_data, setting)
  labels = jnp.concatenate([attack_data.clean_labels, attack_data.base_labels])

  @jax.jit
  def package(params, clean, poison, key):
    batch = pacd.Batch(clean, labels, jnp.arange(len(poison)))
    lower = pacd.lower_level(settings, batch, key)
    gradient = jax.grad(lower)(params, poison)
    products = [matrix(lower, params, poison)(gradient) for matrix in _CURVATURES.values()]
    return lower.outputs(params, poison), gradient, products

  clean, poison = attack_data.clean_images, attack_data.base_images
  logits, v, products = package(params, clean, poison, jax.random.clone(key))

  images = jnp.concatenate([clean, poison])
  noisy = images + setting.sigma * jax.random.normal(key, images.shape)
  noisy, targets = peers.to_nchw(noisy), peers.to_labels(labels)
  network, flatten = peers.make_network(params), peers.flatten
  found = {"logits": _difference(network(noisy), logits)}
  for name, product in zip(_CURVATURES, products, strict=True):
    gradient, peer = peers.lower_level(network, noisy, targets, name)
    found["gradient"] = _difference(gradient, flatten(v))
    found[f"{name} product"] = _difference(peer(flatten(v)), flatten(product))
  return found


def _check_step(params, attack_data, setting: peers.Setting) -> dict[str, float]:
  """`pacd_step` against `attack_step` with the batch and the noise that it drew."""
  key = jax.random.key(0)
  state, metrics = pacd_step(params, attack_data, setting, key)()
  if metrics["num_steps"] < setting.solver_steps:
    raise ValueError(f"bench: the solve ended after {metrics['num_steps']} steps")

  settings = _pacd_settings(attack_data, setting)
  batch = pacd._draw_batch(settings, attack_data, key, state.step - 1)
  num_val = settings.val_batch
  val_rows = data.batch_indices(
    jax.random.fold_in(key, pacd._VAL), 0, num_examples=num_val, batch_size=num_val
  )
  in_order = attack_data._replace(
    clean_images=batch.images,
    clean_labels=batch.labels[: settings.clean_batch],
    base_images=attack_data.base_images[batch.rows],
    val_images=attack_data.val_images[val_rows],
  )

  lower_key = pacd._fold(key, pacd._LOWER_NOISE, 0)
  keys = [jax.random.fold_in(lower_key, t) for t in range(setting.lower_steps + 1)]
  keys.insert(-1, pacd._fold(key, pacd._VAL_NOISE, 0))  # The upper level comes before du.
  keys = iter(keys)

  def draw(images):
    *batch_shape, channels, height, width = images.shape
    shape = *batch_shape, height, width, channels
    return peers.to_nchw(jax.random.normal(next(keys), shape))

  _, du, theta = peers.attack_step(params, in_order, setting, draw)()
  return {
    "theta": _difference(theta, peers.flatten(state.params)),
    "du": _difference(du, peers.to_nchw(state.velocity[batch.rows])),
  }
