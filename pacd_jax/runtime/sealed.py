"""Seals of JSON files: a hash in each tells a file that changed from one as it was written.

The seal is the field `sha256` beside the others, over their values. What has none, as files
of earlier versions, is taken as it is.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

FIELD = "sha256"


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
  """The fields, and the hash of all of them but `sha256` itself as `sha256`."""
  rest = {name: each for name, each in value.items() if name != FIELD}
  text = json.dumps(rest, sort_keys=True, allow_nan=False)
  return rest | {FIELD: hashlib.sha256(text.encode()).hexdigest()}


def is_whole(value: Any) -> bool:
  """Whether the value is sealed, and as it was then."""
  return isinstance(value, dict) and FIELD in value and seal(value) == value


def parse(contents: bytes) -> Any:
  """The value of a JSON file, without its seal.

  Raises:
    ValueError: says why it is none: it is no JSON, has a name twice or a number that is not
      finite, or is not as it was sealed.
  """
  try:
    value = json.loads(
      contents, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite
    )
  except RecursionError:
    raise ValueError("it is nested too deeply") from None
  if not (isinstance(value, dict) and FIELD in value):
    return value
  if not is_whole(value):
    raise ValueError("it has changed since it was written: its sha256 differs")
  del value[FIELD]
  return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  value = dict(pairs)
  if len(value) < len(pairs):
    names = [name for name, _ in pairs]
    raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is there twice")
  return value


def _finite(text: str) -> float:
  if not math.isfinite(number := float(text)):
    raise ValueError(f"{text} is no finite number")
  return number
