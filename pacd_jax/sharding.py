"""Devices: the mesh of programs that share their work among them, and CPU cores as such."""

import os

import jax
import numpy as np

AXIS = "devices"


def mesh() -> jax.sharding.Mesh:
  """This process's devices in a row: `[AXIS]`."""
  return jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))


def replicated() -> jax.sharding.NamedSharding:
  """Of arrays that each device has whole."""
  return jax.sharding.NamedSharding(mesh(), jax.sharding.PartitionSpec())


def cores_as_devices() -> None:
  """Makes each CPU core a device of its own; to be called before JAX is first used.

  Work that falls apart, as certification's does, is faster on a device per core than on
  one that cuts each operation into pieces (`make bench`, `certify_devices`). Programs that
  know nothing of it run on the first device, with all cores as before.

  Nothing changes where the user has chosen a number of devices: by `XLA_FLAGS` or by
  `JAX_NUM_CPU_DEVICES`.
  """
  by_xla = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if by_xla or "JAX_NUM_CPU_DEVICES" in os.environ:
    return
  has_affinity = hasattr(os, "sched_getaffinity")  # Linux; what a container may use.
  cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
  jax.config.update("jax_num_cpu_devices", cores)
