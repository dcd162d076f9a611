"""What a sampling rule is: how it draws, and how its files are read back."""

import dataclasses
import reprlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeGuard, TypeVar

import numpy as np

from pacd_jax.types import Certificate

_Kind = TypeVar("_Kind")
Sidecar = dict[str, Any]  # What stands beside a file of certificates; JSON can hold it.

# `votes = yield k` asks for the votes, int `[K]`, of k fresh noisy copies of the point.
Sampling = Generator[int, np.ndarray, Certificate]


class Settings(NamedTuple):
  """The numbers that every rule has."""

  sigma: float  # Standard deviation of the noise, in the units of the images ([0, 1]).
  n0: int  # Samples that choose the class.
  n: int  # The most samples that bound its probability.
  alpha: float  # Probability in (0, 1) that a certificate is wrong.


class Rule(NamedTuple):
  """A rule with its numbers; `rule(label)` starts it for one point.

  The label may be None; where it is known, a rule may spend little or nothing on a point
  whose first n0 votes are for another class. The certificate's counts are the votes behind
  its bound: those of the n0 samples and of a pilot are not among them.
  """

  start: Callable[[int | None], Sampling]
  sidecar: Sidecar  # The rule's own fields beside its certificates.

  def __call__(self, label: int | None = None) -> Sampling:
    return self.start(label)


@dataclasses.dataclass(frozen=True)
class SamplingRule:
  """The entry of a sampling rule: `certify.mode`."""

  name: str
  make: Callable[[Settings, Any], Rule]  # Given an instance of `options`, or None.
  words: str
  bound: str  # What its certificates are bounded by.
  # Raises ValueError where the rule's own fields of a sidecar are not as it writes them.
  check: Callable[[Mapping[str, Any]], None]
  # How many votes the counts of one point may sum to, rising.
  allowed_votes: Callable[[Mapping[str, Any]], tuple[int, ...]]
  # The alpha of each point's bound, by what its votes sum to, int `[N]`.
  alphas: Callable[[Mapping[str, Any], np.ndarray], np.ndarray | float]
  # Samples of a point beside its counts and the n0, such as a pilot's.
  extra_samples: Callable[[Mapping[str, Any]], int] = lambda sidecar: 0
  options: type | None = None
  draws_all: bool = False  # Always n samples, so that their number says itself.
  has_radius: bool = True  # Radii are a measure; else ACR means nothing.
  # What a report says of it; `$n` and `$samples` are numbers, the rest is HTML.
  note: str = ""


def alpha_of_all(sidecar: Mapping[str, Any], totals: np.ndarray) -> float:
  """The one alpha of a rule that looks once."""
  del totals
  return sidecar["alpha"]


def votes_of(votes: np.ndarray, expected: int) -> np.ndarray:
  """What a rule was sent; ValueError where it is not what it asked for."""
  votes = np.asarray(votes)
  if votes.ndim != 1 or votes.sum() != expected:
    raise ValueError(f"asked for {expected} votes, given {votes}")
  return votes


def check_sizes(sidecar: Mapping[str, Any], name: str) -> None:
  """ValueError unless a field holds numbers of votes that rise to n."""
  votes = sidecar.get(name)
  rise = are_all(votes, int) and votes == sorted(set(votes))
  if not (rise and votes[0] >= 1 and votes[-1] == sidecar["n"]):
    raise ValueError(f"{name} is {brief(votes)}, not numbers of votes that rise to n")


def are_all(values: Any, kind: type[_Kind]) -> TypeGuard[list[_Kind]]:
  """Whether it is a list of such values that is not empty."""
  return isinstance(values, list) and {*map(type, values)} == {kind}


def brief(value: Any) -> str:
  """A value in a few characters, and how long it is if it is a list."""
  size = f" ({len(value)} of them)" if isinstance(value, list) else ""
  return reprlib.repr(value) + size
