"""Poisoning attacks on certified defences, their victims and their certificates, in JAX.

The names below are imported when they are first used; subpackages are imported as usual:
`from pacd_jax.attacks import pacd`.
"""

import difflib
import importlib
from typing import Any

__version__ = "0.3.0"

# Name -> `module`, or `module:what is in it`.
_PUBLIC = {
  "Victims": "pacd_jax.experiment.library:Victims",
  "InputError": "pacd_jax.errors:InputError",
  "LowerLevel": "pacd_jax.types:LowerLevel",
  "NonFiniteError": "pacd_jax.errors:NonFiniteError",
  "approx_grad": "pacd_jax.bilevel.hypergradient:approx_grad",
  "apply_poison": "pacd_jax.experiment.library:apply_poison",
  "certify": "pacd_jax.certification.certify:certify",
  "conjugate_gradient": "pacd_jax.bilevel.linear_solve:conjugate_gradient",
  "kinds": "pacd_jax.experiment.kinds",
  "load_data": "pacd_jax.experiment.entries.data_sets:load",
  "load_run": "pacd_jax.experiment.door:load",
  "load_weights": "pacd_jax.experiment.weights:load_weights",
  "make_config": "pacd_jax.experiment.library:make_config",
  "make_network": "pacd_jax.experiment.entries.networks:make",
  "poison": "pacd_jax.experiment.library:poison",
  "read_certificates": "pacd_jax.certification.certificates:read",
  "save_weights": "pacd_jax.experiment.weights:save_weights",
  "split_arrays": "pacd_jax.experiment.library:split_arrays",
  "train_victims": "pacd_jax.experiment.library:train_victims",
}
# pyrefly: ignore[unresolvable-dunder-all]: the names stand once, above.
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
  if name not in _PUBLIC:
    near = difflib.get_close_matches(name, _PUBLIC, n=3) or sorted(_PUBLIC)
    raise AttributeError(f"pacd_jax has no {name!r}: it has {', '.join(near)}")
  module, _, attribute = _PUBLIC[name].partition(":")
  found = importlib.import_module(module)
  return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
  return sorted(__all__)
