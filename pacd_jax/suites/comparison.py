"""Comparison: several attacks on the same budgets; what each leaves, and its time.

Clean data are trained on and certified once. At each epsilon, all baselines are rows of
one run, and every variant of PACD is a run of its own:

  workdir/clean  workdir/eps_0.1/baselines  workdir/eps_0.1/<name of the variant>

Each resumes, and is checked, as any run. They share the data, the victims' seeds and the
points that are certified, so that they differ by their poisons alone.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors
from pacd_jax.experiment import checks, fields, row_words, settings, stages
from pacd_jax.experiment.plan import Plan
from pacd_jax.experiment.row_data import CLEAN, PACD
from pacd_jax.results import comparison_figures, comparison_table, figures, page
from pacd_jax.runtime import processes, progress, run_folder

_FIELDS = ("base", "epsilons", "attacks", "data")
# The budget is the same for all attacks.
_SHARED = ("attack.epsilon", "attack.norm", "attack.poisoned_fraction")


class ComparisonPlan(NamedTuple):
  """A comparison, ready to start."""

  folder: run_folder.RunFolder
  parts: Mapping[str, Plan]  # By their folders in it.
  entries: Sequence[comparison_table.Entry]
  overrides: Mapping[str, Mapping[str, Any]]  # Of PACD's variants, by flat names.


class Attacks(NamedTuple):
  """The attacks of a config that are not left out."""

  baselines: list[str]
  overrides: dict[str, dict[str, Any]]  # Of PACD's variants, by flat names.


def check(config: dict[str, Any]) -> Attacks:
  """Looks at what a comparison has more than its base; the base is a run's to check.

  Args:
    config: the resolved config as plain nested dictionaries.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  for name in [*config, *(f"data.{name}" for name in config.get("data", ()))]:
    if name not in (*_FIELDS, "data.data_dir"):
      raise errors.InputError(
        f"config field {name} is unknown: a comparison has base, epsilons, attacks and "
        "data.data_dir"
      )
  for name in _FIELDS:
    if name not in config:
      raise errors.InputError(f"config field {name} is missing: see configs/comparisons.py")
  _check_epsilons(config["epsilons"])
  baselines, overrides = [], {}
  for name, attack in config["attacks"].items():
    row, of_attack = _check_attack(name, attack)
    if row == PACD:
      overrides[name] = of_attack
    elif row:
      baselines.append(name)
  if not baselines and not overrides:
    raise errors.InputError("a comparison needs attacks: set one's row in config.attacks")
  _check_different(config["base"], overrides)
  return Attacks(sorted(baselines, key=fields.ROWS.index), overrides)


def _check_epsilons(epsilons: Any) -> None:
  """Their range is checked with the runs."""
  listed = epsilons if isinstance(epsilons, (list, tuple)) else ()
  are_numbers = all(type(epsilon) in (int, float) for epsilon in listed)
  if not (listed and are_numbers and (np.diff([0.0, *listed]) > 0.0).all()):
    raise errors.InputError(
      f"config field epsilons is {epsilons}: it must be numbers above 0 that rise, such as "
      "(0.05, 0.1)"
    )


def _check_attack(name: str, attack: Any) -> tuple[str, dict[str, Any]]:
  """The row that it makes, and its overrides by flat names."""
  field = f"config field attacks.{name}"
  if not isinstance(attack, dict) or not {"row"} <= attack.keys() <= {"row", "overrides"}:
    raise errors.InputError(f"{field} must have a row, and may have overrides")
  row, overrides = attack["row"], run_folder.flatten(attack.get("overrides", {}))
  if row and (row == CLEAN or row not in fields.ROWS):
    known = ", ".join(row for row in fields.ROWS if row != CLEAN)
    raise errors.InputError(
      f"{field}.row is {row!r}: it must be one of {known}, or empty to leave it out"
    )
  if row and row != PACD and (name != row or overrides):
    raise errors.InputError(
      f"{field}: a baseline has the name of its row, {row}, and no overrides: its options "
      "are the base's"
    )
  if row == PACD and name != PACD:
    settings.check_row_name("attacks", name)
    if name == "baselines":
      raise errors.InputError(f"{field} has an unusable name: choose another")
  for override in overrides:
    if not override.startswith("attack.") or override in _SHARED:
      raise errors.InputError(
        f"{field}.overrides.{override}: a variant may override fields of the group attack, "
        f"but not {' or '.join(_SHARED)}: all attacks have the same"
      )
    settings.check_name(override)
  return row, overrides


def _check_different(base: dict[str, Any], overrides: Mapping[str, dict]) -> None:
  """No run is done twice under two names."""
  seen = {}
  for name, of_variant in overrides.items():
    whole = str(sorted((run_folder.flatten(base) | of_variant).items()))
    if whole in seen:
      raise errors.InputError(
        f"attacks {seen[whole]} and {name} have the same settings: leave one out by "
        f"--config.attacks.{name}.row="
      )
    seen[whole] = name


def run(plan: ComparisonPlan, stage_names: Sequence[str]) -> str | None:
  """Runs what is not done, part after part; all are checked before the first.

  Returns:
    The tables where "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: a loss or a gradient is not finite.
  """
  folders = [plan.folder, *(part.folder for part in plan.parts.values())]
  with processes.held(folders):
    for name, part in plan.parts.items():
      with errors.about(name):
        stages.check(part, stage_names)
    for folder in folders:
      folder.claim()
    failed = {}
    for number, (name, part) in enumerate(plan.parts.items()):
      if tuple(stage_names) == stages.NAMES and _is_done(part):
        continue
      progress.note(f"{name} ({number + 1} of {len(plan.parts)})")
      try:
        with errors.about(name):
          for stage in stage_names:
            stages.RUN[stage](part)
      except errors.NonFiniteError as error:  # The others do not hang on it.
        progress.note(str(error))
        failed[name] = str(error)
    if failed:
      leave_out = " ".join(
        f"--config.attacks.{name.split('/')[-1]}.row=" for name in failed
      )
      raise errors.NonFiniteError(
        f"{'; '.join(failed.values())} (all other parts are done; {leave_out} leaves out "
        "an attack and reports the others)"
      )
    return _report(plan) if stages.reports(stage_names) else None


def _is_done(part: Plan) -> bool:
  written = part.folder.results.exists() and part.folder.report.exists()
  return written and checks.is_certified(part)


def _report(plan: ComparisonPlan) -> str:
  """Writes `results.json`, the picture and the page; returns the tables."""
  results = {
    name: run_folder.read_json(part.folder.results) for name, part in plan.parts.items()
  }
  collected = comparison_table.collect(plan.entries, results)
  run_folder.write_json(plan.folder.results, collected)
  path = plan.folder.report
  path.parent.mkdir(exist_ok=True)
  page.write(path, "comparison_template.html", _words(plan, collected, path.parent))
  return comparison_table.table(collected)


def _words(
  plan: ComparisonPlan, collected: comparison_table.Comparison, folder: pathlib.Path
) -> dict[str, str]:
  first = next(iter(plan.parts.values()))
  return {
    "title": f"Attacks compared: {page.text(collected['description'])}, class "
    f"{page.text(collected['target_class'])}",
    "sigma": page.text(collected["sigma"]),
    "split": page.text(first.certify.split),
    "picture": page.figure(_picture(collected, folder)),
    "tables": "\n".join(
      page.table(comparison_table.cells(collected, quantity))
      for quantity in comparison_table.QUANTITIES
    ),
    "caption": page.text(" ".join(comparison_table.caption(collected))),
    "methods": "\n".join(
      f"<dt>{page.text(name)}</dt><dd>{page.text(words)}</dd>"
      for name, words in _origins(plan).items()
    ),
    "parts": "\n".join(
      f'<li><a href="../{page.text(name)}/report/index.html">{page.text(name)}</a></li>'
      for name in plan.parts
    ),
  }


def _origins(plan: ComparisonPlan) -> dict[str, str]:
  """Where each method's images come from."""
  origins = {}
  for entry in plan.entries:
    config = plan.parts[entry.part].folder.settings
    overrides = plan.overrides.get(entry.method, {})
    changes = ", ".join(f"{name} = {value}" for name, value in overrides.items())
    words = f"PACD (Algorithm 1) with {changes}." if changes else ""
    origins[entry.method] = words or row_words.origin(entry.row, config)
  return origins


def _picture(collected: comparison_table.Comparison, folder: pathlib.Path) -> page.Picture:
  """`report/compare.png`."""
  quantity = comparison_table.quantity(collected)
  title, scale, _ = comparison_table.QUANTITIES[quantity]

  def curve(rows):
    return comparison_figures.Curve(
      scale * np.array([row[f"{quantity}_mean"] for row in rows]),
      scale * np.array([row[f"{quantity}_std"] for row in rows]),
      np.array([row["attack_seconds"] for row in rows], float),  # None is NaN.
    )

  curves = {n: curve(rows) for n, rows in comparison_table.methods(collected).items()}
  figure = comparison_figures.comparison(collected["epsilons"], curves, ylabel=title)
  path = folder / "compare.png"
  figures.save(figure, path)
  return page.Picture(
    path,
    f"{title} against the wall time of making the poison, and against epsilon: means over "
    "victims with one standard deviation. The lower, the stronger the attack; methods at "
    "one epsilon are drawn a little apart.",
    f"{title} of every attack against its time, a panel for each epsilon; below, against "
    "epsilon.",
  )
