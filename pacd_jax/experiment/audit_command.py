"""The command `pacd audit`: is a training set from somewhere poisoned?

pacd audit theirs.npz --trusted=mine.npz --report=audit
pacd audit theirs.npz --trusted=mine.npz --out=repaired.npz
pacd audit folder_of_classes
pacd audit runs/digits_ga --row=pacd

Images are an .npz with `images` and `labels`, a folder with a folder of PNGs for each
class, or the folder of a run, of which a row is audited. Trusted images, of the same
classes, come from a source that nobody could change, and are not of the set itself: to look
at them is not enough, as a poison is not seen. Without them only single images can be found
that do not fit, not a change that a whole class shares.
"""

import argparse
import math
import os
import pathlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import class_folders, npz_arrays, sources, training_sets
from pacd_jax.defenses import audit
from pacd_jax.defenses.trusted import unshift
from pacd_jax.experiment import assembly, defences, door, schema
from pacd_jax.runtime import files, progress, run_folder, stamp, subcommand

# Of the model whose loss and features are looked at: a network that takes any images.
_MODEL, _BATCH, _STEPS = "mlp", 200, 1500
_NUM_IMAGES = 100  # The most suspicious ones, that are named.


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  parser = subcommand.Parser(prog="pacd audit", allow_abbrev=False)
  parser.add_argument("data", help="images: an .npz, or a folder of folders of PNGs")
  parser.add_argument(
    "--trusted", help="some of each class from a safe source; of a run: its validation"
  )
  parser.add_argument("--row", help="of a run: its training set that is audited")
  parser.add_argument("--out", help="the repaired set, a new .npz; needs --trusted")
  parser.add_argument("--report", default="audit", help="folder; %(default)s")
  parser.add_argument(
    "--level", type=float, default=0.05, help="chance of any alarm on clean data; 0.05"
  )
  parser.add_argument(
    "--most", type=float, default=0.1, help="largest change that --out takes off; 0.1"
  )
  parser.add_argument("--seed", type=int, default=0)
  chosen = parser.parse_args(arguments)
  _check(chosen)
  given, trusted = _given(chosen)
  data, names = given.data, given.names
  began = time.monotonic()
  training_set = training_sets.whole(data)
  key = jax.random.key(chosen.seed)
  found = audit.audit(
    training_set,
    trusted,
    jax.random.fold_in(key, 0),
    _tools(data, trusted, len(names), jax.random.fold_in(key, 1)),
    level=chosen.level,
    progress=lambda step: progress.note(f"audit: {step}"),
  )
  repaired = _repaired(found, data, chosen) if chosen.out else {}
  return _written(found, given, trusted, repaired, chosen, time.monotonic() - began)


def _check(chosen: argparse.Namespace) -> None:
  if not 0.0 < chosen.level < 1.0:
    raise errors.InputError(f"--level={chosen.level}: use a probability in (0, 1)")
  if not 0.0 < chosen.most <= 1.0:
    raise errors.InputError(f"--most={chosen.most}: use image units, in (0, 1]")
  if not 0 <= chosen.seed < 2**31:
    raise errors.InputError(f"--seed={chosen.seed}: use a whole number from 0")
  if chosen.out and not (chosen.trusted or chosen.row):
    raise errors.InputError(
      "--out needs --trusted: what a class has too much is its difference from them"
    )
  if chosen.out and (path := files.user_path(chosen.out)).exists():
    raise errors.InputError(f"{path} is there already: give another name")
  if chosen.out and not chosen.out.endswith(".npz"):
    raise errors.InputError(f"--out={chosen.out}: the repaired set is an .npz")
  report = files.user_path(chosen.report)
  if report.exists() and not (report.is_dir() and _is_report(report)):
    raise errors.InputError(f"{report} is there, and no audit's: give another --report")
  for path in [report, *([files.user_path(chosen.out)] if chosen.out else [])]:
    parent = path.absolute().parent
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
      raise errors.InputError(f"{parent} is no folder that can be written to: make it")


def _is_report(folder: pathlib.Path) -> bool:
  return (folder / "audit.json").exists() or not any(folder.iterdir())


class _Given(NamedTuple):
  data: types.Dataset
  names: list[str]  # Of the classes.
  files: list[str] | None = None  # Of the images, if each is one.


def _given(chosen: argparse.Namespace) -> tuple[_Given, types.Dataset | None]:
  """The images, and the trusted ones if there are any."""
  if not chosen.row:
    given = _load(chosen.data)
    return given, _load_trusted(chosen.trusted, given) if chosen.trusted else None
  plan = door.load(chosen.data)
  if chosen.row not in plan.rows:
    raise errors.InputError(f"--row={chosen.row}: the run has {', '.join(plan.rows)}")
  if not plan.training_sets.is_there(chosen.row):
    raise errors.InputError(f"the run has no poison of {chosen.row} yet: finish it first")
  data = training_sets.to_dataset(plan.training_sets.split(chosen.row))
  given = _Given(data, [str(label) for label in range(plan.splits.num_classes)])
  if chosen.trusted:
    return given, _load_trusted(chosen.trusted, given)
  return given, plan.splits.validation


def _load(given: str) -> _Given:
  path = files.user_path(given)
  if (path / "config.json").exists():
    raise errors.InputError(f"{path} is a run: say which training set by --row=pacd, say")
  if path.is_dir():
    return _Given(*class_folders.load(path))
  if not path.exists():
    raise errors.InputError(f"{path}: no such file or folder")
  source = sources.npz(path)
  return _Given(source.train, [str(label) for label in range(source.num_classes)])


def _load_trusted(path: str, given: _Given) -> types.Dataset:
  trusted = _load(path)
  if trusted.names != given.names:
    raise errors.InputError(
      f"{path} has the classes {', '.join(trusted.names)}, and the data "
      f"{', '.join(given.names)}: give some of every class, under the same names"
    )
  shapes = [each.data.images.shape[1:] for each in (trusted, given)]
  if shapes[0] != shapes[1]:
    raise errors.InputError(
      f"{path} has images {shapes[0]}, and the data {shapes[1]}: use images of one source "
      "and size"
    )
  return trusted.data


def _tools(
  data: types.Dataset, trusted: types.Dataset | None, num_classes: int, key: types.Key
) -> types.Tools:
  """A small network, which is to be trained without noise on the very data."""
  batch = min(_BATCH, len(data.labels))
  epochs = math.ceil(_STEPS / (len(data.labels) // batch))
  config = schema.replaced(
    schema.make(schema.defaults()),
    {
      "data.name": "npz",
      "data.path": "given",
      "model.name": _MODEL,
      "train.loss": "standard",
      "train.num_epochs": min(max(epochs, 2), 100),
      "train.batch_size": batch,
      "train.schedule": "cosine",
    },
  )
  others = trusted if trusted is not None else data
  splits = types.Splits("given", num_classes, data, others, others)
  model, _ = assembly.network(config, splits)
  return defences.plan(config, splits, model, key).tools()


def _repaired(
  found: audit.Findings, data: types.Dataset, chosen: argparse.Namespace
) -> dict[int, int]:
  """Writes the set without the changes of the classes that raised an alarm.

  Returns:
    By class, how many images changed.
  """
  images, changed = data.images.copy(), {}
  for finding in found.classes:
    if finding.p_value is None or finding.p_value > chosen.level:
      continue
    of_class = np.flatnonzero(data.labels == finding.label)
    assert finding.shift is not None
    after = unshift.subtract(images[of_class], finding.shift, chosen.most)
    moved = (after != images[of_class]).any(axis=(1, 2, 3))
    images[of_class], changed[finding.label] = after, int(moved.sum())
  path, given = files.user_path(chosen.out), files.user_path(chosen.data)
  others = npz_arrays.read(given, ("test_images", "test_labels")) if given.is_file() else {}
  npz_arrays.save(path, {"images": images, "labels": data.labels, **others})
  return changed


def _written(
  found: audit.Findings,
  given: _Given,
  trusted: types.Dataset | None,
  repaired: dict[int, int],
  chosen: argparse.Namespace,
  seconds: float,
) -> str:
  """Writes `audit.json`, the pictures and the page; returns the table."""
  from pacd_jax.results import audit_page  # Imported here: Matplotlib takes a second.

  folder = files.user_path(chosen.report)
  folder.mkdir(parents=True, exist_ok=True)
  most = np.argsort(-found.suspicion, kind="stable")[:_NUM_IMAGES]
  about = {
    "data": chosen.data,
    "trusted": chosen.trusted,
    "out": chosen.out,
    "level": chosen.level,
    "num_images": len(given.data.labels),
    "num_copies": found.num_copies,
    "failed": dict(found.failed),
    "classes": [_as_json(each, given.names, repaired) for each in found.classes],
    "most_suspicious": [_image(given, found, place) for place in most.tolist()],
    "seconds": round(seconds, 1),
    "stamp": stamp.make(),
  }
  page = audit_page.write(folder, about, given.data, trusted, found)
  run_folder.write_json(folder / "audit.json", about)
  return f"{audit_page.table(about)}\npage: {page}"


def _image(given: _Given, found: audit.Findings, place: int) -> dict[str, object]:
  """An image by its position and, in a folder, its file."""
  return {
    "position": place,
    "file": given.files[place] if given.files else None,
    "class": given.names[given.data.labels[place]],
    "suspicion": round(float(found.suspicion[place]), 4),
  }


def _as_json(
  finding: audit.ClassFinding, names: list[str], repaired: dict[int, int]
) -> dict[str, object]:
  tests = finding.tests._asdict() if finding.tests is not None else {}
  shift = None if finding.shift is None else float(np.abs(finding.shift).max())
  return {
    "label": finding.label,
    "name": names[finding.label],
    "num_images": finding.num_images,
    "p_value": finding.p_value,
    **{f"p_{name}": value for name, value in tests.items()},
    "largest_shift": shift,
    "top_share": dict(finding.top_share),
    "images_repaired": repaired.get(finding.label, 0),
  }
