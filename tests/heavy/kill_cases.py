"""What is killed: tiny commands that together have every stage and every kind of suite."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

_LINEAR = "--config.model.name=linear"
_RUN = ("run", "--config=configs/digits_ga.py:smoke", _LINEAR)


class Case(NamedTuple):
  """One command."""

  # `(folder for what it writes, folder of the cases' unbroken runs) -> arguments of pacd`.
  arguments: Callable[[pathlib.Path, pathlib.Path], tuple[str, ...]]


def _run(*arguments: str) -> Case:
  return Case(lambda folder, unbroken: (*_RUN, *arguments, f"--workdir={folder}"))


def _transfer(folder: pathlib.Path, unbroken: pathlib.Path) -> tuple[str, ...]:
  return (
    *("run", "--config=tests/heavy/two_victims.py:smoke,model.name=linear"),
    f"--config.poisons.ours={unbroken / 'attack'}",
    f"--config.poisons.yours={unbroken / 'import' / 'mine.npz'}",
    f"--workdir={folder}",
  )


def _comparison(folder: pathlib.Path, unbroken: pathlib.Path) -> tuple[str, ...]:
  left_out = (
    *("watermark", "random", "convolution", "error_minimizing", "targeted_adversarial"),
    *("pacd_authors", "pacd_hessian", "pacd_identity", "pacd_unrolling"),
    *("pacd_single_loop", "pacd_per_image"),
  )
  return (
    *("compare", "digits_compare:smoke", "--config.base.model.name=linear"),
    "--config.epsilons=(0.1,)",
    *(f"--config.attacks.{name}.row=" for name in left_out),
    f"--workdir={folder}",
  )


def _paper(folder: pathlib.Path, unbroken: pathlib.Path) -> tuple[str, ...]:
  return (
    *("paper", "run", "table5", "--smoke", "--only", "sigma=0.25"),
    *("--runs_dir", str(folder / "runs"), "--out", str(folder / "docs")),
  )


CASES = {
  "attack": _run("--config.rows=('clean','pacd')", "--config.attack.save_every=1"),
  # Unbroken only, for the two after it: it is over too soon to be killed often.
  "export": Case(
    lambda folder, unbroken: (
      *("poison", "export", str(unbroken / "attack"), str(folder / "pngs")),
    )
  ),
  "import": Case(
    lambda folder, unbroken: (
      *("poison", "import", str(unbroken / "export" / "pngs"), str(folder / "mine.npz")),
    )
  ),
  "selection": _run(
    "--config.rows=('pacd',)",
    "--config.attack.starts=('clean','classwise')",
    "--config.attack.selection.every=2",
    "--config.attack.selection.n=50",
    "--config.attack.selection.corners=True",
    "--config.train.num_victims=1",
  ),
  "losses": Case(
    lambda folder, unbroken: (
      *("run", "digits_smoothadv:smoke", _LINEAR, "--config.rows=('clean','pacd')"),
      *("--config.certify.mode=adaptive", f"--workdir={folder}"),
    )
  ),
  "baselines": _run(
    "--config.rows=('watermark','error_minimizing','convolution')",
    "--config.train.num_epochs=12",
    "--config.certify.num_points=20",
  ),
  "defended": _run(
    "--config.rows=('clean','brightness')",
    "--config.defense.chain=('random_share',)",
    "--config.train.recovery_epochs=6",
  ),
  "stopped": _run(
    "--config.rows=('clean','brightness')",
    "--config.train.stopping.every=2",
    "--config.train.weight_decay_choices=(0.0,0.1)",
    "--config.train.num_epochs=6",
  ),
  "ensembles": Case(
    lambda folder, unbroken: (*("run", "digits_aggregation:smoke", f"--workdir={folder}"),)
  ),
  "transfer": Case(_transfer),
  "comparison": Case(_comparison),
  "paper": Case(_paper),
}
