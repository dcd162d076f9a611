"""A compilation cache that the runs of one process share."""

import contextlib
from collections.abc import Generator, Mapping

import jax
from jax.experimental.compilation_cache import compilation_cache

from pacd_jax.runtime import ending

_FOLDER = "jax_compilation_cache_dir"
_ALL_OF_IT = {  # By default it omits programs that compile in a second.
  "jax_persistent_cache_min_compile_time_secs": 0.0,
  "jax_persistent_cache_min_entry_size_bytes": -1,
}


@contextlib.contextmanager
def shared_by_runs() -> Generator[None]:
  """Within, compiled programs are reused, by JAX's persistent compilation cache.

  Every run builds its functions anew, so jit's own cache does not help. The cache is a
  temporary folder, deleted afterwards; a folder that the user has set
  (JAX_COMPILATION_CACHE_DIR) is used instead, and kept.
  """
  if getattr(jax.config, _FOLDER):
    yield
    return
  with ending.temporary_folder() as folder:
    before = {name: getattr(jax.config, name) for name in _ALL_OF_IT}
    _use({_FOLDER: str(folder)} | _ALL_OF_IT)
    try:
      yield
    finally:
      _use({_FOLDER: None} | before)


def _use(of_jax: Mapping[str, str | float | None]) -> None:
  for name, value in of_jax.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()  # Else JAX keeps the one of its first compilation.
