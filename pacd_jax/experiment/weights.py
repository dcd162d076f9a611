"""Weights of networks as safetensors: the package's own layout, or PyTorch's.

In its own layout a tensor is called by its place in the parameters, "Dense_0/kernel"; in
PyTorch's, "dense.0.weight" (`models.torch_layout`). The entry `pacd_jax` of the metadata is
JSON: schema, network, norm, num_classes, image_shape, their checksum with the tensors, and
what else is known. Files of other programs need not have it.
"""

import hashlib
import importlib.util
import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.experiment import kinds
from pacd_jax.experiment.entries import networks
from pacd_jax.models import torch_layout
from pacd_jax.runtime import files

SCHEMA = 1
LAYOUTS = ("flax", "pytorch")
_FACTS = ("network", "norm", "num_classes", "image_shape")
_MOST_NAMES = 5  # In an error.

Shapes = dict[str, tuple[int, ...]]


def check_installed() -> None:
  """Raises `errors.InputError` where safetensors is not installed."""
  if importlib.util.find_spec("safetensors") is None:
    raise errors.InputError("weights need the package safetensors: pip install safetensors")


def save_weights(
  path: str | os.PathLike[str],
  params: types.Params,
  *,
  network: str,
  num_classes: int,
  image_shape: tuple[int, int, int],
  norm: str = "",
  layout: str = "flax",
  about: Mapping[str, Any] | None = None,
) -> None:
  """Writes one network's parameters atomically: beside `path`, then renamed.

  Args:
    path: the file, such as "victim.safetensors"; one that is there is replaced.
    params: parameters of this network, float32 and finite.
    network: the name of an entry of `kinds.NETWORKS`, such as "mnist_cnn".
    num_classes: number of logits K.
    image_shape: `(H, W, C)`.
    norm: one of the network's kinds of norm layers; "": it has none.
    layout: "flax", or "pytorch" for the names and the axes of docs/pytorch.md.
    about: more for the metadata, as JSON has it.

  Raises:
    errors.InputError: the parameters are not this network's, the network has no layout for
      PyTorch, or safetensors is not installed.
  """
  check_installed()
  from safetensors import numpy as safetensors  # Of the extra [weights].

  if layout not in LAYOUTS:
    raise errors.InputError(f"layout={layout!r}: use one of {', '.join(LAYOUTS)}")
  like = _like(network, num_classes, image_shape, norm)[1]
  own = {name: np.asarray(leaf) for name, leaf in _named(params).items()}
  _check(own, _shapes(_named(like)), "params", network)
  if layout == "pytorch":
    _check_layout(network)
    own = torch_layout.to_torch(params, image_shape[-1])
  facts = (network, norm, num_classes, image_shape)
  words = dict(about or {}) | {"schema": SCHEMA} | dict(zip(_FACTS, facts, strict=True))
  # Arrays that are not contiguous would be stored in another order.
  whole = {name: np.ascontiguousarray(array) for name, array in own.items()}
  words["sha256"] = _digest(whole, words)
  stored = safetensors.save(whole, {"pacd_jax": json.dumps(words)})
  files.write(files.user_path(path), stored)


def load_weights(
  path: str | os.PathLike[str],
  *,
  network: str | None = None,
  num_classes: int | None = None,
  image_shape: tuple[int, int, int] | None = None,
  norm: str | None = None,
) -> tuple[types.Model, types.Params]:
  """Reads one network's parameters in either layout, which the tensors' names tell.

  Args:
    path: the file.
    network, num_classes, image_shape, norm: as for `save_weights`; by default what the
      file's metadata say.

  Returns:
    The network, and its parameters: `model.apply(params, images)` are its logits.

  Raises:
    errors.InputError: the file is missing, damaged or of another network, or a tensor has
      another shape, another type than float32, or values that are not finite; or
      safetensors is not installed.
  """
  check_installed()
  path = files.user_path(path)
  tensors, words = _read(path)
  given = (network, norm, num_classes, image_shape)
  facts = _facts(path, words, dict(zip(_FACTS, given, strict=True)))
  network, image_shape = facts["network"], facts["image_shape"]
  model, like = _like(network, facts["num_classes"], image_shape, facts["norm"])
  if any(name.endswith((".weight", ".bias")) for name in tensors):
    _check_layout(network)
    _check(tensors, torch_layout.shapes(like, image_shape[-1]), path, network)
    params = torch_layout.from_torch(tensors, like, image_shape[-1])
  else:
    wanted = _named(like)
    _check(tensors, _shapes(wanted), path, network)
    params = jax.tree.unflatten(jax.tree.structure(like), [tensors[n] for n in wanted])
  return model, jax.tree.map(jnp.asarray, params)


# --- networks -------------------------------------------------------------------------


def _like(
  network: str, num_classes: int, image_shape: tuple, norm: str
) -> tuple[types.Model, types.Params]:
  """The network, and the shapes of its parameters."""
  if network in kinds.NETWORKS and kinds.NETWORKS[network].options is not None:
    raise errors.InputError(
      f"network {network} has options, which a file of weights does not hold: save its "
      "parameters in a way of yours"
    )
  model = networks.make(
    network,
    num_classes=num_classes,
    image_shape=image_shape,
    norm=norm,
  )
  return model, jax.eval_shape(lambda key: model.init(key, image_shape), jax.random.key(0))


def _check_layout(network: str) -> None:
  if not kinds.NETWORKS[network].has_torch_layout:
    raise errors.InputError(
      f"network {network} has no layout for PyTorch: keep to layout='flax'"
    )


def _named(params: types.Params) -> dict[str, Any]:
  """The leaves by their place: "Dense_0/kernel"."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {
    jax.tree_util.keystr(place, simple=True, separator="/"): leaf for place, leaf in leaves
  }


def _shapes(leaves: Mapping[str, Any]) -> Shapes:
  return {name: tuple(leaf.shape) for name, leaf in leaves.items()}


# --- files ----------------------------------------------------------------------------


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """The tensors of a file, and what its metadata say of the network; {}: nothing."""
  import safetensors

  found = {}
  try:
    path.open("rb").close()  # Its errors say more than those of safetensors.
    with safetensors.safe_open(path, framework="numpy") as file:
      for name in file.keys():  # noqa: SIM118  It is no mapping.
        kind = file.get_slice(name).get_dtype()
        if kind != "F32":  # NumPy lacks some of the others.
          raise errors.InputError(f"{path}: {name} is {kind}: save it as float32 (F32)")
        found[name] = file.get_tensor(name)
      text = (file.metadata() or {}).get("pacd_jax", "{}")
  except OSError as error:
    raise errors.InputError(f"{path} cannot be read: {error.strerror or error}") from None
  except safetensors.SafetensorError as error:
    raise errors.InputError(
      f"{path} is truncated, or no safetensors file ({error}): save it again"
    ) from None
  unclear = errors.InputError(
    f"{path}: its metadata pacd_jax do not say {', '.join(_FACTS)}: save it again"
  )
  try:
    words = dict(json.loads(text))
  except (ValueError, TypeError, RecursionError):
    raise unclear from None
  if not words:
    return found, {}
  if words.get("schema") != SCHEMA:
    raise errors.InputError(
      f"{path}: its schema is {words.get('schema')}, and this version reads {SCHEMA}"
    )
  if words.get("sha256", "") not in ("", _digest(found, words)):
    raise errors.InputError(
      f"{path}: its tensors, or what it says of them, are not those that were saved (the "
      "checksum differs): save it again"
    )
  try:
    facts = {name: words[name] for name in _FACTS}
    return found, facts | {"image_shape": tuple(facts["image_shape"])}
  except (TypeError, KeyError):
    raise unclear from None


def _digest(tensors: Mapping[str, np.ndarray], words: Mapping[str, Any]) -> str:
  """SHA-256 of the tensors by their names, and of the facts; safetensors has none."""
  facts = json.dumps([words.get(name) for name in _FACTS])
  digest = hashlib.sha256(facts.encode())
  for name in sorted(tensors):
    digest.update(f"{name} {tensors[name].shape}\n".encode())
    digest.update(np.ascontiguousarray(tensors[name], "<f4").data)
  return digest.hexdigest()


def _facts(
  path: pathlib.Path, words: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
  """What is given, and else what the file says, which may not contradict it."""
  given = {name: value for name, value in given.items() if value is not None}
  if "image_shape" in given:
    given["image_shape"] = tuple(given["image_shape"])
  for name, value in given.items():
    if words and words[name] != value:
      raise errors.InputError(
        f"{path} is of another network: {name} is {words[name]!r} there and {value!r} here"
      )
  facts = {"norm": ""} | dict(words) | given
  for name in _FACTS:
    if name not in facts:
      raise errors.InputError(
        f"{path} does not say which network it is of: give {name} of it"
      )
  return facts


def _check(
  tensors: Mapping[str, np.ndarray],
  wanted: Shapes,
  source: str | os.PathLike[str],
  network: str,
) -> None:
  """Raises unless the tensors are all of the network's, float32 and finite."""
  lacking, unknown = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
  if lacking or unknown:
    found = [f"lacks {_listed(lacking)}"] if lacking else []
    found += [f"has {_listed(unknown)}, which {network} has not"] if unknown else []
    raise errors.InputError(
      f"{source}: weights of another network than {network}: it {' and '.join(found)}"
    )
  for name, array in tensors.items():
    if array.shape != wanted[name]:
      raise errors.InputError(
        f"{source}: {name} is of shape {array.shape}, and in {network} of {wanted[name]}"
      )
    if array.dtype != np.float32:
      raise errors.InputError(f"{source}: {name} is {array.dtype}, not float32")
    if not np.isfinite(array).all():
      raise errors.InputError(f"{source}: {name} has values that are not finite")


def _listed(names: Collection[str]) -> str:
  first = sorted(names)[:_MOST_NAMES]
  more = len(names) - len(first)
  return ", ".join(first) + (f" and {more} more" if more else "")
