"""The errors that end a run early: bad input, and a number that is not finite."""

import contextlib
from collections.abc import Generator

_LONGEST = 2000  # Characters of a message.


def _one_line(message: object) -> str:
  """A message without the line breaks of what it quotes, and with the middle cut out."""
  line = " ".join(str(message).splitlines())
  if len(line) > _LONGEST:
    line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
  return line.encode(errors="backslashreplace").decode()


class InputError(ValueError):
  """Something the user gave cannot be used; says what, where, and what to do instead.

  The message is one line, whatever it quotes. Commands print it and exit with status 2.
  """

  def __init__(self, message: object):
    super().__init__(_one_line(message))


class RefusedError(InputError):
  """Bad input that only the work itself could find, such as a filter that empties a class.

  It is of one run alone: the other runs of a suite go on.
  """


class NonFiniteError(ArithmeticError):
  """A NaN or an infinity; names the stage, the step and the value.

  Commands print the message as one line and exit with status 3.
  """


OF_ONE_RUN = (NonFiniteError, RefusedError)  # The other runs of a suite go on.


@contextlib.contextmanager
def about(what: str) -> Generator[None]:
  """Says in front of every such error what it is about, such as one of several runs."""
  try:
    yield
  except (InputError, NonFiniteError) as error:
    raise type(error)(f"{what}: {error}") from None


@contextlib.contextmanager
def refusing() -> Generator[None]:
  """Raises an `InputError` as a `RefusedError`: for work that looks at a run's data."""
  try:
    yield
  except InputError as error:
    raise RefusedError(error) from None
