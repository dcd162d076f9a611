"""Attacks side by side, on the same budgets: what each leaves to certify, and its time.

  python -m pacd_jax.suites.compare --config=configs/digits_compare.py [--workdir=DIR]

Runs what is not done yet; the folder and the config are described in `comparison.py`.
"""

from absl import flags

from pacd_jax import errors
from pacd_jax.experiment import command, door

flags.adopt_module_key_flags(command)  # For --help.


def _run(config, workdir: str) -> str | None:
  if "attacks" not in config:
    raise errors.InputError(
      "this config has no attacks to compare: run it by python main.py --config=..."
    )
  return door.run(config, workdir)


if __name__ == "__main__":
  command.start(_run, example="configs/digits_compare.py")
