"""What commands that run a config share: flags, errors as one line, interruption.

`main.py` and `python -m pacd_jax compare` give `start` a function of config and folder;
further flags are their own.
"""

import contextlib
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Generator

import jax
import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from pacd_jax import __version__, errors
from pacd_jax.experiment import config_files, door, identity, schema, together
from pacd_jax.runtime import (
  ending,
  preemption,
  processes,
  sharding,
  shared_folder,
)

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Experiment, such as configs/digits_ga.py or configs/digits_ga.py:smoke.",
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; runs/<config> by default."
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator_address",
  None,
  "HOST:PORT of process 0, where a run has several processes that no cluster tells JAX "
  "of; with --num_processes and --process_id.",
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "Processes of the run; 1: this one alone, in a cluster too."
)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Of this process, from 0.")
_TIMEOUT = flags.DEFINE_integer(
  "coordinator_timeout",
  300,
  "Seconds that the processes may take to find each other.",
  lower_bound=1,
)
flags.mark_flag_as_required("config")

_POISON_FLAG = "--config.poisons."

# Of what the config asks for and the run's folder; gives the table of results.
RunFn = Callable[[door.Asked, str], str | None]


def start(run: RunFn, *, example: str) -> None:
  """Parses the flags, runs, prints the table, and exits.

  The status is 2 for input that cannot be used and 3 for a number that is not finite,
  each with one line on standard error; 4 where another process of the run is gone; 130
  for an interrupt, and 143 for SIGTERM, once the step under way is saved.

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
  preemption.install()
  workdir = _WORKDIR.value or _default_workdir()
  try:
    _find_the_others()
    with shared_folder.own(workdir) as own, _quiet_unless_first():
      with processes.agreeing():
        asked = door.parse(_CONFIG.value)
      table = run(asked, str(own))
  except errors.InputError as error:
    return _end(_fail_if_first(error, 2))
  except errors.NonFiniteError as error:
    return _end(_fail_if_first(error, 3))
  except preemption.Preempted as saved:
    with contextlib.suppress(Exception):  # A launcher may end all with the first.
      processes.any_of(False)  # So they wait for process 0, which writes.
    with _quiet_unless_first():
      preemption.leave(f"terminated ({saved}): the same command goes on from here")
  except Exception as error:
    if jax.process_count() == 1:
      raise
    if not _is_of_others(error):
      traceback.print_exc()
      return _end(1)
    return _end(fail(_others_are_gone(error), 4))
  if table and processes.is_first():
    page = pathlib.Path(workdir, "report", "index.html")
    sys.stdout.write(f"\n{table}\nreport: {page}\n")
  return 0


def _find_the_others() -> None:
  """Joins the run's other processes, which have to be started by the same command."""

  def give_up(error):
    ending.at_once(fail(error, 2))

  given = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  processes.start(*given, timeout=_TIMEOUT.value, give_up=give_up)
  preemption.install()  # JAX has put its own in the place.
  sharding.cores_as_devices()
  stage = flags.FLAGS["stage"].value if "stage" in flags.FLAGS else None  # Of main.py.
  same = {"--stage": stage, "--workdir": _WORKDIR.value, "the version": __version__}
  processes.check_same(same | schema.flatten(_CONFIG.value.to_dict()))


@contextlib.contextmanager
def _quiet_unless_first() -> Generator[None]:
  """Progress is process 0's to show; what ends a process is said outside of this."""
  if processes.is_first():
    yield
    return
  with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
    yield


def _fail_if_first(error: Exception, status: int) -> int:
  """The others know of it too: all end, and one says why."""
  return fail(error, status) if processes.is_first() else status


def _end(status: int) -> int:
  """Where there are other processes, it ends at once: JAX would wait for them to."""
  if jax.process_count() > 1:
    ending.at_once(status)
  return status


def _is_of_others(error: Exception) -> bool:
  """Whether it is a connection of the network, or of the service of JAX's processes."""
  signs = ("gloo", "nccl", "connection", "coordination", "unavailable", "heartbeat")
  is_of_jax = isinstance(error, jax.errors.JaxRuntimeError)
  return is_of_jax and any(sign in str(error).lower() for sign in signs)


def _others_are_gone(error: Exception) -> Exception:
  line = next(iter(str(error).splitlines()), type(error).__name__)
  return RuntimeError(
    f"another process of this run is gone, or cannot be reached ({line}): start all of "
    "them again by the same command, which goes on from here"
  )


def _config_file() -> str:
  """FILE:VARIANT, as the flag was given."""
  return config_flags.get_config_filename(flags.FLAGS["config"])


def _default_workdir() -> str:
  """runs/<config>, and runs/<config>_<variant> for a variant."""
  path, _, variant = _config_file().partition(":")
  return str(pathlib.Path("runs", identity.default_name(pathlib.Path(path).stem, variant)))


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
    together.check_row_name("poisons", name)
  return rest, poisons


def _words(error: Exception) -> str:
  """What a config file, or a flag that sets a field, raised."""
  if isinstance(error, flags.IllegalFlagValueError):
    _, is_field, field = str(error).partition("--config.")
    name = field.partition("=")[0]
    if is_field and (must_be := schema.must_be(name)):
      return f"--config.{field.partition(':')[0]}: it must be {must_be}"
  if isinstance(error, KeyError):  # Its own text is quoted, with its line breaks.
    return "--config: no " + " ".join(str(error.args[0]).split())
  known = isinstance(error, (ValueError, flags.Error))
  return str(error) if known else f"--config: {type(error).__name__}: {error}"


def _parse(argv: list[str], example: str) -> list[str]:
  """absl's flags, the config with what they set, and what is left: the program."""
  argv, poisons = _take_poisons(argv)
  sys.argv = argv  # Where ml_collections looks for the fields that flags set.
  if not any(arg.lstrip("-").startswith(("config", "help")) for arg in argv[1:]):
    raise errors.InputError(f"which experiment? try --config={example}")
  _bind_configs(argv)
  _check_given_once(argv)
  try:
    rest = flags.FLAGS(argv)
  finally:  # What the config file registers is known from here on.
    _check_known(argv)
  if len(rest) > 1:
    raise errors.InputError(f"argument {rest[1]!r} is not a flag: write --flag=value")
  path = _config_file().partition(":")[0]
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


def _config_flag(argv: list[str]) -> tuple[str, str]:
  """File and variant of `--config=FILE:VARIANT`, empty where there is none."""
  for number, argument in enumerate(argv[1:], start=1):
    name, is_given, value = argument.lstrip("-").partition("=")
    if name == "config" and argument.startswith("-"):
      value = value if is_given else (argv[number + 1 : number + 2] or [""])[0]
      path, _, variant = value.partition(":")
      return path, variant
  return "", ""


def _bind_configs(argv: list[str]) -> None:
  """Config files of one folder find each other, wherever this is called."""
  path, _ = _config_flag(argv)
  if path:
    config_files.find_neighbours(pathlib.Path(path))


def _fields_of_flags(argv: list[str]) -> list[str]:
  """Names of the fields that flags set, as they are given; of `--noconfig.X`, X."""
  found = []
  for argument in argv[1:]:
    name = argument.lstrip("-").partition("=")[0]
    if argument.startswith("-") and name.startswith(("config.", "noconfig.")):
      found.append(name.removeprefix("no").removeprefix("config."))
  return found


def _check_known(argv: list[str]) -> None:
  """Fields that flags set are known; errors.InputError for one that is not."""
  for name in _fields_of_flags(argv):
    schema.check_flag(name)


def _check_given_once(argv: list[str]) -> None:
  """Each field is given once, behind the config's colon or by a flag.

  Raises:
    errors.InputError: one is there twice.
  """
  _, variant = _config_flag(argv)
  behind = [item.partition("=")[0] for item in variant.split(",") if "=" in item]
  # A comparison's fields behind the colon are its base's.
  given = [name.removeprefix("base.") for name in _fields_of_flags(argv)]
  for number, name in enumerate([*behind, *given]):
    if name in [*behind, *given][:number]:
      where = "behind the config's colon and by a flag"
      if name not in behind:
        where = "by two flags"
      elif name not in given:
        where = "twice behind the config's colon"
      raise errors.InputError(f"config field {name} is given {where}: give it once")


def interrupted(number, frame) -> None:
  """Ends at once, with a line that says so."""
  del number, frame
  sys.stderr.write("\ninterrupted: the same command goes on from here\n")
  ending.at_once(130)
