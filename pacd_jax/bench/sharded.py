"""The cost of sharding: an attack step on eight devices against one, by CPU time.

Simulated devices share the machine's cores, so what eight of them take more is overhead:
copies of what is replicated, and the exchange of gradients. It is measured in a process of
its own, since a process has one number of devices:

  python -m pacd_jax.bench.sharded
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import jax

from pacd_jax.attacks import pacd
from pacd_jax.bench import entry, work
from pacd_jax.runtime import sharding

_DEVICES = 8


def step(num_devices: int) -> Callable[[], tuple[pacd.AttackState, dict]]:
  """`work.attack_step` at the authors' sizes, its batches sharded over some devices."""
  mesh = sharding.mesh(num_devices)
  params, attack_data = work.attack_problem()
  setting = work.Setting(curvature="gauss_newton", damping=0.1)
  apply = sharding.over_batch(work.network().apply, mesh)
  settings, key = work.pacd_settings(attack_data, setting, apply), jax.random.key(1)
  state = work.pacd_state(settings, params, attack_data, key)
  given = sharding.replicate((state, attack_data, key), mesh)
  whole = sharding.replicated(mesh)
  jitted = jax.jit(pacd.make(settings).step, out_shardings=whole)
  return lambda: jitted(*given)


def measure() -> entry.Row:
  """The row of `bench.json`, measured in a process that has eight devices."""
  environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
  environment["JAX_NUM_CPU_DEVICES"] = str(_DEVICES)
  environment["XLA_FLAGS"] = ""
  command = [sys.executable, "-m", "pacd_jax.bench.sharded"]
  done = subprocess.run(command, env=environment, capture_output=True, text=True)
  if done.returncode:
    raise RuntimeError(f"bench: {' '.join(command)} failed:\n{done.stderr}")
  return json.loads(done.stdout)


def main() -> int:
  """Measures in this process and prints the row; returns the exit status."""
  if jax.device_count() < _DEVICES:
    sys.stdout.write(json.dumps(measure()) + "\n")
    return 0
  both = entry.Entry(step(_DEVICES), step(1), 1, "steps/CPU s")
  row = entry.measure(both, clock=time.process_time)  # The time of all threads.
  sys.stdout.write(json.dumps(row) + "\n")
  return 0


ENTRIES = {"sharded_step": measure}


if __name__ == "__main__":
  sys.exit(main())
