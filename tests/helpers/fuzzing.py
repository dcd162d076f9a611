"""Cases drawn by hypothesis: some hundreds in `make test`, 10,000 in `make test-all`.

The few are the same in every session. The many are drawn anew in each; a failure prints the
line that repeats its case.
"""

import fractions

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st


def tiers(check, *drawn, few, many):
  """Two tests of one property, for the body of a class: of few cases, and of many.

  Args:
    check: the method that is called with each case.
    *drawn: strategies, one for each argument of it.
    few: the number of cases in `make test`.
    many: in `make test-all`, beside those.
  """

  def made(**options):
    checks = [*hypothesis.HealthCheck]  # Of time and size: a case may be a whole command.
    return hypothesis.settings(
      database=None, deadline=None, suppress_health_check=checks, **options
    )(hypothesis.given(*drawn)(check))

  quick = made(max_examples=few, derandomize=True)
  return quick, pytest.mark.long(made(max_examples=many, print_blob=True))


# --- values of every type -------------------------------------------------------------

_WHOLE = (0, 1, -1, 2, 255, 2**30, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**64, 10**400)
_REAL = (0.0, -0.0, 5e-324, 1e-45, 1e-38, 1e-9, 0.5, 1e38, 3.5e38, 1.7976931348623157e308)
_TEXTS = ("", " ", "\n", "\0", "~", "~nobody/x", "..", "/", "/dev/null", "/tmp", "a" * 5000)
_TEXTS += ("nan", "None", "clean", "pacd", "linf", "npz", "\ud800", "a\u2028b", "{}", "a.b")

integers = st.sampled_from(_WHOLE) | st.integers() | st.integers(-3, 300)
floats = st.sampled_from(_REAL) | st.floats() | st.floats(0.0, 1.0)
texts = st.sampled_from(_TEXTS) | st.text(max_size=20)
_others = st.sampled_from(
  (
    *(None, True, False, b"", b"clean", fractions.Fraction(8, 255), 1j, object, ...),
    *(np.float32(0.25), np.float64(0.25), np.int64(3), np.bool_(True), np.str_("clean")),
    *(np.zeros(0), np.zeros((40, 3)), np.array(["clean"]), np.array(3)),
  )
)
scalars = integers | floats | texts | _others
values = st.recursive(
  scalars,
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(texts, inner, max_size=2)
  ),
  max_leaves=5,
)
