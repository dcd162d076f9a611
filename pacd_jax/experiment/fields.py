"""What a field of a config may hold: its type, its range in words, and what it is for.

A class of the tree in `config.py` is a frozen dataclass whose fields are made by `field`,
`choice` or `choices`, or are another such class: a group. An entry's `options` are such a
class, too.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pacd_jax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Check:
  """The values that a field may have."""

  kind: type
  holds: Callable[[Any], bool]  # Of a value of this kind.
  must_be: str  # In words, as a message ends.

  def accepts(self, value: Any) -> bool:
    """Whether the value is of the kind and in the range; no bool is a number, no NaN."""
    if self.kind is float:
      number = isinstance(value, (int, float)) and not isinstance(value, bool)
      return number and abs(value) <= sys.float_info.max and self.holds(value)
    if self.kind is tuple:
      return isinstance(value, (list, tuple)) and self.holds(tuple(value))
    if self.kind is bool:
      return isinstance(value, bool)
    is_kind = isinstance(value, self.kind) and not isinstance(value, bool)
    return is_kind and self.holds(value)

  def take(self, value: Any) -> Any:
    """An accepted value, as code has it: 1 as 1.0, a list as a tuple."""
    return self.kind(value)


@dataclasses.dataclass(frozen=True)
class Choice:
  """The entry that a field names, and the options of all entries of its registry."""

  name: str
  options: Mapping[str, Any]  # Instances of the entries' dataclasses, by their names.

  @property
  def own(self) -> Any:
    """The chosen entry's; None where it has none."""
    return self.options.get(self.name)


@dataclasses.dataclass(frozen=True)
class Choices:
  """The entries that a field names, in its order, and the options of all that there are."""

  names: tuple[str, ...]
  options: Mapping[str, Any]


def field(default: Any, check: Check, doc: str, *, free: bool = False) -> Any:
  """A field with one value.

  Args:
    default: of the same kind.
    check: what it may hold.
    doc: a line of what it is for.
    free: it changes how a run is done, and its results by rounding at most, so that a run
      goes on with another value.
  """
  metadata = {"check": check, "doc": doc, "free": free, "default": default}
  return dataclasses.field(default=default, metadata=metadata)


def choice(
  registry: Registry[Any],
  default: str,
  doc: str,
  *,
  defaults: Mapping[str, Mapping[str, Any]] | None = None,
  empty: str = "",
) -> Any:
  """A field that names an entry; beside it stands a group for each entry with options.

  Args:
    registry: of the entries.
    default: name of one.
    doc: a line of what it is for.
    defaults: options that have another default here, by the entry's name.
    empty: what "" means, where it may be empty.
  """
  own = defaults or {}
  return dataclasses.field(
    default_factory=lambda: Choice(default, _options(registry, own)),
    metadata={
      "one_of": registry,
      "default": default,
      "doc": doc,
      "defaults": own,
      "empty": empty,
    },
  )


def _options(
  registry: Registry[Any], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  return {
    entry.name: entry.options(**defaults.get(entry.name, {}))
    for entry in registry
    if entry.options is not None
  }


def choices(
  registry: Registry[Any],
  default: tuple[str, ...],
  doc: str,
  *,
  check: Callable[[Registry[Any]], Check] | None = None,
) -> Any:
  """A field that names several entries, with groups as beside a `choice`.

  Args:
    registry: of the entries.
    default: names of some.
    doc: a line of what it is for.
    check: of the names as a tuple; by default different names of entries.
  """
  return dataclasses.field(
    default_factory=lambda: Choices(default, _options(registry, {})),
    metadata={
      "some_of": registry,
      "default": default,
      "doc": doc,
      "defaults": {},
      "names": check or some_of,
    },
  )


def group(kind: type) -> Any:
  """A group of fields: another class of the tree."""
  return dataclasses.field(default_factory=kind, metadata={"group": kind})


def named(check: Check, doc: str, default: Mapping[str, Any]) -> Any:
  """A group whose fields have names of the user's, all with one check."""
  return dataclasses.field(
    default_factory=lambda: dict(default), metadata={"named": check, "doc": doc}
  )


# --- checks ---------------------------------------------------------------------------


def count(least: int = 1, most: int = 2**31 - 1, otherwise: str = "") -> Check:
  """Whole numbers that the device can count in int32."""
  must_be = f"a whole number from {least} to {most}{otherwise}"
  return Check(int, lambda value: least <= value <= most, must_be)


def above_zero() -> Check:
  """Finite numbers above 0."""
  return Check(float, lambda value: value > 0, "a finite number above 0")


def at_least_zero() -> Check:
  """Finite numbers of at least 0."""
  return Check(float, lambda value: value >= 0, "a finite number of at least 0")


def between(low: float, high: float) -> Check:
  """Numbers strictly between two."""
  return Check(float, lambda value: low < value < high, f"above {low:g} and under {high:g}")


def interval(text: str) -> Check:
  """Numbers of an interval that is written as "(0, 1]" or "[0, 1)"."""
  low, high = (float(end) for end in text[1:-1].split(","))

  def holds(value):
    above = value >= low if text[0] == "[" else value > low
    return above and (value <= high if text[-1] == "]" else value < high)

  return Check(float, holds, f"in {text}")


def one_of(*known: str) -> Check:
  """Some words."""
  words = ", ".join(known)
  return Check(str, lambda value: value in known, f"one of {words}")


def text(must_be: str) -> Check:
  """Any text."""
  return Check(str, lambda value: True, must_be)


def flag() -> Check:
  """True or false."""
  return Check(bool, lambda value: True, "true or false")


def some_of(registry: Registry[Any]) -> Check:
  """Different names of entries, or none."""

  def holds(names):
    return all(name in registry.names for name in names) and len(set(names)) == len(names)

  known = ", ".join(registry.names)
  return Check(tuple, holds, f"different names out of {known}, or empty")
