"""Whose run a folder holds: the config's fields that it is bound to, a fingerprint."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pacd_jax import __version__
from pacd_jax.experiment import schema

_ABSENT = object()


class Identity:
  """The resolved config of a run, or of a suite, as its folder has it.

  Args:
    values: plain and nested, as `schema.values` gives them, or a suite's.
    grows: parts may be added to it later, each bound by a folder of its own, so that the
      folder is bound to its `base` and `data` alone.
  """

  def __init__(self, values: Mapping[str, Any], *, grows: bool = False):
    self._values = json.loads(json.dumps(values))  # As config.json gives it back.
    self.grows = grows

  @property
  def text(self) -> str:
    """What config.json holds."""
    return json.dumps(self._values, indent=2, allow_nan=False) + "\n"

  @property
  def fingerprint(self) -> str:
    """Names the fields that a run is bound to, and the package's version."""
    bound = {name: _plain(value) for name, value in self._bound(self._values).items()}
    words = json.dumps([__version__, bound], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()

  def differences(self, there: Mapping[str, Any]) -> str:
    """The fields in which another config is not the same run, with both values; or "".

    Args:
      there: what a config.json holds.
    """
    one, other = self._bound(there), self._bound(self._values)

    def words(bound, name):
      return repr(bound.get(name, "absent"))

    return "; ".join(
      f"{name} is {words(one, name)} there and {words(other, name)} here"
      for name in sorted(one.keys() | other.keys())
      if one.get(name, _ABSENT) != other.get(name, _ABSENT)
    )

  def _bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
    """All fields but the free ones; of a poison's place, whether there is one.

    The poison's copy is held against the file itself (`row_data.py`).
    """
    flat, free = schema.flatten(values), schema.free_fields()
    if self.grows:
      flat = {name: flat[name] for name in flat if name.startswith(("base.", "data."))}
    for name in flat:
      if schema.field_name(name).startswith(schema.NAMED):
        flat[name] = "given" if flat[name] else ""
    return {n: value for n, value in flat.items() if schema.field_name(n) not in free}


def _plain(value: Any) -> Any:
  """1.0 as 1: equal values have equal fingerprints."""
  is_whole = isinstance(value, float) and value.is_integer()
  return int(value) if is_whole else value


def default_name(config_name: str, variant: str = "") -> str:
  """Folder of a run by its config and what stands behind the colon, in any order.

  `default_name("mnist_ga", "sigma=0.5,fast")` is "mnist_ga_fast_sigma=0.5".
  """
  items = sorted(filter(None, variant.split(",")), key=lambda item: ("=" in item, item))
  return "_".join([config_name, *(re.sub(r"[^\w.=-]+", "_", item) for item in items)])
