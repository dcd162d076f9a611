"""The share of what a poison took that `unshift` gives back, and its cost on clean data.

  python tests/heavy/unshift_share.py --run=runs/digits_ga
  python tests/heavy/unshift_share.py --run=RUN --data_dir=FOLDER \
      [--rows clean pacd] [--draws=5] [--num_trusted=20] [--n=10000]

Of a finished run, every row is unshifted by trusted images that a draw takes from the
validation split; victims are trained on it from scratch by the run's seeds and certified at
the run's points. ACRs without the defence are those of the run's certificates. A shared
poison against one of each image's own needs two runs, such as

  pacd run digits_ga --config.attack.num_shared_steps=0 --workdir=runs/digits_per_image
  python tests/heavy/unshift_share.py --run runs/digits_ga runs/digits_per_image

The table has means and standard deviations over draws and victims for ACRs, and over draws,
of means over victims, for shares: (ACR - poisoned) / (clean - poisoned), and of clean data
1 - ACR / clean, the cost.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

import pacd_jax
from pacd_jax import types
from pacd_jax.data import arrays
from pacd_jax.defenses.trusted import unshift
from pacd_jax.experiment.plan import Plan


class Line(NamedTuple):
  """What is known of one row of one run."""

  run: str
  row: str
  before: np.ndarray  # `[S]`: the victims' ACRs without the defence.
  after: np.ndarray  # `[draws, S]`: with it.
  share: np.ndarray  # `[draws]`: given back; of clean data, lost.


def _without_defence(folder: pathlib.Path, row: str, num_victims: int) -> np.ndarray:
  """The ACRs of a run's victims, by seed."""
  stems = [folder / "certificates" / row / f"seed_{seed}" for seed in range(num_victims)]
  records = [pacd_jax.read_certificates(stem) for stem in stems]
  return np.array([np.where(each.correct, each.radius, 0.0).mean() for each in records])


def _with_defence(
  run: Plan, row: str, draw: int, *, num_trusted: int, n: int
) -> np.ndarray:
  """The ACRs of victims of the row, unshifted by one draw of trusted images."""
  epsilon, _ = run.training_sets.budget(row)
  tools = types.Tools(
    run.model,
    lambda training_set, key: None,  # Nothing is to be trained.
    run.splits.validation,
    run.splits.num_classes,
  )
  repaired, _ = unshift.unshift(
    run.training_sets.split(row),
    jax.random.key(draw),
    tools,
    num_trusted=num_trusted,
    most=epsilon or run.config.attack.epsilon,
  )
  victims = pacd_jax.train_victims(repaired, run.config, num_classes=run.splits.num_classes)
  certified, settings = run.certify.dataset, run.certify.settings
  images = arrays.to_float(certified.images[run.certify.indices])
  labels, acrs = certified.labels[run.certify.indices], []
  for seed, params in enumerate(victims.params):
    prediction, radius, _ = pacd_jax.certify(
      victims.apply,
      params,
      images,
      jax.random.key(seed),
      sigma=settings.sigma,
      n0=settings.n0,
      n=n or settings.n,
      alpha=settings.alpha,
    )
    acrs.append(np.where(np.asarray(prediction) == labels, radius, 0.0).mean())
  return np.array(acrs)


def measure(
  folder: str, rows: Sequence[str], *, draws: int, num_trusted: int, n: int, data_dir: str
) -> list[Line]:
  """One line for each row of a run; all of its rows if none are given."""
  run, lines = pacd_jax.load_run(folder, data_dir=data_dir), []
  num_victims = len(run.seeds)
  clean = _without_defence(pathlib.Path(folder), types.CLEAN, num_victims)
  for row in rows or run.rows:
    before = _without_defence(pathlib.Path(folder), row, num_victims)
    after = np.array(
      [_with_defence(run, row, draw, num_trusted=num_trusted, n=n) for draw in range(draws)]
    )
    mean = after.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # Nothing was taken: no number.
      if row == types.CLEAN:
        share = 1.0 - mean / clean.mean()
      else:
        share = (mean - before.mean()) / (clean.mean() - before.mean())
    lines.append(Line(folder, row, before, after, share))
  return lines


def table(lines: Sequence[Line]) -> str:
  """The lines as text, with what they mean."""

  def words(values, scale=1.0, digits=3):
    std = values.std(ddof=1) if values.size > 1 else float("nan")
    return f"{scale * values.mean():.{digits}f} +- {scale * std:.{digits}f}"

  text = f"{'run':28} {'row':18} {'ACR':>16} {'unshifted':>16}  share\n"
  for line in lines:
    what = "lost" if line.row == types.CLEAN else "given back"
    text += (
      f"{line.run[-28:]:28} {line.row:18} {words(line.before):>16} "
      f"{words(line.after):>16}  {words(line.share, 100, 1)} % {what}\n"
    )
  return text


def main(arguments: list[str]) -> int:
  """Prints the table of each run as it is done."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--run", nargs="+", required=True)
  parser.add_argument("--rows", nargs="+", default=[])
  parser.add_argument("--draws", type=int, default=5)
  parser.add_argument("--num_trusted", type=int, default=20)
  parser.add_argument("--n", type=int, default=0, help="0: as the run's certificates")
  parser.add_argument("--data_dir", default="")
  chosen = parser.parse_args(arguments)
  for folder in chosen.run:
    lines = measure(
      folder,
      chosen.rows,
      draws=chosen.draws,
      num_trusted=chosen.num_trusted,
      n=chosen.n,
      data_dir=chosen.data_dir,
    )
    sys.stdout.write(table(lines))
    sys.stdout.flush()
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
