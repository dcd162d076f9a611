"""A small attack on a linear surrogate of digits, for tests of its parts and steps."""

import functools

import jax
import numpy as np
import optax

from pacd_jax import evasion, losses
from pacd_jax.attacks import objectives, pacd, problem
from pacd_jax.bilevel import hypergradient, linear_solve
from pacd_jax.experiment.entries import data_sets, networks

SIGMA = 0.25


def _solve(matvec, b, start, max_steps=5):
  damped = linear_solve.damped(matvec, 0.5)
  return linear_solve.conjugate_gradient(damped, b, start, max_steps=max_steps)


@functools.cache
def setting():
  """The attacker's view of digits, the splits, a linear model and its GA loss."""
  splits = data_sets.load("digits")
  model = networks.make("linear", num_classes=10, image_shape=(8, 8, 1))
  loss = losses.gaussian_augmentation(model.apply, sigma=SIGMA)
  return problem.attack_data(splits, 8), splits, model, loss


def loss(name, model):
  """A training loss of the model, by its name in configs."""
  pgd = evasion.Pgd(0.2, "l2", 2)
  return {
    "standard": lambda: losses.standard(model.apply),
    "gaussian": lambda: losses.gaussian_augmentation(model.apply, sigma=SIGMA),
    "macer": lambda: losses.macer(model.apply, sigma=SIGMA, num_noise_samples=2),
    "smoothadv": lambda: losses.smoothadv(model.apply, sigma=SIGMA, attack=pgd),
    "adversarial": lambda: losses.adversarial(model.apply, attack=pgd),
    "trades": lambda: losses.trades(model.apply, attack=pgd),
  }[name]()


def dense_hessian(function, params):
  """float64 `[P, P]` of a function of few parameters."""
  flat, unravel = jax.flatten_util.ravel_pytree(params)
  hessian = jax.jit(jax.hessian(lambda v: function(unravel(v))))
  return np.asarray(hessian(flat), np.float64)


@functools.cache
def attack(**options):
  """PACD with these settings and small ones for the others, compiled once."""
  made = pacd.make(settings(**options))
  return made._replace(restart=jax.jit(made.restart), step=jax.jit(made.step))


@functools.cache
def settings(**options):
  """The same, unbound; `solver_steps` of CG at a damping of 0.5."""
  _, _, model, of_training = setting()
  small = dict(
    epsilon=0.1,
    clean_batch=40,
    poison_batch=10,
    val_batch=20,
    lower_steps=2,
    warmup_steps=30,
    step_size=lambda step: 0.02,
  )
  solve = functools.partial(_solve, max_steps=options.pop("solver_steps", 5))
  approx_grad = functools.partial(hypergradient.approx_grad, solve=solve)
  objective = objectives.soft_acr(
    model.apply, sigma=SIGMA, num_noise_samples=4, inverse_temperature=2.0
  )
  of_training, adam = options.pop("loss", of_training), optax.adam(1e-2)
  return problem.Settings(
    model, of_training, approx_grad, adam, objective, **(small | options)
  )


def surrogate(state, member=0):
  """One of a state's surrogates."""
  return jax.tree.map(lambda leaf: leaf[member], state.surrogates)


def run(attack, num_steps, key=None):
  """The state after a restart and so many steps, and what each of them logged."""
  attack_data = setting()[0]
  key = jax.random.key(0) if key is None else key
  state = attack.restart(attack.init(attack_data, key), attack_data, key)
  history = []
  for _ in range(num_steps):
    state, metrics = attack.step(state, attack_data, key)
    history.append(jax.tree.map(float, metrics))
  return state, history
