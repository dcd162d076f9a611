"""Programs that several runs of one process have in common are compiled once."""

import contextlib
from collections.abc import Generator, Mapping

import jax
from jax.experimental.compilation_cache import compilation_cache

from pacd_jax.runtime import ending

_FOLDER = "jax_compilation_cache_dir"
_ALL_OF_IT = {  # By default it leaves out what compiles in a second.
  "jax_persistent_cache_min_compile_time_secs": 0.0,
  "jax_persistent_cache_min_entry_size_bytes": -1,
}


@contextlib.contextmanager
def shared_by_runs() -> Generator[None]:
  """Within, XLA finds again what it has compiled, by JAX's persistent compilation cache.

  Every run builds its functions anew, so that jit itself knows none of them. The cache is a
  temporary folder, gone afterwards; one that the user has set (JAX_COMPILATION_CACHE_DIR)
  is used instead, and kept.
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
