"""Runs one experiment, or several of one config: poison, retrain, certify, report.

python main.py --config=configs/digits_ga.py [--workdir=DIR] [--stage=attack]
"""

from absl import flags

from pacd_jax.experiment import command, stages
from pacd_jax.suites import run

_STAGE = flags.DEFINE_enum(
  "stage", None, stages.NAMES, "Run this stage alone; by default all that are not done."
)
flags.adopt_module_key_flags(command)  # For --help.


def _run(asked, workdir: str) -> str | None:
  chosen = (_STAGE.value,) if _STAGE.value else stages.NAMES
  return run.run(asked, workdir, chosen)


if __name__ == "__main__":
  command.start(_run, example="configs/digits_ga.py")
