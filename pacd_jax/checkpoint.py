"""Checkpoints of one stage on orbax: written beside and renamed, kept to the last two."""

import hashlib
import os
import pathlib
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from pacd_jax import errors

_State = TypeVar("_State")


def _digest(state) -> str:
  """SHA-256 over the leaves: tells a damaged checkpoint from a whole one."""
  digest = hashlib.sha256()
  for leaf in jax.tree.leaves(state):
    leaf = np.asarray(leaf)
    digest.update(repr((leaf.dtype.str, leaf.shape)).encode())
    digest.update(np.ascontiguousarray(leaf))
  return digest.hexdigest()


class Checkpoints:
  """States of one stage by step, inside `with`.

  Args:
    directory: of this stage alone; made.
    fingerprint: names the run; a checkpoint of another run is refused.
  """

  def __init__(self, directory: str | os.PathLike, fingerprint: str):
    self._directory = pathlib.Path(directory).absolute()
    self._fingerprint = fingerprint
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(max_to_keep=2, create=True),
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *unused) -> None:
    self._manager.wait_until_finished()
    self._manager.close()

  def latest_step(self) -> int:
    """Steps done in the newest checkpoint; 0 where there is none."""
    return self._manager.latest_step() or 0

  def save(self, step: int, state: _State) -> None:
    """Saves the state after `step` steps; returns before the files are written."""
    record = {"fingerprint": self._fingerprint, "digest": _digest(state)}
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
    )
    self._manager.save(step, args=args)

  def restore(self, like: _State) -> tuple[_State, int]:
    """The newest state and its step; `(like, 0)` where there is none.

    Args:
      like: a state of the same structure, shapes, types and shardings.

    Raises:
      errors.InputError: the newest checkpoint is damaged, or is another run's.
    """
    step = self._manager.latest_step()
    if step is None:
      return like, 0
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.Composite(
      state=ocp.args.StandardRestore(abstract), record=ocp.args.JsonRestore()
    )
    try:
      restored = self._manager.restore(step, args=args)
    except Exception as error:  # Orbax and its storage raise many kinds.
      raise self._unusable(step, f"cannot be read ({type(error).__name__})") from error
    record = restored.record
    if not isinstance(record, dict) or record.get("fingerprint") != self._fingerprint:
      raise self._unusable(step, "belongs to another run")
    if record.get("digest") != _digest(restored.state):
      raise self._unusable(step, "is damaged (its checksum differs)")
    return restored.state, step

  def _unusable(self, step: int, reason: str) -> errors.InputError:
    return errors.InputError(
      f"checkpoint {self._directory / str(step)} {reason}: delete that folder and run "
      "the same command again (it goes on from an older one, or from the start)"
    )
