"""The command `pacd evade`: attacks at test time on a finished run's victims.

pacd evade runs/digits_ga --smoothed
pacd evade runs/digits_ga --smoothed --attack=cw --rows=clean,pacd
pacd evade runs/digits_standard --attack=fgsm --norm=linf --epsilon=0.03,0.1

Each victim's mean distance to a misclassification and its robust accuracy stand beside its
certified numbers, and in the run's folder `evasion/`, a file for each choice of settings,
to which further rows are added. With --smoothed, a distance below a certified radius is
looked at with more votes, and reported; so is one of the base classifier where that is what
a deterministic procedure certified.
"""

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.certification import certificates, distortion
from pacd_jax.data import arrays
from pacd_jax.experiment import door, evasion_options, evasion_report, fields, kinds, stages
from pacd_jax.experiment.plan import Plan
from pacd_jax.results import tables
from pacd_jax.runtime import progress, run_folder, stamp, subcommand

_NUM_POINTS = 100  # By default.
_STREAM = 6  # Folded into a victim's key of certification, for other noise.
_LARGEST = {"l2": 8.0, "linf": 1.0}  # Radii of the search, image units.


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  chosen = _parser().parse_args(arguments)
  entry = kinds.EVASIONS[chosen.attack]
  norm = chosen.norm or entry.norms[0]
  options = evasion_options.chosen(entry, chosen)
  if norm not in entry.norms:
    raise errors.InputError(
      f"--norm={norm}: {entry.name} is for {', '.join(entry.norms)}: use that"
    )
  epsilons = _epsilons(chosen.epsilon, norm)
  _check_counts(chosen)
  plan = door.load(chosen.run, data_dir=chosen.data_dir, path=chosen.data_path)
  epsilons = epsilons or _own_epsilon(plan, norm)
  rows = _rows(plan, chosen)
  attack = evasion_report.Attack(
    evade=entry.make(kinds.EvasionTools(norm, chosen.targeted is not None), options),
    search=_search(chosen, norm),
    sigma=plan.certify.settings.sigma if chosen.smoothed else 0.0,
    epsilons=epsilons,
    target=chosen.targeted,
  )
  places = _places(plan, chosen)
  about = {
    "attack": entry.name,
    "norm": norm,
    **({} if options is None else dataclasses.asdict(options)),
    **attack.search._asdict(),
    "smoothed": chosen.smoothed,
    "sigma": attack.sigma,
    "targeted": chosen.targeted,
    "epsilon": list(attack.epsilons),
    "num_points": len(places),
  }
  if (procedure := plan.certify.procedure) is not None:
    about["procedure"] = procedure.name
  path = plan.folder.path / "evasion" / f"{_name(about)}.json"
  with plan.folder:  # Locked: no other process writes there.
    there = run_folder.read_json(path)["victims"] if path.exists() else []
    found = _measure(plan, attack, rows, places)
    others = [each for each in there if each["row"] not in rows]
    victims = sorted([*others, *found], key=lambda each: plan.rows.index(each["row"]))
    run_folder.write_json(path, {**about, "victims": victims})
  return _said(found, about, path)


def _parser() -> subcommand.Parser:
  parser = subcommand.Parser(
    prog="pacd evade",
    usage="pacd evade RUN [OPTIONS]",
    description=__doc__.partition("\n\n")[0],
    allow_abbrev=False,
  )
  parser.add_argument("run", help="the folder of a run whose victims are certified")
  parser.add_argument("--attack", choices=kinds.EVASIONS.names, default="pgd")
  parser.add_argument("--norm", choices=tuple(_LARGEST), help="by default l2")
  parser.add_argument(
    "--epsilon", help="radii of robust accuracies: 0.1,0.25; sigma, or in linf the budget"
  )
  parser.add_argument(
    "--targeted", type=int, metavar="CLASS", help="that images are to get"
  )
  parser.add_argument("--smoothed", action="store_true", help="not the base classifier")
  parser.add_argument("--rows", help="training sets: clean,pacd; by default all")
  parser.add_argument(
    "--num_points",
    type=int,
    default=_NUM_POINTS,
    help="at most; 0: all; %(default)s",
  )
  parser.add_argument("--votes", type=int, default=100, help="of a prediction; %(default)s")
  parser.add_argument("--data_dir", default="", help="of prepared data, if it has moved")
  parser.add_argument("--data_path", default="", help="of images of yours, if they have")
  for name, of in evasion_options.known().items():
    parser.add_argument(f"--{name}", help=f"of {', '.join(of)}")
  return parser


def _epsilons(text: str | None, norm: str) -> tuple[float, ...]:
  if text is None:
    return ()
  try:
    found = tuple(sorted({fields.number(each) for each in text.split(",")}))
  except ValueError:
    found = ()
  if not found or not all(0.0 <= each <= _LARGEST[norm] for each in found):
    raise errors.InputError(
      f"--epsilon={text}: use image units, from 0 to {_LARGEST[norm]:g} in {norm}"
    )
  return found


def _own_epsilon(plan: Plan, norm: str) -> tuple[float, ...]:
  """The radius of the run itself: the noise's in l2, the poison's budget in linf.

  Of a deterministic procedure it is the ball's, if the norms are the same.
  """
  procedure = plan.certify.procedure
  if procedure is not None and procedure.norm == norm:
    return (procedure.epsilon,)
  if norm == "l2":
    return (plan.sigma or 0.25,)
  if plan.budget.norm != norm:
    raise errors.InputError(
      f"--norm={norm}: the budget of {plan.folder.path} is in {plan.budget.norm}, and no "
      "radius here: give --epsilon=0.1, say"
    )
  return (plan.budget.epsilon,)


def _check_counts(chosen: argparse.Namespace) -> None:
  if not 1 <= chosen.votes <= 10_000:
    raise errors.InputError(f"--votes={chosen.votes}: use a whole number from 1 to 10000")
  if chosen.num_points < 0:
    raise errors.InputError(f"--num_points={chosen.num_points}: use 0 or more")


def _search(chosen: argparse.Namespace, norm: str) -> distortion.Search:
  """The base classifier is one copy, without noise, and one vote."""
  if not chosen.smoothed:
    return distortion.Search(1, 1, max_radius=_LARGEST[norm])
  return distortion.Search(num_votes=chosen.votes, max_radius=_LARGEST[norm])


def _rows(plan: Plan, chosen: argparse.Namespace) -> tuple[str, ...]:
  """Checks that the run has victims for the attack; returns the rows."""
  folder = plan.folder.path
  rows = tuple(dict.fromkeys(chosen.rows.split(","))) if chosen.rows else plan.rows
  for row in rows:
    if row not in plan.rows:
      raise errors.InputError(
        f"--rows: no row {row!r}: {folder} has {', '.join(plan.rows)}"
      )
  if plan.ensemble is not None:
    raise errors.InputError(
      f"{folder}: victims are {plan.ensemble.num_models} networks that vote, which have no "
      "gradient: give a run without train.ensemble"
    )
  num_classes = plan.splits.num_classes
  if chosen.targeted is not None and not 0 <= chosen.targeted < num_classes:
    raise errors.InputError(
      f"--targeted={chosen.targeted}: {plan.splits.name} has classes 0 to {num_classes - 1}"
    )
  if chosen.smoothed and plan.certify.procedure is not None:
    raise errors.InputError(
      f"--smoothed: the certificates of {folder} are of the classifier itself, by "
      f"certify.procedure={plan.certify.procedure.name}: leave it out"
    )
  if chosen.smoothed and plan.certify.settings.dtype != "float32":
    raise errors.InputError(
      f"--smoothed: the certificates of {folder} are of the classifier in "
      f"{plan.certify.settings.dtype}, and attacks are on that in float32: leave it out"
    )
  if not plan.folder.checkpoints("train").exists():
    raise errors.InputError(f"{folder} has no victims: run --stage=train first")
  for row in rows:
    for seed in plan.seeds:
      if not certificates.is_complete(plan.folder.certificate(row, seed)):
        raise errors.InputError(
          f"{folder}: {row}, seed {seed}, is not certified: run --stage=certify first"
        )
  return rows


def _places(plan: Plan, chosen: argparse.Namespace) -> np.ndarray:
  """Which certified points are attacked: rising places among them."""
  labels = plan.certify.dataset.labels[plan.certify.indices]
  there = np.flatnonzero(labels != (-1 if chosen.targeted is None else chosen.targeted))
  if not len(there):
    raise errors.InputError(
      f"--targeted={chosen.targeted}: all certified points are of that class: give another"
    )
  number = min(len(there), chosen.num_points or len(there))
  generator = np.random.default_rng([plan.config.seed, _STREAM])
  return np.sort(generator.choice(there, number, replace=False))


def _measure(
  plan: Plan, attack: evasion_report.Attack, rows: Sequence[str], places: np.ndarray
) -> list[dict[str, Any]]:
  """Attacks every victim of the rows, one after the other."""
  found: list[dict[str, Any]] = []
  params = stages.load_victims(plan)
  shown = progress.Progress("evade", len(rows) * len(plan.seeds), unit="victims")
  shown.update(0)  # The first victim takes longest: it compiles.
  for row in rows:
    for seed in plan.seeds:
      record = certificates.read(plan.folder.certificate(row, seed))
      points = evasion_report.Points(
        arrays.to_float(plan.certify.dataset.images[record.idx[places]]),
        record.label[places],
        places,
      )
      key = jax.random.fold_in(plan.certify_key(seed), _STREAM)
      measured = evasion_report.measure(
        attack, plan.model.apply, params[row, seed], points, record, key
      )
      found.append({"row": row, "seed": seed, **measured, "stamp": stamp.make()})
      shown.update(len(found))
  return found


def _name(about: dict[str, Any]) -> str:
  """What it is of, and a hash of all settings: others have another file."""
  to = "" if about["targeted"] is None else f"_to_{about['targeted']}"
  of = "smoothed" if about["smoothed"] else "base"
  settings = json.dumps(about, sort_keys=True).encode()
  digest = hashlib.sha256(settings).hexdigest()[:8]
  return f"{about['attack']}_{about['norm']}_{of}{to}_{digest}"


def _said(found: list[dict[str, Any]], about: dict[str, Any], path) -> str:
  """The table, and what contradicts certificates."""
  epsilons = [f"{each:g}" for each in about["epsilon"]]
  to = about["targeted"]
  withstands = "robust" if to is None else f"not class {to}"
  heads = ["data", "seed", *(f"{withstands} {e} %" for e in epsilons)]
  heads += [*(f"certified {e} %" for e in epsilons), f"mean {about['norm']}", "ACR"]
  lines = [tuple(heads)]
  for each in found:
    certified = each["certified_accuracy"] or [None] * len(epsilons)
    cells = [each["row"], str(each["seed"])]
    cells += [_percent(value) for value in (*each["robust_accuracy"], *certified)]
    acr = each["acr"]
    cells += [f"{each['mean_distortion']:.3f}", "-" if acr is None else f"{acr:.3f}"]
    lines.append(tuple(cells))
  return "\n".join([tables.aligned(lines), "", *_remarks(found, about), f"{path}"])


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100.0 * value:.1f}"


def _remarks(found: list[dict[str, Any]], about: dict[str, Any]) -> list[str]:
  what = "the smoothed classifier" if about["smoothed"] else "the base classifier"
  towards = "" if about["targeted"] is None else f" towards class {about['targeted']}"
  count = len(found[0]["points"]["idx"])
  said = [f"{about['attack']} on {what}{towards}, {count} points of each victim"]
  failed = 1.0 - np.mean([each["found"] for each in found])
  if failed:
    said.append(
      f"{100.0 * failed:.1f} % of points withstood every radius, and count with "
      f"{about['max_radius']:g}"
    )
  is_sampled = "procedure" not in about
  if is_sampled and not about["smoothed"]:
    said.append("certificates are of the smoothed classifier: they bound nothing here")
    return said
  below = [(each, one) for each in found for one in each["contradictions"]]
  confirmed = [pair for pair in below if pair[1]["confirmed"]]
  said.append(
    f"distances below a certified radius: {len(below)}; confirmed by "
    f"{'more votes' if is_sampled else 'the classifier'}: {len(confirmed)}"
  )
  for each, one in confirmed:
    why = "a certificate of bounds is never wrong but for rounding"
    if is_sampled:
      why = f"p = {one['p_value']:.2g}; a certificate is wrong with probability alpha"
    said.append(
      f"CONTRADICTION: {each['row']}, seed {each['seed']}, point {one['idx']}: certified "
      f"to {one['certified_radius']:.4f}, fooled at {one['distance']:.4f} ({why})"
    )
  return said
