"""The command `pacd memorisation`: what finished runs fitted, and what of it they certify.

pacd memorisation runs/digits_memorisation runs/digits_memorisation_gaussian

Of every row: the first epoch with a training accuracy of 99 %, the loss and accuracy by
epoch, the accuracy without noise and the ACR on training points, with the labels that the
row has, and on test points.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, train, types
from pacd_jax.attacks import corruptions
from pacd_jax.certification import certificates
from pacd_jax.data import training_sets
from pacd_jax.experiment import door, kinds, making, stages, words
from pacd_jax.experiment.entries import memorisation
from pacd_jax.experiment.plan import Plan
from pacd_jax.results import evaluate, tables
from pacd_jax.runtime import files, metrics, progress, run_folder, stamp, subcommand

FITTED = 0.99  # Training accuracy of an epoch at which a row counts as fitted.
_FOLDER, _SUMMARY, _CURVES = "memorisation", "memorisation.json", "memorisation.png"
_STREAMS = {"train": 12, "test": 13}  # Folded into a victim's key of certification.
_NUM_POINTS = 100


def main(arguments: Sequence[str]) -> int:
  """Runs the command line; returns the exit status."""
  return subcommand.run(_run, arguments)


def _run(arguments: Sequence[str]) -> str:
  parser = subcommand.Parser(
    prog="pacd memorisation",
    description=__doc__.partition("\n\n")[0],
    allow_abbrev=False,
  )
  parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of trained runs")
  parser.add_argument(
    "--num_points",
    type=int,
    default=_NUM_POINTS,
    help="training and test points that are certified, drawn; %(default)s",
  )
  parser.add_argument("--out", default=_FOLDER, help="folder; %(default)s")
  parser.add_argument("--data_dir", default="", help="of prepared data, if it has moved")
  chosen = parser.parse_args(arguments)
  out = files.out_folder(chosen.out, lambda folder: (folder / _SUMMARY).exists())
  plans = {path: _checked(path, chosen) for path in dict.fromkeys(chosen.runs)}
  found = {path: _of_run(plan, chosen.num_points) for path, plan in plans.items()}
  return _written(out, found, chosen)


def _checked(path: str, chosen: argparse.Namespace) -> Plan:
  plan = door.load(path, data_dir=chosen.data_dir)
  if not plan.folder.checkpoints("train").exists():
    raise errors.InputError(f"{path} has no victims: run --stage=train first")
  if plan.ensemble is not None or plan.config.defense.chain.names:
    raise errors.InputError(
      f"{path}: its victims are ensembles, or trained on defended sets: give a run without "
      "train.ensemble and defense.chain"
    )
  if plan.denoiser is not None:
    raise errors.InputError(
      f"{path}: its victims are behind denoisers, and curves are of single networks: give "
      "a run with denoiser.loss=none"
    )
  if not plan.certify.procedure.has_radius:
    raise errors.InputError(
      f"{path}: certify.procedure={plan.config.certify.procedure.name}, with certify.mode="
      f"{plan.certify.settings.mode}, certifies no radius, of which the ACR is the mean: "
      "give a run with another"
    )
  for row in plan.rows:
    if not _metrics(plan).values("train", f"{row}/accuracy"):
      raise errors.InputError(
        f"{plan.folder.metrics} has no epoch of {row}, whose curves are gone: train the "
        "run anew"
      )
  most = min(len(plan.splits.train.labels), len(plan.splits.test.labels))
  if not 1 <= chosen.num_points <= most:
    raise errors.InputError(
      f"--num_points={chosen.num_points}: use 1 to {most}, as many as {path} has"
    )
  return plan


def _metrics(plan: Plan) -> metrics.MetricsFile:
  return metrics.MetricsFile(plan.folder.metrics)


def _of_run(plan: Plan, num_points: int) -> dict[str, Any]:
  """The numbers of one run: curves by epoch, and certificates, which are resumed."""
  curves_file = _metrics(plan)
  rows = []
  with plan.folder:  # Locked: no other process writes there.
    params = stages.load_victims(plan)
    shown = progress.Progress("memorisation", len(params), unit="victims")
    done = 0
    for row in plan.rows:
      curves = {
        name: np.array(list(curves_file.values("train", f"{row}/{name}").values())).T
        for name in ("loss", "accuracy")
      }
      fits = [first_fitted(accuracy) for accuracy in curves["accuracy"]]
      about: dict[str, Any] = {
        "data": row,
        "epochs_to_fit": fits,
        "loss": curves["loss"].tolist(),
        "accuracy": curves["accuracy"].tolist(),
        # Of an epoch, under the training's own noise.
        "last_epoch": curves["accuracy"][:, -1].tolist(),
        **{f"{split}_accuracy": [] for split in _STREAMS},  # Without noise.
        **{f"acr_{split}": [] for split in _STREAMS},
      }
      points = {
        "train": training_sets.to_dataset(plan.training_sets.split(row)),
        "test": test_points(plan, row),
      }
      for seed in plan.seeds:
        victim = params[row, seed]
        for split, dataset in points.items():
          accuracy = train.accuracy(plan.model.apply, victim, dataset)
          about[f"{split}_accuracy"].append(accuracy)
          acr = _acr(plan, row, seed, victim, split, dataset, num_points)
          about[f"acr_{split}"].append(acr)
        done += 1
        shown.update(done)
      rows.append(about)
  return {
    "training": plan.training,
    "model": plan.model_name,
    "sigma": plan.sigma,
    "data": plan.splits.description,
    "rows": rows,
  }


def first_fitted(accuracy: np.ndarray) -> int | None:
  """The first epoch, from 1, with a training accuracy `[T]` of 99 %; None: there is none.

  It is the mean over an epoch's mini-batches, each before its step.
  """
  fitted = np.flatnonzero(np.asarray(accuracy) >= FITTED)
  return int(fitted[0]) + 1 if len(fitted) else None


def test_points(plan: Plan, row: str) -> types.Dataset:
  """The test split as the row's victims can be asked: shuffled as their images were."""
  test = plan.splits.test
  if row != memorisation.SHUFFLED:
    return test
  key = making.row_key(jax.random.key(plan.config.seed), kinds.ROWS[row])
  return test._replace(images=corruptions.shuffled_pixels(test.images, key))


def _acr(plan, row, seed, params, split, dataset, num_points) -> float:
  """The ACR of one victim on points of all classes; its certificates are files."""
  stem = plan.folder.path / _FOLDER / row / f"{split}_{num_points}" / f"seed_{seed}"
  generator = np.random.default_rng([plan.config.seed, _STREAMS[split]])
  drawn = generator.permutation(len(dataset.labels))[:num_points]
  plan.certify.procedure.certify_to_files(
    params,
    dataset,
    np.sort(drawn),
    jax.random.fold_in(plan.certify_key(seed), _STREAMS[split]),
    stem,
    seed=seed,
    extra={
      **{name: plan.victim_identity(row, seed)[name] for name in ("run", "trained_on")},
      "split": split,
    },
  )
  return evaluate.average_certified_radius(certificates.read(stem))


def _written(
  out: pathlib.Path, found: dict[str, dict[str, Any]], chosen: argparse.Namespace
) -> str:
  """Writes the summary and the curves; returns the table."""
  from pacd_jax.results import figures, memorisation_figures  # Matplotlib takes a second.

  out.mkdir(exist_ok=True)
  about = {"num_points": chosen.num_points, "runs": found, "stamp": stamp.make()}
  run_folder.write_json(out / _SUMMARY, about)
  with figures.own_style():
    titles = _names({p: f"{run['training']} ({run['model']})" for p, run in found.items()})
    panels = {
      titles[path]: {
        row["data"]: (np.array(row["loss"]), np.array(row["accuracy"]))
        for row in run["rows"]
      }
      for path, run in found.items()
    }
    rows = {row: None for of_run in panels.values() for row in of_run}
    styles = {row: words.style(row) for row in rows}
    figures.save(memorisation_figures.learning_curves(panels, styles), out / _CURVES)
  heads = "training", "data", "99 % at", "last epoch %"
  lines = [(*heads, "train %", "test %", "ACR train", "ACR test")]
  names = _names({path: run["training"] for path, run in found.items()})
  for path, run in found.items():
    lines += [_line(names[path], row) for row in run["rows"]]
  return f"{tables.aligned(lines)}\n\n{out / _CURVES}"


def _names(of_runs: dict[str, str]) -> dict[str, str]:
  """What runs are called, by their paths: with the path where two would be called alike."""
  every = list(of_runs.values())
  return {
    path: name if every.count(name) == 1 else f"{name}, {path}"
    for path, name in of_runs.items()
  }


def _line(training: str, row: dict[str, Any]) -> tuple[str, ...]:
  fits = row["epochs_to_fit"]
  known = [fit for fit in fits if fit is not None]
  epochs = f"{np.mean(known):.0f}" if len(known) == len(fits) else "never"
  if known and len(known) < len(fits):
    epochs = f"{len(known)} of {len(fits)}"
  return (
    training,
    row["data"],
    epochs,
    f"{100.0 * np.mean(row['last_epoch']):.1f}",
    *(f"{100.0 * np.mean(row[f'{split}_accuracy']):.1f}" for split in ("train", "test")),
    *(_spread(row[f"acr_{split}"]) for split in ("train", "test")),
  )


def _spread(values: list[float]) -> str:
  return f"{np.mean(values):.3f} ± {evaluate.std(values):.3f}"
