"""The command `pacd neural_cleanse`: which of a run's victims have a backdoor?

pacd neural_cleanse runs/mnist_backdoors
pacd neural_cleanse runs/mnist_backdoors --rows=clean,badnets --victims=2

For each victim and each label it searches the smallest trigger on the run's validation
images, and flags labels whose trigger is too small: an anomaly index above 2. With ten
classes the index of a clean victim can be above 2, too, so the victims of the row clean are
always looked at as well. neural_cleanse.json in the run's folder has all norms; the same
command goes on with it.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.defenses import neural_cleanse
from pacd_jax.experiment import door, goals, making, stages
from pacd_jax.experiment.plan import Plan
from pacd_jax.results import tables
from pacd_jax.runtime import progress, run_folder, stamp, subcommand

_FILE = "neural_cleanse.json"
_HEADINGS = (
  "data",
  "victim",
  "label",
  "reached",
  "smallest",
  "its norm",
  "median",
  "index",
  "flagged",
)


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  parser = subcommand.Parser(
    prog="pacd neural_cleanse", description=__doc__.partition("\n\n")[0], allow_abbrev=False
  )
  parser.add_argument("run", help="the folder of a run whose victims are trained")
  parser.add_argument("--rows", help="some of its rows, by commas; by default all")
  parser.add_argument("--victims", type=int, help="the first so many of each row; all")
  steps = neural_cleanse.DEFAULTS.num_steps
  parser.add_argument("--steps", type=int, default=steps, help="of a search; %(default)s")
  parser.add_argument(
    "--num_images", type=int, default=1000, help="validation images; %(default)s"
  )
  parser.add_argument("--data_dir", default="", help="of prepared data, if it has moved")
  parser.add_argument("--data_path", default="", help="of images of yours, if they have")
  chosen = parser.parse_args(arguments)
  for name in ("steps", "num_images", "victims"):
    value = getattr(chosen, name)
    if value is not None and not 1 <= value < 2**31:
      raise errors.InputError(f"--{name}={value}: use a whole number from 1")
  plan = door.load(chosen.run, data_dir=chosen.data_dir, path=chosen.data_path)
  _check(plan)
  rows, victims = _rows(plan, chosen.rows), _victims(plan, chosen.victims)
  settings = neural_cleanse.DEFAULTS._replace(num_steps=chosen.steps)
  path = plan.folder.path / _FILE
  num_images = min(chosen.num_images, len(plan.splits.validation.labels))
  about = {
    "run": plan.folder.fingerprint,
    "num_images": num_images,
    **settings._asdict(),
  }
  found = _there(path, plan, about)
  params = stages.load_victims(plan)
  wanted = [(row, seed) for row in rows for seed in range(victims)]
  shown = progress.Progress("neural_cleanse", len(wanted), unit="victims")
  shown.update(0)  # The first victim takes longest: it compiles.
  for number, victim in enumerate(wanted):
    if victim not in found:
      found[victim] = _of_victim(plan, *victim, params[victim], settings, num_images)
      of_all = {"victims": list(found.values()), "stamp": stamp.make()}
      run_folder.write_json(path, about | of_all)
    shown.update(number + 1)
  return _table([found[victim] for victim in wanted], path)


def _check(plan: Plan) -> None:
  """Raises `errors.InputError` unless the run has victims that can be searched."""
  folder = plan.folder.path
  if plan.ensemble is not None:
    raise errors.InputError(
      f"{folder}: victims are votes of {plan.ensemble.num_models} networks each, which "
      "have no gradient: give a run without train.ensemble"
    )
  if not plan.folder.checkpoints("train").exists():
    raise errors.InputError(f"{folder} has no checkpoints/train: run --stage=train first")


def _rows(plan: Plan, given: str | None) -> tuple[str, ...]:
  """The rows that are looked at, in the run's order; the clean one always is."""
  if not given:
    return plan.rows
  rows = given.split(",")
  for row in rows:
    if row not in plan.rows:
      raise errors.InputError(f"--rows={given}: the run has {', '.join(plan.rows)}")
  return tuple(row for row in plan.rows if row in (types.CLEAN, *rows))


def _victims(plan: Plan, given: int | None) -> int:
  there = len(plan.seeds)
  if given is not None and given > there:
    raise errors.InputError(f"--victims={given}: each row of the run has {there}")
  return given or there


def _trained_on(plan: Plan, row: str) -> str:
  """The checksum of what a row's classifiers train on."""
  return plan.victim_identity(row, 0)["trained_on"]


def _there(
  path: pathlib.Path, plan: Plan, about: Mapping[str, Any]
) -> dict[tuple[str, int], dict[str, Any]]:
  """What an earlier command with the same settings found, by row and victim."""
  there = run_folder.read_json(path) if path.exists() else {}
  if any(there.get(name) != value for name, value in about.items()):
    return {}
  found = {}
  try:
    for each in there["victims"]:
      norms, reached = each["norms"], each["reached"]
      if not len(norms) == len(reached) == plan.splits.num_classes:
        raise ValueError(f"{len(norms)} norms")
      if each["trained_on"] == _trained_on(plan, each["data"]):
        found[each["data"], each["seed"]] = each
  except (KeyError, TypeError, ValueError) as error:
    raise errors.InputError(
      f"{path} is damaged, or of another version ({error}): delete it"
    ) from None
  return found


def _of_victim(
  plan: Plan,
  row: str,
  seed: int,
  params: types.Params,
  settings: neural_cleanse.Settings,
  num_images: int,
) -> dict[str, Any]:
  """The norms of one victim's smallest triggers, and what they say."""
  key = jax.random.fold_in(jax.random.key(plan.config.seed), making.CLEANSE)
  trusted = plan.splits.validation
  order = np.random.default_rng(plan.config.seed).permutation(len(trusted.labels))
  found = neural_cleanse.find(
    plan.model.apply,
    params,
    arrays.to_float(trusted.images[order[:num_images]]),
    plan.splits.num_classes,
    jax.random.fold_in(key, seed),
    settings,
  )
  finding = neural_cleanse.judge(found.norms, found.reached)
  # What clean victims have is the control of others' goals: nobody attacked them.
  goal = None if row == types.CLEAN else goals.of(plan, row)
  return {
    "data": row,
    "seed": seed,
    "trained_on": _trained_on(plan, row),
    "attackers_label": None if goal is None or goal.label < 0 else goal.label,
    "label": finding.label,
    "index": finding.index if math.isfinite(finding.index) else None,
    "flagged": list(finding.flagged),
    "norms": [round(norm, 4) for norm in found.norms.tolist()],
    "reached": found.reached.tolist(),
  }


def _table(found: list[dict[str, Any]], path: pathlib.Path) -> str:
  lines = [_HEADINGS]
  for each in found:
    norms = np.array(each["norms"])
    reached, label, smallest = (
      np.array(each["reached"]),
      each["attackers_label"],
      each["label"],
    )
    lines.append(
      (
        each["data"],
        str(each["seed"]),
        "-" if label is None else str(label),
        f"{reached.sum()} of {len(reached)}",
        "-" if smallest is None else str(smallest),
        "-" if smallest is None else f"{norms[smallest]:.2f}",
        "-" if smallest is None else f"{np.median(norms[reached]):.2f}",
        _shown(each),
        ", ".join(map(str, each["flagged"])) or ("-" if smallest is None else "none"),
      )
    )
  notes = [
    "label: the attacker's; reached: labels with a trigger, of which the median is;",
    "smallest: the label of the smallest one; index above "
    f"{neural_cleanse.THRESHOLD:g}: flagged.",
  ]
  if not all(all(each["reached"]) for each in found):
    notes.append(
      "Not all labels are reached, and nothing is found with under half of them:"
    )
    notes.append("use more --steps.")
  return "\n".join([tables.aligned(lines), "", *notes, _of_clean(found), str(path)])


def _of_clean(found: list[dict[str, Any]]) -> str:
  """What the indices of clean victims are, beside which others are to be seen."""
  clean = [each for each in found if each["data"] == types.CLEAN]
  if not clean:
    return "The run has no row clean, whose indices others could be compared with."
  flagged = sum(bool(each["flagged"]) for each in clean)
  indices = ", ".join(map(_shown, clean))
  return f"Of clean victims the index is {indices}: {flagged} of {len(clean)} are flagged."


def _shown(each: Mapping[str, Any]) -> str:
  if each["label"] is None:
    return "-"
  return "inf" if each["index"] is None else f"{each['index']:.2f}"
