"""Transfer: several kinds of victims, each trained on every poison; one table of them all.

Each kind of victim is a run of its own, in a folder of its name, whose rows are the clean
data and the poisons; so each resumes, and is checked, as any run. Section 4.5 of Mehra et
al. (2021), https://arxiv.org/abs/2012.01274.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.experiment import stages
from pacd_jax.experiment.plan import Plan
from pacd_jax.results import figures, matrix, page
from pacd_jax.runtime import processes, run_folder

_PANELS = ("acr", "aca")  # Of the picture.


class TransferPlan(NamedTuple):
  """A transfer, ready to start."""

  folder: run_folder.RunFolder
  victims: Mapping[str, Plan]  # By name; each in the folder of that name.


def run(plan: TransferPlan, stage_names: Sequence[str]) -> str | None:
  """Runs the stages that are not done, each for all victims; all are checked before.

  Returns:
    The tables where "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: a loss or a gradient is not finite.
  """
  folders = [plan.folder, *(victim.folder for victim in plan.victims.values())]
  with processes.held(folders):
    _check_poisons(plan)
    _check_alike(plan)
    for name, victim in plan.victims.items():
      with errors.about(f"victim {name}"):
        stages.check(victim, stage_names)
    for folder in folders:
      folder.claim()
    for stage in stage_names:
      for name, victim in plan.victims.items():
        with errors.about(f"victim {name}"):
          stages.RUN[stage](victim)
    return _report(plan) if stages.reports(stage_names) else None


def _check_poisons(plan: TransferPlan) -> None:
  """All poisons that are not there, and of which a victim has no copy, in one line."""
  missing = {}
  for victim in plan.victims.values():
    for name, path in victim.poisons.items():
      if not path.exists() and not victim.training_sets.is_there(name):
        missing[name] = path
  if missing:
    these = ", ".join(f"poisons.{name} ({path})" for name, path in missing.items())
    raise errors.InputError(
      f"there is nothing at {these}: run what makes it, as the config's docstring says, or "
      f"leave it out by --config.poisons.{next(iter(missing))}="
    )


def _check_alike(plan: TransferPlan) -> None:
  """Victims whose numbers could not stand beside each other are refused before any work."""
  (first_name, first), *others = plan.victims.items()
  for name, other in others:
    for what, values in {
      "data": [victim.training_sets.checksum("clean") for victim in (first, other)],
      "data.target_class": [first.target_class, other.target_class],
      "sigma": [first.sigma, other.sigma],
      "certify": [_how_certified(victim) for victim in (first, other)],
      "train.num_victims": [len(first.seeds), len(other.seeds)],
    }.items():
      if values[0] != values[1]:
        raise errors.InputError(
          f"victims {first_name} and {name} differ in {what}: give all victims the same"
        )


def _how_certified(victim: Plan) -> dict:
  ignored = ("batch_size",)
  options = {k: v for k, v in victim.certify.options.items() if k not in ignored}
  return options | {"indices": victim.certify.indices.tolist()}


def _report(plan: TransferPlan) -> str:
  """Writes `results.json`, the picture and the page; returns the tables."""
  results = {
    name: json.loads(victim.folder.results.read_text())
    for name, victim in plan.victims.items()
  }
  collected = matrix.collect(results)
  run_folder.write_json(plan.folder.results, collected)
  path = plan.folder.report
  path.parent.mkdir(exist_ok=True)
  page.write(path, "transfer_template.html", _words(plan, collected, path.parent))
  return matrix.table(collected)


def _words(plan: TransferPlan, collected: matrix.Matrix, folder: pathlib.Path) -> dict:
  victim = next(iter(plan.victims.values()))
  return {
    "title": f"Transfer of poisons between training methods: "
    f"{page.text(collected['description'])}, class {collected['target_class']}",
    "sigma": page.text(collected["sigma"]),
    "split": page.text(victim.certify.split),
    "picture": page.figure(_picture(collected, folder)),
    "tables": "\n".join(
      page.table(matrix.cells(collected, quantity)) for quantity in matrix.QUANTITIES
    ),
    "caption": page.text(" ".join(matrix.caption(collected))),
    "poisons": "\n".join(
      f"<dt>{page.text(name)}</dt><dd>{page.text(_origin(victim, name))}</dd>"
      for name in victim.poisons
    ),
    "victims": "\n".join(
      f'<li><a href="../{page.text(name)}/report/index.html">{page.text(name)}</a></li>'
      for name in plan.victims
    ),
  }


def _origin(victim: Plan, row: str) -> str:
  poison = victim.training_sets.poison(row)
  made = f"made for sigma {poison.sigma:g}" if poison.sigma else "made without a sigma"
  return (
    f"{victim.poisons[row]}: at most {poison.epsilon:g} ({poison.norm}) from the images "
    f"of the class, {made}."
  )


def _picture(collected: matrix.Matrix, folder: pathlib.Path) -> page.Picture:
  """`report/transfer.png`: the bars of Figure 4."""
  victims = collected["victims"]
  panels = {}
  for quantity in _PANELS:
    title, scale, _ = matrix.QUANTITIES[quantity]
    rows = [victim["rows"] for victim in victims]
    if rows[0][0][f"{quantity}_mean"] is None:
      continue
    panels[title] = {
      of_victims[0]["data"]: tuple(
        scale * np.array([row[f"{quantity}_{what}"] for row in of_victims])
        for what in ("mean", "std")
      )
      for of_victims in zip(*rows, strict=True)
    }
  path = folder / "transfer.png"
  figures.save(figures.transfer([victim["victim"] for victim in victims], panels), path)
  return page.Picture(
    path,
    "Means over victims with one standard deviation: each group is a way of training, "
    "each colour the data that it was trained on.",
    "Bars of ACR and ACA for every training method on clean data and on every poison.",
  )
