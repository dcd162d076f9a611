"""The commands that run a config: `run`, as main.py is, and `compare`.

python -m pacd_jax compare --config=configs/digits_compare.py [--workdir=DIR]
"""

import sys
from collections.abc import Sequence

from absl import flags

from pacd_jax import errors
from pacd_jax.experiment import command, door, stages
from pacd_jax.experiment.suite_specs import Comparison
from pacd_jax.suites import run

_STAGE = flags.DEFINE_enum(
  "stage", None, stages.NAMES, "Run this stage alone; by default all that are not done."
)
flags.adopt_module_key_flags(command)  # For --help.


def _run(asked: door.Asked, workdir: str) -> str | None:
  chosen = (_STAGE.value,) if _STAGE.value else stages.NAMES
  return run.run(asked, workdir, chosen)


def _compare(asked: door.Asked, workdir: str) -> str | None:
  if not isinstance(asked, Comparison):
    raise errors.InputError(
      "this config has no attacks to compare: run it by python main.py --config=..."
    )
  return _run(asked, workdir)


_COMMANDS = {
  "run": (_run, "configs/digits_ga.py"),
  "compare": (_compare, "configs/digits_compare.py"),
}


def main(arguments: Sequence[str]) -> int:
  """Runs a command, whose name comes first, and exits; absl reads the other arguments."""
  name, *rest = arguments
  function, example = _COMMANDS[name]
  sys.argv = [f"python -m pacd_jax {name}", *rest]
  command.start(function, example=example)
  return 0
