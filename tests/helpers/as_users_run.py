"""Calls a function in a process that has all of XLA's optimisations, as users' runs have.

The session has few of them (`conftest.py`): programs compile in a third of the time, but
large computations take several times as long, and rounding may differ.
"""

import concurrent.futures
import multiprocessing
import os
from unittest import mock

import jax

USERS_FLAGS = "PACD_TESTS_USERS_XLA_FLAGS"  # What XLA_FLAGS was before the session.


def call(function, *args, **kwargs):
  """Its result with arrays on the host; the function and all else have to be picklable."""
  of_users = mock.patch.dict(os.environ, XLA_FLAGS=os.environ.get(USERS_FLAGS, ""))
  context = multiprocessing.get_context("spawn")
  with of_users, concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
    return pool.submit(_on_host, function, *args, **kwargs).result()


def _on_host(function, *args, **kwargs):
  return jax.device_get(function(*args, **kwargs))
