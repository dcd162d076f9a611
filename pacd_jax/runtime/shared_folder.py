"""The folder of a run with several processes.

Only process 0 writes it. Each of the others works on a copy of its own, made at the start
and deleted at the end: all take the same steps on the same values, so they write the same
files, and none waits for a file system. After SIGKILL, or if JAX ends a process, the copy
stays in the temporary folder (TMPDIR), as `pacd_jax.*`.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import time
from collections.abc import Generator

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.runtime import ending, processes

_TOKEN = ".shared"  # In the run's folder, while the processes look for it.
_SEEN_WITHIN = 30.0  # Seconds until a file must be visible on the other hosts.


@contextlib.contextmanager
def own(workdir: str | os.PathLike) -> Generator[pathlib.Path]:
  """The run's folder for process 0, and a copy of it, deleted at the end, for any other.

  Checkpoints are not copied, only their stages' folders: process 0 reads them.

  Raises:
    errors.InputError: process 0 cannot write it, or another process does not see what it
      writes there.
  """
  workdir = pathlib.Path(workdir)
  if jax.process_count() == 1:
    yield workdir
    return
  with contextlib.ExitStack() as stack:
    with processes.agreeing():
      _check_shared(workdir)
    folder = workdir
    with processes.agreeing():  # All have their copies before the first file changes.
      if not processes.is_first():
        folder = stack.enter_context(ending.temporary_folder()) / "run"
        _copy(workdir, folder)
    yield folder


def _copy(workdir: pathlib.Path, folder: pathlib.Path) -> None:
  try:
    shutil.copytree(workdir, folder, ignore=_not_to_copy)
  except OSError as error:  # `shutil.Error`, too.
    raise errors.InputError(
      f"--workdir={workdir} cannot be copied to {folder} ({error}): make room there, or "
      "set TMPDIR"
    ) from None


def _not_to_copy(folder: str, names: list[str]) -> list[str]:
  if pathlib.Path(folder).parent.name == "checkpoints":
    return names
  return [name for name in names if name in (".lock", _TOKEN) or name.endswith(".tmp")]


def _check_shared(workdir: pathlib.Path) -> None:
  """Checks that all processes see a token that process 0 writes."""
  token = np.frombuffer(secrets.token_bytes(16), np.uint8)
  token, path = processes.from_first(token).tobytes().hex(), workdir / _TOKEN
  failed = ""
  if processes.is_first():
    try:
      workdir.mkdir(parents=True, exist_ok=True)
      path.write_text(token, encoding="utf-8")
    except OSError as error:
      failed = f"--workdir={workdir} cannot be written ({error.strerror}): choose another"
  if processes.any_of(bool(failed)):
    raise errors.InputError(failed)  # Process 0's; empty in the others.
  seen = processes.is_first() or _sees(path, token)
  all_have_looked = processes.any_of(not seen)
  if processes.is_first():
    path.unlink(missing_ok=True)
  if all_have_looked and not seen:
    raise errors.InputError(
      f"--workdir={workdir} is not shared: this host does not see what process 0 writes "
      "there; choose a folder of a file system that all hosts share"
    )


def _sees(path: pathlib.Path, token: str) -> bool:
  """Whether the token becomes visible in time; listing the folder renews NFS's cache."""
  deadline = time.monotonic() + _SEEN_WITHIN
  while time.monotonic() < deadline:
    with contextlib.suppress(OSError):
      os.listdir(path.parent)
      if path.read_text(encoding="utf-8") == token:
        return True
    time.sleep(0.2)
  return False
