"""The command `pacd linear`: attacks on linear classifiers, and what filters see of them.

pacd linear digits --classes=3,8
pacd linear digits --classes=0+2+4+6+8,1+3+5+7+9 --victim=logistic --attacks=influence
pacd linear mine.npz --share=0.05 --attacks=mei_zhu,alfa --save

influence inserts points where the filters l2 and slab let them pass (Koh, Steinhardt and
Liang, 2022); mei_zhu moves points (Mei and Zhu, 2015); random_flips, farthest_first and
alfa change labels (Xiao et al., 2012). Victims are an SVM, logistic regression or least
squares. For each attack the table has the test error, how many of its points either filter
lets pass, and the test error of what the filter leaves.

DATA is digits, mnist, cifar10, or an .npz with `images` and `labels`. Attacks see the
training and the validation split, never the test split.
"""

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays, npz_arrays
from pacd_jax.experiment import linear_attacks, linear_data
from pacd_jax.results import tables
from pacd_jax.runtime import files, progress, run_folder, stamp, subcommand

_SUMMARY = "linear.json"


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  chosen = _chosen(arguments)
  groups = None if chosen.classes is None else linear_data.groups(chosen.classes)
  data = linear_data.load(chosen.data, groups, seed=chosen.seed, data_dir=chosen.data_dir)
  task = _task(chosen, data)
  folder, about = files.user_path(chosen.out), _about(chosen, data, task)
  _check_summary(folder / _SUMMARY, about)
  if "influence" in chosen.attacks:
    linear_attacks.check_influence(task, _key("influence", chosen))
  clean = linear_attacks.Changed(data.train, np.zeros(len(data.train.labels), bool))
  rows = [_row("clean", clean, task, data.test, 0.0)]
  for name in chosen.attacks:
    progress.note(f"{name}: {task.count} points")
    began = time.monotonic()
    changed = linear_attacks.ATTACKS[name](task, _key(name, chosen))
    rows.append(_row(name, changed, task, data.test, time.monotonic() - began))
    # Before the training set: by it, the folder of a killed command is known as ours.
    _write(folder, about, rows)
    if chosen.save:
      _save(folder / f"{name}.npz", changed, data.test)
  return f"{_table(rows)}\n\n{folder / _SUMMARY}"


def _key(name: str, chosen: argparse.Namespace) -> types.Key:
  """The key of an attack, whichever others are made."""
  number = list(linear_attacks.ATTACKS).index(name)
  return jax.random.fold_in(jax.random.key(chosen.seed), number)


_SETTINGS = (
  *("victim", "ridge", "share", "aim", "effort", "removed_share", "num_steps"),
  *("seed", "save"),
)


def _about(
  chosen: argparse.Namespace, data: linear_data.TwoClasses, task: linear_attacks.Task
) -> dict[str, Any]:
  return {
    "data": data.description,
    "classes": [list(group) for group in data.groups],
    "attacks": list(chosen.attacks),
    **{name: getattr(chosen, name) for name in _SETTINGS},
    "num_points": task.count,
    "num_train": len(data.train.labels),
    "num_test": len(data.test.labels),
    "train_sha256": arrays.checksum(data.train),
    "test_sha256": arrays.checksum(data.test),
  }


def _check_summary(path: pathlib.Path, about: dict[str, Any]) -> None:
  there = run_folder.read_json(path) if path.exists() else about
  for name, expected in about.items():
    if there.get(name) != expected:
      raise errors.InputError(
        f"{path} is of another command ({name} differs): give another --out"
      )


def _write(folder: pathlib.Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
  run_folder.write_json(folder / _SUMMARY, about | {"rows": rows, "stamp": stamp.make()})


def _chosen(arguments: Sequence[str]) -> argparse.Namespace:
  """The options, checked as far as no data are needed."""
  parser = subcommand.Parser(
    prog="pacd linear", description=__doc__.partition("\n\n")[0], allow_abbrev=False
  )
  names = ",".join(linear_attacks.ATTACKS)
  parser.add_argument("data", help="digits, mnist, cifar10, or an .npz")
  parser.add_argument("--classes", help="two labels, or groups: 3,8 or 0+2+4,1+3+5")
  parser.add_argument("--attacks", default=names, help=f"some of {names}; all")
  parser.add_argument(
    "--victim", choices=tuple(linear_attacks.CRITERIA), default="svm", help="%(default)s"
  )
  parser.add_argument(
    "--ridge", type=float, default=1e-3, help="of the victim; %(default)s"
  )
  parser.add_argument(
    "--share", type=float, default=0.03, help="changed or inserted points; %(default)s"
  )
  parser.add_argument(
    "--aim", choices=tuple(linear_attacks.AIMS), default="soft_error", help="%(default)s"
  )
  parser.add_argument(
    "--effort", type=float, default=0.0, help="mei_zhu: weight of changes; %(default)s"
  )
  parser.add_argument(
    "--removed_share", type=float, default=0.05, help="by a filter, of a class; %(default)s"
  )
  parser.add_argument("--num_steps", type=int, default=120, help="%(default)s")
  parser.add_argument("--seed", type=int, default=0, help="of splits and draws")
  parser.add_argument("--data_dir", default="", help="where prepared data are")
  parser.add_argument("--save", action="store_true", help="each training set as .npz")
  parser.add_argument("--out", default="linear", help="folder; %(default)s")
  chosen = parser.parse_args(arguments)
  chosen.attacks = tuple(dict.fromkeys(chosen.attacks.split(",")))
  _check(chosen)
  return chosen


def _check(chosen: argparse.Namespace) -> None:
  for name in chosen.attacks:
    if name not in linear_attacks.ATTACKS:
      raise errors.InputError(
        f"--attacks: there is no {name!r}: use some of {', '.join(linear_attacks.ATTACKS)}"
      )
  if not 0.0 < chosen.share <= 0.5:
    raise errors.InputError(f"--share={chosen.share:g}: use a share in (0, 0.5]")
  if not 0.0 <= chosen.removed_share < 1.0:
    raise errors.InputError(f"--removed_share={chosen.removed_share:g}: use [0, 1)")
  if not 0.0 < chosen.ridge < float("inf"):
    raise errors.InputError(f"--ridge={chosen.ridge:g}: use a number above 0")
  if not 0.0 <= chosen.effort < float("inf"):
    raise errors.InputError(f"--effort={chosen.effort:g}: use a number from 0 on")
  for name in ("num_steps", "seed"):
    if not 0 <= (value := getattr(chosen, name)) < 2**31:
      raise errors.InputError(f"--{name}={value}: use a whole number from 0")
  files.out_folder(chosen.out, lambda folder: (folder / _SUMMARY).exists())


def _task(chosen: argparse.Namespace, data: linear_data.TwoClasses) -> linear_attacks.Task:
  total = len(data.train.labels)
  count = round(chosen.share * total)
  if not count:
    raise errors.InputError(
      f"--share={chosen.share:g} of {total} points is none: use a larger share"
    )
  there = min(np.bincount(data.train.labels).tolist())
  if count >= there:
    raise errors.InputError(
      f"--share={chosen.share:g} of {total} points is {count}, and one of the two classes "
      f"has {there}: use a smaller share"
    )
  known = zip(data.train, data.validation, strict=True)
  return linear_attacks.Task(
    data.train,
    types.Dataset(*map(np.concatenate, known)),
    chosen.victim,
    chosen.ridge,
    count,
    chosen.aim,
    chosen.effort,
    chosen.removed_share,
    chosen.num_steps,
  )


def _row(
  name: str,
  changed: linear_attacks.Changed,
  task: linear_attacks.Task,
  test: types.Dataset,
  seconds: float,
) -> dict[str, Any]:
  """What is said of a training set: numbers of points, and shares."""

  def error(train):
    return linear_attacks.test_error(train, test, task.victim, task.ridge)

  count = int(changed.poisoned.sum())
  found: dict[str, Any] = {
    "attack": name,
    "points": count,
    "share": count / len(task.train.labels),
    "error": error(changed.train),
  }
  for each in linear_attacks.FILTERS:
    removed = linear_attacks.filtered(changed, each, task.removed_share)
    found[each] = {
      "passed": int((~removed & changed.poisoned).sum()),
      "removed_of_others": float(removed[~changed.poisoned].mean()),
      "error": error(types.Dataset(*(part[~removed] for part in changed.train))),
    }
  return found | {"seconds": round(seconds, 2)}


def _save(path: pathlib.Path, changed: linear_attacks.Changed, test: types.Dataset) -> None:
  npz_arrays.save(
    path,
    {
      "images": changed.train.images,
      "labels": changed.train.labels,
      "poisoned": changed.poisoned,
      "test_images": test.images,
      "test_labels": test.labels,
    },
  )


def _table(rows: list[dict[str, Any]]) -> str:
  heads = ["attack", "points", "share", "test error"]
  for name in linear_attacks.FILTERS:
    heads += [f"pass {name}", "then error"]
  lines = [tuple(heads)]
  for row in rows:
    cells = [row["attack"], str(row["points"]), _percent(row["share"])]
    cells.append(_percent(row["error"]))
    for name in linear_attacks.FILTERS:
      passed = str(row[name]["passed"]) if row["points"] else "-"
      cells += [passed, _percent(row[name]["error"])]
    lines.append(tuple(cells))
  return tables.aligned(lines)


def _percent(share: float) -> str:
  return f"{100.0 * share:.1f} %"
