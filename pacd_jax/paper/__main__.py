"""The paper's tables and figures by name.

  pacd paper list
  pacd paper run table2 figure3 [--paper | --fast] [--dataset=mnist] [--data_dir=DIR]
      [--only sigma=0.25] [--runs_dir=runs/paper]
  pacd paper run all --fast
  pacd paper render [--out=docs] [--runs_dir=runs/paper]

`run` does what is missing and leaves finished runs alone, then renders the page.
With another --attack, Table 5 is made by it, and stands on the page beside PGD's.
"""

import argparse
import pathlib
import signal
import sys
from collections.abc import Sequence

from pacd_jax import errors
from pacd_jax.experiment import command
from pacd_jax.paper import catalog, empirical, protocol, questions, render, where, work
from pacd_jax.runtime import files, preemption, sharding, stamp, subcommand

ITEMS = {item.name: item for item in (*catalog.ITEMS, *questions.ITEMS, where.ITEM)}


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; every error is one line.

  Args:
    arguments: without the program's name.

  Returns:
    The exit status: 0, 2 for bad input, 3 if a run met a number that is not finite, 5 if a
    file cannot be written.
  """
  try:
    return _run(_parser().parse_args(arguments))
  except errors.InputError as error:
    return command.fail(error, 2)
  except errors.NonFiniteError as error:
    return command.fail(error, 3)
  except OSError as error:
    if files.in_words(error):
      return command.fail_by_file(error)
    where = f"{error.filename}: " if error.filename else ""
    return command.fail(errors.InputError(f"{where}{error.strerror}"), 2)
  except preemption.Preempted as saved:
    preemption.leave(f"terminated ({saved}): the same command resumes it")


def _parser() -> argparse.ArgumentParser:
  parser = subcommand.Parser(prog="pacd paper", allow_abbrev=False)
  commands = parser.add_subparsers(dest="command", required=True)
  commands.add_parser("list", help="the tables and figures")
  run = commands.add_parser("run", help="do the runs of some tables, then render")
  run.add_argument("items", nargs="+", help="names of `list`, or all")
  run.add_argument("--dataset", choices=protocol.DATASETS, default="digits")
  scale = run.add_mutually_exclusive_group()
  scale.add_argument("--paper", action="store_const", dest="scale", const="paper")
  scale.add_argument("--fast", action="store_const", dest="scale", const="fast")
  scale.add_argument("--smoke", action="store_const", dest="scale", const="smoke")
  run.add_argument("--data_dir", default="", help="where TFDS's data are")
  run.add_argument("--only", action="append", default=[], help="SETTING=VALUE of the runs")
  run.add_argument(
    stamp.ALLOW_FLAG,
    action="store_true",
    help="resume runs that other code or versions began",
  )
  page = commands.add_parser("render", help="write the page from what is finished")
  for each in (run, page):
    each.add_argument("--runs_dir", default="runs/paper", type=pathlib.Path)
    each.add_argument("--out", default="docs", type=pathlib.Path)
    each.add_argument(
      "--attack",
      choices=empirical.attacks(),
      default=empirical.PGD,
      help="at test time, of Table 5; %(default)s",
    )
  return parser


def _run(chosen: argparse.Namespace) -> int:
  if chosen.command == "list":
    sys.stdout.write(_list())
    return 0
  if chosen.command == "run":
    command.quiet_libraries()
    signal.signal(signal.SIGINT, command.interrupted)
    preemption.install()
    sharding.cores_as_devices()
    scale = chosen.scale or "full"
    if scale not in protocol.scales(chosen.dataset):
      known = ", ".join(protocol.scales(chosen.dataset))
      raise errors.InputError(f"{chosen.dataset} has no scale {scale}: use one of {known}")
    place = protocol.Protocol(chosen.dataset, scale, chosen.runs_dir, chosen.data_dir)
    items, only = _items(chosen.items, chosen.attack), _only(chosen.only)
    try:
      work.do(place, items, only, allow_other_versions=chosen.allow_other_versions)
    except errors.OF_ONE_RUN:
      _render(chosen)  # Shows what is done.
      raise
  _render(chosen)
  return 0


def _render(chosen: argparse.Namespace) -> None:
  protocols = _protocols(chosen.runs_dir)
  path = render.write(chosen.out, protocols, _shown(chosen.attack))
  sys.stdout.write(f"page: {path}\n")


def _list() -> str:
  width = max(map(len, ITEMS))
  lines = [f"{name.ljust(width)}  {item.title}" for name, item in ITEMS.items()]
  return "\n".join(lines) + "\n"


def _shown(attack: str) -> list[catalog.Item]:
  """The items of the page: with Table 5 by another attack beside the paper's."""
  shown = list(ITEMS.values())
  if attack != empirical.PGD:
    shown.insert(shown.index(ITEMS["table5"]) + 1, catalog.table5(attack))
  return shown


def _items(names: Sequence[str], attack: str) -> list[catalog.Item]:
  if "all" in names:
    return _shown(attack)
  for name in names:
    if name not in ITEMS:
      raise errors.InputError(
        f"there is no table {name!r}: use all, or some of {', '.join(ITEMS)}"
      )
  by_attack = {"table5": catalog.table5(attack)}
  return [(ITEMS | by_attack)[name] for name in dict.fromkeys(names)]


def _only(pairs: Sequence[str]) -> dict[str, str]:
  only = {}
  for pair in pairs:
    name, is_given, value = pair.partition("=")
    if not is_given:
      raise errors.InputError(f"--only {pair}: write SETTING=VALUE, such as sigma=0.25")
    only[name] = value
  return only


def _protocols(runs_dir: pathlib.Path) -> list[protocol.Protocol]:
  """The protocols that have runs, larger scales first; smoke only if no other has any."""
  found = [
    protocol.Protocol(dataset, scale, runs_dir)
    for dataset in protocol.DATASETS
    for scale in protocol.scales(dataset)
  ]
  found = [each for each in found if (runs_dir / each.name).is_dir()]
  if not found:
    raise errors.InputError(f"{runs_dir} has no runs: pacd paper run table2")
  return [each for each in found if each.scale != "smoke"] or found


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
