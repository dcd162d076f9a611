"""Stamps: the code, the versions and the device that made an artefact.

A stamp is a dictionary that JSON can hold. A run's folder has its stamps in `stamp.json`:
the first, and one for each time that other code or versions resumed the run. Every file of
results carries the stamp that it was made under. Each stamp is sealed by a hash of itself.
"""

import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pacd_jax
from pacd_jax import errors
from pacd_jax.runtime import sealed

SCHEMA = 1
ALLOW_FLAG = "--allow_other_versions"
_PACKAGE = pathlib.Path(pacd_jax.__file__).parent
_BUILT_FROM = _PACKAGE / "_built_from.json"  # In a wheel; setup.py writes it.
_LIBRARIES = ("jax", "jaxlib", "numpy", "flax", "optax")
_PRECISION = ("default_matmul_precision", "enable_x64")  # Settings of JAX.
# A run is resumed only if these are equal; the rest of a stamp is for readers.
_BINDING = (
  *("version", "code", *_LIBRARIES, "backend", "device_kind"),
  *_PRECISION,
)
Stamp = dict[str, Any]


@functools.cache
def _of_code() -> Mapping[str, Any]:
  """The package's version, its commit where that is known, and a hash of its sources."""
  digest = hashlib.sha256()
  for path in sorted(_PACKAGE.rglob("*.py")):
    name = path.relative_to(_PACKAGE).as_posix()
    if name.startswith("configs/"):  # Wheels have them there; a run is bound to its own.
      continue
    digest.update(f"{name}\0".encode())
    digest.update(path.read_bytes())
  return {
    "version": pacd_jax.__version__,
    **_commit(),
    "code": digest.hexdigest(),
  }


def _commit() -> dict[str, Any]:
  """The commit of the clone, or of the clone that a wheel was built in; None: unknown."""
  root = _PACKAGE.parent
  if (root / ".git").exists():
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    changed = None if changes is None else bool(changes)
    return {"commit": commit, "changed": changed}
  if _BUILT_FROM.exists():
    built = json.loads(_BUILT_FROM.read_text(encoding="utf-8"))
    return {"commit": built["commit"], "changed": built["changed"]}
  return {"commit": None, "changed": None}


def _git(root: pathlib.Path, *arguments: str) -> str | None:
  """The output of git on a clone; None where there is no git, or it fails."""
  command = ["git", "-C", str(root), *arguments]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()


def make() -> Stamp:
  """The stamp of what this process makes."""
  import jax  # Imported here: results are read where there is no JAX.

  return sealed.seal(
    {
      "schema": SCHEMA,
      **_of_code(),
      "python": platform.python_version(),
      **{name: importlib.metadata.version(name) for name in _LIBRARIES},
      "backend": jax.default_backend(),
      "device_kind": jax.devices()[0].device_kind,
      "num_devices": jax.device_count(),  # On a CPU its cores: sums depend on it.
      **{name: getattr(jax.config, f"jax_{name}") for name in _PRECISION},
    }
  )


def binding() -> Stamp:
  """What of this process's stamp a run is bound to."""
  here = make()
  return {name: here[name] for name in _BINDING}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
  """How two stamps differ in what a run is bound to, in words; "" where they do not."""
  names = [name for name in _BINDING if there.get(name) != here.get(name)]
  if "code" in names and "version" in names:
    names.remove("code")  # The version says it.
  found = []
  for name in names:
    if name == "code":
      one, other = (_words_of_code(stamp) for stamp in (there, here))
      if one == other:  # As between two edits of one commit.
        one, other = (f"{one}, sources {stamp['code'][:7]}" for stamp in (there, here))
      found.append(f"the code is {one} there and {other} here")
    else:
      one, other = (stamp.get(name, "unknown") for stamp in (there, here))
      found.append(f"{name} is {one} there and {other} here")
  return "; ".join(found)


def _words_of_code(stamp: Mapping[str, Any]) -> str:
  """Seven digits of the commit, and whether it was changed; else of the sources' hash."""
  commit = stamp.get("commit")
  if not commit:
    return f"sources {str(stamp.get('code'))[:7]}"
  return f"commit {commit[:7]}" + (" with changes" if stamp.get("changed") else "")


def joined(of_runs: Iterable[Sequence[Stamp]]) -> list[Stamp]:
  """The stamps of several runs, each once."""
  return list({each["sha256"]: each for stamps in of_runs for each in stamps}.values())


def in_words(stamp: Mapping[str, Any] | None) -> str:
  """A stamp as a sentence's end: "pacd_jax 0.2.0 (commit 1234567), jax 0.10.2, ..."."""
  if not stamp:
    return "unknown code and versions: the run has no stamp"
  if not sealed.is_whole(stamp):
    return "unknown code and versions: the stamp of the run was edited"
  code = f"pacd_jax {stamp['version']} ({_words_of_code(stamp)})"
  versions = [f"{name} {stamp[name]}" for name in (*_LIBRARIES, "python")]
  return ", ".join([code, *versions, f"on {stamp['backend']} ({stamp['device_kind']})"])


# --- stamp.json -----------------------------------------------------------------------


def read(path: pathlib.Path) -> list[Stamp]:
  """The stamps of a run, oldest first; empty where the file is not there.

  Raises:
    errors.InputError: it is damaged, or was edited.
  """
  try:
    stamps = sealed.parse(path.read_bytes())
  except FileNotFoundError:
    return []
  except (OSError, ValueError):
    stamps = None
  if not (isinstance(stamps, list) and stamps and all(map(sealed.is_whole, stamps))):
    raise errors.InputError(
      f"{path} is damaged or was edited: restore it, or delete it and add {ALLOW_FLAG}"
    )
  return stamps
