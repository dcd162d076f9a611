"""The command `pacd prepare mnist --data_dir=DIR`: downloads and stores a data set.

TensorFlow Datasets does it, with TensorFlow; reading the stored files needs no TensorFlow.
"""

import argparse
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence

from pacd_jax import errors
from pacd_jax.data import tfds_folder

# TFDS 4.9 imports the second one when preparing, but does not declare it as a dependency.
_PACKAGES = ("tensorflow", "importlib_resources")


class _Parser(argparse.ArgumentParser):
  def error(self, message: str):
    raise errors.InputError(f"{message}: write `{_USAGE}`")


_USAGE = f"pacd prepare {{{','.join(tfds_folder.NAMES)}}} --data_dir=DIR"


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; an error is reported in one line.

  Args:
    arguments: the arguments, without the program's name.

  Returns:
    The exit status: 0, 2 for bad input, or 130 if it was interrupted.
  """
  try:
    sys.stdout.write(_run(arguments) + "\n")
  except errors.InputError as error:
    sys.stderr.write(f"error: {error}\n")
    return 2
  except KeyboardInterrupt:
    sys.stderr.write("\ninterrupted: run the same command again\n")
    return 130
  return 0


def _run(arguments: Sequence[str]) -> str:
  parser = _Parser(prog="pacd", description="Prepares data sets.", allow_abbrev=False)
  commands = parser.add_subparsers(dest="command", required=True)
  command = commands.add_parser("prepare", help="download a data set and store it")
  command.add_argument("name", choices=tfds_folder.NAMES)
  command.add_argument(
    "--data_dir",
    help="the folder that data sets are in; by default $TFDS_DATA_DIR, or "
    "~/tensorflow_datasets",
  )
  chosen = parser.parse_args(arguments)
  if tfds_folder.find(chosen.name, chosen.data_dir) is None:
    _prepare(chosen.name, chosen.data_dir)
  source = tfds_folder.load(chosen.name, chosen.data_dir)
  num_train, num_test = (
    0 if split is None else len(split.labels) for split in (source.train, source.test)
  )
  sizes = f"{num_train:,} training and {num_test:,} test"
  folder = tfds_folder.find(chosen.name, chosen.data_dir)
  return f"{source.description}: {sizes} images in {folder}"


def _prepare(name: str, data_dir: str | None) -> None:
  """Downloads a data set and writes array_record files; partial files have other names.

  Raises:
    errors.InputError: a package is missing, or the download or the writing fails.
  """
  for package in _PACKAGES:
    if importlib.util.find_spec(package) is None:
      raise errors.InputError(
        f"preparing {name} needs the package {package}: pip install -e '.[prepare]'"
      )
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  logging.getLogger("urllib3").setLevel(logging.ERROR)  # A line for each retry.
  root = tfds_folder.root(data_dir)
  try:
    import tensorflow_datasets as tfds  # Imported here: it costs half a second.

    builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
    builder.download_and_prepare()
  except Exception as error:  # The network, the disk and TFDS raise many kinds of errors.
    raise errors.InputError(
      f"{root}: {name} could not be prepared ({tfds_folder.first_line(error)}): see that "
      "the network and the disk are there, and run the same command again"
    ) from None
