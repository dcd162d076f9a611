"""Triggers as text, as goals hold them, and back: a function of images."""

import dataclasses
import json
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.defenses.transforms import forms
from pacd_jax.experiment import kinds


def to_text(name: str, options: Any) -> str:
  """JSON of a trigger: its name, and its options by name.

  Args:
    name: an entry of `kinds.TRIGGERS`.
    options: an instance of the entry's dataclass, or of a subclass, whose further fields
      are left out; None where it has none.
  """
  about = {"name": name, "options": _as_dict(_own(kinds.TRIGGERS[name], options))}
  return json.dumps(about, sort_keys=True)


def name_of(text: str) -> str:
  """The name of the trigger that a text describes; "" for none."""
  return json.loads(text)["name"] if text else ""


def of_text(text: str, image_shape: tuple[int, int, int]) -> types.TriggerFn:
  """The trigger that a text describes, for images `(H, W, C)`.

  Raises:
    errors.InputError: there is no such trigger, or its options are not ones that it has, or
      do not fit the images.
  """
  about = json.loads(text)
  if about["name"] not in kinds.TRIGGERS:
    raise errors.InputError(
      f"a goal's trigger is {about['name']!r}, none of {', '.join(kinds.TRIGGERS.names)}: "
      "import the module that adds it"
    )
  entry = kinds.TRIGGERS[about["name"]]
  options = _options(entry, about["options"])
  return make(entry.name, options, image_shape)


def make(name: str, options: Any, image_shape: tuple[int, int, int]) -> types.TriggerFn:
  """The trigger of an entry; options as in `to_text`; raises as the entry's check does."""
  entry = kinds.TRIGGERS[name]
  own = _own(entry, options)
  if entry.check is not None:
    entry.check(own, image_shape)
  return entry.make(own, image_shape)


def put_on(trigger: types.TriggerFn, images: np.ndarray) -> np.ndarray:
  """Images with a trigger, as 8-bit files hold them: uint8 `[n, H, W, C]` -> the same."""
  return forms.on_uint8(trigger, images)


def _own(entry: kinds.Trigger, options: Any) -> Any:
  """The entry's own options, without what a subclass of their dataclass adds."""
  if entry.options is None:
    return None
  names = [each.name for each in dataclasses.fields(entry.options)]
  return entry.options(**{name: getattr(options, name) for name in names})


def _as_dict(options: Any) -> dict[str, Any]:
  return {} if options is None else dataclasses.asdict(options)


def _options(entry: kinds.Trigger, given: Any) -> Any:
  """An instance of the entry's dataclass; raises as `of_text` does."""
  fields = () if entry.options is None else dataclasses.fields(entry.options)
  names = {each.name for each in fields}
  if not isinstance(given, dict) or given.keys() != names:
    raise errors.InputError(
      f"a goal's trigger {entry.name} has options {given!r}: give "
      f"{', '.join(sorted(names)) or 'none'}"
    )
  taken = {}
  for each in fields:
    check, value = each.metadata["check"], given[each.name]
    if not check.accepts(value):
      raise errors.InputError(
        f"a goal's trigger {entry.name} has {each.name} {value!r}: it must be "
        f"{check.must_be}"
      )
    taken[each.name] = check.take(value)
  return None if entry.options is None else entry.options(**taken)
