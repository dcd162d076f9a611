"""Whole runs of several processes and devices, unbroken and killed: minutes of work.

  make test-processes

Everything runs on this machine, over its loopback. `python -m pytest` does not take this
file for one of the tests by itself, as they have to be done in minutes.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl.testing import absltest, parameterized
from processes_test import free_address

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_NUM_KILLS = 10
_SEED = 7  # Of the moments.


def _command(workdir: pathlib.Path, *more: str) -> list[str]:
  """The smoke config, but trained until certificates are not all 0."""
  return [
    sys.executable,
    str(_ROOT / "main.py"),
    f"--config={_ROOT / 'configs' / 'digits_ga.py'}:smoke",
    f"--workdir={workdir}",
    "--config.model.name=linear",
    "--config.train.num_epochs=30",
    "--config.train.save_every=5",
    *more,
  ]


def _several(processes: int, command: list[str]) -> list[str]:
  return [str(_ROOT / "launch" / "local.sh"), "-n", str(processes), *command]


class _Runs(parameterized.TestCase):
  """Runs in a folder of the class, and one unbroken run on one device."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.root = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.one = cls.root / "one"
    cls.finish(_command(cls.one), JAX_NUM_CPU_DEVICES="1")

  @classmethod
  def start(cls, command: list[str], **environment) -> subprocess.Popen:
    """In a process group of its own; a compilation cache keeps the many starts short."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    cache = {
      "JAX_PLATFORMS": "cpu",
      "JAX_COMPILATION_CACHE_DIR": str(cls.root / "cache"),
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
      command,
      env=clean | cache | environment,
      cwd=_ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
    )

  @classmethod
  def finish(cls, command: list[str], **environment) -> float:
    """Runs to the end; the seconds that it took."""
    began = time.monotonic()
    process = cls.start(command, **environment)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return time.monotonic() - began

  def assert_same_run(self, workdir: pathlib.Path):
    """Poisons within a level on 99.9 % of pixels, equal counts, ACRs to 1e-6."""
    poisons = sorted(path.name for path in self.one.glob("poison/*.npz"))
    self.assertEqual(poisons, sorted(p.name for p in workdir.glob("poison/*.npz")))
    self.assertLen(poisons, 3)
    for name in poisons:
      one, other = (
        np.load(folder / "poison" / name)["images"].astype(int)
        for folder in (self.one, workdir)
      )
      self.assertGreaterEqual(np.mean(np.abs(one - other) <= 1), 0.999, name)
    for path in self.one.glob("certificates/*/*.counts.tsv"):
      there = workdir / path.relative_to(self.one)
      self.assertEqual(path.read_text(), there.read_text(), there)
    rows = [
      json.loads((folder / "results.json").read_text())["rows"]
      for folder in (self.one, workdir)
    ]
    acrs = [[row["acr_mean"] for row in of_run] for of_run in rows]
    self.assertGreater(min(acrs[0]), 0.0)  # Else they would be equal whatever came.
    np.testing.assert_allclose(*acrs, rtol=0.0, atol=1e-6)

  def assert_every_file_once(self, workdir: pathlib.Path):
    """The files of a run of one process, and no line of metrics.jsonl twice."""
    files = [
      sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "checkpoints" not in path.parts
      )
      for folder in (self.one, workdir)
    ]
    self.assertEqual(*files)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    steps = [(line["stage"], line["step"]) for line in map(json.loads, lines)]
    self.assertLen(set(steps), len(steps))


class DevicesTest(_Runs):
  @parameterized.parameters(2, 8)
  def test_simulated_devices(self, devices):
    workdir = self.root / f"devices_{devices}"
    self.finish(_command(workdir), JAX_NUM_CPU_DEVICES=str(devices))
    self.assert_same_run(workdir)

  @parameterized.parameters(2, 4)
  def test_real_processes(self, processes):
    workdir = self.root / f"processes_{processes}"
    self.finish(_several(processes, _command(workdir)))
    self.assert_same_run(workdir)
    self.assert_every_file_once(workdir)

  @parameterized.parameters(
    ("--stage", "--stage", ("attack", "train")),
    ("--workdir", "--workdir", ("a", "b")),
    ("--config.seed", "seed", ("1", "0")),
  )
  def test_processes_of_different_commands(self, flag, name, values):
    of_two = [f"--coordinator_address={free_address()}", "--num_processes=2"]
    started = [
      self.start(
        [*_command(self.root / "refused", *of_two, f"--process_id={i}"), f"{flag}={value}"]
      )
      for i, value in enumerate(values)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    self.assertEqual([process.returncode for process in started], [2, 2], outputs)
    said = [[line for line in o.splitlines() if "error: " in line] for o in outputs]
    self.assertRegex("".join(said[0]), f"^error: processes differ in {name}: [^\n]*$")
    self.assertEmpty(said[1])  # Process 0 says it for all.
    self.assertFalse((self.root / "refused").exists())

  def test_a_checkpoint_of_two_processes_goes_on_in_one(self):
    workdir = self.root / "moved"
    self.finish(_several(2, _command(workdir, "--stage=attack")))
    process = self.start(_several(2, _command(workdir)))
    while not any((workdir / "checkpoints" / "train").glob("[0-9]*")):
      self.assertIsNone(process.poll())
      time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    self.finish(_command(workdir), JAX_NUM_CPU_DEVICES="8")
    self.assert_same_run(workdir)


class KillsTest(_Runs):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.finish(_several(2, _command(cls.root / "first")))  # Compiles.
    cls.seconds = cls.finish(_several(2, _command(cls.root / "unbroken")))

  @parameterized.parameters("one of two", "all")
  def test_kill_9_at_ten_moments(self, whom):
    moments, killed, seconds = random.Random(_SEED), 0, self.seconds
    while killed < _NUM_KILLS:
      workdir = self.root / "broken"
      shutil.rmtree(workdir, ignore_errors=True)
      process = self.start(_several(2, _command(workdir)))
      moment = (killed + moments.random()) / _NUM_KILLS * seconds
      time.sleep(moment)
      if process.poll() is not None:  # The machine is faster now: again, and earlier.
        self.assertEqual(process.returncode, 0, process.communicate()[0])
        seconds *= 0.8
        continue
      self._kill(process, None if whom == "all" else moments.randrange(2))
      process.communicate(timeout=300)
      killed += 1
      with self.subTest(f"{whom}, after {moment:.1f} s of {seconds:.1f}"):
        self.finish(_several(2, _command(workdir)))
        self.assert_same_run(workdir)
        self.assert_every_file_once(workdir)
        sys.stderr.write(f"{whom}, after {moment:.1f} s: as the unbroken run\n")

  def _kill(self, launcher: subprocess.Popen, which: int | None):
    """All processes with their launcher; or one, and the launcher ends the other."""
    if which is None:
      os.killpg(launcher.pid, signal.SIGKILL)
      return
    listed = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    children = listed.read_text().split()
    if len(children) > which:
      os.kill(int(children[which]), signal.SIGKILL)

  def test_sigterm_saves_and_loses_no_step(self):
    workdir = self.root / "terminated"
    long = _command(workdir, "--stage=train", "--config.train.save_every=1000")
    self.finish(_several(2, _command(workdir, "--stage=attack")))
    process = self.start(_several(2, long))
    metrics = workdir / "metrics.jsonl"
    while '"stage": "train"' not in metrics.read_text():
      self.assertIsNone(process.poll())
      time.sleep(0.01)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    self.assertEqual(process.returncode, 143, output)
    self.assertIn("terminated (train: ", output)
    self.assertEqual(output.count("the same command resumes it"), 1)
    self.finish(_several(2, _command(workdir)))
    self.assert_same_run(workdir)


if __name__ == "__main__":
  absltest.main()
