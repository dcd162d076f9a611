"""The commands that run a config: `run`, which main.py is too, and `compare`.

pacd run digits_ga:smoke --config.sigma=0.5
pacd compare digits_compare --workdir=DIR

A config is one of the package's, by its name, or a file; `--config=FILE` is the same.
"""

import sys
import textwrap
from collections.abc import Sequence

from absl import flags

from pacd_jax import errors
from pacd_jax.experiment import command, config_files, door, stages
from pacd_jax.experiment.suite_specs import Comparison
from pacd_jax.runtime import stamp
from pacd_jax.suites import run

_STAGE = flags.DEFINE_enum(
  "stage", None, stages.NAMES, "Run this stage alone; by default all that are not done."
)
_ALLOW = flags.DEFINE_bool(
  stamp.ALLOW_FLAG.removeprefix("--"),
  False,
  "Resume a run that other code, versions or another device began.",
)
_HELP = """usage: pacd {name} CONFIG[:VARIANT] [--config.FIELD=VALUE ...] [--FLAG=VALUE ...]

{what}
CONFIG is a file, or the name of one of the package's: {example} is one. VARIANT is
one of its variants, such as smoke, or FIELD=VALUE, or several with commas. The fields,
their ranges and defaults stand in docs/configuration.md.

"""
_FLAGS = (  # In the order of `--help`.
  *("workdir", "stage", stamp.ALLOW_FLAG.removeprefix("--")),
  *("coordinator_address", "num_processes", "process_id", "coordinator_timeout"),
)


def _run(asked: door.Asked, workdir: str) -> str | None:
  chosen = (_STAGE.value,) if _STAGE.value else stages.NAMES
  return run.run(asked, workdir, chosen, allow_other_versions=_ALLOW.value)


def _compare(asked: door.Asked, workdir: str) -> str | None:
  if not isinstance(asked, Comparison):
    raise errors.InputError("this config has no attacks to compare: run it by pacd run")
  return _run(asked, workdir)


_COMMANDS = {
  "run": (_run, "digits_ga", "Poisons, retrains, certifies and reports."),
  "compare": (
    _compare,
    "digits_compare",
    "Runs several attacks on the same budgets, and makes one table.",
  ),
}


def _with_config(number: int, argument: str) -> str:
  """An argument, with the file of a config that it calls by name."""
  if number == 0 and not argument.startswith("-"):
    return f"--config={config_files.find(argument)}"
  flag, _, value = argument.partition("=")
  if flag == "--config" and config_files.is_name(value):
    return f"--config={config_files.find(value)}"
  return argument


def _help(name: str, example: str, what: str) -> str:
  """The text of `--help`."""
  text = _HELP.format(name=name, example=example, what=what)
  for flag in _FLAGS:
    words = textwrap.wrap(flags.FLAGS[flag].help, 60)
    text += f"  --{flag:22}{words[0]}\n"
    text += "".join(f"{'':26}{line}\n" for line in words[1:])
  return text


def main(arguments: Sequence[str]) -> int:
  """Runs a command, whose name comes first, and exits; absl reads the other arguments."""
  name, *rest = arguments
  function, example, what = _COMMANDS[name]
  if {"-h", "-help", "--help", "help"} & {*rest}:
    sys.stdout.write(_help(name, example, what))
    return 0
  try:
    rest = [_with_config(number, argument) for number, argument in enumerate(rest)]
  except errors.InputError as error:
    return command.fail(error, 2)
  sys.argv = [f"pacd {name}", *rest]
  command.start(function, example=f"pacd {name} {example}, or --config=FILE")
  return 0
