"""The command `pacd poison`: a poison as PNGs with a table, or as .npz, and back.

pacd poison export runs/digits_ga pngs       # a run's pacd, or a poison's file
pacd poison export runs/digits_ga mine.npz
pacd poison import pngs mine.npz
pacd poison import theirs.npz mine.npz --run=runs/digits_ga
"""

import argparse
import pathlib
from collections.abc import Sequence

from pacd_jax import errors, types
from pacd_jax.data import plain_npz, png_folder, poison_file
from pacd_jax.runtime import files, subcommand


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  parser = subcommand.Parser(prog="pacd poison", allow_abbrev=False)
  commands = parser.add_subparsers(dest="command", required=True)
  export = commands.add_parser("export", help="a poison's file as PNGs, or as .npz")
  export.add_argument("poison", help="a poison's file, or the folder of a run")
  export.add_argument("target", help="a new folder, or a file that ends in .npz")
  back = commands.add_parser("import", help="PNGs, or an .npz, as a poison's file")
  back.add_argument("source", help="a folder with poison.csv, or a file that ends in .npz")
  back.add_argument("file", help="the file to write, such as mine.npz")
  back.add_argument(
    "--run",
    help="a run on the same data, for an .npz that has images, labels and indices alone",
  )
  back.add_argument("--data_dir", default="", help="of prepared data, if it has moved")
  back.add_argument("--data_path", default="", help="of images of yours, if they have")
  chosen = parser.parse_args(arguments)
  if chosen.command == "export":
    path = poison_file.find(chosen.poison)
    poison = poison_file.load(path, remedy="give the file of a poison, or a run's folder")
    return _save(poison, chosen.target)
  poison = _load(chosen)
  return _save(poison, chosen.file, always_file=True)


def _save(poison: types.Poison, target: str, *, always_file: bool = False) -> str:
  path = files.user_path(target)
  if not (always_file or _is_npz(path)):
    png_folder.save(path, poison)
  elif path.exists():
    raise errors.InputError(f"{path} is there already: give another name")
  else:
    poison_file.save(path, poison)
  return f"{len(poison.images)} images: {path}"


def _load(chosen: argparse.Namespace) -> types.Poison:
  source, run = chosen.source, chosen.run
  if not _is_npz(pathlib.Path(source)):
    if run is not None:
      raise errors.InputError(f"--run is for an .npz, not for the folder {source}")
    return png_folder.load(source)
  if run is None:
    remedy = (
      "give a poison's file, or --run=FOLDER of a run on the same data, for images, labels "
      "and indices alone"
    )
    return poison_file.load(source, remedy=remedy)
  from pacd_jax.experiment import door  # Imported here: it costs a second or two.

  plan = door.load(run, data_dir=chosen.data_dir, path=chosen.data_path)
  identity = plan.training_sets.identity | {"sigma": 0.0}  # Nobody says what it assumes.
  return plain_npz.load(source, plan.splits.train, identity)


def _is_npz(path: pathlib.Path) -> bool:
  return path.suffix == ".npz"
