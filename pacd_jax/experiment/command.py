"""The frame of commands that run a config: errors as one line, signals, processes.

`main.py` and `pacd compare` call `start` with a function of config and folder, and define
further flags of their own.
"""

import contextlib
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Generator

import jax
from absl import app, flags, logging

from pacd_jax import errors
from pacd_jax.experiment import command_line, door, identity, schema
from pacd_jax.runtime import (
  compilation,
  ending,
  files,
  preemption,
  processes,
  sharding,
  shared_folder,
  stamp,
  streams,
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
_CACHE = flags.DEFINE_bool(
  "compilation_cache",
  True,
  "Keep compiled programs in the user's cache folder, for later runs of the same shapes.",
)

# `(what the config asks for, the run's folder) -> the table of results`.
RunFn = Callable[[door.Asked, str], str | None]


def start(run: RunFn, *, example: str) -> None:
  """Parses the flags, runs, prints the table, and exits.

  The status is 2 for input that cannot be used and 3 for a number that is not finite,
  each with one line on standard error; 4 where another process of the run is gone; 5
  where a file cannot be written, as on a full disk; 130 for an interrupt, and 143 for
  SIGTERM, once the step under way is saved.

  Args:
    run: a function of what the config asks for and the run's folder; returns the table of
      results.
    example: a config that the command can run, which an error names if none was given.
  """

  streams.tolerate()

  def parse(argv: list[str]) -> list[str]:
    try:
      return command_line.parse(argv, example)
    except errors.InputError as error:
      sys.exit(fail(error, 2))
    except Exception as error:  # The config file is a program: it may raise anything.
      sys.exit(fail(errors.InputError(command_line.words(error)), 2))

  app.run(lambda argv: _main(run), flags_parser=parse)


def _main(run: RunFn) -> int:
  quiet_libraries()
  signal.signal(signal.SIGINT, interrupted)
  preemption.install()
  # Shells leave the ~ of --workdir=~/x alone.
  workdir = os.path.expanduser(_WORKDIR.value or _default_workdir())
  try:
    _find_the_others()
    with shared_folder.own(workdir) as own, _quiet_unless_first():
      with processes.agreeing():
        asked = door.parse(command_line.config())
      with compilation.kept(wanted=_CACHE.value):
        table = run(asked, str(own))
  except errors.InputError as error:
    return _end(_fail_if_first(error, 2))
  except errors.NonFiniteError as error:
    return _end(_fail_if_first(error, 3))
  except preemption.Preempted as saved:
    with contextlib.suppress(Exception):  # A launcher may end all processes with the first.
      processes.any_of(False)  # So all wait for process 0, which writes.
    with _quiet_unless_first():
      preemption.leave(f"terminated ({saved}): the same command resumes it")
  except Exception as error:
    if files.in_words(error):
      return _end(fail_by_file(error))
    if words := _no_device():
      return fail(errors.InputError(words), 2)
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
  preemption.install()  # JAX has put its own handler in its place.
  sharding.cores_as_devices()
  # Only some commands have --stage.
  stage = flags.FLAGS["stage"].value if "stage" in flags.FLAGS else None
  same = {"--stage": stage, "--workdir": _WORKDIR.value}
  # "code" is of the package; a host may have another clone, JAX or device.
  same |= stamp.binding()
  processes.check_same(same | schema.flatten(command_line.config().to_dict()))


@contextlib.contextmanager
def _quiet_unless_first() -> Generator[None]:
  """Hides progress in all processes but the first; errors are written outside of this."""
  if processes.is_first():
    yield
    return
  with (
    open(os.devnull, "w", encoding="utf-8") as nowhere,
    contextlib.redirect_stderr(nowhere),
  ):
    yield


def _fail_if_first(error: Exception, status: int) -> int:
  """Writes an error that all processes have from process 0 alone; returns the status."""
  return fail(error, status) if processes.is_first() else status


def _end(status: int) -> int:
  """Returns the status; with other processes, exits at once: JAX would wait for them."""
  if jax.process_count() > 1:
    ending.at_once(status)
  return status


def _no_device() -> str:
  """What is wrong where JAX has none of the devices that it was told to use; else ""."""
  try:
    jax.devices()
  except Exception as error:  # JAX raises several kinds, some without a word.
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return (
      "JAX has no device of the platform that it was told to use (JAX_PLATFORMS="
      f"{os.environ.get('JAX_PLATFORMS', '')}): unset it, or install JAX for that platform "
      f"({line})"
    )
  return ""


def _is_of_others(error: Exception) -> bool:
  """Whether the error comes from the network, or from JAX's service between processes."""
  signs = ("gloo", "nccl", "connection", "coordination", "unavailable", "heartbeat")
  is_of_jax = isinstance(error, jax.errors.JaxRuntimeError)
  return is_of_jax and any(sign in str(error).lower() for sign in signs)


def _others_are_gone(error: Exception) -> Exception:
  line = next(iter(str(error).splitlines()), type(error).__name__)
  return RuntimeError(
    f"another process of this run is gone, or cannot be reached ({line}): start all of "
    "them again by the same command, which resumes it"
  )


def _default_workdir() -> str:
  """runs/<config>, and runs/<config>_<variant> for a variant."""
  path, _, variant = command_line.config_file().partition(":")
  return str(pathlib.Path("runs", identity.default_name(pathlib.Path(path).stem, variant)))


def fail(error: Exception, status: int) -> int:
  """Writes an error as one line to standard error, and returns the status.

  If the message has several lines, as from a config file, the last one is written.
  """
  lines = [line.strip() for line in str(error).splitlines() if line.strip()]
  line = lines[-1].removeprefix("ValueError: ") if lines else type(error).__name__
  sys.stderr.write(f"error: {line}\n")
  return status


def fail_by_file(error: Exception) -> int:
  """Writes the line of `files.in_words`, and returns the status."""
  return fail(RuntimeError(files.in_words(error)), 5)


def quiet_libraries() -> None:
  """Hides what libraries log, and what fails in their callbacks: they raise it, too."""
  logging.set_verbosity(logging.FATAL)
  sys.unraisablehook = lambda unraisable: None


def interrupted(number, frame) -> None:
  """Ends the process at once, with a line that says so."""
  del number, frame
  sys.stderr.write("\ninterrupted: the same command resumes it\n")
  ending.at_once(130)
