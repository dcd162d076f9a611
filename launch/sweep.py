"""One command for each run of a sweep, a line each: for a shell, Slurm or JobSet.

  python launch/sweep.py configs/mnist_ga.py --over sigma=0.25,0.5 target_class=0:10 \\
      --out sweep.txt -- --config.data.data_dir=DATA

  bash sweep.txt                                                     one after the other
  sbatch --array=1-20 launch/slurm.sbatch --commands sweep.txt       as many as Slurm lets
  gke_jobset.yaml: replicas 20                                       line i + 1 in run i

Every combination of the values is a run in a folder of its own, named after them, under
`--runs`. They stand behind the config's colon, from which configs derive other fields, or
in flags of their own where the config does not take them there. A field is named in full,
or by its end where no other ends alike; values are separated by commas, and a:b are the
whole numbers from a on and below b.

Written again by the same command, the file has a finished run's line as one that does
nothing, and all others where they were: jobs may go on reading it.
"""

import argparse
import itertools
import pathlib
import runpy
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pacd_jax import errors
from pacd_jax.experiment import fields
from pacd_jax.runtime import run_folder

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))  # Of `configs`.


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
    if len({field.kind(value) for value in found}) < len(found):
      raise ValueError("a value is there twice")
  except ValueError as error:
    raise errors.InputError(f"--over {name}={text}: {error}") from None
  return found


def flat_config(config: str) -> Callable[[str], dict[str, Any]]:
  """A config's fields as a function of an item that its variant gets more, "" for none.

  Raises:
    errors.InputError: the config is no file, or its variant cannot be used.
  """
  path, _, variant = config.partition(":")
  if not pathlib.Path(path).is_file():
    raise errors.InputError(f"{path} is no file: see configs/")

  def with_item(item):
    text = ",".join(filter(None, [variant, item]))
    return run_folder.flatten(get_config(*filter(None, [text])).to_dict())

  try:
    get_config = runpy.run_path(path)["get_config"]
    with_item("")
  except Exception as error:  # The config file is a program: it may raise anything.
    raise errors.InputError(f"{config}: {type(error).__name__}: {error}") from None
  return with_item


def is_of_variant(
  with_item: Callable[[str], dict[str, Any]], field: str, listed: Sequence[str]
) -> bool:
  """Whether the values are set behind the config's colon; else by a flag of their own.

  A comparison or a transfer has the field in its base, or in each of its victims.

  Args:
    with_item: of `flat_config`.
    field: the field's whole name.
    listed: its values.

  Raises:
    errors.InputError: they can be set by neither.
  """
  why, kind = "the config has no such field", fields.FIELDS[field].kind

  def takes(value):
    found = with_item(f"{field}={value}")
    return any(
      run_folder.field_name(name) == field and found[name] == kind(value) for name in found
    )

  try:
    if all(map(takes, listed)):
      return True
  except Exception as error:  # Its variant may be of another kind, or it may have none.
    why = str(error)
  if field not in with_item(""):
    raise errors.InputError(f"--over {field}={','.join(listed)}: {why}")
  return False


def commands(
  config: str,
  over: Sequence[str],
  more: Sequence[str] = (),
  *,
  runs: str = "runs",
  python: str = ".venv/bin/python",
) -> tuple[list[str], int]:
  """The commands of all runs, and how many of these are finished.

  A finished one's does nothing, so that a line's number stays that of its run: a job of an
  array, or of a JobSet, may be started again after the file is written again.

  Args:
    config: a config's file, with `:variant` if wanted.
    over: such as `sigma=0.25,0.5`, each of another field.
    more: arguments of every run.
    runs: folder of the runs' folders.
    python: the interpreter, as the command names it.

  Raises:
    errors.InputError: the config is no file, or a field or value cannot be used.
  """
  with_item = flat_config(config)
  path, _, variant = config.partition(":")
  axes = {}
  for item in over:
    name, is_given, text = item.partition("=")
    if not is_given:
      raise errors.InputError(f"--over {item}: write field=values")
    whole = field_name(name)
    if whole in axes:
      raise errors.InputError(f"--over {item}: {whole} is there twice")
    axes[whole] = (name, values(whole, text))
  behind = {f: is_of_variant(with_item, f, listed) for f, (_, listed) in axes.items()}
  lines, num_done, workdirs = [], 0, set()
  for chosen in itertools.product(*(listed for _, listed in axes.values())):
    short = [f"{name}={v}" for (name, _), v in zip(axes.values(), chosen, strict=True)]
    name = run_folder.default_name(pathlib.Path(path).stem, ",".join([variant, *short]))
    workdir = pathlib.Path(runs, name)
    if workdir in workdirs:
      raise errors.InputError(f"--over: two runs would be in {workdir}: sweep them apart")
    workdirs.add(workdir)
    if (workdir / "results.json").exists() and (workdir / "report/index.html").exists():
      num_done += 1
      lines.append(f"true  # finished: {workdir}")
      continue
    set_here = [(f, f"{f}={v}") for f, v in zip(axes, chosen, strict=True)]
    items = [variant, *(item for f, item in set_here if behind[f])]
    given = ":".join(filter(None, [path, ",".join(filter(None, items))]))
    words = [python, "main.py", f"--config={given}"]
    words += [f"--config.{item}" for f, item in set_here if not behind[f]]
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
  sys.stderr.write(f"{len(lines) - num_done} runs to do, {num_done} finished\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
