"""The two errors that end a run early: bad input, and a number that is not finite."""

import contextlib
from collections.abc import Generator


class InputError(ValueError):
  """Something the user gave cannot be used; says what, where, and what to do instead.

  Commands print the message as one line and exit with status 2.
  """


class NonFiniteError(ArithmeticError):
  """A NaN or an infinity; names the stage, the step and the value.

  Commands print the message as one line and exit with status 3.
  """


@contextlib.contextmanager
def about(what: str) -> Generator[None]:
  """Says in front of every such error what it is about, such as one of several runs."""
  try:
    yield
  except (InputError, NonFiniteError) as error:
    raise type(error)(f"{what}: {error}") from None
