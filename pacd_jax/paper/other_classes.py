"""What a poison of one class does to the others: certificates of their test points.

Beside a run's own certificates, in the same files: `other_classes/<row>/seed_<k>.*`.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from pacd_jax import certificates, certify, evaluate, experiment, progress, stages
from pacd_jax.plan import Plan

FOLDER = "other_classes"


def indices(plan: Plan) -> np.ndarray:
  """Test points of all classes but the target: all, or as many as the run certifies.

  Of a sample, each point is drawn by the run's seed, whatever its class.
  """
  dataset, number = plan.certify.dataset, plan.folder.settings["certify"]["num_points"]
  others = np.flatnonzero(dataset.labels != plan.target_class)
  if number and number < len(others):
    generator = np.random.default_rng(plan.folder.settings["seed"])
    others = np.sort(generator.choice(others, number, replace=False))
  return others


def certify_others(folder: pathlib.Path, rows: Sequence[str]) -> None:
  """Certifies every victim of a finished run on them; resumes where it stopped.

  Raises:
    errors.InputError: the folder holds no run, or its victims are gone.
  """
  if all(_is_complete(folder, row) for row in rows):
    return
  plan = experiment.load(folder)
  points, victims = indices(plan), stages.load_victims(plan)
  shown = progress.Progress("certify the other classes", len(victims), unit="victims")
  for done, ((row, seed), params) in enumerate(victims.items(), start=1):
    path = folder / FOLDER / row / f"seed_{seed}"
    if not certificates.is_complete(path):
      certify.certify_to_files(
        plan.model.apply,
        params,
        plan.certify.dataset.images,
        plan.certify.dataset.labels,
        points,
        plan.certify_key(seed),
        path,
        seed=seed,
        extra={
          "split": plan.certify.split,
          "trained_on": plan.training_sets.checksum(row),
          "num_victims": len(plan.seeds),
        },
        **plan.certify.options,
      )
    shown.update(done)


def _is_complete(folder: pathlib.Path, row: str) -> bool:
  paths = sorted((folder / FOLDER / row).glob("seed_*.json"))
  stems = [path.with_suffix("") for path in paths]
  if not stems or not all(map(certificates.is_complete, stems)):
    return False
  return len(stems) == certificates.read(stems[0]).sidecar["num_victims"]


def average_certified_radii(folder: pathlib.Path, row: str) -> list[float]:
  """ACR over those points, of each victim; empty where they are not certified."""
  if not _is_complete(folder, row):
    return []
  records = evaluate.read_records(folder / FOLDER / row)
  return [evaluate.average_certified_radius(record) for record in records]
