"""Standard output and error, whatever encoding the surroundings give them."""

import sys


def tolerate() -> None:
  """Lets characters that a stream's encoding lacks appear as `?`, rather than fail.

  Tables have a plus-minus sign, which ASCII has not.
  """
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):  # Those of tests and notebooks have not.
      stream.reconfigure(errors="replace")
