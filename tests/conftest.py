"""Tests have three devices, as if each were a core of the CPU.

Implicit broadcasting and a key's second use are errors.

Most of their time is XLA's compilation, which takes a third of its time without LLVM's
optimisations and XLA's newer fusions; `make demo` and every run have them, and tests that
compute much (`as_users_run.py`). Programs that several tests build are compiled once in a
session, and the run that many begin with is done once, in a folder that ends with it.
"""

import atexit
import gc
import os
import re
import shutil
import tempfile
from unittest import mock

import as_users_run
import pytest
import quick_compilation
from matplotlib.backends.backend_agg import FigureCanvasAgg

if as_users_run.USERS_FLAGS not in os.environ:  # A worker has its session's.
  of_users = os.environ.get("XLA_FLAGS", "")
  os.environ[as_users_run.USERS_FLAGS] = of_users
  os.environ["XLA_FLAGS"] = quick_compilation.flags(of_users)

import jax

from pacd_jax.runtime import sharding

_FOLDER = "PACD_TESTS_FOLDER"  # All workers of a session have the same.
if _FOLDER not in os.environ:
  os.environ[_FOLDER] = tempfile.mkdtemp()
  atexit.register(shutil.rmtree, os.environ[_FOLDER], ignore_errors=True)

# Processes that a test starts have it from here.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(os.environ[_FOLDER], "xla")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
os.environ.pop("JAX_NUM_CPU_DEVICES", None)
sharding.cores_as_devices(3)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture(autouse=True, scope="module")
def quick_pictures(request):
  """Laying a run's pictures out takes longer than the run: tests of pictures alone do."""
  if request.path.parent.name == "results":
    yield
    return
  from pacd_jax.results import figures

  def save(figure, path):
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=20)

  with mock.patch.object(figures, "save", save):
    yield


@pytest.fixture(autouse=True, scope="module")
def no_programs_of_other_files():
  """A session's programs would hold gigabytes; what is compiled again is read from disk."""
  yield
  jax.clear_caches()


# A session holds a thousand programs, and looking through them all takes a second.
gc.set_threshold(100_000, 50, 100)

# Files go to the workers in this order, the longest first, so that none waits at the end.
_LONGEST = (
  "resume_test.py",
  "door_test.py",
  "pacd_test.py",
  "networks_test.py",
  "main_test.py",
  "transfer_test.py",
  "convolution_test.py",
  "surrogates_test.py",
  "checks_test.py",
  "problem_test.py",
  "compare_test.py",
  "unequal_rows_test.py",
  "train_test.py",
  "report_test.py",
  "macer_test.py",
  "search_test.py",
  "paper_configs_test.py",
  "paper_test.py",
  "extending_test.py",
  "smoothing_test.py",
  "docs_test.py",
  "adversarial_losses_test.py",
  "checkpoint_test.py",
  "defended_test.py",
  "figures_test.py",
  "partial_poison_test.py",
  "ending_test.py",
  "solvers_test.py",
  "linear_attack_test.py",
  "coverage_test.py",
  "bench_test.py",
)


def pytest_collection_modifyitems(items):
  """Sorts the files, keeping the order inside of each, and marks cases that are long."""
  for item in items:
    most = getattr(getattr(item, "function", None), "long_after", None)
    case = re.search(r"\d+$", item.name)
    if most is not None and case and int(case[0]) >= most:
      item.add_marker("long")
  order = {name: number for number, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: order.get(item.path.name, len(order)))
