"""Runs under a user's own surroundings: JAX's settings, encodings, folders, platforms."""

import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from unittest import mock

import asked
import finished_run
import pytest
import same_results
from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SMALL = (
  f"--config={_ROOT}/configs/digits_ga.py:smoke",
  "--config.model.name=linear",
)


def _main(*arguments, cwd=_ROOT, python=(), **surroundings):
  """`main.py` in a process of its own, with further environment variables."""
  return subprocess.run(
    [sys.executable, *python, _ROOT / "main.py", *arguments],
    cwd=cwd,
    env=os.environ | surroundings,
    capture_output=True,
    text=True,
  )


class _TestCase(finished_run.FinishedRunTestCase):
  """A finished run, in `workdir`, and an empty `folder`."""

  def setUp(self):
    super().setUp()
    self.copy_finished()
    self.folder = self.temporary("folder")
    self.folder.mkdir()


class SurroundingsTest(_TestCase):
  @pytest.mark.long
  def test_a_platform_that_jax_has_not_is_one_line(self):
    done = _main(*_SMALL, f"--workdir={self.folder}/run", JAX_PLATFORMS="cuda")
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(done.stderr, r"\Aerror: JAX has no device .*JAX_PLATFORMS=cuda.*\n\Z")

  @pytest.mark.long
  def test_home_is_the_users(self):
    done = _main(
      *_SMALL, "--workdir=~/run", "--stage=certify", cwd=self.folder, HOME=str(self.folder)
    )
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertIn(f"{self.folder}/run/poison", done.stderr)
    self.assertFalse((self.folder / "~").exists())

  @pytest.mark.long
  def test_output_that_has_no_plus_minus_sign(self):
    done = _main(
      *_SMALL, f"--workdir={self.workdir}", "--stage=report", PYTHONIOENCODING="ascii"
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertRegex(done.stdout, r"pacd .*0\.\d{3} \? 0\.\d{3}")

  @pytest.mark.long
  def test_an_ascii_locale(self):
    """Files hold what ASCII has not; Python's own remedies for such a locale are off."""
    path = self.workdir / "results.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    results["data"] = "d\u00edgits"
    path.write_text(json.dumps(results, ensure_ascii=False), encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = _main(*_SMALL, f"--workdir={self.workdir}", "--stage=report", **ascii_only)
    self.assertEqual(done.returncode, 0, done.stderr)

  @pytest.mark.long
  def test_no_home_folder(self):
    without = {n: v for n, v in os.environ.items() if n not in ("HOME", "XDG_CACHE_HOME")}
    with mock.patch.dict(os.environ, without, clear=True):
      done = _main(*_SMALL, f"--workdir={self.workdir}", "--stage=report", HOME="/nowhere")
    self.assertEqual(done.returncode, 0, done.stderr)

  @pytest.mark.long
  def test_another_package_called_configs(self):
    other = self.folder / "configs"
    other.mkdir()
    (other / "__init__.py").touch()
    done = _main(
      *_SMALL, f"--workdir={self.workdir}", "--stage=report", PYTHONPATH=str(self.folder)
    )
    self.assertEqual(done.returncode, 0, done.stderr)

  @pytest.mark.long
  def test_a_clock_that_jumps(self):
    """By a day back or a year forth, at every look: nothing but durations may see it."""
    for name in ("checkpoints/train", "certificates", "report"):
      shutil.rmtree(self.workdir / name)
    now, jumps = time.time, itertools.cycle((-86_400.0, 365 * 86_400.0, 0.0))
    with mock.patch("time.time", lambda: now() + next(jumps)):
      self.assertEqual(asked.run(finished_run.smoke(), self.workdir), self.table)
    self.assertEmpty(same_results.differences(self.finished, self.workdir))
    lines = map(json.loads, (self.workdir / "metrics.jsonl").read_text().splitlines())
    seconds = [line["seconds"] for line in lines if line["stage"] == "train"]
    self.assertEqual(seconds, sorted(seconds))
    self.assertBetween(seconds[0], 0.0, 86_400.0)
    self.assertBetween(seconds[-1], 0.0, 86_400.0)


class JaxSettingsTest(_TestCase):
  """A whole small run under settings that a user may have for other code."""

  @parameterized.named_parameters(
    ("x64", {"JAX_ENABLE_X64": "1"}),
    ("nans", {"JAX_DEBUG_NANS": "1"}),
    ("ranks", {"JAX_NUMPY_RANK_PROMOTION": "raise"}),
    ("precision", {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}),
  )
  @pytest.mark.long
  def test_runs(self, surroundings):
    config = ("--config=configs/digits_ga.py:smoke", f"--workdir={self.folder}/run")
    done = _main(*config, **surroundings)
    self.assertEqual(done.returncode, 0, done.stderr[-2000:])

  @pytest.mark.long
  def test_one_step_without_jit(self):
    done = _main(
      *_SMALL,
      "--config.attack.num_steps=1",
      "--config.attack.num_shared_steps=1",
      "--config.rows=('pacd',)",
      "--stage=attack",
      f"--workdir={self.folder}/run",
      JAX_DISABLE_JIT="1",
    )
    self.assertEqual(done.returncode, 0, done.stderr[-2000:])

  @pytest.mark.long
  def test_python_without_assertions(self):
    done = _main(*_SMALL, f"--workdir={self.workdir}", "--stage=report", python=["-O"])
    self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
  absltest.main()
