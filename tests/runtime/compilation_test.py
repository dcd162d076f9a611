"""What is compiled once is found again."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
from absl.testing import absltest
from jax.experimental.compilation_cache import compilation_cache

from pacd_jax.runtime import compilation

_OPTIONS = (
  "jax_compilation_cache_dir",
  "jax_persistent_cache_min_compile_time_secs",
  "jax_persistent_cache_min_entry_size_bytes",
)


def _options():
  return [getattr(jax.config, name) for name in _OPTIONS]


def _run_anew() -> float:
  """Of a function that jit has not met, with a program that XLA may have."""
  return float(jax.jit(lambda x: jnp.sin(x).sum() * 17.25)(jnp.arange(7.0)))


class SharedByRunsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    for name, value in zip(_OPTIONS, _options(), strict=True):
      self.addCleanup(jax.config.update, name, value)
    jax.config.update("jax_compilation_cache_dir", None)  # The tests have one of their own.
    compilation_cache.reset_cache()
    self.addCleanup(compilation_cache.reset_cache)

  def test_a_program_is_compiled_once(self):
    before, hits = _options(), []
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
    with compilation.shared_by_runs():
      folder = pathlib.Path(jax.config.jax_compilation_cache_dir)
      first = _run_anew()
      hits.clear()
      self.assertEqual(_run_anew(), first)
      self.assertIn("/jax/compilation_cache/cache_hits", hits)
      self.assertNotEmpty(list(folder.iterdir()))
    self.assertFalse(folder.exists())
    self.assertEqual(_options(), before)
    hits.clear()
    self.assertEqual(_run_anew(), first)
    self.assertNotIn("/jax/compilation_cache/cache_hits", hits)

  def test_the_user_s_is_kept(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    jax.config.update("jax_compilation_cache_dir", folder)
    before = _options()
    with compilation.shared_by_runs():
      self.assertEqual(_options(), before)
    self.assertTrue(pathlib.Path(folder).is_dir())


if __name__ == "__main__":
  absltest.main()
