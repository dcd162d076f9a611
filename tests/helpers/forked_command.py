"""Many short calls of the command line: forked from a process that has imported it once.

Importing takes seconds, and what the calls are about, parsing and checks, far less.
"""

import multiprocessing
import os
import pathlib
import sys
import tempfile
from typing import NamedTuple

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_COMMANDS = "pacd_jax.suites.commands"


class Done(NamedTuple):
  """How a call ended."""

  returncode: int
  stdout: str
  stderr: str


def run(*arguments):
  """`main.py` with these arguments, in the root of the clone."""
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([_COMMANDS])
  with tempfile.TemporaryDirectory() as folder:
    said = [str(pathlib.Path(folder, name)) for name in ("stdout", "stderr")]
    process = context.Process(target=_call, args=(arguments, *said))
    process.start()
    process.join()
    texts = [pathlib.Path(path).read_text() for path in said]
  return Done(process.exitcode, *texts)


def _call(arguments, stdout, stderr):
  os.chdir(_ROOT)
  for stream, path in ((sys.stdout, stdout), (sys.stderr, stderr)):
    stream.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, stream.fileno())
  from pacd_jax.suites import commands  # There already.

  sys.exit(commands.main(["run", *arguments]))
