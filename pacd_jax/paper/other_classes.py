"""What a poison of one class does to the others: certificates of their test points.

They are beside a run's own, in files of the same form: `other_classes/<row>/seed_<k>.*`.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from pacd_jax import types
from pacd_jax.certification import certificates
from pacd_jax.experiment.plan import Plan
from pacd_jax.paper import victims
from pacd_jax.results import evaluate

_FOLDER = "other_classes"


def certify_others(folder: pathlib.Path, rows: Sequence[str], data_dir: str = "") -> None:
  """Certifies the victims of some rows on the other classes; resumes where it stopped.

  Raises:
    errors.InputError: the folder holds no run, or its victims are gone.
  """
  done = certificates.is_complete
  victims.measure(
    folder, _FOLDER, rows, is_done=done, measure_one=_certify, data_dir=data_dir
  )


def _certify(plan: Plan, params: types.Params, seed: int, stem: pathlib.Path) -> None:
  plan.certify.procedure.certify_to_files(
    params,
    plan.certify.dataset,
    _indices(plan),
    plan.certify_key(seed),
    stem,
    seed=seed,
    extra={
      "split": plan.certify.split,
      "trained_on": plan.victim_identity(stem.parent.name, seed)["trained_on"],
    },
  )


def _indices(plan: Plan) -> np.ndarray:
  """Test points of all classes but the target: all, or as many as the run certifies.

  A sample is drawn by the run's seed, from all of these classes together.
  """
  dataset, number = plan.certify.dataset, plan.config.certify.num_points
  others = np.flatnonzero(dataset.labels != plan.target_class)
  if number and number < len(others):
    generator = np.random.default_rng(plan.config.seed)
    others = np.sort(generator.choice(others, number, replace=False))
  return others


def average_certified_radii(folder: pathlib.Path, row: str) -> list[float]:
  """Each victim's ACR on the other classes; empty where one is not certified."""
  stems = victims.stems(folder, _FOLDER, row)
  if not all(map(certificates.is_complete, stems)):
    return []
  return [evaluate.average_certified_radius(certificates.read(stem)) for stem in stems]
