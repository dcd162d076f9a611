"""A protocol, the data and the scale at which the tables are remade, and one run of it."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from pacd_jax.experiment import door
from pacd_jax.experiment.config import Config
from pacd_jax.suites import runner

SCALES = ("full", "paper", "fast", "smoke")
# data set -> scale -> (variant of its configs, fields that differ from it).
_SCALES = {
  "digits": {
    "full": ("", {}),
    "fast": ("", {"certify.n": 1000}),
    "smoke": ("smoke", {"model.name": "linear"}),
  },
  "mnist": {
    "full": ("", {}),
    "paper": ("paper", {}),
    "fast": ("fast", {"certify.n": 1000, "train.num_victims": 5}),
    "smoke": ("smoke", {}),
  },
  "cifar10": {
    "full": ("", {}),
    "paper": ("paper", {}),
    "fast": ("fast", {"certify.n": 1000, "train.num_victims": 5}),
    "smoke": ("smoke", {}),
  },
}
DATASETS = tuple(_SCALES)
_DESCRIPTIONS = {
  "full": "the configs as they are",
  "paper": "all images and the paper's sample size, on two cores",
  "fast": "for two cores and no GPU",
  "smoke": "as small as it goes: the numbers mean nothing",
}


def scales(dataset: str) -> tuple[str, ...]:
  """The scales that a data set has."""
  return tuple(scale for scale in SCALES if scale in _SCALES[dataset])


class Run(NamedTuple):
  """One run behind a table: a config, what differs from it, and where it is put."""

  name: str  # Its folder; runs of the same name are the same in all tables.
  config: str  # A file in `configs/`, without the data set's name: "ga" is digits_ga.
  rows: tuple[str, ...] = ("clean", "pacd")
  variant: str = ""  # Added to the scale's.
  fields: Mapping[str, Any] = {}  # Fields that differ, by flat names.
  poisons: Mapping[str, "Run"] = {}  # Rows whose poison is the PACD of another run.
  settings: Mapping[str, Any] = {}  # What the table varies, for its columns and `--only`.
  called: Mapping[str, str] = {}  # Rows that tables show under another name.

  def shown(self, row: str) -> str:
    """The name of a row in tables."""
    return self.called.get(row, row)


class Protocol(NamedTuple):
  """The data set, the scale and the folders of runs."""

  dataset: str
  scale: str
  runs_dir: pathlib.Path
  data_dir: str = ""

  @property
  def name(self) -> str:
    return f"{self.dataset}_{self.scale}"

  @property
  def description(self) -> str:
    return f"{self.dataset}, {self.scale}: {_DESCRIPTIONS[self.scale]}"

  def folder(self, run: Run) -> pathlib.Path:
    return self.runs_dir / self.name / run.name

  def config_name(self, run: Run) -> str:
    """What `--config` would be, without the fields that differ."""
    variant, _ = _SCALES[self.dataset][self.scale]
    variants = ",".join(filter(None, (variant, run.variant)))
    return f"configs/{self.dataset}_{run.config}.py" + (f":{variants}" if variants else "")

  def config(self, run: Run) -> Config:
    """The run's config.

    Raises:
      errors.InputError: there is no such config, or it lacks a field.
    """
    path, _, variant = self.config_name(run).partition(":")
    changes = {
      "rows": (*run.rows, *run.poisons),
      "poisons": {row: str(self.folder(maker)) for row, maker in run.poisons.items()},
      "data.data_dir": self.data_dir,
    }
    return door.named(pathlib.Path(path).stem, variant, changes | self.differing(run))

  def differing(self, run: Run) -> dict[str, Any]:
    """Fields in which the run differs from its config, by flat names."""
    _, fields = _SCALES[self.dataset][self.scale]
    return {**fields, **run.fields}

  def is_finished(self, run: Run) -> bool:
    """Whether the run's results and every victim's certificates are there.

    Raises:
      errors.InputError: the folder holds a run of another config, or one whose poison
        another run has made anew since; the message names the fields.
    """
    return runner.is_finished(self.folder(run), self.config(run))
