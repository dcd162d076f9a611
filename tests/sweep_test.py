"""Sweeps: every combination once, in a folder of its own, finished ones left out."""

import contextlib
import importlib.util
import io
import pathlib
import shlex
import tempfile

from absl.testing import absltest, parameterized

from pacd_jax import errors

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_CONFIG = str(_ROOT / "configs" / "mnist_ga.py")


def _load():
  spec = importlib.util.spec_from_file_location("sweep", _ROOT / "launch" / "sweep.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


sweep = _load()


class SweepTest(parameterized.TestCase):
  def test_every_combination_is_a_command(self):
    lines, num_done = sweep.commands(
      f"{_CONFIG}:fast",
      ["sigma=0.25,0.5", "target_class=0:3"],
      ["--config.rows=('clean', 'pacd')"],
      runs="elsewhere",
    )
    self.assertEqual((len(lines), num_done), (6, 0))
    self.assertEqual(
      shlex.split(lines[4]),
      [
        ".venv/bin/python",
        "main.py",
        f"--config={_CONFIG}:fast",
        "--config.sigma=0.5",
        "--config.data.target_class=1",
        "--config.rows=('clean', 'pacd')",
        "--workdir=elsewhere/mnist_ga_fast_sigma=0.5_target_class=1",
      ],
    )
    self.assertLen({line.rpartition("--workdir=")[2] for line in lines}, 6)

  def test_finished_runs_are_left_out(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for number, files in enumerate(
      (["results.json", "report/index.html"], ["results.json"])
    ):
      for file in files:
        path = folder / f"mnist_ga_seed={number}" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    lines, num_done = sweep.commands(_CONFIG, ["seed=0:3"], runs=str(folder))
    self.assertEqual(num_done, 1)
    self.assertEqual([line[-6:] for line in lines], ["seed=1", "seed=2"])

  @parameterized.parameters(
    ("nope.py", ["seed=0"], "nope.py is no file"),
    (_CONFIG, ["seed"], "--over seed: write field=values"),
    (_CONFIG, ["sed=0"], "--over sed: no field.*use a name of pacd_jax/fields.py"),
    (_CONFIG, ["epsilon=0.1"], "attack.adversary.epsilon, attack.epsilon, train"),
    (_CONFIG, ["seed=0", "seed=1"], "seed is there twice"),
    (
      _CONFIG,
      ["target_class=1", "data.target_class=2"],
      "data.target_class is there twice",
    ),
    (_CONFIG, ["sigma=-1"], "--over sigma=-1: it must be above 0"),
    (_CONFIG, ["sigma=low"], "--over sigma=low: could not convert"),
    (_CONFIG, ["seed=3:3"], "--over seed=3:3: it must be"),
    (_CONFIG, ["rows=clean"], "--over rows=clean: it is no single value"),
  )
  def test_bad_input(self, config, over, message):
    with self.assertRaisesRegex(errors.InputError, message):
      sweep.commands(config, over)

  def test_the_program_writes_a_file_and_says_how_many(self):
    out = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "sweep.txt")
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
      status = sweep.main(
        [_CONFIG, "--over", "seed=1,2", "--out", str(out), "--", "--config.sigma=1"]
      )
    self.assertEqual((status, said.getvalue()), (0, "2 runs to do, 0 finished\n"))
    first, second = out.read_text().splitlines()
    self.assertIn("--config.seed=1 --config.sigma=1 --workdir=", first)
    self.assertIn("--config.seed=2 ", second)
    with contextlib.redirect_stderr(said):
      self.assertEqual(sweep.main([_CONFIG, "--over", "sed=1"]), 2)


if __name__ == "__main__":
  absltest.main()
