"""Sweeps: every combination once, in a folder of its own, finished ones not again."""

import contextlib
import io
import pathlib
import shlex
import tempfile

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.suites import sweep

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONFIG = str(_ROOT / "configs" / "mnist_ga.py")


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
        f"--config={_CONFIG}:fast,sigma=0.5,data.target_class=1",
        "--config.rows=('clean', 'pacd')",
        "--workdir=elsewhere/mnist_ga_fast_sigma=0.5_target_class=1",
      ],
    )
    self.assertLen({line.rpartition("--workdir=")[2] for line in lines}, 6)

  def test_what_a_config_derives_from_a_field_follows_it(self):
    lines, _ = sweep.commands(
      str(_ROOT / "configs" / "cifar10_macer.py"), ["sigma=0.25,0.5"]
    )
    lambdas = []
    for line in lines:
      given = shlex.split(line)[2].removeprefix("--config=")
      found = sweep.flat_config(given)("")
      lambdas.append((found["sigma"], found["train.macer.lam"]))
    self.assertEqual(lambdas, [(0.25, 12.0), (0.5, 4.0)])

  def test_of_a_comparison_and_a_transfer_it_is_that_of_all_runs(self):
    for name in ("digits_compare", "digits_transfer"):
      lines, _ = sweep.commands(str(_ROOT / "configs" / f"{name}.py"), ["sigma=0.5"])
      self.assertIn(f"{name}.py:sigma=0.5 ", lines[0])

  @parameterized.parameters(
    ("", "config.py --config.sigma=0.5"),  # It has no variant.
    ('variant=""', "config.py --config.sigma=0.5"),  # It looks at none.
    ("variant", "config.py:fast --config.sigma=0.5"),  # It knows others.
  )
  def test_a_config_that_takes_no_fields_gets_flags(self, arguments, words):
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "config.py")
    path.write_text(f"""
import ml_collections
def get_config({arguments}):
  if {arguments == "variant"} and variant != "fast":
    raise ValueError("no such variant")
  return ml_collections.ConfigDict({{"sigma": 0.25, "seed": 0}})
""")
    config = f"{path}:fast" if arguments == "variant" else str(path)
    lines, _ = sweep.commands(config, ["sigma=0.25,0.5"])
    self.assertIn(f"{words} --workdir=", lines[1])
    with self.assertRaisesRegex(errors.InputError, "--over certify.n=9: "):
      sweep.commands(config, ["certify.n=9"])

  def test_a_finished_run_keeps_its_line_which_does_nothing(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    before, num_done = sweep.commands(_CONFIG, ["seed=0:3"], runs=str(folder))
    self.assertEqual(num_done, 0)
    for number, files in enumerate(
      (["results.json", "report/index.html"], ["results.json"])
    ):
      for file in files:
        path = folder / f"mnist_ga_seed={number}" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    lines, num_done = sweep.commands(_CONFIG, ["seed=0:3"], runs=str(folder))
    self.assertEqual(num_done, 1)
    self.assertEqual(lines[0], f"true  # finished: {folder}/mnist_ga_seed=0")
    self.assertEqual(lines[1:], before[1:])

  @parameterized.parameters(
    ("nope.py", ["seed=0"], "nope.py is no file"),
    (_CONFIG, ["seed"], "--over seed: write field=values"),
    (_CONFIG, ["sed=0"], "--over sed: no field.*use a name of docs/configuration.md"),
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
    (_CONFIG, ["sigma=0.25,0.250"], "sigma=0.25,0.250: a value is there twice"),
    (_CONFIG, ["seed=0:3,2"], "seed=0:3,2: a value is there twice"),
    (_CONFIG, ["data.path=a/b,a b"], "two runs would be in runs/mnist_ga_data.path=a_b"),
    (f"{_CONFIG}:fats", ["seed=0"], "mnist_ga.py:fats: ValueError: no variant 'fats'"),
    (
      str(_ROOT / "configs" / "digits_compare.py"),
      ["attack.epsilon=0.2"],
      "attack.epsilon=0.2 is for all runs of a comparison",
    ),
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
    self.assertIn(":seed=1 --config.sigma=1 --workdir=", first)
    self.assertIn(":seed=2 ", second)
    with contextlib.redirect_stderr(said):
      self.assertEqual(sweep.main([_CONFIG, "--over", "sed=1"]), 2)


if __name__ == "__main__":
  absltest.main()
