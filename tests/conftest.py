"""Tests have three devices, as if each were a core of the CPU.

Implicit broadcasting and a key's second use are errors.

Most of their time is XLA's compilation, which is faster with few of LLVM's
optimisations; `make demo` and every run have them. Programs that several tests build are
compiled once in a session, and the run that many begin with is done once, in a folder
that ends with it.
"""

import atexit
import os
import shutil
import tempfile

os.environ["XLA_FLAGS"] = " ".join(
  [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=1"]
)

import jax

from pacd_jax.runtime import sharding

_FOLDER = "PACD_TESTS_FOLDER"  # All workers of a session have the same.
if _FOLDER not in os.environ:
  os.environ[_FOLDER] = tempfile.mkdtemp()
  atexit.register(shutil.rmtree, os.environ[_FOLDER], ignore_errors=True)

jax.config.update("jax_compilation_cache_dir", os.path.join(os.environ[_FOLDER], "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
os.environ.pop("JAX_NUM_CPU_DEVICES", None)
sharding.cores_as_devices(3)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

# Files go to the workers in this order, the longest first, so that none waits at the end.
_LONGEST = (
  "resume_test.py",
  "door_test.py",
  "transfer_test.py",
  "pacd_test.py",
  "problem_test.py",
  "paper_configs_test.py",
  "paper_test.py",
  "search_test.py",
  "surrogates_test.py",
  "solvers_test.py",
  "linear_attack_test.py",
  "compare_test.py",
  "networks_test.py",
)


def pytest_collection_modifyitems(items):
  """Sorts the files, and keeps the order inside of each."""
  order = {name: number for number, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: order.get(item.path.name, len(order)))
