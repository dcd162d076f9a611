"""Checkpoints: what comes back is what was saved, or a line that says what to do."""

import contextlib
import gc
import io
import pathlib
import shutil
import tempfile
from typing import NamedTuple

import full_disk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.runtime import checkpoint, files, sharding


class _State(NamedTuple):
  step: jax.Array
  params: dict
  opt_state: optax.OptState
  best: tuple


_OPTIMIZER = optax.adam(1e-2)


@jax.jit
def _update(params, opt_state, step):
  gradient = jax.tree.map(lambda leaf: jnp.sin(leaf + step.astype(leaf.dtype)), params)
  updates, opt_state = _OPTIMIZER.update(gradient, opt_state)
  return optax.apply_updates(params, updates), opt_state


def _states(num_steps):
  """States of many types after 0, 1, ... updates by Adam; no value is a simple one."""
  params = {
    "weights": jax.random.normal(jax.random.key(0), (40, 30)),
    "bias": jnp.linspace(0.0, 1.0, 30, dtype=jnp.bfloat16),
  }
  opt_state = _OPTIMIZER.init(params)
  states = []
  for step in range(num_steps + 1):
    best = jnp.arange(5) % 2 == 0, jnp.uint8(200 + step)
    states.append(_State(jnp.int32(step), params, opt_state, best))
    params, opt_state = _update(params, opt_state, jnp.int32(step))
  return states


# Orbax drops the other reads of a checkpoint whose one read failed; they complain.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class CheckpointsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    """Three checkpoints, of which two are kept; each test works on its own copy."""
    super().setUpClass()
    cls.saved = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.states = _states(4)
    with checkpoint.Checkpoints(cls.saved, "this run") as checkpoints:
      for step in (1, 2, 3):
        checkpoints.save(step, cls.states[step])

  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self._copy()
    self.addCleanup(gc.collect)  # So that they complain here, not in a later test.

  def _copy(self):
    shutil.rmtree(self._folder)
    shutil.copytree(self.saved, self._folder)

  def _restore(self, like=None, fingerprint="this run"):
    with checkpoint.Checkpoints(self._folder, fingerprint) as checkpoints:
      return checkpoints.restore(self.states[0] if like is None else like)

  def _assert_same(self, state, expected):
    """Equal in structure, types and every bit."""
    self.assertEqual(jax.tree.structure(state), jax.tree.structure(expected))
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True)
    for value, wanted in pairs:
      self.assertIsInstance(value, jax.Array)
      self.assertEqual(value.dtype, wanted.dtype)
      self.assertEqual(value.shape, wanted.shape)
      self.assertEqual(np.asarray(value).tobytes(), np.asarray(wanted).tobytes())

  def _assert_refused(self, *words, **kwargs):
    with self.assertRaises(errors.InputError) as caught:
      self._restore(**kwargs)
    message = str(caught.exception)
    self.assertLen(message.splitlines(), 1)
    for word in (f"{self._folder}/3 ", "delete that folder", *words):
      self.assertIn(word, message)

  # --- whole checkpoints --------------------------------------------------------------

  def test_round_trip(self):
    state, step = self._restore()
    self.assertEqual(step, 3)
    self.assertIsInstance(state, _State)
    self.assertIsInstance(state.opt_state[0], optax.ScaleByAdamState)
    self._assert_same(state, self.states[3])

  def test_what_was_restored_goes_on_as_what_was_saved(self):
    state, _ = self._restore()
    params, opt_state = _update(state.params, state.opt_state, state.step)
    self._assert_same(params, self.states[4].params)
    self._assert_same(opt_state, self.states[4].opt_state)

  def test_the_last_two_are_kept(self):
    kept = [path.name for path in self._folder.iterdir() if path.is_dir()]
    self.assertCountEqual(kept, ["2", "3"])

  def test_an_empty_folder_gives_back_what_was_asked(self):
    shutil.rmtree(self._folder)
    state, step = self._restore()
    self.assertEqual(step, 0)
    self.assertIs(state, self.states[0])

  @parameterized.parameters(0, 1000)
  def test_a_full_disk(self, size):
    """Both Orbax's own files and those of its storage have no room."""
    with (
      self.assertRaises(OSError) as caught,
      full_disk.room_for(size),
      checkpoint.Checkpoints(self._folder, "this run") as checkpoints,
    ):
      checkpoints.save(4, self.states[4])
    self.assertStartsWith(files.in_words(caught.exception), str(self._folder))
    self._assert_same(self._restore()[0], self.states[3])
    with checkpoint.Checkpoints(self._folder, "this run") as checkpoints:
      checkpoints.save(4, self.states[4])
    self._assert_same(self._restore()[0], self.states[4])
    self.assertCountEqual([path.name for path in self._folder.iterdir()], ["3", "4"])

  def test_saving_goes_on_after_restoring(self):
    with checkpoint.Checkpoints(self._folder, "this run") as checkpoints:
      _, step = checkpoints.restore(self.states[0])
      checkpoints.save(step + 1, self.states[4])
    state, step = self._restore()
    self.assertEqual(step, 4)
    self._assert_same(state, self.states[4])

  def test_the_older_one_serves_where_the_newest_is_deleted(self):
    """What the message of a damaged checkpoint says to do."""
    shutil.rmtree(self._folder / "3")
    state, step = self._restore()
    self.assertEqual(step, 2)
    self._assert_same(state, self.states[2])

  def test_what_a_kill_left_half_written_is_passed_over_and_written_again(self):
    half = self._folder / "4.orbax-checkpoint-tmp"
    shutil.copytree(self._folder / "3", half)
    next(path for path in half.rglob("*") if path.is_file()).write_text("half of it")
    with checkpoint.Checkpoints(self._folder, "this run") as checkpoints:
      state, step = checkpoints.restore(self.states[0])
      checkpoints.save(4, self.states[4])
    self.assertEqual(step, 3)
    self._assert_same(state, self.states[3])
    self._assert_same(self._restore()[0], self.states[4])

  # --- checkpoints that cannot be used ------------------------------------------------

  def test_another_run_is_refused(self):
    self._assert_refused("another run", fingerprint="that run")

  @parameterized.named_parameters(
    ("fewer_fields", lambda state: state.params),
    ("another_name", lambda state: state._replace(params={"w": jnp.zeros((40, 30))})),
    ("another_leaf", lambda state: state._replace(best=(*state.best, jnp.zeros(2)))),
    ("another_type", lambda state: state._replace(step=jnp.float32(0.0))),
    (
      "another_optimizer",
      lambda state: state._replace(opt_state=optax.sgd(0.1).init(state.params)),
    ),
  )
  def test_another_structure_is_refused(self, change):
    self._assert_refused(like=change(self.states[0]))

  # --- damaged checkpoints ------------------------------------------------------------

  def _assert_passed_over(self, *words):
    """The one before it is restored, and one line says why."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
      state, step = self._restore()
    self.assertEqual(step, 2)
    self._assert_same(state, self.states[2])
    self.assertLen(said.getvalue().splitlines(), 1)
    for word in (f"checkpoint {self._folder}/3 ", "going on from step 2", *words):
      self.assertIn(word, said.getvalue())

  @parameterized.parameters("state", "record", "")
  def test_one_that_lacks_a_part_is_passed_over(self, name):
    shutil.rmtree(self._folder / "3" / name)
    (self._folder / "3").mkdir(exist_ok=True)
    self._assert_passed_over("cannot be read")

  def test_one_that_was_passed_over_is_written_again(self):
    shutil.rmtree(self._folder / "3" / "state")
    with checkpoint.Checkpoints(self._folder, "this run") as checkpoints:
      _, step = checkpoints.restore(self.states[0])
      self.assertEqual(step, 2)
      self.assertTrue((self._folder / "3").exists())  # Looking changes nothing.
      checkpoints.save(3, self.states[3])
    state, step = self._restore()
    self.assertEqual(step, 3)
    self._assert_same(state, self.states[3])

  def test_where_all_are_damaged_the_newest_is_refused(self):
    for step in ("2", "3"):
      shutil.rmtree(self._folder / step / "state")
    self._assert_refused("cannot be read")

  def _is_passed_over_or_same(self):
    """Damage is told, or it lay where nothing is read from; values never differ."""
    state, step = self._restore()
    self._assert_same(state, self.states[step])
    return step == 2

  def _files(self):
    """The newest checkpoint's files, relative to the folder."""
    files = [path for path in (self.saved / "3").rglob("*") if path.is_file()]
    return sorted(path.relative_to(self.saved) for path in files)

  @parameterized.named_parameters(("half", 0.5), ("empty", 0.0))
  def test_a_truncated_file_never_changes_a_value(self, share):
    num_told = 0
    for name in self._files():
      content = (self.saved / name).read_bytes()
      (self._folder / name).write_bytes(content[: int(share * len(content))])
      num_told += self._is_passed_over_or_same()
      self._copy()
    self.assertGreaterEqual(num_told, 4)

  @pytest.mark.long
  def test_a_flipped_byte_never_changes_a_value(self):
    num_told = 0
    for name in self._files():
      content = (self.saved / name).read_bytes()
      for share in (0.3, 0.7):
        damaged = bytearray(content)
        damaged[int(share * len(content))] ^= 0x10
        (self._folder / name).write_bytes(damaged)
        num_told += self._is_passed_over_or_same()
      self._copy()
    self.assertGreaterEqual(num_told, 4)

  def test_values_that_differ_from_their_checksum_are_passed_over(self):
    """Whole and readable, but not what was saved: another checkpoint's values."""
    other = self._folder / "other"
    with checkpoint.Checkpoints(other, "this run") as checkpoints:
      checkpoints.save(3, self.states[2])
    shutil.rmtree(self._folder / "3" / "state")
    shutil.copytree(other / "3" / "state", self._folder / "3" / "state")
    shutil.rmtree(other)
    self._assert_passed_over("its checksum differs")

  # --- devices ------------------------------------------------------------------------

  @parameterized.parameters((1, 3), (3, 1), (3, 2))
  def test_a_state_is_restored_onto_another_number_of_devices(self, before, after):
    before, after = (sharding.mesh(size) for size in (before, after))
    shutil.rmtree(self._folder)
    with checkpoint.Checkpoints(self._folder, "this run") as checkpoints:
      checkpoints.save(3, sharding.replicate(self.states[3], before))
    like = sharding.replicate(self.states[0], after)
    state, _ = self._restore(like)
    self._assert_same(state, self.states[3])
    for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(like), strict=True):
      self.assertEqual(leaf.sharding, wanted.sharding)


if __name__ == "__main__":
  absltest.main()
