"""One life of a command: forked from a process that has imported all it needs, and killed.

Importing takes most of a tiny run's life. The process that forks must not have used JAX:
its threads would be missing in the child.
"""

import contextlib
import importlib
import itertools
import os
import pathlib
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

_NEEDED = (  # By the commands, and what libraries import once they are used.
  *("pacd_jax.__main__", "pacd_jax.suites.commands", "pacd_jax.paper.__main__"),
  *("pacd_jax.experiment.poison_command", "pacd_jax.results.collect"),
  *("pacd_jax.results.report", "pacd_jax.results.transfer_page"),
  *("pacd_jax.results.comparison_page", "pacd_jax.experiment.entries"),
  *("sklearn.datasets", "scipy.stats", "jax.experimental.multihost_utils", "PIL.Image"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
# Parts of a changed file's path that name the stage of the life.
_STAGES = {
  **{"poison": "attack", "attack": "attack", "selection.json": "attack"},
  **{"defense": "defend", "train": "train", "certificates": "certify"},
  **{"report": "report", "results.json": "report", "distortion": "analysis"},
  **{"reproduction": "render", "reproduction.md": "render", "pngs": "export"},
  **{"poison.csv": "export", "mine.npz": "import"},
}


def _kill() -> None:
  os.kill(os.getpid(), signal.SIGKILL)


class Moment(NamedTuple):
  """When a life is killed: after so many seconds, or about a change of its files."""

  seconds: float = float("inf")
  change: int = 0  # The number of the change, from 1; 0: none.
  delay: float = 0.0  # Seconds after the change begins; < 0: before it begins.
  before: Callable[[], None] = _kill  # Called in the child before that change.


class Life(NamedTuple):
  """How a life ended."""

  status: int | None  # None: it was killed.
  stage: str  # Of the last file that it changed.
  changes: int  # Of files, that it began.
  seconds: float
  cpu_seconds: float


def prepare() -> None:
  """Imports what the lives need, and draws their pictures quickly; call it once."""
  for name in _NEEDED:
    importlib.import_module(name)
  from pacd_jax.results import figures
  from pacd_jax.runtime import stamp

  stamp._of_code()  # Reads every source, and asks git.
  canvas = figures.FigureCanvasAgg

  def without_layout(figure):
    figure.set_layout_engine("none")
    return canvas(figure)

  figures.DPI, figures.FigureCanvasAgg = 20, without_layout


def live(
  arguments: Sequence[str],
  folder: pathlib.Path,
  log: pathlib.Path,
  moment: Moment | None = None,
) -> Life:
  """Runs `pacd` with these arguments in a child, and kills it if the moment comes.

  Args:
    arguments: of the command line.
    folder: changes of files under it are counted.
    log: what the command says; replaced.
    moment: of the kill.
  """
  moment = moment or Moment()
  began, (listening, telling) = time.monotonic(), os.pipe()
  child = os.fork()
  if child == 0:
    status = 70
    try:
      os.close(listening)
      _tell_changes(folder, telling, moment)
      status = _call(arguments, log)
    finally:
      os._exit(status)
  os.close(telling)
  with open(listening, "rb", buffering=0) as heard:
    stage, changes = "start", 0
    for line in _lines(heard, began + moment.seconds):
      if line is None:  # The time is up.
        os.kill(child, signal.SIGKILL)
        break
      changes += 1
      parts = [_plain(part) for part in line.split(os.sep)]
      stage = next((_STAGES[part] for part in parts if part in _STAGES), stage)
      if changes == moment.change and moment.delay >= 0.0:
        time.sleep(moment.delay)
        os.kill(child, signal.SIGKILL)  # Nothing happens to one that has ended.
        break
  _, status, used = os.wait4(child, 0)
  is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
  return Life(
    None if is_killed else os.waitstatus_to_exitcode(status),
    stage,
    changes,
    time.monotonic() - began,
    used.ru_utime + used.ru_stime,
  )


def _plain(part: str) -> str:
  """The name that a file or folder gets at the end, of that beside it."""
  return part.removesuffix(".tmp").removesuffix(".unfinished").lstrip(".")


def _lines(heard, deadline: float) -> Iterator[str | None]:
  """Lines that the child writes until it ends; None last if the deadline comes first."""
  rest = b""
  while True:
    left = deadline - time.monotonic()
    timeout = None if left == float("inf") else max(0.0, left)
    if not select.select([heard], [], [], timeout)[0]:
      yield None
      return
    read = heard.read(65536)
    if not read:
      return
    *whole, rest = (rest + read).split(b"\n")
    for line in whole:
      yield line.decode(errors="replace")


def _tell_changes(folder: pathlib.Path, telling: int, moment: Moment) -> None:
  """Writes a line for each change of a file under the folder, before it is made."""
  root, numbers = f"{folder}{os.sep}", itertools.count(1)  # Threads share them.

  def hook(event, arguments):
    if event == "open":
      path, _, flags = arguments
      if not (isinstance(flags, int) and flags & _WRITING):
        return
    elif event in _CHANGES:
      path = arguments[0]
    else:
      return
    with contextlib.suppress(TypeError):  # A file's number.
      path = os.fsdecode(path)
      if path.startswith(root):
        number = next(numbers)
        os.write(telling, f"{path[len(root) :]}\n".encode())
        if number == moment.change and moment.delay < 0.0:
          moment.before()

  sys.addaudithook(hook)


def _call(arguments: Sequence[str], log: pathlib.Path) -> int:
  """Calls the command in this process, its output in the log; returns its status."""
  said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
  os.dup2(said, sys.stdout.fileno())
  os.dup2(said, sys.stderr.fileno())
  from pacd_jax import __main__ as pacd  # There already.

  try:
    status = pacd.main(arguments)
  except SystemExit as left:
    status = left.code or 0
  except BaseException:
    sys.excepthook(*sys.exc_info())
    status = 1
  sys.stdout.flush()
  sys.stderr.flush()
  return int(status)
