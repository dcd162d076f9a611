"""The command `pacd evade`: attacks at test time on a finished run's victims.

pacd evade runs/digits_ga --smoothed
pacd evade runs/digits_ga --smoothed --attack=cw --rows=clean,pacd
pacd evade runs/digits_standard --attack=fgsm --norm=linf --epsilon=0.03,0.1
pacd evade runs/digits_dual_manifold --attack=on_manifold --epsilon=0,0.25,0.5

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
from pacd_jax.experiment import (
  door,
  evasion_options,
  evasion_report,
  evasion_words,
  fields,
  kinds,
  manifolds,
  stages,
)
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import progress, run_folder, stamp, subcommand

_NUM_POINTS = 100  # By default.
_STREAM = 6  # Folded into a victim's key of certification, for other noise.
_LARGEST = {"l2": 8.0, "linf": 1.0}  # Radii of the search, image units,
_LARGEST_OF_LATENTS = 8.0  # and units of latents.


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
  if entry.of_latents and chosen.smoothed:
    raise errors.InputError(
      f"--smoothed: {entry.name} moves latents, and noise is of pixels: leave it out"
    )
  largest = _LARGEST_OF_LATENTS if entry.of_latents else _LARGEST[norm]
  units = "units of latents" if entry.of_latents else "image units"
  epsilons = _epsilons(chosen.epsilon, largest, f"{units}, from 0 to {largest:g} in {norm}")
  _check_counts(chosen)
  plan = door.load(chosen.run, data_dir=chosen.data_dir, path=chosen.data_path)
  if entry.of_latents:
    epsilons = epsilons or (_own_radius(plan),)
    manifolds.check(plan.config, plan.splits)
  epsilons = epsilons or _own_epsilon(plan, norm)
  rows = _rows(plan, chosen)
  attack = evasion_report.Attack(
    evade=entry.make(kinds.EvasionTools(norm, chosen.targeted is not None), options),
    search=_search(chosen, largest),
    sigma=plan.certify.settings.sigma if chosen.smoothed else 0.0,
    epsilons=epsilons,
    target=chosen.targeted,
    of_latents=entry.of_latents,
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
    **({"all_classes": True} if chosen.all_classes else {}),
    **(_manifold(plan) if entry.of_latents else {}),
  }
  if not plan.certify.procedure.draws:
    about["procedure"] = plan.config.certify.procedure.name
  path = plan.folder.path / "evasion" / f"{_name(about)}.json"
  with plan.folder:  # Locked: no other process writes there.
    there = run_folder.read_json(path)["victims"] if path.exists() else []
    found = _measure(plan, attack, rows, places, certified=not chosen.all_classes)
    others = [each for each in there if each["row"] not in rows]
    victims = sorted([*others, *found], key=lambda each: plan.rows.index(each["row"]))
    run_folder.write_json(path, {**about, "victims": victims})
  return evasion_words.said(found, about, path)


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
  parser.add_argument(
    "--all_classes",
    action="store_true",
    help="points of every class, without certificates",
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


def _manifold(plan: Plan) -> dict[str, Any]:
  """What the run's manifold is, for the file."""
  choice = plan.config.data.manifold
  return {"manifold": {"name": choice.name, **dataclasses.asdict(choice.own)}}


def _epsilons(text: str | None, largest: float, must_be: str) -> tuple[float, ...]:
  if text is None:
    return ()
  try:
    found = tuple(sorted({fields.number(each) for each in text.split(",")}))
  except ValueError:
    found = ()
  if not found or not all(0.0 <= each <= largest for each in found):
    raise errors.InputError(f"--epsilon={text}: use {must_be}")
  return found


def _own_radius(plan: Plan) -> float:
  """The radius of latents in the victims' loss, or `dual_manifold`'s if it has none."""
  loss = plan.config.train.loss
  own = loss.own if kinds.LOSSES[loss.name].needs_manifold else None
  return (own or loss.options["dual_manifold"]).radius


def _own_epsilon(plan: Plan, norm: str) -> tuple[float, ...]:
  """The radius of the run itself: the noise's in l2, the poison's budget in linf.

  Of a deterministic procedure it is the ball's, if the norms are the same.
  """
  procedure = plan.certify.procedure
  if procedure.norm == norm and procedure.radius:
    return (procedure.radius,)
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


def _search(chosen: argparse.Namespace, largest: float) -> distortion.Search:
  """The base classifier is one copy, without noise, and one vote."""
  if not chosen.smoothed:
    return distortion.Search(1, 1, max_radius=largest)
  return distortion.Search(num_votes=chosen.votes, max_radius=largest)


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
  if chosen.smoothed and plan.certify.settings.sound:
    raise errors.InputError(
      f"--smoothed: the certificates of {folder} are of noise on a grid (certify.sound), "
      "and attacks draw noise of floats: leave it out, or give a run without it"
    )
  if chosen.smoothed and not plan.certify.procedure.draws:
    raise errors.InputError(
      f"--smoothed: the certificates of {folder} are of the classifier itself, by "
      f"certify.procedure={plan.config.certify.procedure.name}: leave it out"
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
  """Which points are attacked: rising places among those certified, or in the split."""
  labels = plan.certify.dataset.labels
  if not chosen.all_classes:
    labels = labels[plan.certify.indices]
  there = np.flatnonzero(labels != (-1 if chosen.targeted is None else chosen.targeted))
  if not len(there):
    raise errors.InputError(
      f"--targeted={chosen.targeted}: all certified points are of that class: give another"
    )
  number = min(len(there), chosen.num_points or len(there))
  generator = np.random.default_rng([plan.config.seed, _STREAM])
  return np.sort(generator.choice(there, number, replace=False))


def _measure(
  plan: Plan,
  attack: evasion_report.Attack,
  rows: Sequence[str],
  places: np.ndarray,
  *,
  certified: bool,
) -> list[dict[str, Any]]:
  """Attacks every victim of the rows, one after the other."""
  found: list[dict[str, Any]] = []
  params = stages.load_victims(plan)
  apply, moved = plan.model.apply, lambda images: images
  if attack.of_latents:
    apply, moved = manifolds.on_latents(plan.config, plan.splits, apply)
  shown = progress.Progress("evade", len(rows) * len(plan.seeds), unit="victims")
  shown.update(0)  # The first victim takes longest: it compiles.
  for row in rows:
    for seed in plan.seeds:
      record, idx = None, places
      if certified:
        record = certificates.read(plan.folder.certificate(row, seed))
        idx = record.idx[places]
      images, labels = plan.certify.dataset
      points = evasion_report.Points(
        moved(arrays.to_float(images[idx])), labels[idx], places
      )
      key = jax.random.fold_in(plan.certify_key(seed), _STREAM)
      measured = evasion_report.measure(
        attack, apply, params[row, seed], points, record, key
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
