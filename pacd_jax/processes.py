"""Several processes as one run: how they find each other, agree, and share a folder.

Process 0 alone writes the run's folder. Each of the others works on a copy of its own,
made at the start and deleted at the end: all take the same steps on the same values, so
the same files come to be, and none waits for a file system.
"""

import contextlib
import json
import os
import pathlib
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from pacd_jax import errors

_Value = TypeVar("_Value")
_TOKEN = ".shared"  # In the run's folder, while the processes look for it.
_SEEN_WITHIN = 30.0  # Seconds that a file may take to be seen on the other hosts.
_LEFT_BEHIND = 60.0  # Seconds after the time-out before JAX ends the process itself.


# --- finding each other ---------------------------------------------------------------


def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  *,
  timeout: int = 300,
  give_up: Callable[[errors.InputError], None],
) -> None:
  """Joins the other processes, where there are any; before JAX is first used.

  Without arguments, they are those of the cluster that JAX detects: Slurm, Open MPI, GKE,
  Cloud TPU, or Kubernetes with JAX's extra `k8s`. Where it detects none, this is the only
  process.

  Args:
    coordinator: host and port on which process 0 listens.
    num_processes: of the run; 1: this one alone, whatever cluster it is in.
    process_id: of this one, from 0.
    timeout: seconds that they may take to find each other.
    give_up: called, in another thread, where they do not: JAX itself would end the process
      without a word of ours.

  Raises:
    errors.InputError: some of the arguments are there and some are not, one is out of
      range, or the cluster cannot be used.
  """
  if num_processes == 1:
    return
  given = {
    "--coordinator_address": coordinator,
    "--num_processes": num_processes,
    "--process_id": process_id,
  }
  missing = [name for name, value in given.items() if value is None]
  if missing and len(missing) < len(given):
    raise errors.InputError(f"{' and '.join(missing)} is missing: give all of {_ALL}")
  if not missing:
    _check(coordinator, num_processes, process_id)
  waiting = threading.Timer(timeout, lambda: give_up(_no_answer(coordinator, timeout)))
  waiting.daemon = True
  waiting.start()
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      initialization_timeout=int(timeout + _LEFT_BEHIND),
    )
  except ValueError as error:
    if not missing or "coordinator_address should be defined" not in str(error):
      raise errors.InputError(f"the processes cannot start: {error}") from None
  except Exception as error:  # A cluster's own, such as Kubernetes without permission.
    line = " ".join(str(error).split())
    raise errors.InputError(
      f"the cluster cannot be used ({type(error).__name__}: {line}): give {_ALL}, or "
      "--num_processes=1 for this process alone"
    ) from None
  else:  # Programs with collectives have to run in the same order in every process.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
  finally:
    waiting.cancel()


_ALL = "--coordinator_address, --num_processes and --process_id"


def _check(coordinator: str, num_processes: int, process_id: int) -> None:
  host, _, port = coordinator.rpartition(":")
  if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
    raise errors.InputError(
      f"--coordinator_address={coordinator} is no address: write HOST:PORT"
    )
  if num_processes < 1 or not 0 <= process_id < num_processes:
    raise errors.InputError(
      f"--process_id={process_id} with --num_processes={num_processes}: processes are "
      "numbered from 0, below their number"
    )


def _no_answer(coordinator: str | None, timeout: int) -> errors.InputError:
  return errors.InputError(
    f"no answer within {timeout} s from the coordinator, process 0 at "
    f"{coordinator or 'the address that the cluster names'}, or not from all processes: "
    "start them all, check that the hosts reach that address, or raise "
    "--coordinator_timeout"
  )


def is_first() -> bool:
  """Whether this is process 0, which writes the run's folder."""
  return jax.process_index() == 0


# --- agreeing -------------------------------------------------------------------------


def from_first(value: _Value) -> _Value:
  """Process 0's value, in every process: a tree of numbers or arrays of the same shapes.

  All processes have to call it; with one it is the value itself.
  """
  if jax.process_count() == 1:
    return value
  return multihost_utils.broadcast_one_to_all(value)


def any_of(flag: bool) -> bool:
  """Whether it is true in some process; all have to call it."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def all_texts(text: str) -> list[str]:
  """Each process's text, in their order; all have to call it."""
  if jax.process_count() == 1:
    return [text]
  words = np.frombuffer(text.encode(), np.uint8)
  lengths = multihost_utils.process_allgather(np.array(len(words)))
  padded = np.zeros(max(1, lengths.max()), np.uint8)
  padded[: len(words)] = words
  rows = multihost_utils.process_allgather(padded)
  return [
    row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)
  ]


@contextlib.contextmanager
def agreeing() -> Iterator[None]:
  """What cannot go on in one process goes on in none: its error is every process's.

  For parts in which a process may fail by itself, and that start no work of several.

  Raises:
    errors.InputError: that of the first process that has one.
  """
  failed = ""
  try:
    yield
  except errors.InputError as error:
    if jax.process_count() == 1:
      raise
    failed = str(error)
  for number, text in enumerate(all_texts(failed)):
    if text:
      raise errors.InputError(text if number == 0 else f"process {number}: {text}")


@contextlib.contextmanager
def held(folders: Iterable[contextlib.AbstractContextManager]) -> Iterator[None]:
  """All of the runs' folders are entered, in every process or in none.

  Raises:
    errors.InputError: as from entering one.
  """
  with contextlib.ExitStack() as stack:
    with agreeing():
      for folder in folders:
        stack.enter_context(folder)
    yield


def check_same(settings: dict[str, Any]) -> None:
  """All processes have to run the same.

  Args:
    settings: flat, of values that JSON can hold.

  Raises:
    errors.InputError: a process has another value; names it and the field.
  """
  texts = all_texts(json.dumps(settings, sort_keys=True))
  first, absent = json.loads(texts[0]), "absent"
  for number, text in enumerate(texts):
    other = json.loads(text)
    for name in sorted(first.keys() | other.keys()):
      values = first.get(name, absent), other.get(name, absent)
      if values[0] != values[1]:
        raise errors.InputError(
          f"processes differ in {name}: it is {values[0]!r} in process 0 and {values[1]!r} "
          f"in process {number}: start all by the same command"
        )


# --- the run's folder -----------------------------------------------------------------


@contextlib.contextmanager
def own_folder(workdir: str | os.PathLike) -> Iterator[pathlib.Path]:
  """The run's folder for process 0, and a copy of it, deleted at the end, for any other.

  Checkpoints are not copied, their folders are: process 0 reads them.

  Raises:
    errors.InputError: process 0 cannot write it, or another process does not see what it
      writes there.
  """
  workdir = pathlib.Path(workdir)
  if jax.process_count() == 1:
    yield workdir
    return
  with contextlib.ExitStack() as stack:
    with agreeing():
      _check_shared(workdir)
    own = workdir
    if not is_first():
      temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="pacd_jax."))
      own = pathlib.Path(temporary, "run")
      shutil.copytree(workdir, own, ignore=_not_to_copy)
    any_of(False)  # All have their copies before the first file changes.
    yield own


def _not_to_copy(folder: str, names: list[str]) -> list[str]:
  if pathlib.Path(folder).parent.name == "checkpoints":
    return names
  return [name for name in names if name in (".lock", _TOKEN) or name.endswith(".tmp")]


def _check_shared(workdir: pathlib.Path) -> None:
  """Process 0 writes a token that the others have to find."""
  token = np.frombuffer(secrets.token_bytes(16), np.uint8)
  token, path = from_first(token).tobytes().hex(), workdir / _TOKEN
  failed = ""
  if is_first():
    try:
      workdir.mkdir(parents=True, exist_ok=True)
      path.write_text(token)
    except OSError as error:
      failed = f"--workdir={workdir} cannot be written ({error.strerror}): choose another"
  if any_of(bool(failed)):
    raise errors.InputError(failed)  # Of process 0; the others' is empty.
  seen = is_first() or _sees(path, token)
  all_have_looked = any_of(not seen)
  if is_first():
    path.unlink(missing_ok=True)
  if all_have_looked and not seen:
    raise errors.InputError(
      f"--workdir={workdir} is not shared: this host does not see what process 0 writes "
      "there; choose a folder of a file system that all hosts share"
    )


def _sees(path: pathlib.Path, token: str) -> bool:
  """Whether the token comes to be seen: listing the folder renews what NFS remembers."""
  deadline = time.monotonic() + _SEEN_WITHIN
  while time.monotonic() < deadline:
    with contextlib.suppress(OSError):
      os.listdir(path.parent)
      if path.read_text() == token:
        return True
    time.sleep(0.2)
  return False
