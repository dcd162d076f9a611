"""The wall time of some work, summed over all processes that did a part of it."""

import contextlib
import pathlib
import threading
import time
from collections.abc import Generator
from typing import Any

from pacd_jax.runtime import run_folder

_EVERY = 10.0  # Seconds between writes: what a kill may lose.
_FIRST = 0.2  # Seconds between looks for the folder, until the first write.


@contextlib.contextmanager
def saved(path: pathlib.Path, before: float) -> Generator[dict[str, Any]]:
  """Writes the seconds so far to `path`: at first, every ten seconds, and at the end.

  Nothing is written while the folder of `path` does not exist.

  Args:
    path: a JSON file.
    before: seconds that earlier processes took.

  Yields:
    A dictionary of what else to write, to be filled in.
  """
  began, record, is_over = time.monotonic(), {}, threading.Event()

  def write() -> bool:
    seconds = round(before + time.monotonic() - began, 1)
    is_there = path.parent.is_dir()
    if is_there:
      run_folder.write_json(path, {**record, "seconds": seconds})
    return is_there

  def keep_writing():
    is_written = False
    while not is_over.wait(_EVERY if is_written else _FIRST):
      with contextlib.suppress(OSError):  # The last write raises it.
        is_written = write()

  thread = threading.Thread(target=keep_writing, daemon=True)
  thread.start()
  try:
    yield record
  finally:
    is_over.set()
    thread.join()
    write()
