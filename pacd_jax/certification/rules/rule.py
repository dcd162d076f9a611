"""The interface of a sampling rule: how it draws, and how its files are checked."""

import dataclasses
import reprlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeGuard, TypeVar

import numpy as np

from pacd_jax.types import Certificate

_Kind = TypeVar("_Kind")
Sidecar = dict[str, Any]  # JSON-serialisable record beside a file of certificates.

# `votes = yield k` asks for the votes, int `[K]`, of k fresh noisy copies of the point.
Sampling = Generator[int, np.ndarray, Certificate]


class Settings(NamedTuple):
  """The settings that every rule has."""

  sigma: float  # Standard deviation of the noise, in the units of the images ([0, 1]).
  n0: int  # Number of samples that choose the class.
  n: int  # Largest number of samples that bound its probability.
  alpha: float  # Probability in (0, 1) that a certificate is wrong.


class Rule(NamedTuple):
  """A rule with its settings; `rule(label)` starts it for one point.

  The label may be None; where it is known, a rule may spend few or no further samples on a
  point whose first n0 votes favour another class. The certificate's counts are the votes
  behind its bound: those of the n0 samples and of a pilot are not included.
  """

  start: Callable[[int | None], Sampling]
  sidecar: Sidecar  # The rule's own fields beside its certificates.

  def __call__(self, label: int | None = None) -> Sampling:
    return self.start(label)


@dataclasses.dataclass(frozen=True)
class SamplingRule:
  """The entry of a sampling rule: `certify.mode`."""

  name: str
  make: Callable[[Settings, Any], Rule]  # Given the settings, and `options` or None.
  words: str
  bound: str  # Name of the confidence bound of its certificates.
  # Raises ValueError if the rule's own fields of a sidecar are not as it writes them.
  check: Callable[[Mapping[str, Any]], None]
  # The numbers that the votes of one point may sum to, in rising order.
  allowed_votes: Callable[[Mapping[str, Any]], tuple[int, ...]]
  # The alpha of each point's bound, given the sums of the points' votes, int `[N]`.
  alphas: Callable[[Mapping[str, Any], np.ndarray], np.ndarray | float]
  # Samples of a point beside its counts and the n0, such as a pilot's.
  extra_samples: Callable[[Mapping[str, Any]], int] = lambda sidecar: 0
  options: type | None = None
  draws_all: bool = False  # Whether every point takes n samples; reports say so.
  has_radius: bool = True  # Whether radii are meaningful; if not, no ACR is reported.
  # The report's note on the rule; `$n` and `$samples` are numbers, the rest is HTML.
  note: str = ""


def alpha_of_all(sidecar: Mapping[str, Any], totals: np.ndarray) -> float:
  """The alpha of all points, for a rule with one bound per point."""
  del totals
  return sidecar["alpha"]


def votes_of(votes: np.ndarray, expected: int) -> np.ndarray:
  """Returns the votes; raises ValueError unless they are `expected` in number."""
  votes = np.asarray(votes)
  if votes.ndim != 1 or votes.sum() != expected:
    raise ValueError(f"asked for {expected} votes, given {votes}")
  return votes


def check_sizes(sidecar: Mapping[str, Any], name: str) -> None:
  """Raises ValueError unless a field is a list of numbers of votes that rise to n."""
  votes = sidecar.get(name)
  rise = are_all(votes, int) and votes == sorted(set(votes))
  if not (rise and votes[0] >= 1 and votes[-1] == sidecar["n"]):
    raise ValueError(f"{name} is {brief(votes)}, not numbers of votes that rise to n")


def are_all(values: Any, kind: type[_Kind]) -> TypeGuard[list[_Kind]]:
  """Whether `values` is a non-empty list of values of type `kind`."""
  return isinstance(values, list) and {*map(type, values)} == {kind}


def brief(value: Any) -> str:
  """A short text of a value, with the length of a list."""
  size = f" ({len(value)} of them)" if isinstance(value, list) else ""
  return reprlib.repr(value) + size
