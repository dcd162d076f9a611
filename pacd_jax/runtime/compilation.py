"""Compiled programs that are found again: by the runs of one process, and by later ones.

Every run builds its functions anew, so jit's own cache does not help; JAX's persistent
compilation cache does. A folder that the user has set (JAX_COMPILATION_CACHE_DIR) is used
as it is; JAX_ENABLE_COMPILATION_CACHE=false turns off all of it.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Generator, Mapping

import jax
from jax.experimental.compilation_cache import compilation_cache

from pacd_jax.runtime import ending

_FOLDER = "jax_compilation_cache_dir"
_IS_ON = "jax_enable_compilation_cache"
_ALL_OF_IT = {  # By default it omits programs that compile in a second.
  "jax_persistent_cache_min_compile_time_secs": 0.0,
  "jax_persistent_cache_min_entry_size_bytes": -1,
  # XLA's own, of GPUs, are in this folder, whose name would then tell programs apart.
  "jax_persistent_cache_enable_xla_caches": "none",
}
_MOST_BYTES = 500_000_000  # Of the programs that are kept; the oldest are deleted first.


@contextlib.contextmanager
def shared_by_runs() -> Generator[None]:
  """Within, compiled programs are reused; they are gone afterwards."""
  if _is_settled():
    yield
    return
  with ending.temporary_folder() as folder, _used(folder):
    yield


@contextlib.contextmanager
def kept(*, wanted: bool = True) -> Generator[None]:
  """Within, programs that earlier processes compiled are reused, and new ones kept.

  They are in the user's cache folder (`store`). A process works on a folder of its own with
  links to them and adds its new ones at the end, whole, so that one that is killed leaves
  nothing damaged, nor anything. Where nothing can be written, nothing is kept.

  Args:
    wanted: False: this does nothing.
  """
  there = store() if wanted and not _is_settled() else None
  if there is None:
    yield
    return
  with ending.temporary_folder() as folder:
    _copy(there, folder)
    with _used(folder):
      try:
        yield
      finally:
        _copy(folder, there)
        _prune(there)


def store() -> pathlib.Path | None:
  """The folder of kept programs, made if it is missing; None: there can be none.

  It is $XDG_CACHE_HOME/pacd_jax, by default ~/.cache/pacd_jax, and in it a folder for the
  versions of JAX and for the processor: programs of another one may not run.
  """
  try:
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(home, "pacd_jax", f"jax-{jax.__version__}-{_processor()}")
    folder.mkdir(parents=True, exist_ok=True)
  except (OSError, RuntimeError):
    return None
  return folder if os.access(folder, os.W_OK) else None


def _processor() -> str:
  """A short name of the machine's kind of processor, with what it can do."""
  words = [platform.machine(), platform.processor(), jax.lib.__version__]
  with contextlib.suppress(OSError):
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    words += next(([line] for line in lines if line.startswith(("flags", "Features"))), [])
  return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


def _is_settled() -> bool:
  """Whether the user has set a folder, or wants none."""
  return bool(getattr(jax.config, _FOLDER)) or not getattr(jax.config, _IS_ON)


@contextlib.contextmanager
def _used(folder: pathlib.Path) -> Generator[None]:
  """JAX reads and writes compiled programs there."""
  before = {name: getattr(jax.config, name) for name in _ALL_OF_IT}
  _set({_FOLDER: str(folder)} | _ALL_OF_IT)
  try:
    yield
  finally:
    _set({_FOLDER: None} | before)


def _set(of_jax: Mapping[str, str | float | None]) -> None:
  for name, value in of_jax.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()  # Else JAX keeps the one of its first compilation.


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
  """Adds the files that the target lacks, each at once, by links where that is possible."""
  with contextlib.suppress(OSError):  # A full disk: what is missing is compiled again.
    there = set(os.listdir(target))
    for name in set(os.listdir(source)) - there:
      try:
        os.link(source / name, target / name)
      except FileExistsError:
        pass
      except OSError:  # On another file system.
        with tempfile.NamedTemporaryFile(dir=target, delete=False) as beside:
          pass
        shutil.copyfile(source / name, beside.name)
        os.replace(beside.name, target / name)


def _prune(folder: pathlib.Path) -> None:
  """Deletes the oldest files, until all together are at most `_MOST_BYTES`."""
  with contextlib.suppress(OSError):
    found = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in found:
      total += path.stat().st_size
      if total > _MOST_BYTES:
        path.unlink(missing_ok=True)
