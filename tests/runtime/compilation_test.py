"""What is compiled once is found again."""

import os
import pathlib
import platform
import tempfile
from unittest import mock

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


class KeptTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    for name, value in zip(_OPTIONS, _options(), strict=True):
      self.addCleanup(jax.config.update, name, value)
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    self.addCleanup(compilation_cache.reset_cache)
    self.home = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.home)))

  def _kept(self):
    return {path.name: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}

  def test_a_later_run_compiles_nothing(self):
    before, events = _options(), []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    jax.clear_caches()
    with compilation.kept():
      first = _run_anew()
      self.assertEmpty(self._kept())  # Nothing before the end: a kill leaves nothing.
    self.assertNotEmpty(kept := self._kept())
    self.assertEqual(_options(), before)
    events.clear()
    jax.clear_caches()
    with compilation.kept():
      folder = pathlib.Path(jax.config.jax_compilation_cache_dir)
      self.assertEqual(_run_anew(), first)
    self.assertIn("/jax/compilation_cache/cache_hits", events)
    self.assertNotIn("/jax/compilation_cache/cache_misses", events)
    self.assertEqual(self._kept(), kept)
    self.assertFalse(folder.exists())

  def test_what_a_run_that_failed_compiled_is_kept(self):
    with self.assertRaises(KeyError), compilation.kept():
      _run_anew()
      raise KeyError
    self.assertNotEmpty(self._kept())

  def test_another_processor_has_its_own(self):
    with mock.patch.object(platform, "machine", lambda: "another"):
      other = compilation.store()
    self.assertNotEqual(other, compilation.store())

  def test_the_oldest_are_deleted(self):
    with compilation.kept():
      _run_anew()
    folder = compilation.store()
    for number, name in enumerate(("older", "newer")):
      (folder / name).write_bytes(bytes(1000))
      os.utime(folder / name, (number, number))
    most = sum(path.stat().st_size for path in folder.iterdir()) - 1
    with mock.patch.object(compilation, "_MOST_BYTES", most), compilation.kept():
      pass
    self.assertFalse((folder / "older").exists())
    self.assertTrue((folder / "newer").exists())

  def test_nothing_is_kept(self):
    file = self.home / "file"
    file.write_text("")
    places = {"no folder can be made": str(file), "the user's": str(self.home)}
    for name, home in places.items():
      wanted = name.startswith("no")
      with (
        self.subTest(name),
        mock.patch.dict(os.environ, XDG_CACHE_HOME=home),
        compilation.kept(wanted=wanted),
      ):
        self.assertIsNone(jax.config.jax_compilation_cache_dir)
    with self.subTest("JAX's cache is off"):
      jax.config.update("jax_enable_compilation_cache", False)
      self.addCleanup(jax.config.update, "jax_enable_compilation_cache", True)
      with compilation.kept():
        self.assertIsNone(jax.config.jax_compilation_cache_dir)
    self.assertEqual(self._kept(), {"file": b""})


if __name__ == "__main__":
  absltest.main()
