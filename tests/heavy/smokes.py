"""The smoke run of every config, timed, under a user's own JAX settings if asked.

  make test-smokes                        digits alone
  make test-smokes DATA_DIR=FOLDER        MNIST and CIFAR-10, too
  python tests/heavy/smokes.py --settings=strict --folder=runs/smokes [--only NAME ...]

Settings `strict` are JAX_ENABLE_X64, JAX_DEBUG_NANS and JAX_NUMPY_RANK_PROMOTION=raise
together, and then one outer step with JAX_DISABLE_JIT for every config with an attack of
its own. A run that is done is not made again. It returns 1 if one fails, or takes longer
than two minutes without settings.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

from pacd_jax.experiment import config_files

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_LIMIT = 120.0  # Seconds, on two cores that do nothing else.
_SETTINGS = {
  "plain": {},
  "strict": {
    "JAX_ENABLE_X64": "1",
    "JAX_DEBUG_NANS": "1",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
  },
}
_ONE_STEP = (
  "--config.model.name=linear",
  "--config.model.norm=",
  "--config.attack.num_steps=1",
  "--config.rows=('pacd',)",
  "--stage=attack",
)


def _arguments(name: str, runs: pathlib.Path, data_dir: str) -> list[str]:
  """What a smoke run of a config is given beside its name."""
  of_data = name.partition("_")[0]
  given = [] if of_data == "digits" else [f"--config.data.data_dir={data_dir}"]
  if name.endswith("_transfer"):  # The poisons of one run for all: these runs are small.
    given += ["--config.poisons.yours=" + str(runs / f"{of_data}_ga")]
    poisons = config_files.get_config_of(name)("smoke").poisons
    given += [f"--config.poisons.{poison}=" for poison in poisons if poison != "yours"]
  return given


def _run(arguments: list[str], log: pathlib.Path, settings: dict[str, str]) -> float | None:
  """Seconds that a run took; None if it failed."""
  began = time.monotonic()
  with open(log, "wb") as file:
    done = subprocess.run(
      [sys.executable, "-m", "pacd_jax", "run", *arguments],
      cwd=_ROOT,
      env=os.environ | settings,
      stdout=file,
      stderr=subprocess.STDOUT,
      check=False,
    )
  return None if done.returncode else time.monotonic() - began


def main(arguments: list[str]) -> int:
  """Runs them one after the other; returns 1 if any failed or was slow."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--settings", choices=_SETTINGS, default="plain")
  parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/smokes"))
  parser.add_argument("--data_dir", default="", help="of MNIST and CIFAR-10")
  parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
  options = parser.parse_args(arguments)
  folder = options.folder.absolute() / options.settings
  folder.mkdir(parents=True, exist_ok=True)
  names = [
    name
    for name in sorted(config_files.names(), key=lambda name: name.endswith("_transfer"))
    if (not options.only or name in options.only)
    and (options.data_dir or name.startswith("digits"))
  ]
  settings, bad = _SETTINGS[options.settings], 0
  for name in names:
    runs = [(name, _arguments(name, folder, options.data_dir), settings)]
    if options.settings == "strict" and name.endswith(("_ga", "_macer", "_smoothadv")):
      own = [*_arguments(name, folder, options.data_dir), *_ONE_STEP]
      runs.append((f"{name} without jit", own, {"JAX_DISABLE_JIT": "1"}))
    for title, own, of_jax in runs:
      done = folder / f"{title.replace(' ', '_')}.done"
      if done.exists():
        continue
      workdir = folder / title.replace(" ", "_")
      shutil.rmtree(workdir, ignore_errors=True)
      config = f"--config={_ROOT}/configs/{name}.py:smoke"
      log = workdir.with_suffix(".log")
      seconds = _run([config, f"--workdir={workdir}", *own], log, of_jax)
      is_slow = not of_jax and seconds is not None and seconds > _LIMIT
      bad += seconds is None or is_slow
      words = "fails, see its log" if seconds is None else f"{seconds:.0f} s"
      sys.stdout.write(f"{title}: {words}{' (too slow)' if is_slow else ''}\n")
      sys.stdout.flush()
      if seconds is not None:
        done.write_text(f"{seconds:.1f}\n")
  sys.stdout.write(f"{bad} of {len(names)} configs fail or are slow\n")
  return 1 if bad else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
