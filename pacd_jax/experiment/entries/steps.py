"""Step rules, starts and schedules, by name.

The fields are `attack.step_rule`, `attack.starts`, `attack.step_schedule` and
`train.schedule`.
"""

import jax
import optax

from pacd_jax import train, types
from pacd_jax.attacks import baselines, problem, step_rules
from pacd_jax.experiment import kinds

for _rule, _words in (
  (step_rules.SIGN, "the steepest direction of the budget's norm: signs for l_inf"),
  (step_rules.NORMALIZED, "the hypergradient over its norm"),
  (step_rules.ADAM, "Adam's, its moments of each image"),
  (
    step_rules.ADAM_OF_PLACES,
    "Adam's, its moments of each place in the batch, as the authors' code",
  ),
):
  kinds.STEP_RULES.add(kinds.StepRule(_rule.name, lambda options, rule=_rule: rule, _words))

kinds.SCHEDULES.add(
  kinds.Schedule(
    "constant",
    lambda size, num_steps, options: optax.constant_schedule(size),
    "the same throughout",
  )
)
kinds.SCHEDULES.add(
  kinds.Schedule(
    "linear",
    lambda size, num_steps, options: optax.linear_schedule(size, 0.0, num_steps),
    "falling linearly to 0",
  )
)
kinds.SCHEDULES.add(
  kinds.Schedule(
    "cosine",
    lambda size, num_steps, options: train.cosine(size, num_steps),
    "falling to 0 as a cosine",
  )
)


# --- starts ---------------------------------------------------------------------------


def _classwise(tools: kinds.RowTools, options: None) -> types.Array:
  del options
  return baselines.classwise_shift(
    tools.splits.train, tools.target_class, epsilon=tools.epsilon, norm=tools.norm
  )


def _brightness(tools: kinds.RowTools, options: None) -> types.Array:
  del options
  shape = tools.splits.train.images.shape[1:]
  return baselines.brightness_shift(shape, epsilon=tools.epsilon, norm=tools.norm)


def _random(tools: kinds.RowTools, options: None) -> types.Array:
  del options
  own = jax.random.fold_in(tools.key, problem.START)
  shape = tools.splits.train.images.shape[1:]
  return baselines.random_shift(own, shape, epsilon=tools.epsilon, norm=tools.norm)


for _start in (
  kinds.Start("clean", lambda tools, options: None, "the clean images", is_clean=True),
  kinds.Start("classwise", _classwise, "the shift towards the other classes' mean"),
  kinds.Start(
    "away",
    lambda tools, options: -_classwise(tools, options),
    "the opposite, Theorem 1's other optimum",
  ),
  kinds.Start("brightness", _brightness, "all pixels brighter"),
  kinds.Start("random", _random, "a random pattern"),
):
  kinds.STARTS.add(_start)
