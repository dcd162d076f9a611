"""Runs one experiment, or several of one config: poison, retrain, certify, report.

python main.py --config=configs/digits_ga.py [--workdir=DIR] [--stage=attack]
"""

import sys

from pacd_jax.suites import commands

if __name__ == "__main__":
  sys.exit(commands.main(["run", *sys.argv[1:]]))
