"""One command for each run of a sweep, a line each: for a shell, Slurm or JobSet.

  python launch/sweep.py configs/mnist_ga.py --over sigma=0.25,0.5 target_class=0:10 \\
      --out sweep.txt -- --config.data.data_dir=DATA

  bash sweep.txt                                                     one after the other
  sbatch --array=1-20 launch/slurm.sbatch --commands sweep.txt       as many as Slurm lets
  gke_jobset.yaml: replicas 20                                       line i + 1 in run i

Every combination of the values is a run in a folder of its own, named after them, under
`--runs`. Those that are finished are left out: the same command after a part of them
writes what is left. A field is named in full, or by its end where no other ends alike;
values are separated by commas, and a:b are the whole numbers from a on and below b.
"""

import argparse
import itertools
import pathlib
import shlex
import sys
from collections.abc import Sequence

from pacd_jax import errors, fields, run_folder


def field_name(name: str) -> str:
  """The whole name of a config field: `target_class` is `data.target_class`.

  Raises:
    errors.InputError: there is none, or several.
  """
  if name in fields.FIELDS:
    return name
  found = [field for field in fields.FIELDS if field.endswith(f".{name}")]
  if len(found) == 1:
    return found[0]
  known = "one of " + ", ".join(found) if found else "a name of pacd_jax/fields.py"
  raise errors.InputError(f"--over {name}: no field, or not the only one: use {known}")


def values(name: str, text: str) -> list[str]:
  """The values of a field, as they stand in a command.

  Args:
    name: the field's whole name.
    text: such as `0.25,0.5`, or `0:10` for whole numbers.

  Raises:
    errors.InputError: one is out of the field's range, or there is none.
  """
  field, found = fields.FIELDS[name], []
  try:
    for part in text.split(","):
      first, is_range, end = part.partition(":")
      if is_range and field.kind is int:
        found += map(str, range(int(first), int(end)))
      else:
        found.append(part)
    if field.kind not in (int, float, str):
      raise ValueError("it is no single value")
    if not found or not all(field.holds(field.kind(value)) for value in found):
      raise ValueError(f"it must be {field.must_be}")
  except ValueError as error:
    raise errors.InputError(f"--over {name}={text}: {error}") from None
  return found


def commands(
  config: str,
  over: Sequence[str],
  more: Sequence[str] = (),
  *,
  runs: str = "runs",
  python: str = ".venv/bin/python",
) -> tuple[list[str], int]:
  """The commands of the runs that are not finished, and how many are.

  Args:
    config: a config's file, with `:variant` if wanted.
    over: such as `sigma=0.25,0.5`, each of another field.
    more: arguments of every run.
    runs: folder of the runs' folders.
    python: the interpreter, as the command names it.

  Raises:
    errors.InputError: the config is no file, or a field or value cannot be used.
  """
  path, _, variant = config.partition(":")
  if not pathlib.Path(path).is_file():
    raise errors.InputError(f"{path} is no file: see configs/")
  axes = {}
  for item in over:
    name, is_given, text = item.partition("=")
    if not is_given:
      raise errors.InputError(f"--over {item}: write field=values")
    whole = field_name(name)
    if whole in axes:
      raise errors.InputError(f"--over {item}: {whole} is there twice")
    axes[whole] = (name, values(whole, text))
  lines, num_done = [], 0
  for chosen in itertools.product(*(listed for _, listed in axes.values())):
    short = [f"{name}={v}" for (name, _), v in zip(axes.values(), chosen, strict=True)]
    name = run_folder.default_name(pathlib.Path(path).stem, ",".join([variant, *short]))
    workdir = pathlib.Path(runs, name)
    if (workdir / "results.json").exists() and (workdir / "report/index.html").exists():
      num_done += 1
      continue
    words = [python, "main.py", f"--config={config}"]
    words += [f"--config.{f}={v}" for f, v in zip(axes, chosen, strict=True)]
    lines.append(shlex.join([*words, *more, f"--workdir={workdir}"]))
  return lines, num_done


def main(argv: Sequence[str]) -> int:
  """Writes the commands; returns the exit status."""
  argv, more = list(argv), []
  if "--" in argv:
    cut = argv.index("--")
    argv, more = argv[:cut], argv[cut + 1 :]
  parser = argparse.ArgumentParser(prog="python launch/sweep.py")
  parser.add_argument("config", help="such as configs/mnist_ga.py:fast")
  parser.add_argument("--over", nargs="+", required=True, metavar="FIELD=VALUES")
  parser.add_argument("--out", metavar="FILE", help="standard output by default")
  parser.add_argument("--runs", default="runs", metavar="DIR")
  parser.add_argument("--python", default=".venv/bin/python", metavar="PATH")
  options = parser.parse_args(argv)
  try:
    lines, num_done = commands(
      options.config, options.over, more, runs=options.runs, python=options.python
    )
  except errors.InputError as error:
    sys.stderr.write(f"error: {error}\n")
    return 2
  text = "".join(line + "\n" for line in lines)
  if options.out:
    try:
      run_folder.write_text(pathlib.Path(options.out), text)
    except OSError as error:
      sys.stderr.write(f"error: --out={options.out} cannot be written ({error.strerror})\n")
      return 2
  else:
    sys.stdout.write(text)
  sys.stderr.write(f"{len(lines)} runs to do, {num_done} finished\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
