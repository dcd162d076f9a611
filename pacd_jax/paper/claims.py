"""What held of the paper's claims and what did not, computed from finished runs."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pacd_jax import types
from pacd_jax.paper import catalog, lines, questions, work
from pacd_jax.paper.analyses import Measured
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.protocol import Protocol

_BY_NAME = {item.name: item for item in (*catalog.ITEMS, *questions.ITEMS)}
# Shares of the clean number: "by more than 30 %" is the paper's; a row that leaves nine
# tenths, or 95 % of the accuracy, is called harmless here.
_REDUCED, _HARMLESS, _HARMLESS_ACCURACY = 0.7, 0.9, 0.95


class Pair(NamedTuple):
  """A number after clean training and the same after training on a poison."""

  words: str  # The settings and the training set.
  clean: Measured
  poisoned: Measured

  @property
  def ratio(self) -> float:
    return self.poisoned.mean / self.clean.mean

  @property
  def error(self) -> float | None:
    """Standard error of the difference, of independent victims; None for one victim."""
    errors = [lines.standard_error(each) for each in (self.clean, self.poisoned)]
    known = [error for error in errors if error is not None]
    return math.hypot(*known) if len(known) == 2 else None


class Claim(NamedTuple):
  """A claim of the paper, and the comparison that speaks to it."""

  says: str
  tables: tuple[str, ...]  # Names of items.
  holds: Callable[[Pair], bool]
  means: str  # `holds` in words.
  quantity: str = "acr"
  # Training sets it is about, by their names in tables; (): every one but clean.
  rows: tuple[str, ...] = ()
  victims: tuple[str, ...] = ()  # Kinds of victims it is about; (): all.
  falls: bool = False  # Along the table's axis each number is to be below the last.


class Verdict(NamedTuple):
  """A claim under one protocol."""

  verdict: str  # "held", "did not hold" or "not run".
  numbers: str
  num_missing: int  # Runs that could still change it.


def _is_reduced(pair: Pair) -> bool:
  return pair.ratio < _REDUCED


def _is_lower(pair: Pair) -> bool:
  return pair.clean.mean - pair.poisoned.mean > 2.0 * (pair.error or 0.0)


_ATTACKS = (types.PACD, catalog.PACD_AUTHORS)
_BY_30 = "the ACR is under 70 % of the clean one"
_BELOW = "the number is below the clean one by more than two standard errors"
CLAIMS = (
  Claim(
    "PACD reduces the ACR of the target class by more than 30 %",
    ("table2", "table3", "table4"),
    _is_reduced,
    _BY_30,
    rows=_ATTACKS,
  ),
  Claim(
    "watermarking is harmless",
    ("table2", "table3", "table4"),
    lambda pair: pair.ratio > _HARMLESS,
    "the ACR is over 90 % of the clean one",
    rows=("watermark",),
  ),
  Claim(
    "a poison against standard training is harmless to robust victims",
    ("table1",),
    lambda pair: pair.ratio > _HARMLESS_ACCURACY,
    "the accuracy of the class is over 95 % of the clean one",
    quantity="class_accuracy",
    victims=("gaussian", "macer", "smoothadv"),
  ),
  Claim(
    "poisons transfer between robust training methods",
    ("figure4",),
    _is_lower,
    _BELOW,
  ),
  Claim(
    "poisons transfer to other architectures",
    ("architectures",),
    _is_lower,
    _BELOW,
    rows=_ATTACKS,
  ),
  Claim(
    "the larger the budget, the lower the ACR",
    ("figure3",),
    _is_lower,
    "each ACR is at most that of the next smaller budget, and " + _BELOW,
    rows=_ATTACKS,
    falls=True,
  ),
  Claim(
    "poisoned classifiers are easier to attack empirically",
    ("table5",),
    _is_lower,
    _BELOW,
    quantity="distortion",
    rows=_ATTACKS,
  ),
  Claim(
    "weight decay and augmentation do not defend",
    ("regularisation",),
    _is_reduced,
    _BY_30 + " with the same victims",
    rows=_ATTACKS,
  ),
  Claim(
    "any class can be attacked",
    ("classes",),
    _is_reduced,
    _BY_30,
    rows=_ATTACKS,
  ),
)


def judge(protocol: Protocol, claim: Claim) -> Verdict:
  """The verdict on a claim from one protocol's finished runs.

  Raises:
    errors.InputError: a folder holds another protocol's run, or a damaged file.
  """
  pairs, missing = [], set()
  for name in claim.tables:
    found, gone = _pairs(protocol, _BY_NAME[name], claim)
    pairs += found
    missing |= gone
  telling = [pair for pair in pairs if _has_something_to_lose(pair)]
  if not telling:
    return Verdict("not run", "", len(missing))
  holds = all(_falls(telling)) if claim.falls else True
  holds = holds and all(map(claim.holds, telling))
  words = [_words(pair, claim) for pair in telling]
  if len(telling) < len(pairs):
    words.append(f"{len(pairs) - len(telling)} more had nothing to lose")
  return Verdict("held" if holds else "did not hold", "; ".join(words), len(missing))


def _pairs(protocol: Protocol, item: Item, claim: Claim) -> tuple[list[Pair], set[str]]:
  """The pairs of a table that a claim is about, and names of its runs without a number."""
  by_setting: dict[str, dict[str, Measured]] = {}
  missing, reference = set(), None
  for line in lines.lines(protocol, item):
    if line.quantity != claim.quantity:
      continue
    if claim.victims and line.settings.get("victim") not in claim.victims:
      continue
    if line.here is None:
      missing.update([] if line.is_done else [line.run])
      continue
    if item.axis == "epsilon" and line.row == types.CLEAN:
      reference = line.here  # Clean images have no budget: one number for all.
      continue
    setting = _setting(item, line.settings)
    by_setting.setdefault(setting, {})[line.row] = line.here
  pairs = []
  for setting, of_row in by_setting.items():
    clean = of_row.pop(types.CLEAN, reference)
    for row, here in of_row.items():
      if clean is not None and (not claim.rows or row in claim.rows):
        pairs.append(Pair(f"{setting} {row}", clean, here))
  return pairs, missing


def _setting(item: Item, settings: Mapping[str, object]) -> str:
  title = item.title.partition(": ")[2] or item.title
  of_columns = ", ".join(f"{c} {work.text(settings[c])}" for c in item.columns)
  return f"{title}, {of_columns}:" if item.name.startswith("table") else f"{of_columns}:"


def _has_something_to_lose(pair: Pair) -> bool:
  error = lines.standard_error(pair.clean) or 0.0
  return pair.clean.mean > 2.0 * error


def _falls(pairs: Sequence[Pair]) -> list[bool]:
  means = [pair.poisoned.mean for pair in pairs]
  return [after <= before for before, after in itertools.pairwise(means)]


def _words(pair: Pair, claim: Claim) -> str:
  """Such as "sigma 0.25: pacd 0.895 to 0.114 (-87 %)", marked where it does not hold."""
  change = 100.0 * (pair.ratio - 1.0)
  percent = claim.quantity == "class_accuracy"
  before, after = (
    f"{100.0 * each.mean:.1f} %" if percent else f"{each.mean:.3f}"
    for each in (pair.clean, pair.poisoned)
  )
  mark = "" if claim.holds(pair) else "**not:** "
  return f"{mark}{pair.words} {before} to {after} ({change:+.0f} %)"


def section(protocols: Sequence[Protocol]) -> str:
  """The claims as Markdown: a list, with a verdict of every protocol that has runs."""
  parts = ["## What held and what did not\n"]
  parts.append(
    "Each claim of the paper, what would make it hold here, and the numbers that speak to "
    "it, by protocol; computed from the runs below. *so far*: not all of its runs are "
    "finished. Rows `pacd` and `pacd_authors` are explained at Table 2.\n"
  )
  for claim in CLAIMS:
    parts.append(f"### {claim.says[0].upper()}{claim.says[1:]}\n")
    parts.append(f"Holds if {claim.means}.\n")
    told = [_line(protocol, claim) for protocol in protocols]
    parts.append("\n".join(told) + "\n")
  return "\n".join(parts)


def _line(protocol: Protocol, claim: Claim) -> str:
  verdict = judge(protocol, claim)
  where = f"{protocol.dataset}, {protocol.scale}"
  if verdict.verdict == "not run":
    return f"- {where}: not run."
  so_far = " so far" if verdict.num_missing else ""
  return f"- {where}: **{verdict.verdict}{so_far}**. {verdict.numbers}."
