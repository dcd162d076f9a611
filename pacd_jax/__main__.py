"""`pacd COMMAND ...`, or `python -m pacd_jax COMMAND ...`; each has a `--help`.

run             an experiment, or several of one config, as main.py does
compare         attacks side by side, on the same budgets
paper           the paper's tables and figures
collect         results of many runs as one table
prepare         downloads and stores a data set
poison          a poison as a folder of PNGs with a table, or as .npz, and back
audit           which classes and images of a training set are suspicious
neural_cleanse  which of a run's victims have a backdoor, and for which label
robustness      certificates against changed labels and pixels of a training set
linear          attacks on linear classifiers, and what filters see of them
evade           attacks at test time on a run's victims, beside their certificates
memorisation    what victims fitted of labels and images that say nothing
weights         a run's victim as a file of safetensors
bench           speed, as ratios measured side by side
"""

import importlib
import sys
from collections.abc import Sequence

import pacd_jax
from pacd_jax.runtime import streams

# Command -> the module whose `main(arguments)` runs it, and the arguments that come first.
_COMMANDS = {
  "run": ("pacd_jax.suites.commands", ("run",)),
  "compare": ("pacd_jax.suites.commands", ("compare",)),
  "paper": ("pacd_jax.paper.__main__", ()),
  "collect": ("pacd_jax.results.collect", ()),
  "prepare": ("pacd_jax.data.prepare", ("prepare",)),
  "poison": ("pacd_jax.experiment.poison_command", ()),
  "audit": ("pacd_jax.experiment.audit_command", ()),
  "neural_cleanse": ("pacd_jax.experiment.cleanse_command", ()),
  "robustness": ("pacd_jax.experiment.robustness_command", ()),
  "evade": ("pacd_jax.experiment.evade_command", ()),
  "memorisation": ("pacd_jax.experiment.memorisation_command", ()),
  "linear": ("pacd_jax.experiment.linear_command", ()),
  "weights": ("pacd_jax.experiment.weights_command", ()),
  "bench": ("pacd_jax.bench.__main__", ()),
}


def main(arguments: Sequence[str]) -> int:
  """Runs a command; returns the exit status, 2 where there is no such command."""
  name = arguments[0] if arguments else "--help"
  if name in ("-h", "--help", "help"):
    sys.stdout.write(f"{__doc__}")
    return 0
  if name == "--version":
    sys.stdout.write(f"pacd_jax {pacd_jax.__version__}\n")
    return 0
  if name not in _COMMANDS:
    sys.stderr.write(f"error: no command {name!r}: use one of {', '.join(_COMMANDS)}\n")
    return 2
  streams.tolerate()
  module, first = _COMMANDS[name]
  return importlib.import_module(module).main([*first, *arguments[1:]])


def command() -> int:
  """The console command `pacd`."""
  return main(sys.argv[1:])


if __name__ == "__main__":
  sys.exit(command())
