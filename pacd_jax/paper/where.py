"""Where does bilevel optimisation pay? PACD against the best shift, over a grid of budgets.

On digits and MNIST a shift that optimises nothing comes level with PACD at the whole class
and l_inf 0.1; elsewhere it need not. Every cell is a run with the cheap baselines and PACD,
whose candidates include every one of them, so that it can lose to none but by chance.
"""

from typing import Any, NamedTuple

from pacd_jax.paper.catalog import Item
from pacd_jax.paper.protocol import Protocol, Run

CHEAP = ("classwise", "brightness", "random", "convolution")


class _Cell(NamedTuple):
  norm: str
  epsilon: float
  alpha: float = 1.0
  target: int = 8
  sigma: float = 0.25


_DIGITS = (
  *(_Cell("linf", e, a) for e in (0.05, 0.1, 0.2) for a in (1.0, 0.5, 0.25, 0.1)),
  *(_Cell("l2", e, a) for e in (0.35, 0.7, 1.4) for a in (1.0, 0.25)),
  *(_Cell("linf", 0.1, target=target) for target in (0, 3, 9)),
  _Cell("linf", 0.1, sigma=0.12),
)
_MNIST = (
  *(_Cell("linf", e, a) for e in (0.05, 0.1) for a in (1.0, 0.25)),
  *(_Cell("l2", e) for e in (1.0, 2.0)),
)
_CIFAR10 = (
  *(_Cell("linf", e, a) for e in (0.015, 0.03) for a in (1.0, 0.25)),
  *(_Cell("l2", e) for e in (0.5, 1.0)),
)
_CELLS = {"digits": _DIGITS, "mnist": _MNIST, "cifar10": _CIFAR10}


def _run(protocol: Protocol, cell: _Cell) -> Run:
  fields: dict[str, Any] = {
    "attack.norm": cell.norm,
    "attack.epsilon": cell.epsilon,
    "attack.poisoned_fraction": cell.alpha,
    "attack.selection.rows": ("random", "convolution"),
    "data.target_class": cell.target,
  }
  variant = f"sigma={cell.sigma:g}"
  usual = protocol.config(Run("", "ga", variant=variant)).attack
  # A step is the same share of the budget everywhere.
  fields["attack.step_size"] = usual.step_size / usual.epsilon * cell.epsilon
  if protocol.scale != "smoke":
    fields["attack.starts"] = ("classwise", "brightness")
    fields["attack.selection.every"] = usual.num_steps
    fields["attack.selection.corners"] = cell.norm == "linf"
  if protocol.dataset == "digits" and cell.alpha < 1.0:  # Of 104 images.
    fields["attack.poison_batch"] = min(usual.poison_batch, int(100 * cell.alpha))
  name = "_".join((cell.norm, *(f"{value:g}" for value in (*cell[1:4], cell.sigma))))
  settings = dict(zip(_COLUMNS, cell, strict=True))
  return Run(
    f"where_{name}", "ga", ("clean", *CHEAP, "pacd"), variant, fields, settings=settings
  )


_COLUMNS = ("norm", "epsilon", "alpha", "class", "sigma")


def _runs(protocol: Protocol) -> list[Run]:
  if protocol.scale not in ("fast", "smoke"):
    return []
  return [_run(protocol, cell) for cell in _CELLS[protocol.dataset]]


ITEM = Item(
  "where",
  "Where does bilevel optimisation pay?",
  "ACR after the cheap baselines and after PACD, by the norm and size of the budget, the "
  "poisoned share alpha of the class, the class and sigma. PACD starts from classwise and "
  "brightness, and every baseline here is among the poisons that its fresh surrogates "
  "choose from. *Of the best* is PACD's ACR over that of the baseline that leaves the "
  "least, with an interval of 95 % paired by victims and points.",
  _runs,
  _COLUMNS,
  ("acr", "of_best"),
  analysis="against_best",
  grid=("epsilon", "alpha"),
)
