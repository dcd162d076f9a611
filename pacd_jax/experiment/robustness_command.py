"""The command `pacd robustness`: certificates against poisoning that need no ensemble.

pacd robustness digits --q=0.1,0.3
pacd robustness mnist --data_dir=FOLDER --num_points=500
pacd robustness mine.npz --certificate=nearest_neighbours --sigma=0.5,1 --k=1

label_flips: least squares on fixed features, smoothed over labels that change with
probability q; the radius is a number of changed labels. nearest_neighbours: k-NN, smoothed
by noise on the training images; the radius is the l2 norm of the changes of all of them
together. Both hold always, and sample nothing.

DATA is digits, mnist, cifar10, or an .npz with `images` and `labels`. Features are pixels,
or by --features=RUN what the last layer of a run's clean victim takes. Features certify
nothing if a label had an influence on them: a run that saw any of these images is refused.
"""

import argparse
import hashlib
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import poisoning
from pacd_jax.data import arrays
from pacd_jax.defenses.aggregation import label_flips, nearest_neighbours, rab
from pacd_jax.experiment import robustness_data
from pacd_jax.results import ensembles, tables
from pacd_jax.runtime import files, progress, run_folder, stamp, subcommand

_AT_ONCE = 20  # Points of label flips between two signs of progress.
_NUM_POINTS = 200  # By default.
_RERUN = "give the same command again"
_SUMMARY, _CURVE = "robustness.json", "against_poison.png"


class _Certificate(NamedTuple):
  """A kind of certificate, and the option whose values it is made at."""

  option: str
  unit: str
  own: tuple[str, ...]  # Its options.
  at_once: int
  # `make(chosen, value, task)`: from queries `[B, D]` to the class, the radius and further
  # columns, `[B]` each.
  make: Callable[..., Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, dict]]]


class _Task(NamedTuple):
  """What is certified, as numbers."""

  features: np.ndarray  # float64 `[n, D]`, of the training images.
  labels: np.ndarray  # `[n]`.
  queries: np.ndarray  # float64 `[B, D]`.
  num_classes: int


def _label_flips(chosen: argparse.Namespace, q: float, task: _Task):
  features = np.insert(task.features, 0, 1.0, axis=1)

  def certify(queries):
    queries = np.insert(queries, 0, 1.0, axis=1)
    given = features, task.labels, queries, q, chosen.ridge
    found = label_flips.certify(*given, num_classes=task.num_classes)
    return found.prediction, found.radius, {"kl_radius": found.kl_radius}

  return certify


def _nearest_neighbours(chosen: argparse.Namespace, sigma: float, task: _Task):
  edges = nearest_neighbours.levels(task.features.shape[1], sigma)

  def certify(queries):
    given = task.features, task.labels, queries, edges
    own = {"sigma": sigma, "k": chosen.k, "num_classes": task.num_classes}
    return *nearest_neighbours.certify(*given, **own), {}

  return certify


_CERTIFICATES = {
  "label_flips": _Certificate(
    "q", "changed labels", ("q", "ridge", "features"), _AT_ONCE, _label_flips
  ),
  "nearest_neighbours": _Certificate(
    "sigma",
    rab.UNIT,
    ("sigma", "k"),
    1,
    _nearest_neighbours,
  ),
}
_DEFAULTS = {"q": (0.1, 0.3), "ridge": 1.0, "sigma": (1.0,), "k": 1, "features": "pixels"}


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  chosen = _chosen(arguments)
  kind = _CERTIFICATES[chosen.certificate]
  folder = files.user_path(chosen.out)
  splits = robustness_data.load(
    chosen.data, seed=chosen.seed, data_dir=chosen.data_dir, num_train=chosen.num_train
  )
  points = _points(splits.test, chosen)
  if chosen.certificate == "nearest_neighbours":
    nearest_neighbours.check(splits.train.labels, chosen.k, splits.num_classes)
  features, queries = robustness_data.features(
    chosen.features, splits.train, splits.test.images[points], splits
  )
  task = _Task(features, splits.train.labels, queries, splits.num_classes)
  identity = {
    "certificate": chosen.certificate,
    "unit": kind.unit,
    **{name: getattr(chosen, name) for name in kind.own if name != kind.option},
    "data": splits.description,
    "train_sha256": arrays.checksum(splits.train),
    "test_sha256": arrays.checksum(splits.test),
    "features_sha256": hashlib.sha256(features.tobytes() + queries.tobytes()).hexdigest(),
    "points": points.tolist(),
  }
  found = {}
  for value in getattr(chosen, kind.option):
    path = folder / f"{chosen.certificate}_{kind.option}_{value:g}"
    own = identity | {kind.option: value}
    if not _is_made(path, own):
      _make(path, own, kind.make(chosen, value, task), kind.at_once, task, splits, points)
    found[value] = poisoning.read(path, rerun=_RERUN)
  return _written(folder, found, kind, chosen)


def _chosen(arguments: Sequence[str]) -> argparse.Namespace:
  """The options, checked as far as no data are needed."""
  parser = subcommand.Parser(
    prog="pacd robustness", description=__doc__.partition("\n\n")[0], allow_abbrev=False
  )
  parser.add_argument("data", help="digits, mnist, cifar10, or an .npz")
  parser.add_argument(
    "--certificate", choices=tuple(_CERTIFICATES), default="label_flips", help="%(default)s"
  )
  parser.add_argument(
    "--q", type=_numbers, help="label_flips: chances that a label changes; 0.1,0.3"
  )
  parser.add_argument("--ridge", type=float, help="label_flips: of least squares; 1")
  parser.add_argument("--features", help="label_flips: pixels, or another data set's run")
  parser.add_argument(
    "--sigma", type=_numbers, help="nearest_neighbours: of the noise, in image units; 1"
  )
  parser.add_argument("--k", type=int, help="nearest_neighbours: how many vote, odd; 1")
  parser.add_argument(
    "--num_points", type=int, help=f"test images, drawn; 0: all; up to {_NUM_POINTS}"
  )
  parser.add_argument("--num_train", type=int, default=0, help="training images; 0: all")
  parser.add_argument("--seed", type=int, default=0, help="of the splits and the points")
  parser.add_argument("--data_dir", default="", help="where prepared data are")
  parser.add_argument("--out", default="robustness", help="folder; %(default)s")
  chosen = parser.parse_args(arguments)
  for name, value in _DEFAULTS.items():
    if getattr(chosen, name) is None:
      setattr(chosen, name, value)
    elif name not in _CERTIFICATES[chosen.certificate].own:
      raise errors.InputError(f"--{name} is not for --certificate={chosen.certificate}")
  _check(chosen)
  return chosen


def _numbers(text: str) -> tuple[float, ...]:
  return tuple(dict.fromkeys(map(float, text.split(","))))


def _check(chosen: argparse.Namespace) -> None:
  for q in chosen.q:
    if not 0.0 < q < 0.5:
      raise errors.InputError(f"--q={q:g}: use probabilities above 0 and below 1/2")
  for sigma in chosen.sigma:
    if not 1e-3 <= sigma <= 1e3:
      raise errors.InputError(f"--sigma={sigma:g}: use image units, from 0.001 to 1000")
  if not 0.0 < chosen.ridge < float("inf"):
    raise errors.InputError(f"--ridge={chosen.ridge:g}: use a number above 0")
  for name in ("num_points", "num_train", "seed"):
    if not 0 <= (value := getattr(chosen, name) or 0) < 2**31:
      raise errors.InputError(f"--{name}={value}: use a whole number from 0")
  files.out_folder(chosen.out, _is_ours)


def _is_ours(folder: pathlib.Path) -> bool:
  return any(any(folder.glob(f"{name}_*.tsv*")) for name in _CERTIFICATES)


def _points(test: types.Dataset, chosen: argparse.Namespace) -> np.ndarray:
  """Positions of the test images that are certified, rising."""
  there = len(test.labels)
  wanted = min(there, _NUM_POINTS) if chosen.num_points is None else chosen.num_points
  if wanted > there:
    raise errors.InputError(
      f"--num_points={wanted}: there are {there} test images: use at most so "
      "many, or 0 for all"
    )
  drawn = np.random.default_rng(chosen.seed).permutation(there)
  return np.sort(drawn[: wanted or there])


def _is_made(path: pathlib.Path, identity: dict[str, Any]) -> bool:
  if not poisoning.is_there(path):
    return False
  there = poisoning.read(path, rerun=_RERUN).sidecar
  for name, expected in identity.items():
    if there.get(name) != expected:
      raise errors.InputError(
        f"{path}.tsv is of another command ({name} differs in {path.name}.json): give "
        "another --out"
      )
  return True


def _make(path, identity, certify, at_once, task: _Task, splits, points) -> None:
  """Certifies all points at one value, and writes the files."""
  began, found = time.monotonic(), []
  shown = progress.Progress(path.name, len(points), unit="points")
  for start in range(0, len(points), at_once):
    queries = task.queries[start : start + at_once]
    found.append(certify(queries))
    shown.update(start + len(queries))
  predict, radius, further = zip(*found, strict=True)
  columns = {
    name: np.concatenate([each[name] for each in further]).tolist() for name in further[0]
  }
  poisoning.write(
    path,
    idx=points,
    label=splits.test.labels[points],
    predict=np.concatenate(predict),
    radius=np.concatenate(radius),
    orders=None,
    sidecar=identity | columns | {"stamp": stamp.make()},
    seconds=time.monotonic() - began,
  )


def _written(
  folder: pathlib.Path,
  found: dict[float, poisoning.Record],
  kind: _Certificate,
  chosen: argparse.Namespace,
) -> str:
  """Writes the summary and the curve; returns the table."""
  from pacd_jax.results import figures, poisoning_figures  # Matplotlib takes a second.

  lines = [_summary(value, record, kind.option) for value, record in found.items()]
  about = {"data": chosen.data, "certificate": chosen.certificate, "unit": kind.unit}
  run_folder.write_json(folder / _SUMMARY, about | {"rows": lines, "stamp": stamp.make()})
  names = {f"{kind.option} = {value:g}": record for value, record in found.items()}
  sizes, shares = ensembles.shares({name: [each] for name, each in names.items()})
  with figures.own_style():
    figure = poisoning_figures.against_poison(sizes, shares, kind.unit)
    figures.save(figure, folder / _CURVE)
  cells = [tuple(lines[0])] + [tuple(_cell(v) for v in line.values()) for line in lines]
  return f"{tables.aligned(cells)}\n\nradius: {kind.unit}; {folder / _CURVE}"


def _summary(value: float, record: poisoning.Record, option: str) -> dict[str, Any]:
  """What is said of the certificates at one value."""
  radii = record.radius_of_truth
  line = {
    option: value,
    "points": len(radii),
    "right": float((record.predict == record.label).mean()),
    "abstained": float((record.predict < 0).mean()),
    "median radius": ensembles.median_radius(radii),
    "largest": float(radii.max()),
  }
  if (by_paper := record.sidecar.get("kl_radius")) is not None:
    floors = np.where(radii >= 0, np.floor(by_paper), -1.0)
    line |= {"median by KL": ensembles.median_radius(floors)}
  return line


def _cell(value: float) -> str:
  return "none" if value == -1.0 else f"{value:.4g}"
