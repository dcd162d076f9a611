"""TensorBoard's files: what metrics.jsonl has, once, however often a run was killed."""

import json
import pathlib
import shutil
import struct
import sys
import tempfile
from unittest import mock

import asked
import finished_run
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from tensorboardX.proto import event_pb2

from pacd_jax.runtime import checkpoint, loop, metrics, tensorboard


def _events(folder):
  """The events of the only file of a stage."""
  (path,) = folder.iterdir()
  contents, events, place = path.read_bytes(), [], 0
  while place < len(contents):  # Length, its checksum, the event, its checksum.
    (size,) = struct.unpack("<Q", contents[place : place + 8])
    events.append(event_pb2.Event.FromString(contents[place + 12 : place + 12 + size]))
    place += size + 16
  return events


def _curves(folder):
  """Curves of a stage: tag -> its steps and values, in the order of the file."""
  found = {}
  for event in _events(folder):
    for value in event.summary.value:
      found.setdefault(value.tag, []).append((event.step, value.simple_value))
  return found


def _expected(path, stage):
  found = {}
  for record in map(json.loads, path.read_text().splitlines()):
    if record.pop("stage") != stage:
      continue
    step = record.pop("step")
    for name, value in record.items():
      several = enumerate(value) if isinstance(value, list) else ()
      for tag, each in [(f"{name}/{k}", v) for k, v in several] or [(name, value)]:
        found.setdefault(tag, []).append((step, np.float32(each)))
  return found


class _CrashError(Exception):
  pass


class EventsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / "metrics.jsonl"

  def _file(self):
    events = tensorboard.Events(self.folder / "tensorboard")
    return metrics.MetricsFile(self.path, events)

  def _run(self, num_steps, crash_at=None):
    def step(state, number):
      if number == crash_at:
        raise _CrashError
      values = {"loss": state, "of_seed": jnp.stack([state, -state]), "late": number > 2}
      return state + 1.0, values

    checkpoints = checkpoint.Checkpoints(self.folder / "checkpoints", "run")
    with checkpoints, self._file() as metrics_file:
      loop.run(
        "walk",
        step,
        jnp.float32(0.0),
        num_steps,
        checkpoints=checkpoints,
        metrics_file=metrics_file,
        save_every=3,
        headline="loss",
      )

  def test_a_resumed_stage_has_every_step_once(self):
    for crash_at in (5, 5, 8):  # Steps 3 and 6 are saved: some are taken again.
      with self.assertRaises(_CrashError):
        self._run(10, crash_at)
    self._run(10)
    found = _curves(self.folder / "tensorboard" / "walk")
    self.assertEqual(found, _expected(self.path, "walk"))
    self.assertEqual([step for step, _ in found["loss"]], list(range(10)))
    self.assertEqual(found.keys(), {"loss", "of_seed/0", "of_seed/1", "late", "seconds"})

  def test_what_a_kill_kept_from_the_file_is_there_after_resuming(self):
    with self.assertRaises(_CrashError):
      self._run(10, 8)
    (path,) = (self.folder / "tensorboard" / "walk").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    self._run(10)
    found = _curves(self.folder / "tensorboard" / "walk")
    self.assertEqual(found, _expected(self.path, "walk"))

  def test_a_line_is_in_the_file_at_once_and_clocks_agree(self):
    with self._file() as file:
      file.rewind("walk", 0)
      for step in range(2):
        file.write("walk", step, {"loss": 0.5, "seconds": 10.0 * step})
      version, start, first, second = _events(self.folder / "tensorboard" / "walk")
    self.assertEqual(version.file_version, "brain.Event:2")
    self.assertEqual(start.session_log.status, event_pb2.SessionLog.START)
    self.assertAlmostEqual(second.wall_time - first.wall_time, 10.0, places=3)

  def test_stages_have_folders_and_a_users_files_stay(self):
    mine = self.folder / "tensorboard" / "train" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for _ in range(2):
      with self._file() as file:
        for stage in ("attack", "train"):
          file.rewind(stage, 0)
          file.write(stage, 0, {"loss": 0.5})
    self.assertEqual(_curves(self.folder / "tensorboard" / "attack"), {"loss": [(0, 0.5)]})
    self.assertEqual(mine.read_text(), "mine")
    self.assertLen(list(mine.parent.iterdir()), 2)


class RunTest(finished_run.FinishedRunTestCase):
  def setUp(self):
    super().setUp()
    self.copy_finished()
    shutil.rmtree(self.workdir / "certificates")  # So that there is work left.

  def test_a_run_may_be_resumed_with_it(self):
    asked.run(finished_run.smoke(tensorboard=True), self.workdir, ("train",))
    found = _curves(self.workdir / "tensorboard" / "train")
    self.assertEqual(found, _expected(self.workdir / "metrics.jsonl", "train"))
    self.assertIn("pacd/loss/1", found)

  def test_tensorboardx_is_not_installed(self):
    with mock.patch.dict(sys.modules, {"tensorboardX": None}):
      self.refuses(
        "tensorboard is True, but tensorboardX is not installed: pip install tensorboardX",
        finished_run.smoke(tensorboard=True),
      )


if __name__ == "__main__":
  absltest.main()
