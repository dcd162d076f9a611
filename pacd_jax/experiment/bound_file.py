"""Files of a run, each with a JSON file beside it that names its run and its checksum.

So neither can be exchanged for that of another run, or of another row, and a later stage
would not know. Earlier versions' JSON files, or none, name nothing, and nothing is checked.
"""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from pacd_jax import errors
from pacd_jax.runtime import files, run_folder, stamp


def write(
  path: pathlib.Path, contents: bytes, run: str, about: Mapping[str, Any] | None = None
) -> None:
  """Writes the JSON file, and then the file itself, each atomically.

  Args:
    path: the file; the other has `.json` in place of its suffix.
    contents: its bytes.
    run: the fingerprint of the run.
    about: further fields of the JSON file.
  """
  digest = hashlib.sha256(contents).hexdigest()
  bound = {"run": run, "of_file": digest, "stamp": stamp.make()}
  run_folder.write_json(path.with_suffix(".json"), {**(about or {}), **bound})
  files.write(path, contents)


def check(path: pathlib.Path, run: str | None, remedy: str) -> None:
  """Checks a file that is there against the JSON file beside it.

  Args:
    path: the file.
    run: the fingerprint of the run; None: of any run.
    remedy: what an error advises.

  Raises:
    errors.InputError: the JSON file is damaged, or one of the two is another run's.
  """
  beside = path.with_suffix(".json")
  if not beside.exists():
    return
  about = run_folder.read_json(beside)
  if run is not None and about.get("run", run) != run:
    raise errors.InputError(f"{beside} is of another run: {remedy}")
  if "of_file" not in about:
    return
  if about["of_file"] != hashlib.sha256(files.read_bytes(path)).hexdigest():
    raise errors.InputError(
      f"{path} is not the file that {beside.name} is about (its checksum differs): {remedy}"
    )
