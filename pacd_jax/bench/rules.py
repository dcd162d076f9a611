"""Measures what the sampling rules save on a run's own victims, against fixed sampling.

  python -m pacd_jax.bench.rules runs/mnist_ga_fast --points 50

Certifies every victim of a trained run by each rule, each with its own noise, at the sigma,
n0, n and alpha of the run. Prints the samples per point, the ACR, and the share of points
on which fixed sampling decides alike (certified at radius 0 or not). Writes nothing.
"""

import argparse
import pathlib
import sys

import jax
import numpy as np

from pacd_jax import errors
from pacd_jax.certification import certify, provenance, sampling
from pacd_jax.data import arrays
from pacd_jax.experiment import door, stages
from pacd_jax.runtime import sharding


def main(argv: list[str]) -> int:
  """Certifies and prints; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m pacd_jax.bench.rules")
  parser.add_argument("workdir", type=pathlib.Path, help="a run whose victims are trained")
  parser.add_argument("--points", type=int, default=0, help="the first so many; 0: all")
  options = parser.parse_args(argv)
  sharding.cores_as_devices()
  try:
    _compare(options.workdir, options.points or None)
  except errors.InputError as error:
    sys.stderr.write(f"error: {error}\n")
    return 2
  return 0


def _compare(workdir: pathlib.Path, num_points: int | None) -> None:
  plan = door.load(workdir)
  stages.check(plan, ("certify",))
  victims = stages.load_victims(plan)
  indices = plan.certify.indices[:num_points]
  images = arrays.to_float(plan.certify.dataset.images[indices])
  labels, results = plan.certify.dataset.labels[indices], {}
  for number, mode in enumerate(sampling.RULES.names):
    found = []
    for (row, seed), params in victims.items():
      key = jax.random.fold_in(plan.certify_key(seed), number)
      settings = plan.certify.settings._replace(mode=mode, options=None)
      predicted, radii, counts = certify.certify(
        plan.model.apply, params, images, key, labels=labels, **settings._asdict()
      )
      found.append((np.where(predicted == labels, radii, 0.0), counts))
      sys.stderr.write(f"{mode}: {row}, seed {seed}\n")
    own = plan.certify.settings
    limits = {"sigma": own.sigma, "n0": own.n0, "n": own.n, "alpha": own.alpha}
    sidecar = sampling.make(mode, **limits).sidecar | limits
    radii, counts = map(np.concatenate, zip(*found, strict=True))
    samples = provenance.num_samples(sidecar, counts)
    results[mode] = radii, samples.mean()
    fixed, drawn = results["fixed"]
    alike = np.mean((radii > 0.0) == (fixed > 0.0))
    acr = f"{radii.mean():.4f}" if sampling.RULES[mode].has_radius else "-"
    sys.stdout.write(
      f"{mode:9} samples {samples.mean():9,.0f}  "
      f"{drawn / samples.mean():6.3g} times fewer  ACR {acr:>6}  "
      f"like fixed on {100 * alike:.2f} % of {len(radii)} points\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
