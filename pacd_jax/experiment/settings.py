"""Every config field is checked before any work starts, alone and with the others."""

import re
import sys
from typing import Any

from pacd_jax import errors
from pacd_jax.certification import confidence
from pacd_jax.experiment import choices, fields
from pacd_jax.runtime import run_folder

_POISON = "poisons."  # Further rows, by names of the user's: files, or folders of runs.


def _has_kind(value: Any, kind: type) -> bool:
  if kind is float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max  # False for NaN, too.
  if kind is list:
    return isinstance(value, (list, tuple))
  if kind is bool:
    return isinstance(value, bool)
  return isinstance(value, kind) and not isinstance(value, bool)


def check(settings: run_folder.Settings) -> None:
  """Raises at the first field that is unknown, missing, or out of range.

  Args:
    settings: the resolved config as plain nested dictionaries.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  flat = run_folder.flatten(settings)
  for name in flat:
    check_name(name)
  for name in sorted(fields.FIELDS.keys() - flat.keys()):
    raise errors.InputError(f"config field {name} is missing: start from configs/base.py")
  for name, field in fields.FIELDS.items():
    value = flat[name]
    if not _has_kind(value, field.kind) or not field.holds(value):
      raise errors.InputError(
        f"config field {name} is {value!r}: it must be {field.must_be}"
      )
  _check_rows(flat)
  _check_together(flat)


def check_flag(name: str) -> None:
  """As `check_name`, for the fields of transfers and comparisons, too."""
  if not re.fullmatch(r"epsilons|attacks\.[^.]+\.row", name):
    check_name(run_folder.field_name(name))


def check_name(name: str) -> None:
  """Raises `errors.InputError` if no run has this field; tells its neighbours."""
  if name not in fields.FIELDS and not name.startswith(_POISON):
    group = name.rpartition(".")[0]
    near = [field for field in fields.FIELDS if field.rpartition(".")[0] == group]
    raise errors.InputError(
      f"config field {name} is unknown: use one of {', '.join(near or fields.FIELDS)}"
    )


def must_be(name: str) -> str:
  """What a field has to be, in words; empty for a field that is not there."""
  field = fields.FIELDS.get(run_folder.field_name(name))
  return field.must_be if field else ""


def check_row_name(group: str, name: str) -> None:
  """Raises `errors.InputError` unless a row, or a kind of victim, can have this name."""
  if not re.fullmatch(r"[\w+-]+", name) or name in (*fields.ROWS, "report"):
    raise errors.InputError(
      f"config field {group}.{name} has an unusable name: use letters, digits, _, + and "
      f"-, and none of {', '.join(fields.ROWS)}"
    )


def _check_rows(flat: dict[str, Any]) -> None:
  poisons = {
    name.removeprefix(_POISON): path
    for name, path in flat.items()
    if name.startswith(_POISON)
  }
  for name, path in poisons.items():
    check_row_name("poisons", name)
    if not isinstance(path, str):
      raise errors.InputError(
        f"config field {_POISON}{name} is {path!r}: it must be a poison's file, the folder "
        "of the run that made it, or empty"
      )
    if path and name not in flat["rows"]:
      rows = ", ".join(f"'{row}'" for row in ("clean", name))
      raise errors.InputError(
        f"config field {_POISON}{name} is set, but rows has no {name!r}: add it, as in "
        f'--config.rows="({rows})"'
      )
  known = [*fields.ROWS, *(name for name, path in poisons.items() if path)]
  for row in flat["rows"]:
    if row not in known:
      raise errors.InputError(
        f"config field rows has {row!r}: use names out of {', '.join(known)}, or say in "
        f"{_POISON}{row} where that poison is"
      )


def _check_together(flat: dict[str, Any]) -> None:
  n, alpha = flat["certify.n"], flat["certify.alpha"]
  if not confidence.can_certify(n, alpha):
    raise errors.InputError(
      f"certify.n={n} cannot certify anything at certify.alpha={alpha:g}: even {n} equal "
      f"votes bound p_A under 1/2; use n of at least {confidence.least_votes(alpha)}"
    )
  is_solved = flat["attack.hypergradient"] == "approx_grad"
  solver, warm_start = flat["attack.solver"], flat["attack.warm_start"]
  if is_solved and solver == "single_loop" and not warm_start:
    raise errors.InputError(
      "attack.solver is 'single_loop', whose few steps follow the solution over outer "
      "steps: set attack.warm_start=True, or use attack.solver=neumann"
    )
  if warm_start and not (is_solved and solver in choices.ITERATIVE):
    raise errors.InputError(
      "attack.warm_start is True, but "
      + (
        f"solver={solver}" if is_solved else f"hypergradient={flat['attack.hypergradient']}"
      )
      + " starts from nothing: set it to False, or use attack.solver="
      + ", ".join(choices.ITERATIVE)
    )
  if flat["data.target_points"] and flat["certify.split"] != "test":
    raise errors.InputError(
      "data.target_points are of the test split, but certify.split is "
      f"{flat['certify.split']!r}: set it to test, or leave them out"
    )
  _check_selection(flat)
  for group in ("attack", "train"):
    radius = flat[f"{group}.adversary.epsilon"]
    is_used = flat[f"{group}.loss"] in choices.ADVERSARIAL
    if is_used and flat[f"{group}.adversary.norm"] == "linf" and radius >= 1:
      raise errors.InputError(
        f"{group}.adversary.epsilon is {radius}: in linf it must be under 1, as images are "
        "in [0, 1]; 0.1 to 0.3 is usual for MNIST, 0.03 for CIFAR-10"
      )
  if flat["attack.norm"] == "linf" and flat["attack.epsilon"] > 1:
    raise errors.InputError(
      f"attack.epsilon is {flat['attack.epsilon']}: in linf it must be at most 1, as "
      "images are in [0, 1]"
    )
  if flat["attack.solver"] in choices.ADDS_DAMPING and flat["attack.damping"] <= 0:
    raise errors.InputError(
      f"attack.damping is {flat['attack.damping']}: attack.solver={flat['attack.solver']} "
      "divides by it; use one above 0, such as 0.1"
    )


def _check_selection(flat: dict[str, Any]) -> None:
  """Of the attack's poison among several, where there are several."""
  options = {name: flat[f"attack.selection.{name}"] for name in ("every", "corners")}
  if not choices.has_selection(flat["attack.starts"], options):
    return
  n, alpha = flat["attack.selection.n"], flat["certify.alpha"]
  if not confidence.can_certify(n, alpha):
    raise errors.InputError(
      f"attack.selection.n={n} cannot certify anything at certify.alpha={alpha:g}: use at "
      f"least {confidence.least_votes(alpha)}"
    )
  if flat["attack.objective"] != "acr":
    raise errors.InputError(
      "attack.starts and attack.selection choose by the ACR, but attack.objective is "
      f"{flat['attack.objective']!r}: give one start, and attack.selection.every=0 and "
      "corners=False"
    )
  if options["corners"] and (
    flat["attack.norm"] != "linf" or flat["attack.num_frequencies"]
  ):
    raise errors.InputError(
      "attack.selection.corners is for an attack.norm of linf and all frequencies, not for "
      f"{flat['attack.norm']} and num_frequencies={flat['attack.num_frequencies']}: set it "
      "to False"
    )
