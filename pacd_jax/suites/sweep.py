"""The commands of a sweep, one for each run, for a shell, Slurm or JobSet.

`launch/sweep.py` writes them. Every combination of the values is a run in a folder of its
own; the line of a finished run does nothing.
"""

import argparse
import itertools
import pathlib
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pacd_jax import errors
from pacd_jax.experiment import config_files, identity, schema
from pacd_jax.runtime import files
from pacd_jax.suites import runner


def field_name(name: str) -> str:
  """The whole name of a config field: `target_class` is `data.target_class`.

  Raises:
    errors.InputError: no field has this name, or several have.
  """
  if name in schema.known():
    return name
  found = [field for field in schema.known() if field.endswith(f".{name}")]
  if len(found) == 1:
    return found[0]
  known = "one of " + ", ".join(found) if found else "a name of docs/configuration.md"
  raise errors.InputError(f"--over {name}: no field, or not the only one: use {known}")


def values(name: str, text: str) -> list[str]:
  """The values of a field, as they stand in a command.

  Args:
    name: the field's whole name.
    text: such as `0.25,0.5`, or `0:10` for whole numbers.

  Raises:
    errors.InputError: a value is out of the field's range, or there is none.
  """
  field, found = schema.known()[name], []
  try:
    for part in text.split(","):
      first, is_range, end = part.partition(":")
      if is_range and field.check.kind is int:
        found += map(str, range(int(first), int(end)))
      else:
        found.append(part)
    if field.check.kind not in (int, float, str):
      raise ValueError("it is no single value")
    if not found or not all(field.check.holds(field.check.kind(value)) for value in found):
      raise ValueError(f"it must be {field.check.must_be}")
    if len({field.check.kind(value) for value in found}) < len(found):
      raise ValueError("a value is there twice")
  except ValueError as error:
    raise errors.InputError(f"--over {name}={text}: {error}") from None
  return found


def flat_config(config: str) -> Callable[[str], dict[str, Any]]:
  """A function of one more item of the config's variant, or "", that gives its fields.

  Raises:
    errors.InputError: the config is no file, or its variant cannot be used.
  """
  path, _, variant = config.partition(":")
  if not pathlib.Path(path).is_file():
    raise errors.InputError(f"{path} is no file: see configs/")

  def with_item(item):
    text = ",".join(filter(None, [variant, item]))
    return schema.flatten(get_config(*filter(None, [text])).to_dict())

  try:
    get_config = config_files.get_config_in(path)
    with_item("")
  except Exception as error:  # The config file is a program: it may raise anything.
    raise errors.InputError(f"{config}: {type(error).__name__}: {error}") from None
  return with_item


def is_of_variant(
  with_item: Callable[[str], dict[str, Any]], field: str, listed: Sequence[str]
) -> bool:
  """Whether the values can be set behind the config's colon; if not, a flag sets them.

  A comparison or a transfer has the field in its base, or in each of its victims.

  Args:
    with_item: what `flat_config` returns.
    field: the field's whole name.
    listed: its values.

  Raises:
    errors.InputError: they can be set in neither way.
  """
  why, kind = "the config has no such field", schema.known()[field].check.kind

  def takes(value):
    found = with_item(f"{field}={value}")
    return any(
      schema.field_name(name) == field and found[name] == kind(value) for name in found
    )

  try:
    if all(map(takes, listed)):
      return True
  except Exception as error:  # The config's variants may be of another kind, or none.
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

  The command of a finished run does nothing, so that every run keeps its line: a job of an
  array, or of a JobSet, may be started again after the file is written again.

  Args:
    config: a config's file, with `:variant` if wanted.
    over: fields and values such as `sigma=0.25,0.5`, each with another field.
    more: further arguments of every run.
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
    name = identity.default_name(pathlib.Path(path).stem, ",".join([variant, *short]))
    workdir = pathlib.Path(runs, name)
    if workdir in workdirs:
      raise errors.InputError(f"--over: two runs would be in {workdir}: sweep them apart")
    workdirs.add(workdir)
    if runner.is_written(workdir):
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
      files.write_text(pathlib.Path(options.out), text)
    except OSError as error:
      sys.stderr.write(f"error: --out={options.out} cannot be written ({error.strerror})\n")
      return 2
  else:
    sys.stdout.write(text)
  sys.stderr.write(f"{len(lines) - num_done} runs to do, {num_done} finished\n")
  return 0
