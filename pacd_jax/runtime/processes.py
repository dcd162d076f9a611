"""Several processes as one run: how they find each other, and agree."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from pacd_jax import errors

_Value = TypeVar("_Value")
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
  """Joins the run's other processes, if there are any; call it before JAX is first used.

  Without arguments, the processes are those of the cluster that JAX detects: Slurm, Open
  MPI, GKE, Cloud TPU, or Kubernetes with JAX's extra `k8s`. If it detects none, this is the
  only process.

  Args:
    coordinator: host and port on which process 0 listens.
    num_processes: the number of processes; 1: this one alone, in a cluster too.
    process_id: the number of this process, from 0.
    timeout: seconds that the processes may take to find each other.
    give_up: called, in another thread, if they do not: JAX itself would end the process
      without a message of ours.

  Raises:
    errors.InputError: only some of the arguments are given, one is out of range, or the
      cluster cannot be used.
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
  if coordinator is not None and num_processes is not None and process_id is not None:
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
  except Exception as error:  # The cluster's own, such as Kubernetes without permission.
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
    f"start them all, check that the hosts reach that address{_proxies(coordinator)}, or "
    "raise --coordinator_timeout"
  )


def _proxies(coordinator: str | None) -> str:
  """Advice on the proxies that are set, which the processes would ask for each other."""
  proxies = ("grpc_proxy", "https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY")
  there = [name for name in proxies if os.environ.get(name)]
  if not there:
    return ""
  host = coordinator.rpartition(":")[0] if coordinator else "its host"
  return f" without a proxy ({' and '.join(there)} set: add {host} to no_proxy)"


def is_first() -> bool:
  """Whether this is process 0, which writes the run's folder."""
  return jax.process_index() == 0


# --- agreeing -------------------------------------------------------------------------


def from_first(value: _Value) -> _Value:
  """Process 0's value, in every process: a tree of numbers or arrays of the same shapes.

  All processes must call it; with one process, it returns the value itself.
  """
  if jax.process_count() == 1:
    return value
  return multihost_utils.broadcast_one_to_all(value)


def any_of(flag: bool) -> bool:
  """Whether the flag is true in some process; all must call it."""
  if jax.process_count() == 1:
    return flag
  return bool(multihost_utils.process_allgather(np.array(flag)).any())


def all_texts(text: str) -> list[str]:
  """Each process's text, in the order of processes; all must call it."""
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
def agreeing() -> Generator[None]:
  """Raises an `errors.InputError` of one process in every process.

  For code in which one process may fail alone, and that starts no work of several.

  Raises:
    errors.InputError: the error of the first process that has one.
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
def held(folders: Iterable[contextlib.AbstractContextManager]) -> Generator[None]:
  """Enters all of the runs' folders, in every process or in none.

  Raises:
    errors.InputError: as from entering one.
  """
  with contextlib.ExitStack() as stack:
    with agreeing():
      for folder in folders:
        stack.enter_context(folder)
    yield


def check_same(facts: Mapping[str, Any]) -> None:
  """Checks that all processes run the same.

  Args:
    facts: values by name, such as a config field's; JSON can hold them.

  Raises:
    errors.InputError: a process has another value; names it and the field.
  """
  texts = all_texts(json.dumps(dict(facts), sort_keys=True))
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
