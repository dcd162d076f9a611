"""The work whose growth is measured: an attack step, and an epoch of victims.

Each function makes one piece of work at given sizes. The network is `small_cnn` with
`width` times as many features and units, or a wide `mlp`, whose programs compile in a
fraction of the time; images are square and of one channel.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pacd_jax import losses, train, types
from pacd_jax.attacks import pacd, problem
from pacd_jax.bench import work
from pacd_jax.data import training_sets
from pacd_jax.models import networks


class Program(NamedTuple):
  """A step, compiled for one state's shapes."""

  step: Callable[[Any], tuple[Any, types.Aux]]
  state: Any  # The first one.
  num_bytes: int  # Of its temporaries, arguments and results on all devices, as XLA plans.
  num_parameters: int  # Of one network.


class Work(NamedTuple):
  """A piece of work, compiled at its first call at the latest."""

  run: Callable[[], object]
  num_bytes: int  # As of a `Program`.
  num_parameters: int


@functools.cache
def network(width: int, classes: int, side: int, dense: bool = False) -> types.Model:
  """`small_cnn` with `width` times as many features and hidden units.

  Dense: without convolutions, and with 2048 times `width` hidden units.
  """
  return networks.conv_net(
    "growth",
    blocks=() if dense else ((16 * width,), (32 * width,)),
    size=3,
    hidden=2048 * width if dense else 64 * width,
    chunk=1000,
    num_classes=classes,
    image_shape=(side, side, 1),
  )


def num_parameters(params: types.Params) -> int:
  """The number of parameters of a network, or of several."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def num_bytes(compiled: Any, num_devices: int = 1) -> int:
  """What the program holds at most; the results that take arguments' buffers count once."""
  plan = compiled.memory_analysis()
  own = plan.temp_size_in_bytes + plan.argument_size_in_bytes
  return num_devices * (own + plan.output_size_in_bytes - plan.alias_size_in_bytes)


def _images(labels: np.ndarray, side: int) -> np.ndarray:
  """float32 images `[B, side, side, 1]` in [0, 1]: a pattern of the class, and noise."""
  rng = np.random.default_rng(0)
  patterns = rng.uniform(0.3, 0.7, (labels.max() + 1, side, side, 1))
  noisy = patterns[labels] + 0.1 * rng.normal(size=(len(labels), side, side, 1))
  return np.clip(noisy, 0.0, 1.0).astype(np.float32)


# --- the attack -----------------------------------------------------------------------


def attack_program(
  *,
  poison: int = 100,
  points: int = 0,
  clean: int = 50,
  width: int = 1,
  classes: int = 10,
  side: int = 16,
  dense: bool = False,
) -> Program:
  """An outer step of PACD: 5 steps of the surrogate, 5 Gauss-Newton products.

  Args:
    poison: poison points in the lower level's batch.
    points: poison points in all; 0: those of the batch.
    clean: clean images in the batch, of the other classes.
    width: of the network.
    classes: number of classes; the first one is attacked.
    side: of the images, in pixels.
    dense: as of `network`.
  """

  def labelled(labels):
    return jnp.asarray(_images(labels, side)), jnp.asarray(labels, jnp.int32)

  data = problem.AttackData(
    *labelled(np.resize(np.arange(1, classes), clean)),
    *labelled(np.zeros(points or poison, np.int32)),
    *labelled(np.zeros(50, np.int32)),
  )
  model = network(width, classes, side, dense)
  setting = work.Setting(
    num_noise_samples=8,
    lower_steps=5,
    # So that the few steps learn the class that is attacked, but not beyond rounding.
    inverse_temperature=1.0,
    learning_rate=1e-3 if dense else 1e-2,
    curvature="gauss_newton",
    damping=0.1,
    solver_steps=5,
  )
  settings = work.pacd_settings(data, setting, model.apply)
  attack = pacd.make(settings._replace(model=model, poison_batch=poison))
  key = jax.random.key(1)
  state = attack.init(data, key, None)
  compiled: Any = jax.jit(attack.step).lower(state, data, key).compile()
  return Program(
    lambda state: compiled(state, data, key),
    state,
    num_bytes(compiled),
    num_parameters(state.surrogates.params),
  )


def attack_step(*, dense: bool = False, **sizes: int) -> Work:
  """The first step of `attack_program`, at each call.

  Raises:
    ValueError: its solve ends early, so that the step has less to do than others.
  """
  program = attack_program(dense=dense, **sizes)
  if (steps := int(program.step(program.state)[1]["num_steps"])) != 5:
    raise ValueError(f"bench: at {sizes} the solve ended after {steps} steps")
  return Work(
    lambda: program.step(program.state), program.num_bytes, program.num_parameters
  )


# --- victims --------------------------------------------------------------------------


def epoch_program(
  *,
  victims: int = 2,
  at_once: int = 0,
  images: int = 1000,
  batch: int = 50,
  copies: int = 0,
  width: int = 1,
  classes: int = 10,
  side: int = 16,
) -> Program:
  """An epoch of victims on one row, on one device; each state can be used once.

  Args:
    victims: networks that are trained by one program.
    at_once: victims that a device trains side by side; 0: all.
    images: in the training set.
    batch: images in a mini-batch.
    copies: k of MACER; 0: victims of Gaussian augmentation.
    width: of the networks.
    classes: number of classes.
    side: of the images, in pixels.
  """
  model, shape = network(width, classes, side), (side, side, 1)
  loss = losses.gaussian_augmentation(model.apply, sigma=work.SIGMA)
  if copies:
    loss = losses.macer(model.apply, sigma=work.SIGMA, num_noise_samples=copies)
  labels = np.arange(images, dtype=np.int32) % classes
  levels = np.round(255 * _images(labels, side)).astype(np.uint8)
  data = training_sets.stack([training_sets.whole(types.Dataset(levels, labels))])
  trainer = train.make(
    model,
    loss,
    lambda num_steps: optax.adam(1e-3),
    image_shape=shape,
    num_epochs=1,
    batch_size=batch,
    victims_at_once=at_once,
  )
  rows, keys = train.every_row(train.victim_keys(jax.random.key(0), victims), 1)
  state, given = trainer.init(keys), (jax.tree.map(jnp.asarray, data), rows, keys)
  epoch: Any = trainer.epoch  # Compiled ahead, for what XLA plans.
  compiled: Any = epoch.lower(state, *given).compile()
  return Program(
    lambda state: compiled(state, *given),
    state,
    num_bytes(compiled),
    num_parameters(state.params) // victims,
  )


def epoch(**sizes: int) -> Work:
  """An epoch of `epoch_program` at each call, from the state of the last one."""
  program = epoch_program(**sizes)
  state = program.state

  def run():
    nonlocal state
    state, values = program.step(state)
    return values

  return Work(run, program.num_bytes, program.num_parameters)
