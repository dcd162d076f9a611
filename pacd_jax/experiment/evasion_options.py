"""The options of attacks at test time, as arguments of a command."""

import argparse
import dataclasses
from typing import Any

from pacd_jax import errors
from pacd_jax.experiment import fields, kinds


def known() -> dict[str, list[str]]:
  """The options of all attacks, and whose they are."""
  found: dict[str, list[str]] = {}
  for entry in kinds.EVASIONS:
    for each in dataclasses.fields(entry.options) if entry.options else ():
      found.setdefault(each.name, []).append(entry.name)
  return found


def chosen(entry: kinds.Evasion, arguments: argparse.Namespace) -> Any:
  """The attack's options with those that were given, each checked as a config's field."""
  given = {name: getattr(arguments, name) for name in known()}
  given = {name: text for name, text in given.items() if text is not None}
  own = {each.name: each for each in dataclasses.fields(entry.options or _Nothing)}
  values = {}
  for name, text in given.items():
    if name not in own:
      raise errors.InputError(f"--{name} is not for --attack={entry.name}: leave it out")
    check = own[name].metadata["check"]
    value = _parsed(text, check)
    if value is None or not check.accepts(value):
      raise errors.InputError(f"--{name}={text}: it must be {check.must_be}")
    values[name] = check.take(value)
  return None if entry.options is None else entry.options(**values)


@dataclasses.dataclass(frozen=True)
class _Nothing:
  """The options of an attack that has none."""


def _parsed(text: str, check: fields.Check) -> Any:
  if check.kind is bool:
    return {"true": True, "false": False}.get(text.lower())
  try:
    return fields.number(text) if check.kind is float else check.kind(text)
  except ValueError:
    return None
