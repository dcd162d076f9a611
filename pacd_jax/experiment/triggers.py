"""Triggers as text, as goals hold them, and back: a function of images."""

import dataclasses
import functools
import json
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.experiment import kinds

_AT_ONCE = 1000  # Images.


def to_text(name: str, options: Any) -> str:
  """JSON of a trigger: its name, and its options by name.

  Args:
    name: an entry of `kinds.TRIGGERS`.
    options: an instance of the entry's dataclass, or of a subclass, whose further fields
      are left out; None where it has none.
  """
  kind = kinds.TRIGGERS[name].options
  own = (
    {} if kind is None else {each.name: getattr(options, each.name) for each in _of(kind)}
  )
  return json.dumps({"name": name, "options": own}, sort_keys=True)


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
  """The trigger of an entry, checked against the images; raises as its check does."""
  entry = kinds.TRIGGERS[name]
  if entry.check is not None:
    entry.check(options, image_shape)
  return entry.make(options, image_shape)


def put_on(trigger: types.TriggerFn, images: np.ndarray) -> np.ndarray:
  """Images with a trigger, as 8-bit files hold them: uint8 `[n, H, W, C]` -> the same."""
  found = np.empty_like(images)
  for start in range(0, len(images), _AT_ONCE):
    part = arrays.to_float(images[start : start + _AT_ONCE])
    changed = np.asarray(_jitted(trigger)(part))
    found[start : start + _AT_ONCE] = np.rint(np.clip(changed, 0.0, 1.0) * 255.0)
  return found


@functools.lru_cache(maxsize=8)
def _jitted(trigger: types.TriggerFn):
  return jax.jit(trigger)


def _options(entry: kinds.Trigger, given: Any) -> Any:
  """An instance of the entry's dataclass; raises as `of_text` does."""
  fields = [] if entry.options is None else _of(entry.options)
  names = {each.name for each in fields}
  if not isinstance(given, dict) or given.keys() != names:
    raise errors.InputError(
      f"a goal's trigger {entry.name} has options {given!r}: give "
      f"{', '.join(sorted(names)) or 'none'}"
    )
  for each in fields:
    check, value = each.metadata["check"], given[each.name]
    if not check.accepts(value):
      raise errors.InputError(
        f"a goal's trigger {entry.name} has {each.name} {value!r}: it must be "
        f"{check.must_be}"
      )
  if entry.options is None:
    return None
  taken = {each.name: each.metadata["check"].take(given[each.name]) for each in fields}
  return entry.options(**taken)


def _of(kind: type) -> tuple[dataclasses.Field[Any], ...]:
  return dataclasses.fields(kind)
