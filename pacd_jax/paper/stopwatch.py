"""The wall time of some work, summed over all processes that did a part of it."""

import contextlib
import pathlib
import threading
import time
from collections.abc import Generator
from typing import Any

from pacd_jax.runtime import run_folder

_EVERY = 10.0  # Seconds between writes: what a kill may lose.


@contextlib.contextmanager
def saved(path: pathlib.Path, before: float) -> Generator[dict[str, Any]]:
  """Writes the seconds so far to `path`, every ten seconds and at the end.

  Nothing is written while the folder of `path` does not exist.

  Args:
    path: a JSON file.
    before: seconds that earlier processes took.

  Yields:
    A dictionary of what else to write, to be filled in.
  """
  began, record, is_over = time.monotonic(), {}, threading.Event()

  def write():
    seconds = round(before + time.monotonic() - began, 1)
    if path.parent.is_dir():
      run_folder.write_json(path, {**record, "seconds": seconds})

  def keep_writing():
    while not is_over.wait(_EVERY):
      with contextlib.suppress(OSError):  # The last write raises it.
        write()

  thread = threading.Thread(target=keep_writing, daemon=True)
  thread.start()
  try:
    yield record
  finally:
    is_over.set()
    thread.join()
    write()
