"""Poisoning attacks on certified defences, their victims and their certificates, in JAX.

The names below are imported when they are first used; rooms are imported as usual:
`from pacd_jax.attacks import pacd`.
"""

import difflib
import importlib
from typing import Any

__version__ = "0.1.0"

# Name -> where it is: a module, or a module and what is in it.
_PUBLIC = {
  "InputError": "pacd_jax.errors:InputError",
  "NonFiniteError": "pacd_jax.errors:NonFiniteError",
  "approx_grad": "pacd_jax.bilevel.hypergradient:approx_grad",
  "certify": "pacd_jax.certification.certify:certify",
  "kinds": "pacd_jax.experiment.kinds",
  "load_data": "pacd_jax.experiment.entries.data_sets:load",
  "load_run": "pacd_jax.experiment.door:load",
  "make_network": "pacd_jax.experiment.entries.networks:make",
  "read_certificates": "pacd_jax.certification.certificates:read",
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
