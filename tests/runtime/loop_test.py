"""The loop: a run that was broken and resumed is the run that was not."""

import contextlib
import io
import json
import os
import pathlib
import signal
import tempfile
import types
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.runtime import checkpoint, loop, metrics, preemption

_NUM_STEPS = 10


class _State(NamedTuple):
  step: jax.Array
  values: jax.Array


class _CrashError(Exception):
  pass


@jax.jit
def _update(state):
  """A random walk whose every step is a function of the state alone."""
  noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), state.step), (3,))
  values = 0.9 * state.values + noise
  aux = {"loss": jnp.mean(values**2), "values": values}
  return _State(state.step + 1, values), aux


def _first_state():
  return _State(jnp.int32(0), jnp.zeros(3))


class _Walk:
  """`step_fn` that counts its calls, and may crash or give a number not finite."""

  def __init__(self, *, crash_at=None, spoil_at=None, spoil=jnp.nan):
    self.calls = []
    self._crash_at, self._spoil_at, self._spoil = crash_at, spoil_at, spoil

  def __call__(self, state, step):
    if step == self._crash_at:
      raise _CrashError
    self.calls.append(step)
    if step == self._spoil_at:
      state = state._replace(values=state.values.at[1].set(self._spoil))
    return _update(state)


def _unbroken():
  """The steps without the loop: states 0 to 10, and the lines of metrics.jsonl."""
  states, lines = [_first_state()], []
  for step in range(_NUM_STEPS):
    state, aux = _update(states[-1])
    states.append(state)
    record = {"stage": "walk", "step": step, "loss": float(aux["loss"])}
    lines.append(json.dumps(record | {"values": aux["values"].tolist()}))
  return states, lines


class LoopTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.states, cls.lines = _unbroken()

  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self._metrics = self._folder / "metrics.jsonl"

  def _run(self, walk, *, save_every=3):
    with self._checkpoints() as checkpoints:
      return loop.run(
        "walk",
        walk,
        _first_state(),
        _NUM_STEPS,
        checkpoints=checkpoints,
        metrics_file=metrics.MetricsFile(self._metrics),
        save_every=save_every,
        headline="loss",
      )

  def _checkpoints(self):
    return checkpoint.Checkpoints(self._folder / "checkpoints", "fingerprint")

  def _saved(self):
    with self._checkpoints() as checkpoints:
      return checkpoints.restore(_first_state())

  def _records(self):
    lines = self._metrics.read_text().splitlines() if self._metrics.exists() else []
    return [json.loads(line) for line in lines]

  def _logged(self):
    """The lines but for their times."""
    records = self._records()
    return [json.dumps({k: v for k, v in r.items() if k != "seconds"}) for r in records]

  def _assert_same(self, state, expected):
    for value, wanted in zip(state, expected, strict=True):
      self.assertEqual(value.dtype, wanted.dtype)
      np.testing.assert_array_equal(value, wanted)

  def test_every_step_is_done_and_logged_once(self):
    walk = _Walk()
    self._assert_same(self._run(walk), self.states[-1])
    self.assertEqual(walk.calls, list(range(_NUM_STEPS)))
    self.assertEqual(self._logged(), self.lines)

  @parameterized.parameters((3, 9), (4, 8), (20, 0))
  def test_saves_after_every_so_many_steps_and_after_the_last(self, save_every, before):
    self._run(_Walk(), save_every=save_every)
    state, step = self._saved()
    self.assertEqual(step, _NUM_STEPS)
    self._assert_same(state, self.states[-1])
    kept = {int(path.name) for path in (self._folder / "checkpoints").iterdir()}
    self.assertEqual(kept, {_NUM_STEPS, before} - {0})

  @parameterized.parameters((0, 0), (2, 0), (4, 3), (9, 9))
  def test_a_crash_and_a_resumption_change_nothing(self, crash_at, resumed_at):
    """10 steps are 4, a crash and the rest: state and metrics to the last bit."""
    with self.assertRaises(_CrashError):
      self._run(_Walk(crash_at=crash_at))
    walk = _Walk()
    state = self._run(walk)
    self.assertEqual(walk.calls, list(range(resumed_at, _NUM_STEPS)))
    self._assert_same(state, self.states[-1])
    self.assertEqual(self._logged(), self.lines)

  @parameterized.parameters(0, 4, 9)
  def test_sigterm_saves_the_step_under_way(self, during):
    self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    preemption.install()
    walk, told = _Walk(), []

    def step_fn(state, step):
      if step == during and not told:
        told.append(step)
        os.kill(os.getpid(), signal.SIGTERM)
      return walk(state, step)

    with self.assertRaisesRegex(preemption.Preempted, f"walk: {during + 1}/10 steps"):
      self._run(step_fn)
    self.assertEqual(self._saved()[1], during + 1)
    self._assert_same(self._run(step_fn), self.states[-1])
    self.assertEqual(walk.calls, list(range(_NUM_STEPS)))
    self.assertEqual(self._logged(), self.lines)

  def test_many_crashes_change_nothing(self):
    for crash_at in (3, 3, 5, 8):
      with self.assertRaises(_CrashError):
        self._run(_Walk(crash_at=crash_at), save_every=2)
    self._assert_same(self._run(_Walk(), save_every=2), self.states[-1])
    self.assertEqual(self._logged(), self.lines)

  def test_resuming_leaves_the_lines_of_other_stages(self):
    metrics.MetricsFile(self._metrics).write("other", 7, {"loss": 1.0})
    before = self._logged()
    with self.assertRaises(_CrashError):
      self._run(_Walk(crash_at=5))
    self._run(_Walk())
    self.assertEqual(self._logged(), before + self.lines)

  @parameterized.parameters((0, 1), (4, 1), (4, 3), (5, 3), (9, 3), (9, 20))
  def test_a_number_that_is_not_finite_stops_the_run(self, spoil_at, save_every):
    """It names stage and step, and no checkpoint follows from it."""
    with self.assertRaises(errors.NonFiniteError) as caught:
      self._run(_Walk(spoil_at=spoil_at), save_every=save_every)
    self.assertIn("stage walk", str(caught.exception))
    self.assertIn(f"step {spoil_at}:", str(caught.exception))
    state, step = self._saved()
    self.assertEqual(step, spoil_at // save_every * save_every)
    self._assert_same(state, self.states[step])
    self.assertEqual(self._logged(), self.lines[:spoil_at])

  def test_an_infinity_stops_the_run_and_once_mended_it_goes_on(self):
    with self.assertRaisesRegex(errors.NonFiniteError, "stage walk, step 7.*inf"):
      self._run(_Walk(spoil_at=7, spoil=jnp.inf))
    self._assert_same(self._run(_Walk()), self.states[-1])
    self.assertEqual(self._logged(), self.lines)

  def test_seconds_go_on_from_the_checkpoint(self):
    """A step takes a second by this clock; step 3 is lost with a crash, and not counted."""
    now = 100.0

    def step_fn(state, step):
      nonlocal now
      now += 1.0
      if step == 4 and not resumed:
        raise _CrashError
      return _update(state)

    clock = types.SimpleNamespace(monotonic=lambda: now)
    with mock.patch.object(loop, "time", clock):
      resumed = False
      with self.assertRaises(_CrashError):
        self._run(step_fn)
      now, resumed = 500.0, True
      self._run(step_fn)
      self._run(step_fn)
    seconds = [record["seconds"] for record in self._records()]
    # A line is written after the next step has begun, or at once before a checkpoint.
    self.assertEqual(seconds, [2.0, 3.0, 3.0, 5.0, 6.0, 6.0, 8.0, 9.0, 9.0, 10.0])

  def test_a_finished_stage_does_nothing(self):
    self._run(_Walk())
    files = sorted(self._folder.rglob("*"))
    walk, said = _Walk(), io.StringIO()
    with contextlib.redirect_stderr(said):
      self._assert_same(self._run(walk), self.states[-1])
    self.assertEmpty(walk.calls)
    self.assertEmpty(said.getvalue())
    self.assertEqual(self._logged(), self.lines)
    self.assertEqual(sorted(self._folder.rglob("*")), files)

  def test_a_step_is_logged_while_the_next_is_under_way(self):
    """So the device does not wait for the host; what is saved has been logged."""
    num_lines = []

    def step_fn(state, step):
      num_lines.append(len(self._logged()))
      return _update(state)

    self._run(step_fn, save_every=4)
    self.assertEqual(num_lines, [0, 0, 1, 2, 4, 4, 5, 6, 8, 8])


if __name__ == "__main__":
  absltest.main()
