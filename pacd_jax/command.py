"""What commands that run a config share: flags, errors as one line, interruption.

`main.py` and `python -m pacd_jax.compare` give `start` a function of config and folder;
further flags are their own.
"""

import os
import pathlib
import signal
import sys
from collections.abc import Callable

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from pacd_jax import errors, run_folder, settings, sharding

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Experiment, such as configs/digits_ga.py or configs/digits_ga.py:smoke.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; runs/<config> by default."
)
flags.mark_flag_as_required("config")

_POISON_FLAG = "--config.poisons."

RunFn = Callable[[ml_collections.ConfigDict, str], str | None]


def start(run: RunFn, *, example: str) -> None:
  """Parses the flags, runs, prints the table, and exits.

  The status is 2 for input that cannot be used and 3 for a number that is not finite,
  each with one line on standard error; 130 for an interrupt.

  Args:
    run: of a config and the run's folder; returns the table of results.
    example: a config that the command can run, for those who gave none.
  """

  def parse(argv: list[str]) -> list[str]:
    try:
      return _parse(argv, example)
    except errors.InputError as error:
      sys.exit(fail(error, 2))
    except Exception as error:  # The config file is a program: it may raise anything.
      sys.exit(fail(errors.InputError(_words(error)), 2))

  app.run(lambda argv: _main(run), flags_parser=parse)


def _main(run: RunFn) -> int:
  logging.set_verbosity(logging.WARNING)  # The libraries' chatter; ours is the progress.
  signal.signal(signal.SIGINT, interrupted)
  sharding.cores_as_devices()
  workdir = _WORKDIR.value or _default_workdir()
  try:
    table = run(_CONFIG.value, workdir)
  except errors.InputError as error:
    return fail(error, 2)
  except errors.NonFiniteError as error:
    return fail(error, 3)
  if table:
    page = pathlib.Path(workdir, "report", "index.html")
    sys.stdout.write(f"\n{table}\nreport: {page}\n")
  return 0


def _default_workdir() -> str:
  """runs/<config>, and runs/<config>_<variant> for a variant."""
  path, _, variant = flags.FLAGS["config"].config_filename.partition(":")
  return str(
    pathlib.Path("runs", run_folder.default_name(pathlib.Path(path).stem, variant))
  )


def fail(error: Exception, status: int) -> int:
  """Tells an error in one line on standard error, and returns the status.

  Where the error has several, as from a config file, the last says it.
  """
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  line = lines[-1].removeprefix("ValueError: ") if lines else type(error).__name__
  sys.stderr.write(f"error: {line}\n")
  return status


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


def _parse(argv: list[str], example: str) -> list[str]:
  """absl's flags, the config with what they set, and what is left: the program."""
  argv, poisons = _take_poisons(argv)
  sys.argv = argv  # Where ml_collections looks for the fields that flags set.
  for flag in (arg.partition("=")[0] for arg in argv[1:] if arg.startswith("-")):
    if flag.lstrip("-").startswith("config."):
      settings.check_flag(flag.lstrip("-").removeprefix("config."))
  if not any(arg.lstrip("-").startswith(("config", "help")) for arg in argv[1:]):
    raise errors.InputError(f"which experiment? try --config={example}")
  rest = flags.FLAGS(argv)
  if len(rest) > 1:
    raise errors.InputError(f"argument {rest[1]!r} is not a flag: write --flag=value")
  path = flags.FLAGS["config"].config_filename.partition(":")[0]
  if not pathlib.Path(path).is_file():
    raise errors.InputError(f"--config={path} is not a file: see configs/")
  if not isinstance(_CONFIG.value, ml_collections.ConfigDict):
    raise errors.InputError(f"--config={path}: get_config() gives no ConfigDict")
  if poisons and "poisons" not in _CONFIG.value:
    raise errors.InputError(f"--config={path} takes no poisons from elsewhere")
  with _CONFIG.value.unlocked():
    for name, poison in poisons.items():
      _CONFIG.value.poisons[name] = poison
  return rest


def interrupted(number, frame) -> None:
  """Ends at once, as a kill does: unwinding through running threads may crash."""
  del number, frame
  sys.stderr.write("\ninterrupted: the same command goes on from here\n")
  sys.stderr.flush()
  os._exit(130)
