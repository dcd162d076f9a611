"""The procedure that certifies a run's points: `certify.procedure`."""

from typing import Any

from pacd_jax import errors, types
from pacd_jax.certification import certify, procedure
from pacd_jax.experiment import kinds
from pacd_jax.experiment.config import Config

SMOOTHING = "smoothing"  # The default; what ensembles and denoisers are certified by.


def check(config: Config) -> None:
  """Checks the procedure's options, and fields that it has no use for, before any work.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  options, choice = config.certify, config.certify.procedure
  entry = kinds.PROCEDURES[choice.name]
  if entry.check is not None:
    with errors.about(f"config field certify.{choice.name}"):
      entry.check(choice.own)
  unfit: list[tuple[str, Any, Any]] = []
  if choice.name != SMOOTHING:
    aggregation = config.train.ensemble.aggregation.name
    unfit += [
      ("train.ensemble.aggregation", aggregation, "none"),
      ("train.stopping.every", config.train.stopping.every, 0),
    ]
  if not entry.draws:
    unfit += [
      ("certify.dtype", options.dtype, "float32"),
      ("certify.sound", options.sound, False),
      ("certify.mode", options.mode.name, "fixed"),
    ]
  for field, value, must_be in unfit:
    if value != must_be:
      raise errors.InputError(
        f"{field} is {value}, which is for votes of noisy copies, but certify.procedure="
        f"{choice.name}: set it to {must_be}, or certify.procedure={SMOOTHING}"
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
  entry = kinds.PROCEDURES[choice.name]
  with errors.about(f"certify.procedure={choice.name}"):
    made = entry.make(tools, choice.own)
  if made.draws != entry.draws:
    raise ValueError(f"procedure {entry.name}: draws={entry.draws} in its entry alone")
  return made
