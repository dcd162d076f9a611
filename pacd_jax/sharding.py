"""Devices: the mesh of programs that share their work among them, and CPU cores as such."""

import os
import pathlib

import jax
import numpy as np

AXIS = "devices"
_CGROUP = pathlib.Path("/sys/fs/cgroup")


def mesh(size: int | None = None) -> jax.sharding.Mesh:
  """This process's devices in a row, `[AXIS]`: all, or the first `size`."""
  devices = np.array(jax.local_devices()[:size])
  return jax.sharding.Mesh(devices, (AXIS,), axis_types=(jax.sharding.AxisType.Auto,))


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Of arrays that each device has whole."""
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def num_cores() -> int:
  """CPU cores that this process may use: its affinity, and a container's quota."""
  has_affinity = hasattr(os, "sched_getaffinity")
  cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
  quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
  if quota.isdecimal() and period.strip().isdecimal():
    cores = min(cores, max(1, int(quota) // int(period)))
  return cores


def free_memory() -> int:
  """Bytes that this process may still take of the host's memory, by its container too."""
  free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  for line in _read(pathlib.Path("/proc/meminfo")).splitlines():
    if line.startswith("MemAvailable:"):
      free = int(line.split()[1]) * 1024
  most, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
  if most.strip().isdecimal() and used.strip().isdecimal():
    free = min(free, max(0, int(most) - int(used)))
  return free


def _read(path: pathlib.Path) -> str:
  try:
    return path.read_text()
  except OSError:  # Not on Linux, or without such a limit.
    return ""


def cores_as_devices() -> None:
  """Makes each CPU core a device of its own; to be called before JAX is first used.

  Work that falls apart, as certification's does, is faster on a device per core than on
  one that cuts each operation into pieces (`make bench`, `certify_devices`). Programs that
  know nothing of it run on the first device, with all cores as before.

  Nothing changes where the user has chosen a number of devices: by `XLA_FLAGS` or by
  `JAX_NUM_CPU_DEVICES`.
  """
  by_xla = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if not by_xla and "JAX_NUM_CPU_DEVICES" not in os.environ:
    jax.config.update("jax_num_cpu_devices", num_cores())
