"""A disk that is full, as a limit of a file's size: writing fails in the same way."""

import contextlib
import resource


@contextlib.contextmanager
def room_for(size):
  """Within, this process can make no file longer than `size` bytes."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
