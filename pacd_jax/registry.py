"""Registries: the entries of one kind, each under its own name.

An entry is a frozen dataclass with a `name`; most have `options`, the dataclass of the
fields that a config has for it, and `words` for tables and pages. The package's own
entries are in `experiment/entries/`, its sampling rules in `certification/rules/`; others
are added from anywhere:

  from pacd_jax.experiment import kinds

  kinds.LOSSES.add(kinds.Loss("mine", make=..., words="...", options=MyOptions))
"""

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from pacd_jax import errors

Options = Any  # An instance of an entry's dataclass.


class Entry(Protocol):
  """An entry of a registry."""

  @property
  def name(self) -> str:
    """The name in configs and files."""
    ...


_Entry = TypeVar("_Entry", bound=Entry)


class Registry(Generic[_Entry]):
  """The entries of one kind, in the order in which they were added.

  Args:
    kind: what messages call an entry, such as "loss".
  """

  def __init__(self, kind: str):
    self.kind = kind
    self._entries: dict[str, _Entry] = {}
    self.version = 0  # How often it has changed.

  def add(self, entry: _Entry) -> _Entry:
    """Adds an entry under its name, and returns it.

    Raises:
      errors.InputError: the name is taken, or no config can have it.
    """
    if not entry.name.isidentifier():
      raise errors.InputError(
        f"{self.kind} {entry.name!r} has an unusable name: use letters, digits and _"
      )
    if entry.name in self._entries:
      raise errors.InputError(
        f"there is a {self.kind} {entry.name!r} already: choose another name"
      )
    self._entries[entry.name] = entry
    self.version += 1
    return entry

  def remove(self, name: str) -> None:
    """Removes an entry, as tests do with theirs."""
    del self._entries[name]
    self.version += 1

  def __getitem__(self, name: str) -> _Entry:
    """The entry of a name; raises errors.InputError, which lists the names, if unknown."""
    if name not in self._entries:
      raise errors.InputError(
        f"there is no {self.kind} {name!r}: use one of {', '.join(self._entries)}"
      )
    return self._entries[name]

  def __contains__(self, name: object) -> bool:
    return isinstance(name, str) and name in self._entries

  def __iter__(self) -> Iterator[_Entry]:
    return iter(list(self._entries.values()))

  @property
  def names(self) -> tuple[str, ...]:
    """The names of all entries."""
    return tuple(self._entries)
