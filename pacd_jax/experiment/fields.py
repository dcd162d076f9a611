"""The fields of a config: the type, the range in words, and the purpose of each.

A class of the tree in `config.py` is a frozen dataclass whose fields are made by `field`,
`choice` or `choices`, or are groups: other such classes. An entry's `options` are such a
class, too.
"""

import dataclasses
import fractions
import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pacd_jax.registry import Registry


def number(text: str) -> float:
  """A number as users type it: "0.1", "1e-3", or a fraction such as "8/255".

  Raises:
    ValueError: it is none.
  """
  try:
    return float(fractions.Fraction(text)) if "/" in text else float(text)
  except ZeroDivisionError:
    raise ValueError(f"{text} is no number") from None


@dataclasses.dataclass(frozen=True)
class Check:
  """The values that a field may have."""

  kind: type
  holds: Callable[[Any], bool]  # Called with a value of this kind.
  must_be: str  # In words, for the end of a message.

  def accepts(self, value: Any) -> bool:
    """Whether the value is of the kind and in the range; bools and NaN are no numbers."""
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
    """Converts an accepted value to the kind: 1 to 1.0, a list to a tuple."""
    return self.kind(value)


@dataclasses.dataclass(frozen=True)
class Choice:
  """The entry that a field names, and the options of all entries of its registry."""

  name: str
  options: Mapping[str, Any]  # Instances of the entries' dataclasses, by their names.

  @property
  def own(self) -> Any:
    """The chosen entry's options; None where it has none."""
    return self.options.get(self.name)


@dataclasses.dataclass(frozen=True)
class Choices:
  """The entries that a field names, in order, and the options of all of its registry's."""

  names: tuple[str, ...]
  options: Mapping[str, Any]


def field(default: Any, check: Check, doc: str, *, free: bool = False) -> Any:
  """A field with one value.

  Args:
    default: a value of the check's kind.
    check: the values that the field may have.
    doc: one line on its purpose.
    free: whether it changes only how a run is done, and results by rounding at most, so
      that a run is resumable with another value.
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
    registry: the registry of the entries.
    default: the name of one.
    doc: one line on its purpose.
    defaults: options that have another default here, by the entry's name.
    empty: what "" means, if the field may be empty.
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
  """A field that names several entries, with groups beside it as for `choice`.

  Args:
    registry: the registry of the entries.
    default: the names of some.
    doc: one line on its purpose.
    check: makes the check of the tuple of names; by default, distinct names of entries.
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


def bound(function: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
  """The `make` of an entry whose options are the function's keyword arguments."""
  return lambda options: functools.partial(function, **dataclasses.asdict(options))


def group(kind: type) -> Any:
  """A group of fields: another class of the tree."""
  return dataclasses.field(default_factory=kind, metadata={"group": kind})


def named(check: Check, doc: str, default: Mapping[str, Any]) -> Any:
  """A group whose fields are named by the user, all with the same check."""
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
  """Numbers strictly between `low` and `high`."""
  return Check(float, lambda value: low < value < high, f"above {low:g} and under {high:g}")


def interval(text: str) -> Check:
  """Numbers in an interval that is written as "(0, 1]" or "[0, 1)"."""
  low, high = (float(end) for end in text[1:-1].split(","))

  def holds(value):
    above = value >= low if text[0] == "[" else value > low
    return above and (value <= high if text[-1] == "]" else value < high)

  return Check(float, holds, f"in {text}")


def one_of(*known: str) -> Check:
  """One of the given words."""
  words = ", ".join(known)
  return Check(str, lambda value: value in known, f"one of {words}")


def text(must_be: str) -> Check:
  """Any text."""
  return Check(str, lambda value: True, must_be)


def flag() -> Check:
  """True or false."""
  return Check(bool, lambda value: True, "true or false")


def some_of(registry: Registry[Any]) -> Check:
  """Distinct names of entries, or none."""

  def holds(names):
    return all(name in registry.names for name in names) and len(set(names)) == len(names)

  known = ", ".join(registry.names)
  return Check(tuple, holds, f"different names out of {known}, or empty")
