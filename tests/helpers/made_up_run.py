"""A finished run without its report, made up: any rows, colours, sampling and precision."""

import json
import pathlib

import any_poison
import numpy as np

from pacd_jax.certification import certificates, sampling
from pacd_jax.data import poison_file
from pacd_jax.results import evaluate

ROWS = {"clean": 0.95, "watermark": 0.9, "classwise": 0.75, "pacd": 0.6}
_NUM_POINTS, _NUM_SEEDS, _N = 12, 3, 1000


def _certify(rule, votes_of):
  point, votes = rule(8), None
  try:
    while True:
      votes = votes_of(point.send(votes))
  except StopIteration as end:
    return end.value


def _write_certificates(folder, quality, rng, mode, dtype):
  settings = {"sigma": 0.25, "n0": 100, "n": _N, "alpha": 0.001}
  rule, law = sampling.make(mode, **settings), np.zeros(10)
  law[8], law[3] = quality, 1.0 - quality
  for seed in range(_NUM_SEEDS):
    sidecar = settings | rule.sidecar | {"seed": seed, "dtype": dtype, "num_classes": 10}
    sidecar |= {
      "indices": list(range(_NUM_POINTS)),
      "accuracy": 0.97,
      "class_accuracy": 0.93,
    }
    with certificates.Writer(folder / f"seed_{seed}", sidecar) as writer:
      for idx in range(_NUM_POINTS):
        certificate = _certify(rule, lambda size: rng.multinomial(size, law))
        writer.append(idx, 8, certificate, seconds=0.01)


def _poison(num_channels, rng):
  base = rng.integers(0, 256, (6, 8, 8, num_channels), dtype=np.uint8)
  change = rng.integers(-25, 26, base.shape)
  images = np.clip(base + change, 0, 255).astype(np.uint8)
  return any_poison.make(images, base)


def attack_line(step, **changes):
  line = {"stage": "attack", "step": step, "upper": 0.3, "lower": 1.0}
  line |= {"relative_residual": 0.05, "num_steps": 8, "negative_curvature": False}
  return json.dumps(line | {"min_curvature": 0.1, "restart": step == 0} | changes)


def make_run(
  workdir,
  rows,
  *,
  num_channels=1,
  config=None,
  words=None,
  mode="fixed",
  dtype="float32",
):
  """A finished run without its report; returns what `results.json` holds."""
  workdir, rng = pathlib.Path(workdir), np.random.default_rng(0)
  for name in rows:
    folder = workdir / "certificates" / name
    _write_certificates(folder, ROWS.get(name, 0.8), rng, mode, dtype)
    if name != "clean":
      path = workdir / "poison" / f"{name}.npz"
      poison_file.save(path, _poison(num_channels, rng))
  records = {n: evaluate.read_records(workdir / "certificates" / n) for n in rows}
  default = {"dataset": "digits", "target_class": 8, "epsilon": 0.1, "norm": "linf"}
  default |= {"model": "small_cnn", "training": "gaussian_augmentation"}
  about = {name: evaluate.About(words=f"the images of {name}.") for name in rows}
  about |= {
    name: evaluate.About(words="as given.", is_given=True)
    for name in rows
    if name not in ROWS
  }
  results = evaluate.results(records, rows=about, **(default | (words or {})))
  (workdir / "results.json").write_text(json.dumps(results))
  (workdir / "config.json").write_text(json.dumps(config or {"seed": 0, "data": {}}))
  lines = [attack_line(step) for step in range(20)] if "pacd" in rows else []
  lines += ['{"stage": "train/clean", "step": 0, "loss": [1.0], "accuracy": [0.5]}']
  (workdir / "metrics.jsonl").write_text("\n".join(lines) + "\n")
  return results
