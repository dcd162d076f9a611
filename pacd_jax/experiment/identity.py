"""The identity of a run: the config fields that its folder is bound to, a fingerprint."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pacd_jax.experiment import schema
from pacd_jax.runtime import run_folder

_ABSENT = object()


class Identity:
  """The resolved config of a run, or of a suite, as its folder stores it.

  Args:
    values: plain nested values, as `schema.values` gives them, or a suite's.
    grows: whether parts may be added later; each part is bound by a folder of its own, so
      that this folder is bound to `base` and `data` alone.
  """

  def __init__(self, values: Mapping[str, Any], *, grows: bool = False):
    self._values = json.loads(json.dumps(values))  # As read back from config.json.
    self.grows = grows

  @property
  def text(self) -> str:
    """The text of config.json."""
    return run_folder.json_text(self._values)

  @property
  def fingerprint(self) -> str:
    """A SHA-256 of the fields that a run is bound to; `stamp.json` binds it to the code.

    Fields at their defaults are left out, so that a later version's fields change nothing.
    """
    bound = {
      name: _plain(value)
      for name, value in self._bound(self._values).items()
      if not _is_default(name, value)
    }
    words = json.dumps(bound, sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()

  def differences(self, there: Mapping[str, Any]) -> str:
    """The bound fields in which another config differs, with both values; "" if none.

    A field that the other lacks, as one of an earlier version may, counts as its default.

    Args:
      there: the values of the other config.json.
    """
    one, other = self._bound(there), self._bound(self._values)

    def words(bound, name):
      return repr(bound.get(name, "absent"))

    def differs(name):
      if name not in one and _is_default(name, other[name]):
        return False
      return one.get(name, _ABSENT) != other.get(name, _ABSENT)

    return "; ".join(
      f"{name} is {words(one, name)} there and {words(other, name)} here"
      for name in sorted(filter(differs, one.keys() | other.keys()))
    )

  def _bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
    """All fields but the free ones; a poison's path counts only as given or not.

    `row_data.py` compares a poison's copy with the file itself.
    """
    flat, free = schema.flatten(values), schema.free_fields()
    if self.grows:
      flat = {name: flat[name] for name in flat if name.startswith(("base.", "data."))}
    for name in flat:
      if schema.field_name(name).startswith(schema.NAMED):
        flat[name] = "given" if flat[name] else ""
    return {n: value for n, value in flat.items() if schema.field_name(n) not in free}


def _is_default(name: str, value: Any) -> bool:
  """Whether this is a field's default, as config.json has it."""
  field = schema.known().get(schema.field_name(name))
  if field is None:
    return False
  default = list(field.default) if isinstance(field.default, tuple) else field.default
  return _plain(value) == _plain(default)


def _plain(value: Any) -> Any:
  """Turns 1.0 into 1, so that equal values have equal fingerprints."""
  is_whole = isinstance(value, float) and value.is_integer()
  return int(value) if is_whole else value


def default_name(config_name: str, variant: str = "") -> str:
  """The folder name of a run, by its config and the variant's items in any order.

  `default_name("mnist_ga", "sigma=0.5,fast")` is "mnist_ga_fast_sigma=0.5".
  """
  items = sorted(filter(None, variant.split(",")), key=lambda item: ("=" in item, item))
  return "_".join([config_name, *(re.sub(r"[^\w.=-]+", "_", item) for item in items)])
