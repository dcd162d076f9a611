"""Runs one experiment: poison, retrain, certify, report.

python main.py --config=configs/digits_ga.py [--workdir=DIR] [--stage=attack]
"""

import os
import pathlib
import signal
import sys

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from pacd_jax import errors, experiment, run_folder, settings, sharding, stages

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Experiment, such as configs/digits_ga.py or configs/digits_ga.py:smoke.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; runs/<config> by default."
)
_STAGE = flags.DEFINE_enum(
  "stage", None, stages.NAMES, "Run this stage alone; by default all that are not done."
)
flags.mark_flag_as_required("config")


def _default_workdir() -> str:
  """runs/<config>, and runs/<config>_<variant> for a variant."""
  path, _, variant = flags.FLAGS["config"].config_filename.partition(":")
  return str(
    pathlib.Path("runs", run_folder.default_name(pathlib.Path(path).stem, variant))
  )


def _fail(error: Exception, status: int) -> int:
  """One line: where an error has several, as from a config file, the last says it."""
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  line = lines[-1].removeprefix("ValueError: ") if lines else type(error).__name__
  print(f"error: {line}", file=sys.stderr)
  return status


_POISON_FLAG = "--config.poisons."


def _take_poisons(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """The arguments without `--config.poisons.NAME=PATH`, whose names are the user's."""
  rest, poisons = [], {}
  for argument in argv:
    name, is_given, path = argument.partition("=")
    if not name.startswith(_POISON_FLAG):
      rest.append(argument)
    elif is_given:
      poisons[name.removeprefix(_POISON_FLAG)] = path
    else:
      raise errors.InputError(f"{name} has no value: write {name}=PATH")
  for name in poisons:
    settings.check_row_name("poisons", name)
  return rest, poisons


def _words(error: Exception) -> str:
  """What a config file, or a flag that sets a field, raised."""
  if isinstance(error, flags.IllegalFlagValueError):
    _, is_field, field = str(error).partition("--config.")
    name = field.partition("=")[0]
    if is_field and (must_be := settings.must_be(name)):
      return f"--config.{field.partition(':')[0]}: it must be {must_be}"
  if isinstance(error, KeyError):  # Its own text is quoted, with its line breaks.
    return "--config: no " + " ".join(str(error.args[0]).split())
  known = isinstance(error, (ValueError, flags.Error))
  return str(error) if known else f"--config: {type(error).__name__}: {error}"


def _parse_flags(argv: list[str]) -> list[str]:
  """absl's flags; whatever is wrong with them, or with the config file, is one line."""
  try:
    argv, poisons = _take_poisons(argv)
    sys.argv = argv  # Where ml_collections looks for the fields that flags set.
    for flag in (arg.partition("=")[0] for arg in argv[1:] if arg.startswith("-")):
      if flag.lstrip("-").startswith("config."):
        settings.check_name(flag.lstrip("-").removeprefix("config."))
    if not any(arg.lstrip("-").startswith(("config", "help")) for arg in argv[1:]):
      raise errors.InputError("which experiment? try --config=configs/digits_ga.py")
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      raise errors.InputError(f"argument {rest[1]!r} is not a flag: write --flag=value")
    path = flags.FLAGS["config"].config_filename.partition(":")[0]
    if not pathlib.Path(path).is_file():
      raise errors.InputError(f"--config={path} is not a file: see configs/")
    if not isinstance(_CONFIG.value, ml_collections.ConfigDict):
      raise errors.InputError(f"--config={path}: get_config() gives no ConfigDict")
    with _CONFIG.value.unlocked():
      for name, poison in poisons.items():
        _CONFIG.value.poisons[name] = poison
    return rest
  except errors.InputError as error:
    sys.exit(_fail(error, 2))
  except Exception as error:  # The config file is a program: it may raise anything.
    sys.exit(_fail(errors.InputError(_words(error)), 2))


def _interrupted(number, frame) -> None:
  """Ends at once, as a kill does: unwinding through running threads may crash."""
  del number, frame
  print("\ninterrupted: the same command goes on from here", file=sys.stderr, flush=True)
  os._exit(130)


def main(argv: list[str]) -> int:
  del argv
  logging.set_verbosity(logging.WARNING)  # The libraries' chatter; ours is the progress.
  signal.signal(signal.SIGINT, _interrupted)
  sharding.cores_as_devices()
  workdir = _WORKDIR.value or _default_workdir()
  chosen = (_STAGE.value,) if _STAGE.value else stages.NAMES
  try:
    table = experiment.run(_CONFIG.value, workdir, chosen)
  except errors.InputError as error:
    return _fail(error, 2)
  except errors.NonFiniteError as error:
    return _fail(error, 3)
  if table:
    print(f"\n{table}\nreport: {pathlib.Path(workdir, 'report', 'index.html')}")
  return 0


if __name__ == "__main__":
  app.run(main, flags_parser=_parse_flags)
