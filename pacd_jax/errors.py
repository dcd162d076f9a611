"""The two ways in which a run ends early: bad input, and a number that is not finite."""


class InputError(ValueError):
  """Something the user gave cannot be used: what, where, and what to do instead.

  `main.py` prints the message as one line and exits with status 2.
  """


class NonFiniteError(ArithmeticError):
  """A NaN or an infinity: names the stage, the step and the value.

  `main.py` prints the message as one line and exits with status 3.
  """
