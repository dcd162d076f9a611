"""The command `pacd weights`: a run's victim as a file of safetensors.

pacd weights export runs/digits_ga victim.safetensors --row=pacd --seed=0 --layout=pytorch
"""

from collections.abc import Sequence

from pacd_jax import errors, types
from pacd_jax.experiment import door, stages, weights
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import files, subcommand


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  parser = subcommand.Parser(prog="pacd weights", allow_abbrev=False)
  commands = parser.add_subparsers(dest="command", required=True)
  export = commands.add_parser("export", help="a run's victim as a file of safetensors")
  export.add_argument("run", help="the folder of a run whose victims are trained")
  export.add_argument("file", help="the file to write, such as victim.safetensors")
  export.add_argument("--row", default=types.CLEAN, help="its training set; %(default)s")
  export.add_argument("--seed", type=int, default=0, help="its number; %(default)s")
  export.add_argument("--layout", choices=weights.LAYOUTS, default="flax")
  export.add_argument("--data_dir", default="", help="of prepared data, if it has moved")
  export.add_argument("--data_path", default="", help="of images of yours, if they have")
  chosen = parser.parse_args(arguments)
  weights.check_installed()
  path = files.user_path(chosen.file)
  if path.exists():
    raise errors.InputError(f"{path} is there already: give another name")
  plan = door.load(chosen.run, data_dir=chosen.data_dir, path=chosen.data_path)
  if inside := plan.config.defense.inside.names:
    raise errors.InputError(
      f"{chosen.run} has {plan.model_name}: a file of weights holds the network alone, "
      f"which is no victim without {', '.join(inside)}; use pacd_jax.load_run"
    )
  if plan.denoiser is not None:
    raise errors.InputError(
      f"{chosen.run} has {plan.model_name}: a file of weights holds the network alone, "
      "which is no victim without its denoiser; use pacd_jax.load_run"
    )
  params = _victim(plan, chosen.row, chosen.seed)
  network = plan.config.model
  weights.save_weights(
    path,
    params,
    network=network.name.name,
    num_classes=plan.splits.num_classes,
    image_shape=plan.splits.train.images.shape[1:],
    norm=network.norm,
    layout=chosen.layout,
    about={
      "row": chosen.row,
      "seed": chosen.seed,
      "training": plan.training,
      "sigma": plan.sigma,
      "data": plan.splits.description,
      "stamps": plan.folder.stamps(),
    },
  )
  return f"{chosen.row}, seed {chosen.seed}: {path}"


def _victim(plan: Plan, row: str, seed: int) -> types.Params:
  """The parameters of a row's victim; raises `errors.InputError` if there is none."""
  folder = plan.folder.path
  if row not in plan.rows:
    raise errors.InputError(f"--row={row}: {folder} has {', '.join(plan.rows)}")
  if seed not in plan.seeds:
    raise errors.InputError(f"--seed={seed}: {folder} has 0 to {plan.seeds[-1]}")
  if plan.ensemble is not None:
    raise errors.InputError(
      f"{folder}: victims are {plan.ensemble.num_models} networks each, and a file is of "
      "one: give a run without train.ensemble"
    )
  if not plan.folder.checkpoints("train").exists():
    raise errors.InputError(f"{folder} has no checkpoints/train: run --stage=train first")
  return stages.load_victims(plan)[row, seed]
