"""The command `pacd poison`: a poison as a folder of PNGs with a table, and back.

pacd poison export runs/digits_ga pngs       # or a poison's file
pacd poison import pngs mine.npz
"""

import argparse
import sys
from collections.abc import Sequence

from pacd_jax import errors
from pacd_jax.data import files, png_folder, poison_file


class _Parser(argparse.ArgumentParser):
  def error(self, message: str):
    raise errors.InputError(f"{message}: see pacd poison --help")


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns 0, or 2 for bad input, which is one line."""
  try:
    sys.stdout.write(_run(arguments) + "\n")
  except errors.InputError as error:
    sys.stderr.write(f"error: {error}\n")
    return 2
  except OSError as error:
    where = f"{error.filename}: " if error.filename else ""
    sys.stderr.write(f"error: {where}{error.strerror}\n")
    return 2
  return 0


def _run(arguments: Sequence[str]) -> str:
  parser = _Parser(prog="pacd poison", allow_abbrev=False)
  commands = parser.add_subparsers(dest="command", required=True)
  export = commands.add_parser("export", help="a poison's file as a folder of PNGs")
  export.add_argument("poison", help="a poison's file, or the folder of a run")
  export.add_argument("folder", help="a new folder")
  back = commands.add_parser("import", help="a folder of PNGs as a poison's file")
  back.add_argument("folder", help="a folder with poison.csv")
  back.add_argument("file", help="the file to write, such as mine.npz")
  chosen = parser.parse_args(arguments)
  if chosen.command == "export":
    path = poison_file.find(chosen.poison)
    poison = poison_file.load(path, remedy="give the file of a poison, or a run's folder")
    png_folder.save(chosen.folder, poison)
    return f"{len(poison.images)} images: {chosen.folder}"
  poison = png_folder.load(chosen.folder)
  path = files.user_path(chosen.file)
  if path.exists():
    raise errors.InputError(f"{path} is there already: give another name")
  poison_file.save(path, poison)
  return f"{len(poison.images)} images: {path}"
