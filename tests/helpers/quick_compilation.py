"""XLA's flags for tests: programs compile in a third of the time, and run slower."""

import os
import subprocess
import sys

_FLAGS = (
  "--xla_backend_optimization_level=0",
  "--xla_llvm_disable_expensive_passes=true",
  "--xla_cpu_use_fusion_emitters=false",
  "--xla_cpu_use_onednn=false",
  "--xla_cpu_experimental_xnn_graph_fusion_mode=XNN_GRAPH_FUSION_MODE_DISABLED",
  "--xla_cpu_parallel_codegen_split_count=1",
)


def flags(before):
  """`before` and those of the flags that this version of XLA knows."""
  together = " ".join([before, *_FLAGS])
  if _is_known(together):
    return together
  return " ".join([before, *(flag for flag in _FLAGS if _is_known(flag))])


def _is_known(text):
  """A flag that a version of XLA does not know ends the process."""
  command = [sys.executable, "-c", "import jax; jax.devices()"]
  environment = os.environ | {"XLA_FLAGS": text}
  return not subprocess.run(command, env=environment, capture_output=True).returncode
