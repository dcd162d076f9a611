"""Tests that `make test` leaves to `make test-all`.

A whole test, or class, is marked `@pytest.mark.long`; of a test with several cases, those
after the first few are by `after`.
"""


def after(count):
  """Of the cases of a parameterized test, those after the first `count` are long."""

  def mark(function):
    function.long_after = count
    return function

  return mark
