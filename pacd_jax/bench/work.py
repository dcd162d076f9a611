"""The work that `make bench` measures: the paper's MNIST network at the authors' sizes.

Each function makes the package's side of some entries. `pytorch.py` compares it with
PyTorch, `matmul.py` with matrix products of as many multiplications.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import losses, types
from pacd_jax.attacks import objectives, pacd, problem, surrogates
from pacd_jax.bilevel import hypergradient, linear_solve
from pacd_jax.certification import certify
from pacd_jax.experiment.entries import networks
from pacd_jax.models import microbatches

IMAGE_SHAPE = (28, 28, 1)
NUM_POINTS, NUM_SAMPLES = 8, 10_000  # For `certification`.
SIGMA, _KEY = 0.25, 1
_NUM_CLASSES, _TARGET = 10, 8
CURVATURES = {
  "hessian": hypergradient.hessian,
  "gauss_newton": hypergradient.gauss_newton,
}


class Setting(NamedTuple):
  """One outer step's setting: `configs/base.py`, with another curvature and damping."""

  sigma: float = SIGMA
  epsilon: float = 0.1
  step_size: float = 0.1
  num_noise_samples: int = 20
  inverse_temperature: float = 16.0
  lower_steps: int = 10
  learning_rate: float = 1e-3  # Adam's, of the surrogate.
  curvature: str = "hessian"  # Or "gauss_newton".
  damping: float = 10.0  # Keeps the Hessian positive, so that no solve ends early.
  solver_steps: int = 10  # Steps of conjugate gradients.


def attack_problem(
  num_clean: int = 900, num_poison: int = 100, num_val: int = 100
) -> tuple[types.Params, problem.AttackData]:
  """MNIST-like images that are learned in a few steps, and parameters to start from.

  Each class is a coarse random pattern under pixel noise. The defaults are the sizes of the
  authors' batches, so that one batch is all of the data.
  """
  rng = np.random.default_rng(0)
  patterns = 0.5 + 0.2 * np.kron(rng.uniform(-1, 1, (10, 7, 7, 1)), np.ones((4, 4, 1)))

  def images(labels):
    noisy = patterns[labels] + 0.1 * rng.normal(size=(len(labels), *IMAGE_SHAPE))
    return jnp.asarray(np.clip(noisy, 0, 1), jnp.float32), jnp.asarray(labels, jnp.int32)

  others = [c for c in range(_NUM_CLASSES) if c != _TARGET]
  attack_data = problem.AttackData(
    *images(np.resize(others, num_clean)),
    *images(np.full(num_poison, _TARGET)),
    *images(np.full(num_val, _TARGET)),
  )
  return parameters(), attack_data


@functools.cache
def network() -> types.Model:
  """The paper's MNIST network."""
  return networks.make("mnist_cnn", num_classes=_NUM_CLASSES, image_shape=IMAGE_SHAPE)


def parameters() -> types.Params:
  """The network's parameters before any training."""
  return network().init(jax.random.key(0), IMAGE_SHAPE)


def pacd_settings(
  attack_data: problem.AttackData, setting: Setting, apply: types.ApplyFn | None = None
) -> problem.Settings:
  """The setting as the package's `problem.Settings`; all of the data is one batch.

  `apply` replaces the network's own, such as by one that is sharded over devices.
  """
  apply = apply or network().apply

  def solve(matvec, b, start):
    matvec = linear_solve.damped(matvec, setting.damping)
    return linear_solve.conjugate_gradient(matvec, b, start, max_steps=setting.solver_steps)

  return problem.Settings(
    model=network(),
    loss=losses.gaussian_augmentation(apply, sigma=setting.sigma),
    hypergradient=functools.partial(
      hypergradient.approx_grad, curvature=CURVATURES[setting.curvature], solve=solve
    ),
    optimizer=optax.adam(setting.learning_rate),
    objective=objectives.soft_acr(
      apply,
      sigma=setting.sigma,
      num_noise_samples=setting.num_noise_samples,
      inverse_temperature=setting.inverse_temperature,
    ),
    epsilon=setting.epsilon,
    clean_batch=len(attack_data.clean_labels),
    poison_batch=len(attack_data.base_labels),
    val_batch=len(attack_data.val_labels),
    lower_steps=setting.lower_steps,
    step_size=optax.constant_schedule(setting.step_size),
  )


def pacd_step(
  params: types.Params,
  attack_data: problem.AttackData,
  setting: Setting,
  key: types.Key,
) -> Callable[[], tuple[pacd.AttackState, types.Aux]]:
  """The package's side of `attack_step`: `pacd.step`, compiled, from `params`."""
  settings = pacd_settings(attack_data, setting)
  state, step = pacd_state(settings, params, attack_data, key), pacd.make(settings).step
  step = jax.jit(step)
  return lambda: step(state, attack_data, key)


def pacd_state(
  settings: problem.Settings,
  params: types.Params,
  attack_data: problem.AttackData,
  key: types.Key,
) -> pacd.AttackState:
  """The first state of `attack_step`: no perturbation, and a surrogate with `params`."""
  first = surrogates.Surrogate(params, settings.optimizer.init(params), jnp.int32(0), None)
  return (
    pacd.make(settings)
    .init(attack_data, key, None)
    ._replace(surrogates=jax.tree.map(lambda leaf: leaf[None], first))
  )


def certification(
  mesh: jax.sharding.Mesh | None = None, *, sound: bool = False
) -> Callable[[], list]:
  """Certificates of `NUM_POINTS` points, each with n = `NUM_SAMPLES` and n0 = 100.

  Args:
    mesh: the devices; by default all.
    sound: whether their noise is exact in float32.
  """
  params = parameters()
  grey = 0.2 if sound else 0.5  # An image of 8 bits; rates do not depend on it.
  images = np.full((NUM_POINTS, *IMAGE_SHAPE), grey, np.float32)
  keys = jax.random.split(jax.random.key(_KEY), NUM_POINTS)
  certify_points = certify.make_certifier(
    network().apply,
    sigma=SIGMA,
    n0=100,
    n=NUM_SAMPLES,
    alpha=0.001,
    batch_size=500,
    sound=sound,
    mesh=mesh,
  )
  return lambda: list(certify_points(params, images, keys))


def training_batch(batch_size: int) -> tuple[types.Array, types.Array]:
  """A batch of random images, and labels."""
  images = jax.random.uniform(jax.random.key(2), (batch_size, *IMAGE_SHAPE))
  return images, jnp.arange(batch_size) % _NUM_CLASSES


def gaussian_augmentation() -> types.Loss:
  """The network's loss of Gaussian augmentation, at `SIGMA`."""
  return losses.gaussian_augmentation(network().apply, sigma=SIGMA)


def victim_step(
  batch_size: int, loss: types.Loss | None = None, *, in_parts: bool = True
) -> Callable[[], tuple[types.Params, optax.OptState]]:
  """Gradient of a loss on a batch, Gaussian augmentation's by default, and Adam's step.

  As victims take it, in parts (`models/microbatches.py`); or without these.
  """
  loss = loss or gaussian_augmentation()
  adam, (images, labels) = optax.adam(1e-3), training_batch(batch_size)
  model = network() if in_parts else network()._replace(microbatch_size=0)
  gradient_fn = microbatches.gradient_fn(model, loss, batch_size)

  @jax.jit
  def step(state, number):
    params, opt_state = state
    key = jax.random.fold_in(jax.random.key(_KEY), number)
    if gradient_fn is None:
      gradient = jax.grad(lambda p: loss(p, images, labels, key)[0])(params)
    else:
      _, gradient = gradient_fn(loss, params, images, labels, key, key)
    updates, opt_state = adam.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  params = parameters()
  state, number = (params, adam.init(params)), 0

  def run():
    nonlocal state, number
    state, number = step(state, number), number + 1
    return state

  return run


def attack_step(setting: Setting) -> Callable[[], tuple]:
  """One outer step at the authors' sizes.

  Raises:
    ValueError: the solve ends early, so that the step has less to do than the other side.
  """
  step = pacd_step(*attack_problem(), setting, jax.random.key(_KEY))
  if (steps := int(step()[1]["num_steps"])) != setting.solver_steps:
    raise ValueError(f"bench: the solve ended after {steps} steps")
  return step
