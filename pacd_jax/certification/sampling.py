"""Sampling rules: how many noisy copies of a test point are drawn, and when to stop.

A rule makes one generator per point. The generator asks for samples, is sent their votes,
and returns a certificate; under every rule it is wrong with probability at most alpha. The
package's rules, each in a file of `rules/`, are `fixed`, `adaptive` and `aca`.

On 50 test points and two victims each of clean and of poisoned MNIST, from
configs/mnist_ga.py:fast,sigma=0.5, adaptive took 3.4 times fewer samples than fixed with
n = 100,000, for an ACR that was 1.3 % lower; aca took 152 times fewer, and agreed with
fixed on 199 of the 200 decisions (`pacd_jax/bench/rules.py` compares the rules on a run's
own victims). tests/certification/sampling_savings_test.py simulates 4,000 such points.

A rule does not draw samples itself; its caller does, and sends their votes:

  point = rule(label)
  k = next(point)
  while True:  # Until StopIteration, whose value is the certificate.
    k = point.send(votes_of_k_fresh_samples)
"""

from typing import Any

from pacd_jax import errors
from pacd_jax.certification import confidence
from pacd_jax.certification.rules import aca, adaptive, fixed
from pacd_jax.certification.rules.rule import Rule, SamplingRule, Settings
from pacd_jax.registry import Registry

RULES: Registry[SamplingRule] = Registry("sampling rule")
for _entry in (fixed.ENTRY, adaptive.ENTRY, aca.ENTRY):
  RULES.add(_entry)


def make(
  mode: str, *, sigma: float, n0: int, n: int, alpha: float, options: Any = None
) -> Rule:
  """The rule of this name; its sidecar also has the mode and the bound.

  Args:
    mode: name of an entry of `RULES`.
    sigma: standard deviation of the noise, in the units of the images ([0, 1]).
    n0: number of samples that choose the class.
    n: largest number of samples that bound its probability; the exact number in mode fixed.
    alpha: probability in (0, 1) that a certificate is wrong.
    options: an instance of the entry's dataclass; None: its defaults, if it has one.

  Raises:
    InputError: the mode is unknown, a setting is out of range, or n cannot certify.
  """
  if mode not in RULES:
    raise errors.InputError(f"certify: mode {mode!r}: use one of {', '.join(RULES.names)}")
  for setting, is_in_range, range_ in (
    (f"sigma={sigma}", sigma > 0.0, "more than 0"),
    (f"n0={n0}", n0 >= 1, "at least 1"),
    (f"n={n}", n >= 1, "at least 1"),
    (f"alpha={alpha}", 0.0 < alpha < 1.0, "between 0 and 1"),
  ):
    if not is_in_range:
      raise errors.InputError(f"certify: {setting} is out of range: it must be {range_}")
  if not confidence.can_certify(n, alpha):
    raise errors.InputError(
      f"certify: n={n} is too small for any radius > 0 at alpha={alpha}: use at least "
      f"{confidence.least_votes(alpha)}"
    )
  entry = RULES[mode]
  if options is None and entry.options is not None:
    options = entry.options()
  rule = entry.make(Settings(sigma, n0, n, alpha), options)
  return rule._replace(sidecar={"mode": mode, "bound": entry.bound, **rule.sidecar})
