"""SIGKILL in every stage, then the same command again: the results of an unbroken run."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from absl.testing import absltest

from pacd_jax.runtime import run_folder

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _start(workdir, cache):
  """The smoke config; a compilation cache keeps the many starts short."""
  command = [
    sys.executable,
    str(_ROOT / "main.py"),
    f"--config={_ROOT / 'configs' / 'digits_ga.py'}:smoke",
    "--config.model.name=linear",
    f"--workdir={workdir}",
  ]
  environment = {
    "PATH": "",
    "PYTHONPATH": str(_ROOT),
    "XLA_FLAGS": os.environ["XLA_FLAGS"],
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return subprocess.Popen(
    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )


def _finish(workdir, cache) -> str:
  process = _start(workdir, cache)
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 0, output
  return output


def _num_lines(path: pathlib.Path) -> int:
  return path.read_bytes().count(b"\n") if path.exists() else 0


def _results(workdir: pathlib.Path):
  """Everything that must not depend on the kills: all but times."""
  tables = {
    str(path.relative_to(workdir)): [
      line.split("\t")[:5] for line in path.read_text().splitlines()
    ]
    for path in workdir.glob("certificates/*/seed_?.tsv")
  }
  counts = {
    str(path.relative_to(workdir)): path.read_text()
    for path in workdir.glob("certificates/*/*.counts.tsv")
  }
  poisons = {path.name: path.read_bytes() for path in workdir.glob("poison/*.npz")}
  metrics = []
  for line in (workdir / "metrics.jsonl").read_text().splitlines():
    record = json.loads(line)
    del record["seconds"]
    metrics.append(json.dumps(record))
  results = run_folder.read_json(workdir / "results.json")
  for row in results["rows"]:
    del row["attack_seconds"]
  return tables, counts, poisons, sorted(metrics), results


class ResumeTest(absltest.TestCase):
  @pytest.mark.long
  def test_killed_in_every_stage(self):
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    unbroken, broken, cache = root / "unbroken", root / "broken", root / "cache"
    _finish(unbroken, cache)
    moments = (
      lambda: (broken / "config.json").exists(),
      lambda: _num_lines(broken / "metrics.jsonl") >= 1,
      lambda: any((broken / "checkpoints/attack").glob("[0-9]*")),
      lambda: (broken / "poison/pacd.npz").exists(),
      lambda: any((broken / "checkpoints/train").glob("[0-9]*")),
      lambda: _num_lines(broken / "certificates/clean/seed_0.tsv") >= 3,
      lambda: _num_lines(broken / "certificates/pacd/seed_1.counts.tsv") >= 2,
      lambda: (broken / "results.json").exists(),
    )
    killed = 0
    for moment in moments:
      process = _start(broken, cache)
      deadline = time.monotonic() + 120
      while not moment() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
      process.send_signal(signal.SIGKILL)
      output, _ = process.communicate()
      self.assertIn(process.returncode, (-signal.SIGKILL, 0), output)
      killed += process.returncode == -signal.SIGKILL
    self.assertGreaterEqual(killed, 6)  # The last ones may have been too late.
    _finish(broken, cache)
    for one, other in zip(_results(unbroken), _results(broken), strict=True):
      self.assertEqual(one, other)


if __name__ == "__main__":
  absltest.main()
