"""The procedure that certifies a run's points: `certify.procedure`."""

from pacd_jax import errors, types
from pacd_jax.certification import certify, procedure
from pacd_jax.experiment import kinds
from pacd_jax.experiment.config import Config

SMOOTHING = "smoothing"  # The default, and what messages suggest.


def check(config: Config) -> None:
  """Checks the procedure's options, and fields that it has no use for, before any work.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  certify, choice = config.certify, config.certify.procedure
  entry = kinds.PROCEDURES[choice.name]
  if entry.check is not None:
    try:
      entry.check(choice.own)
    except errors.InputError as error:
      raise errors.InputError(f"certify.{choice.name}: {error}") from error
  if entry.draws:
    return
  for field, value, must_be in (
    ("certify.dtype", certify.dtype, "float32"),
    ("certify.sound", certify.sound, False),
    ("certify.mode", certify.mode.name, "fixed"),
    ("train.ensemble.aggregation", config.train.ensemble.aggregation.name, "none"),
    ("train.stopping.every", config.train.stopping.every, 0),
  ):
    if value != must_be:
      raise errors.InputError(
        f"{field} is {value}, but certify.procedure={choice.name} bounds one network in "
        f"float32, and draws no noise: set it to {must_be}, or "
        f"certify.procedure={SMOOTHING}"
      )


def make(
  config: Config, splits: types.Splits, model: types.Model, settings: certify.Settings
) -> procedure.Procedure:
  """The run's procedure.

  Args:
    config: the run's config.
    splits: its data.
    model: the classifier that is certified.
    settings: how votes are drawn, if they are.

  Raises:
    errors.InputError: the procedure cannot certify the network.
  """
  choice = config.certify.procedure
  tools = kinds.ProcedureTools(
    model, splits.train.images.shape[1:], splits.num_classes, settings
  )
  try:
    return kinds.PROCEDURES[choice.name].make(tools, choice.own)
  except errors.InputError as error:
    raise errors.InputError(f"certify.procedure={choice.name}: {error}") from error
