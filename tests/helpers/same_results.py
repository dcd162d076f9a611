"""Whether two folders of runs hold the same results: all but times."""

import json
import pathlib

import numpy as np

# Fields of JSON that differ between equal runs.
_OF_TIME = {"attack_seconds", "seconds", "stamp", "stamps", "time", "sha256"}
_SHOW_TIMES = ("index.html", "reproduction.md", "compare.png")


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
  """Names of the files that differ, or that one of the two folders lacks.

  Metrics are compared as sorted lines; of pages and checkpoints, that they are there. A
  stage's older checkpoints may be: the process that was to delete them may be killed.
  """
  files, others = _files(one), _files(other)
  names = sorted(files.keys() ^ others.keys())
  return names + [
    name
    for name in sorted(files.keys() & others.keys())
    if _contents(files[name]) != _contents(others[name])
  ]


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files by their names in the folder, and each stage's newest checkpoint."""
  found = {}
  for path in folder.rglob("*"):
    parts = path.relative_to(folder).parts
    if "checkpoints" in parts:
      if len(parts) - parts.index("checkpoints") == 3 and not _is_older(path):
        found["/".join(parts)] = path
    elif path.is_file():
      found["/".join(parts)] = path
  return found


def _is_older(checkpoint: pathlib.Path) -> bool:
  steps = [int(path.name) for path in checkpoint.parent.iterdir() if path.name.isdecimal()]
  return checkpoint.name.isdecimal() and int(checkpoint.name) < max(steps)


def _contents(path: pathlib.Path) -> object:
  """What of a file must be the same."""
  if path.is_dir() or path.name in (".lock", "stamp.json", *_SHOW_TIMES):
    return None
  if path.suffix == ".json":
    return _without_times(json.loads(path.read_text()))
  if path.suffix == ".jsonl":
    lines = map(json.loads, path.read_text().splitlines())
    return sorted(json.dumps(_without_times(line)) for line in lines)
  if path.suffix == ".npz":
    with np.load(path, allow_pickle=False) as arrays:
      return {name: arrays[name].tobytes() for name in sorted(arrays.files)}
  votes = (path.with_suffix(".counts.tsv"), path.with_suffix(".votes.npz"))
  if path.suffix == ".tsv" and any(each.exists() for each in votes):
    return [line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()]
  return path.read_bytes()


def _without_times(value):
  if isinstance(value, dict):
    return {name: _without_times(v) for name, v in value.items() if name not in _OF_TIME}
  return [_without_times(each) for each in value] if isinstance(value, list) else value
