"""The command line: bad flags are one line and exit 2, before any work."""

import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import forked_command
import pytest
from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _main(*arguments):
  return subprocess.run(
    [sys.executable, "main.py", *arguments], cwd=_ROOT, capture_output=True, text=True
  )


# A config that brings a loss with an option.
_REGISTERS = """
import dataclasses

from configs import digits_ga
from pacd_jax import losses
from pacd_jax.experiment import fields, kinds


@dataclasses.dataclass(frozen=True)
class Louder:
  scale: float = fields.field(1.0, fields.above_zero(), "Of the noise, over sigma.")


kinds.LOSSES.add(
  kinds.Loss(
    "louder",
    lambda tools, options: losses.gaussian_augmentation(tools.apply, sigma=tools.sigma),
    "more noise",
    options=Louder,
  )
)


def get_config():
  config = digits_ga.get_config("smoke")
  config.train.loss = "louder"
  return config
"""


class MainTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("no_config", [], "--config"),
    ("missing_config", ["--config=configs/nope.py"], "configs/nope.py is not a file"),
    (
      "unknown_variant",
      ["--config=configs/digits_ga.py:huge"],
      "digits_ga.py:huge: no variant 'huge'.*smoke",
    ),
    (
      "unknown_field_of_a_variant",
      ["--config=configs/digits_ga.py:smoke,certify.sound=True"],
      "certify.sound=True: field certify.sound cannot be set here: use --config.certify",
    ),
    (
      "unknown_field",
      ["--config=configs/digits_ga.py", "--config.attack.epsilom=1"],
      "attack.epsilom is unknown.*attack.epsilon",
    ),
    (
      "wrong_type",
      ["--config=configs/digits_ga.py", "--config.certify.n=many"],
      "config.certify.n=many",
    ),
    (
      "fraction_of_nothing",
      ["--config=configs/digits_ga.py", "--config.attack.epsilon=8/0"],
      "attack.epsilon=8/0: it must be from 1/255",
    ),
    (
      "fraction_out_of_range",
      ["--config=configs/digits_ga.py", "--config.attack.epsilon=510/255"],
      "attack.epsilon is 2.0: in linf it must be at most 1",
    ),
    (
      "fraction",
      ["--config=configs/digits_ga.py", "--config.train.macer.num_noise_samples=1.5"],
      "num_noise_samples=1.5: it must be a whole number from 1 to 10000",
    ),
    (
      "unknown_victim",
      ["--config=configs/digits_transfer.py", "--config.victims.mcer.sigma=0.5"],
      "error: --config: no 'mcer' Did you mean \"macer\"",
    ),
    (
      "poison_that_no_victim_gets",
      ["--config=configs/digits_ga.py", "--config.poisons.mine=mine.npz"],
      "poisons.mine is set, but rows has no 'mine': add it, as in --config.rows=",
    ),
    (
      "poison_by_any_name",
      [
        "--config=configs/digits_ga.py",
        "--config.poisons.mine=mine.npz",
        "--config.rows=('clean', 'mine')",
      ],
      "error: mine.npz: no such poison",
    ),
    (
      "poison_without_a_path",
      ["--config=configs/digits_ga.py", "--config.poisons.mine", "mine.npz"],
      "poisons.mine has no value: write --config.poisons.mine=PATH",
    ),
    (
      "poison_by_the_name_of_clean_data",
      ["--config=configs/digits_ga.py", "--config.poisons.clean=mine.npz"],
      "poisons.clean has an unusable name",
    ),
    (
      "transfer_before_its_runs",
      [
        "--config=configs/digits_transfer.py:sigma=0.125",
        "--config.poisons.macer=",
        "--config.poisons.mine=mine.npz",
      ],
      r"nothing at poisons.gaussian \(runs/digits_ga_eps02_sigma=0.125.*poisons.mine "
      r".mine.npz.*poisons.smoothadv .*leave it out by --config.poisons.gaussian=$",
    ),
    (
      "processes_without_an_address",
      ["--config=configs/digits_ga.py", "--num_processes=2", "--process_id=0"],
      "--coordinator_address is missing: give all of",
    ),
    (
      "field_given_twice_by_flags",
      ["--config=configs/digits_ga.py", "--config.sigma=0.25", "--config.sigma=0.5"],
      "config field sigma is given by two flags: give it once",
    ),
    (
      "field_given_behind_the_colon_and_by_a_flag",
      ["--config=configs/digits_ga.py:smoke,sigma=0.25", "--config.sigma=0.5"],
      "config field sigma is given behind the config's colon and by a flag: give it once",
    ),
    (
      "field_given_twice_and_denied",
      [
        "--config=configs/digits_ga.py",
        "--config.attack.warm_start=true",
        "--noconfig.attack.warm_start",
      ],
      "config field attack.warm_start is given by two flags: give it once",
    ),
    (
      "base_given_twice",
      [
        "--config=configs/digits_compare.py:sigma=0.25",
        "--config.base.sigma=0.5",
      ],
      "config field sigma is given behind the config's colon and by a flag: give it once",
    ),
    (
      "field_given_twice_behind_the_colon",
      ["--config=configs/digits_ga.py:smoke,seed=1,seed=2"],
      "config field seed is given twice behind the config's colon: give it once",
    ),
    ("unknown_stage", ["--config=configs/digits_ga.py", "--stage=eat"], "stage=eat"),
    (
      "unknown_config_name",
      ["digits_gaa:smoke"],
      "'digits_gaa' is neither a file nor a config of the package: there are digits_ga",
    ),
    (
      "field_without_its_config",
      ["--config=configs/digits_ga.py", "--sigma=0.5"],
      "unknown flag --sigma: did you mean --config.sigma?",
    ),
    (
      "field_without_its_group",
      ["--config=configs/digits_ga.py", "--noise=fresh"],
      "did you mean --config.data.vae.noise or --config.attack.noise or --con",
    ),
    (
      "stray_argument",
      ["--config=configs/digits_ga.py", "attack"],
      "'attack' is not a flag",
    ),
    (
      "out_of_range",
      ["--config=configs/digits_ga.py", "--config.sigma=-1"],
      "sigma is -1.0: it must be",
    ),
    (
      "unwritable_workdir",
      ["--config=configs/digits_ga.py", "--workdir=/dev/null/run"],
      "--workdir=/dev/null/run cannot be written",
    ),
  )
  def test_bad_input(self, arguments, message):
    if not any("workdir" in argument for argument in arguments):
      arguments = [
        *arguments,
        f"--workdir={self.enterContext(tempfile.TemporaryDirectory())}",
      ]
    done = forked_command.run(*arguments)
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertEqual(done.stdout, "")
    self.assertRegex(done.stderr, message)
    self.assertRegex(done.stderr, r"\Aerror: [^\n]+\n\Z")

  def test_flags_set_the_options_of_what_a_config_file_registers(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (folder / "my_loss.py").write_text(_REGISTERS)  # It is found beside the config.
    (folder / "mine.py").write_text("from my_loss import get_config as get_config\n")
    done = forked_command.run(
      f"--config={folder / 'mine.py'}",
      f"--workdir={folder / 'run'}",
      "--config.train.louder.scale=-2",
    )
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(
      done.stderr,
      r"\Aerror: config field train.louder.scale is -2.0: it must be [^\n]+\n\Z",
    )

  @pytest.mark.long
  def test_an_interrupt_is_one_line(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    command = [sys.executable, "main.py", "--config=configs/digits_ga.py:smoke"]
    command += ["--config.model.name=linear", f"--workdir={workdir}"]
    with subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True) as process:
      deadline = time.monotonic() + 120
      while not (workdir / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
      process.send_signal(signal.SIGINT)
      _, said = process.communicate(timeout=60)
    self.assertEqual(process.returncode, 130, said)
    self.assertEndsWith(said, "\ninterrupted: the same command resumes it\n")

  @pytest.mark.long
  def test_sigterm_in_mid_run_saves_and_is_one_line(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    command = [sys.executable, "main.py", "--config=configs/digits_ga.py:smoke"]
    command += ["--config.model.name=linear", "--config.attack.num_steps=100000"]
    command += ["--config.attack.save_every=100000", f"--workdir={workdir}"]
    with subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True) as process:
      deadline = time.monotonic() + 600  # Where others keep the cores.
      while not (workdir / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
      process.terminate()
      _, said = process.communicate(timeout=300)
    self.assertEqual(process.returncode, 143, said)
    self.assertRegex(
      said, r"\nterminated \(attack: \d+/100000 steps are saved\): the same command .*\n\Z"
    )
    (saved,) = (workdir / "checkpoints" / "attack").glob("[0-9]*")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    self.assertLen(lines, int(saved.name))

  def test_a_coordinator_that_does_not_answer(self):
    with socket.socket() as one:
      one.bind(("127.0.0.1", 0))  # Bound and not listening: nobody answers there.
      address = f"127.0.0.1:{one.getsockname()[1]}"
      done = _main(
        "--config=configs/digits_ga.py",
        f"--coordinator_address={address}",
        "--num_processes=2",
        "--process_id=1",
        "--coordinator_timeout=1",
      )
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(done.stderr, rf"\Aerror: no answer within 1 s from .*{address}.*\n\Z")

  @pytest.mark.long
  def test_non_finite_exits_3(self):
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    done = _main(
      "--config=configs/digits_ga.py:smoke",
      "--config.model.name=linear",
      "--config.rows=clean",
      "--config.train.learning_rate=1e38",
      f"--workdir={workdir}",
    )
    self.assertEqual(done.returncode, 3, done.stderr)
    self.assertRegex(done.stderr, r"error: stage train, step \d: clean/loss is .*\n\Z")


if __name__ == "__main__":
  absltest.main()
