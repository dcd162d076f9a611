"""The tree of `config.py` as plain values and back: names, defaults, checks, messages.

Plain values are nested dictionaries, as in JSON: `{"attack": {"epsilon": 0.1}}`; a field's
name is flat: "attack.epsilon". Beside a field that names an entry is a group for each entry
with options: beside "attack.loss", the group of "attack.macer.lam".
"""

import dataclasses
import difflib
import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pacd_jax import errors
from pacd_jax.experiment import fields, kinds
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.fields import Check, Choice, Choices
from pacd_jax.registry import Registry

Values = dict[str, Any]  # Nested.
Flat = dict[str, Any]  # By flat names.
NAMED = "poisons."  # The prefix of fields that the user names.


class Field(NamedTuple):
  """One field of the tree."""

  check: Check
  default: Any
  doc: str
  free: bool = False  # Whether a run is resumable with another value.


def flatten(values: Mapping[str, Any], prefix: str = "") -> Flat:
  """`{"attack": {"epsilon": 0.1}}` as `{"attack.epsilon": 0.1}`."""
  flat: Flat = {}
  for name, value in values.items():
    if isinstance(value, Mapping):
      flat |= flatten(value, f"{prefix}{name}.")
    else:
      flat[prefix + name] = value
  return flat


def nested(flat: Mapping[str, Any]) -> Values:
  """`{"attack.epsilon": 0.1}` as `{"attack": {"epsilon": 0.1}}`.

  Raises:
    errors.InputError: a name is that of a field and of a group.
  """
  values: Values = {}
  for name, value in flat.items():
    *groups, last = name.split(".")
    holder = values
    for group in groups:
      holder = holder.setdefault(group, {})
      if not isinstance(holder, dict):
        raise errors.InputError(
          f"config field {name} is of a group, but {group} is {holder!r}: give one of them"
        )
    holder[last] = value
  return values


# --- the tree's fields ----------------------------------------------------------------


def known() -> Mapping[str, Field]:
  """Every field by flat name, entries' options too, but not those that the user names.

  Raises:
    errors.InputError: an entry's group has the name of a field, or of another group.
  """
  return _known(tuple(registry.version for registry in kinds.ALL))


@functools.lru_cache(maxsize=4)
def _known(versions: tuple[int, ...]) -> Mapping[str, Field]:
  """`known` for these versions of the registries, cached."""
  del versions
  found: dict[str, Field] = {}
  for name, each in _walk(Config, {}):
    if name in found:
      raise errors.InputError(
        f"two entries, or an entry and a field, are both called {name}: rename one"
      )
    found[name] = each
  groups: set[str] = set()
  for group in _groups(Config):
    if group in groups:
      raise errors.InputError(
        f"the options of an entry are the group {group}, which is there already: rename "
        "the entry"
      )
    groups.add(group)
  for one, other in itertools.pairwise(sorted(found)):
    if other.startswith(f"{one}."):
      raise errors.InputError(f"the options {other} stand below the field {one}: rename it")
  return found


def _walk(
  kind: type, defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Field]]:
  """The fields of one class of the tree; `defaults` replace its own."""
  for each in dataclasses.fields(kind):
    name, about = prefix + each.name, each.metadata
    default = defaults.get(each.name, about.get("default"))
    if "group" in about:
      yield from _walk(about["group"], {}, f"{name}.")
    elif "check" in about:
      yield name, Field(about["check"], default, about["doc"], about["free"])
    elif registry := about.get("one_of"):
      yield name, Field(_one_of(registry, about["empty"]), default, about["doc"])
      yield from _options(registry, about["defaults"], prefix)
    elif registry := about.get("some_of"):
      yield name, Field(about["names"](registry), default, about["doc"])
      yield from _options(registry, about["defaults"], prefix)
    elif "named" not in about:
      raise TypeError(f"{kind.__name__}.{each.name} is not made by experiment.fields")


def _groups(kind: type, prefix: str = "") -> Iterator[str]:
  """Names of a class's groups: its own, and those of entries' options."""
  for each in dataclasses.fields(kind):
    about = each.metadata
    if "group" in about:
      yield f"{prefix}{each.name}"
      yield from _groups(about["group"], f"{prefix}{each.name}.")
    elif registry := about.get("one_of") or about.get("some_of"):
      for entry in registry:
        if entry.options is not None:
          yield f"{prefix}{entry.name}"
          yield from _groups(entry.options, f"{prefix}{entry.name}.")


def _one_of(registry: Registry[Any], empty: str) -> Check:
  names = (*(("",) if empty else ()), *registry.names)
  return fields.one_of(*names)


def _options(registry: Registry[Any], defaults, prefix: str):
  for entry in registry:
    if entry.options is not None:
      own = defaults.get(entry.name, {})
      yield from _walk(entry.options, own, f"{prefix}{entry.name}.")


class NamedFields(NamedTuple):
  """A group whose fields are named by the user."""

  name: str
  doc: str
  must_be: str


def named_fields() -> list[NamedFields]:
  """The tree's groups whose fields are named by the user."""
  return [
    NamedFields(each.name, each.metadata["doc"], each.metadata["named"].must_be)
    for each in dataclasses.fields(Config)
    if "named" in each.metadata
  ]


def defaults() -> Values:
  """The plain values of a config that sets nothing."""
  flat = {name: each.default for name, each in known().items()}
  return nested(flat | {f"{NAMED}{name}": text for name, text in Config().poisons.items()})


# --- values into the tree -------------------------------------------------------------


def make(values: Mapping[str, Any]) -> Config:
  """Makes a config of plain values; each field is checked by itself.

  Raises:
    errors.InputError: at the first field that is unknown, missing, or out of range; names
      it, its value, and what it must be.
  """
  flat, there = flatten(values), known()
  for name in flat:
    if name not in there:
      check_name(name)
  for name in sorted(there.keys() - flat.keys()):
    raise errors.InputError(f"config field {name} is missing: start from configs/base.py")
  for name, each in there.items():
    _check(name, each.check, flat[name])
  for name, value in flat.items():
    if name.startswith(NAMED) and not isinstance(value, str):
      raise errors.InputError(
        f"config field {name} is {value!r}: it must be a poison's file, the folder of the "
        "run that made it, or empty"
      )
  taken = {name: there[name].check.take(flat[name]) for name in there}
  return _build(Config, taken | {n: v for n, v in flat.items() if n.startswith(NAMED)})


def _check(name: str, check: Check, value: Any) -> None:
  if not check.accepts(value):
    raise errors.InputError(f"config field {name} is {value!r}: it must be {check.must_be}")


def _build(kind: type, flat: Flat, prefix: str = "") -> Any:
  made: dict[str, Any] = {}
  for each in dataclasses.fields(kind):
    name, about = prefix + each.name, each.metadata
    if "group" in about:
      made[each.name] = _build(about["group"], flat, f"{name}.")
    elif "named" in about:
      start = f"{name}."
      made[each.name] = {
        n.removeprefix(start): v for n, v in flat.items() if n.startswith(start)
      }
    elif registry := about.get("one_of") or about.get("some_of"):
      options = {
        entry.name: _build(entry.options, flat, f"{prefix}{entry.name}.")
        for entry in registry
        if entry.options is not None
      }
      chosen = Choice if "one_of" in about else Choices
      made[each.name] = chosen(flat[name], options)
    else:
      made[each.name] = flat[name]
  return kind(**made)


def values(config: Config) -> Values:
  """A config's plain values, which `make` takes and config.json holds."""
  return _values(config)


def _values(node: Any) -> Values:
  found: Values = {}
  for each in dataclasses.fields(node):
    value, about = getattr(node, each.name), each.metadata
    if "group" in about:
      found[each.name] = _values(value)
    elif isinstance(value, Choice | Choices):
      found[each.name] = value.name if isinstance(value, Choice) else list(value.names)
      found |= {name: _values(options) for name, options in value.options.items()}
    elif isinstance(value, tuple):
      found[each.name] = list(value)
    else:
      found[each.name] = dict(value) if "named" in about else value
  return found


def replaced(config: Config, flat: Mapping[str, Any]) -> Config:
  """The config with other values of some fields, by flat names; raises as `make` does."""
  for name in flat:
    check_name(name)
  return make(nested(flatten(values(config)) | dict(flat)))


# --- names ----------------------------------------------------------------------------


def field_name(name: str) -> str:
  """The field's name in a single run: without the prefix of a suite's part.

  "victims.macer.sigma" and "base.sigma" are "sigma", and
  "attacks.mine.overrides.attack.damping" is "attack.damping".
  """
  within = r"victims\.[^.]+\.|base\.|attacks\.[^.]+\.overrides\."
  return re.sub(f"^({within})", "", name)


def check_name(name: str) -> None:
  """Raises `errors.InputError`, which names near fields, if no run has this field."""
  there = known()
  if not isinstance(name, str):
    raise errors.InputError(f"config field {name!r} is unknown: a name is a text")
  if name in there or name.startswith(NAMED):
    return
  group = name.rpartition(".")[0]
  near = [field for field in there if field.rpartition(".")[0] == group]
  hint = "" if near else "; an entry's options are known once its file is imported"
  near = near or difflib.get_close_matches(name, there, n=5, cutoff=0.5)
  near = sorted(near, key=lambda field: field not in difflib.get_close_matches(name, near))
  raise errors.InputError(
    f"config field {name} is unknown: use one of {', '.join(near or there)}{hint}"
  )


def check_flag(name: str) -> None:
  """Checks a name as `check_name` does, but allows fields of suites, too."""
  if not re.fullmatch(r"epsilons|targets|training|attacks\.[^.]+\.row", name):
    check_name(field_name(name))


def fields_like(name: str) -> list[str]:
  """The fields whose flat name is `name`, or ends with it after a dot."""
  return [each for each in known() if each == name or each.endswith(f".{name}")]


def must_be(name: str) -> str:
  """What a field must be, in words; empty for an unknown field."""
  field = known().get(field_name(name))
  return field.check.must_be if field else ""


def free_fields() -> frozenset[str]:
  """Names of the free fields, whose values may change when a run is resumed."""
  return frozenset(name for name, each in known().items() if each.free)
