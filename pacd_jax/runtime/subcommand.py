"""Commands with subcommands, such as `pacd poison`: every error is one line."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from pacd_jax import errors
from pacd_jax.runtime import files


class Parser(argparse.ArgumentParser):
  """Raises `errors.InputError` where `argparse` writes its usage and exits."""

  def error(self, message: str) -> NoReturn:
    raise errors.InputError(f"{message}: see {self.prog} --help")


def run(command: Callable[[Sequence[str]], str], arguments: Sequence[str]) -> int:
  """Runs a command that returns what it says.

  Returns:
    The exit status: 0, 2 for bad input, 5 if a file cannot be written.
  """
  try:
    sys.stdout.write(command(arguments) + "\n")
  except errors.InputError as error:
    return _fail(str(error), 2)
  except OSError as error:
    if words := files.in_words(error):
      return _fail(words, 5)
    where = f"{error.filename}: " if error.filename else ""
    return _fail(f"{where}{error.strerror}", 2)
  return 0


def _fail(words: str, status: int) -> int:
  sys.stderr.write(f"error: {words}\n")
  return status
