"""Checkpoints of one stage, by orbax: written atomically; the last two are kept.

Process 0 writes and reads them, and sends the others what it read, so that a state is
restored onto any number of devices and processes.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Generator
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from pacd_jax import errors
from pacd_jax.runtime import files, processes, progress

_State = TypeVar("_State")
_FOR_EVER = 10 * 365 * 86_400  # Seconds.


def _digest(state) -> str:
  """A SHA-256 over the leaves, which tells a damaged checkpoint from a whole one."""
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(state):
    leaf = np.asarray(leaf)
    digest.update(repr((leaf.dtype.str, leaf.shape)).encode())
    # bfloat16 has no `.data`.
    # pyrefly: ignore[bad-argument-type]: a buffer, in NumPy's types from Python 3.12 on.
    digest.update(np.ascontiguousarray(leaf))
  return digest.hexdigest()


class _Damaged(Exception):
  """A checkpoint that cannot be used, though an older one may be: its text says why."""


class Checkpoints:
  """The saved states of one stage, by step; a context manager.

  Args:
    directory: for this stage alone; created if missing.
    fingerprint: identifies the run; a checkpoint of another run is refused.
  """

  def __init__(self, directory: str | os.PathLike, fingerprint: str):
    self._directory = pathlib.Path(directory).absolute()
    self._fingerprint = fingerprint
    self._damaged: list[int] = []  # Deleted before the next one is saved.
    self._manager = None
    with self._naming():
      self._directory.mkdir(parents=True, exist_ok=True)
    if processes.is_first():
      several = jax.process_count() > 1
      options = ocp.options.MultiprocessingOptions()
      if several:
        options = ocp.options.MultiprocessingOptions(
          primary_host=0, active_processes={0}, barrier_sync_key_prefix="process_0"
        )
      self._manager = ocp.CheckpointManager(
        self._directory,
        options=ocp.CheckpointManagerOptions(
          max_to_keep=2,
          # Orbax's clock is the system's, which may be set while it waits.
          async_options=ocp.options.AsyncOptions(
            timeout_secs=_FOR_EVER, create_directories_asynchronously=False
          ),
          create=not several,  # Orbax would make all processes wait for it.
          multiprocessing_options=options,
        ),
      )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *unused) -> None:
    if self._manager is None:
      return
    with self._naming(), contextlib.closing(self._manager):
      self._manager.wait_until_finished()

  def save(self, step: int, state: _State) -> None:
    """Saves the state after `step` steps; returns before the files are written.

    What goes wrong with them is raised by the next call, or at the end of the stage.

    Args:
      step: above all saved steps.
      state: replicated in each process, as by `sharding.replicate`.

    Raises:
      OSError: the files cannot be written; names one, or their folder.
    """
    if self._manager is None:
      return
    host = jax.tree.map(np.asarray, state)
    record = {"fingerprint": self._fingerprint, "digest": _digest(host)}
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(host), record=ocp.args.JsonSave(record)
    )
    with self._naming():
      while self._damaged:
        self._manager.delete(self._damaged.pop())
      self._manager.save(step, args=args)

  @contextlib.contextmanager
  def _naming(self) -> Generator[None]:
    """Names the folder in an OSError, and makes one of the storage's own errors."""
    with files.naming(self._directory):
      try:
        yield
      except ValueError as error:
        if (number := re.search(r"os_error_code='(\d+)'", str(error))) is None:
          raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error

  def restore(self, like: _State) -> tuple[_State, int]:
    """Restores the newest undamaged state; returns it and its step, or `(like, 0)`.

    A damaged checkpoint is skipped for the one before it, with a line that says so.

    Args:
      like: a state of the same structure, shapes and types; the restored one is put on the
        devices of its arrays.

    Raises:
      errors.InputError: all checkpoints are damaged, or one is of another run.
    """
    host, step = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like), 0
    with processes.agreeing():
      if self._manager is not None:
        host, step = self._newest_whole(self._manager, host)
    step = int(processes.from_first(np.int32(step)))
    if step == 0:
      return like, 0
    host = processes.from_first(host)
    return jax.tree.map(_placed, host, like), step

  def _newest_whole(
    self, manager: ocp.CheckpointManager, host: _State
  ) -> tuple[_State, int]:
    reasons = {}
    for step in sorted(manager.all_steps(), reverse=True):
      try:
        restored = self._read(manager, step, host)
      except _Damaged as error:
        reasons[step] = str(error)
        continue
      self._damaged = sorted(reasons)
      for bad, reason in reasons.items():
        _tell(
          f"checkpoint {self._directory / str(bad)} {reason}: going on from step {step}, "
          "the one before it"
        )
      return restored, step
    if reasons:
      raise self._unusable(*next(iter(reasons.items())))
    return host, 0

  def _read(self, manager: ocp.CheckpointManager, step: int, like: _State) -> _State:
    """The state of one checkpoint, as NumPy arrays."""
    args = ocp.args.Composite(
      state=ocp.args.StandardRestore(like), record=ocp.args.JsonRestore()
    )
    try:
      restored = manager.restore(step, args=args)
    except Exception as error:  # Orbax and its storage raise many kinds.
      raise _Damaged(f"cannot be read ({type(error).__name__})") from error
    record, state = restored["record"], restored["state"]
    if not isinstance(record, dict) or "fingerprint" not in record:
      raise _Damaged("does not say whose it is")
    if record["fingerprint"] != self._fingerprint:
      raise self._unusable(step, "belongs to another run")
    if record.get("digest") != _digest(state):
      raise _Damaged("is damaged (its checksum differs)")
    return state

  def _unusable(self, step: int, reason: str) -> errors.InputError:
    return errors.InputError(
      f"checkpoint {self._directory / str(step)} {reason}: delete that folder and run "
      "the same command again (it resumes from an older one, or begins anew)"
    )


@functools.cache
def _tell(text: str) -> None:
  """Notes a text once: a checkpoint is read before the first stage, and in its own."""
  progress.note(text)


def _placed(host: np.ndarray, like: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
  """Puts a NumPy array on the devices of another array, or leaves it on the host."""
  host = np.asarray(host)
  if isinstance(like, np.ndarray):
    return host
  return jax.make_array_from_callback(host.shape, like.sharding, lambda at: host[at])
