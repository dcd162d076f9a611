"""What one accelerator does: rates of both networks, and MNIST under `paper` in full.

  make gpu-report DATA_DIR=FOLDER
  python -m pacd_jax.bench.gpu_report --data_dir=FOLDER [--seconds=480] [--out=docs/gpu.md]

writes the page anew after every part, and begins no part that the seconds left are too few
for: it says so on the page. Rates are of random images; numbers, of MNIST.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.bench import __main__ as bench
from pacd_jax.bench import matmul
from pacd_jax.certification import certify
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment import command, door, library, plan
from pacd_jax.runtime import files, progress, sharding

# Multiplications of one pass of one image through ResNet-20: the first convolution, three
# stacks of six 3x3 ones (the first of a stack halves the image), two 1x1, a dense layer.
_RESNET20 = (
  32**2 * 27 * 16
  + 6 * 32**2 * 9 * 16 * 16
  + 16**2 * (9 * 16 * 32 + 16 * 32 + 5 * 9 * 32 * 32)
  + 8**2 * (9 * 32 * 64 + 32 * 64 + 5 * 9 * 64 * 64)
  + 64 * 10
)


@dataclasses.dataclass(frozen=True)
class Network:
  """A network whose rates are measured, by the config that uses it."""

  title: str
  config: str
  variant: str
  image_shape: tuple[int, int, int]
  multiplications: int  # Of one pass of one image.


@dataclasses.dataclass(frozen=True)
class Sizes:
  """How much is measured; the defaults are for an H200."""

  networks: tuple[Network, ...] = (
    Network("the MNIST network", "mnist_ga", "paper", (28, 28, 1), matmul.PASS),
    Network("ResNet-20 on CIFAR-10", "cifar10_ga", "", (32, 32, 3), _RESNET20),
  )
  products: tuple[int, ...] = (4096, 8192)  # Sizes of the matrix products.
  num_images: int = 12_000
  num_points: int = 8
  n: int = 500_000  # Samples of a point.
  batch_sizes: tuple[int, ...] = (10_000, 50_000)
  victims: tuple[int, ...] = (1, 5, 20)  # In one program.
  num_steps: int = 3  # Of each attack.
  config: str = "mnist_ga"  # The run in full.
  variant: str = "paper"
  changes: tuple[tuple[str, Any], ...] = (
    ("rows", ("clean", "classwise", "brightness", "pacd")),
    ("train.num_victims", 5),
    ("train.victims_at_once", 0),
    ("certify.num_points", 500),
    ("certify.batch_size", 50_000),
  )
  seconds_of_rates: float = 30.0  # What a part of the rates may take.
  seconds_of_run: float = 120.0  # What the run in full needs at least.


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
  lines = [heads, ["---"] * len(heads), *rows]
  return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _seconds(function: Callable[[], Any]) -> float:
  """The seconds of a second call: the first compiles."""
  jax.block_until_ready(function())
  start = time.perf_counter()
  jax.block_until_ready(function())
  return time.perf_counter() - start


def _splits(shape: tuple[int, int, int], number: int) -> types.Splits:
  """Random images, as many in each part as the rates need."""
  generator = np.random.default_rng(0)
  images = generator.integers(0, 256, (number, *shape), dtype=np.uint8)
  labels = np.arange(number) % 10
  return library.split_arrays(images, labels, images[:100], labels[:100])


def _planned(
  network: Network, sizes: Sizes, folder: str, changes: dict[str, Any]
) -> plan.Plan:
  whole = {"data.num_train": 0, "certify.num_points": 0}
  config = door.named(network.config, network.variant, whole | changes)
  splits = _splits(network.image_shape, sizes.num_images)
  return door.build(config, folder, lambda *args, **kwargs: splits)


def certification(network: Network, sizes: Sizes, folder: str) -> list[str]:
  """Samples of certificates in a second, by batch size and dtype."""
  made = _planned(network, sizes, folder, {"certify.n": sizes.n})
  params = made.model.init(jax.random.key(0), network.image_shape)
  images = arrays.to_float(made.splits.test.images[: sizes.num_points])
  rows = []
  for dtype in ("float32", "bfloat16"):
    for batch_size in sizes.batch_sizes:
      settings = made.certify.settings._replace(
        dtype=dtype, batch_size=batch_size, mode="fixed"
      )

      def run(settings=settings):
        key = jax.random.key(1)
        return certify.certify(made.model.apply, params, images, key, **settings._asdict())

      rate = len(images) * (settings.n0 + settings.n) / _seconds(run)
      gflops = 2e-9 * rate * network.multiplications
      rows.append((dtype, f"{batch_size:,}", f"{rate:,.0f}", f"{gflops:,.0f}"))
  return _table(("dtype", "batch", "samples/s", "GFLOP/s"), rows)


def training(network: Network, sizes: Sizes, folder: str) -> list[str]:
  """Steps of victims in a second, by how many train in one program."""
  rows = []
  for number in sizes.victims:
    made = _planned(
      network,
      sizes,
      folder,
      {"rows": ("clean",), "train.num_victims": number, "train.victims_at_once": 0},
    )
    run, (which, keys) = made.train, made.victims()
    data = made.training_sets.split(types.CLEAN)
    stacked = training_sets.stack([data])
    batches = len(data.labels) // run.batch_size

    def epoch(run=run, which=which, keys=keys, stacked=stacked):
      return run.trainer.epoch(run.trainer.init(keys), stacked, which, keys)[1]

    rate = number * batches / _seconds(epoch)
    gflops = 6e-9 * rate * run.batch_size * network.multiplications
    rows.append((f"{number}", f"{run.batch_size}", f"{rate:,.1f}", f"{gflops:,.0f}"))
  return _table(("victims at once", "batch", "steps/s, all victims", "GFLOP/s"), rows)


def attacks(network: Network, sizes: Sizes, folder: str) -> list[str]:
  """Seconds of an outer step: the package's attack, and the authors'."""
  rows = []
  for variant in (network.variant, f"{network.variant},authors".lstrip(",")):
    made = _planned(dataclasses.replace(network, variant=variant), sizes, folder, {})
    run, step = made.attack, jax.jit(made.attack.attack.step)
    data, key = sharding.replicate((run.attack_data(), run.key), run.mesh)
    state = run.first_state()

    def steps(step=step, state=state, data=data, key=key):
      for _ in range(sizes.num_steps):
        state, _ = step(state, data, key)
      return state

    attack = made.config.attack
    rows.append(
      (
        attack.preset.name or "the package's",
        f"{attack.clean_batch} + {attack.poison_batch}, {attack.val_batch}",
        f"{attack.num_noise_samples}",
        f"{attack.lower_steps}, {attack.solver_steps}",
        f"{1000.0 * _seconds(steps) / sizes.num_steps:,.1f}",
      )
    )
  return _table(("attack", "batches", "k", "T1, T2", "ms a step"), rows)


def run_in_full(sizes: Sizes, data_dir: str, workdir: pathlib.Path) -> list[str]:
  """The table of one whole run, with the seconds of its stages."""
  changes = dict(sizes.changes) | {"data.data_dir": data_dir}
  config = door.named(sizes.config, sizes.variant, changes)
  seconds = []
  for stage in ("attack", "train", "certify", "report"):
    start = time.perf_counter()
    table = door.run(config, workdir, [stage])
    seconds.append(f"{stage} {time.perf_counter() - start:.0f} s")
  assert table is not None  # "report" was the last.
  return ["```", table.rstrip("\n"), "```", "", ", ".join(seconds) + ".", ""]


def write(
  out: pathlib.Path,
  workdir: pathlib.Path,
  data_dir: str,
  *,
  seconds: float,
  sizes: Sizes | None = None,
) -> None:
  """Measures part after part and writes the page after each.

  Args:
    out: the page.
    workdir: the folder of the run in full, which is resumed if it is there.
    data_dir: where prepared data are.
    seconds: what all parts may take together; a part in progress is not cut short.
    sizes: how much is measured; None: the defaults.

  Raises:
    errors.InputError: the data are missing.
  """
  sizes, began = sizes or Sizes(), time.monotonic()
  name = f"{sizes.config}:{sizes.variant}"
  door.build(  # Bad input is told before any work.
    door.named(
      sizes.config, sizes.variant, dict(sizes.changes) | {"data.data_dir": data_dir}
    ),
    workdir,
  )
  gflops = matmul.flops(sizes.products)
  lines = [
    "# One accelerator",
    "",
    "Rewritten by `make gpu-report`. Rates are of random images, once compiled; GFLOP/s of",
    "the formulas' multiplications, one pass for a vote and three for a gradient.",
    "",
    f"Measured on {bench.hardware(gflops)}.",
    "",
  ]
  parts: list[tuple[str, float, Callable[[], list[str]]]] = [
    (
      f"{title} of {network.title}",
      sizes.seconds_of_rates,
      lambda function=function, network=network: function(network, sizes, str(workdir)),
    )
    for title, function in (
      ("Certificates", certification),
      ("Victims", training),
      ("Attacks", attacks),
    )
    for network in sizes.networks
  ]
  # The run comes after the first network's rates: it matters more than the second's.
  parts.insert(
    1,
    (
      f"`{name}` in full",
      sizes.seconds_of_run,
      lambda: run_in_full(sizes, data_dir, workdir),
    ),
  )
  for title, needed, part in parts:
    left = seconds - (time.monotonic() - began)
    progress.note(f"{title}: {left:.0f} s left")
    lines += [f"## {title}", ""]
    if left < needed:
      lines += [f"Not measured: {left:.0f} s were left, and it may need {needed:.0f}.", ""]
    else:
      lines += part()
    files.write_text(out, "\n".join(lines))


def main(arguments: Sequence[str]) -> int:
  """Writes the page; returns the exit status, 2 for bad input."""
  parser = argparse.ArgumentParser(prog="python -m pacd_jax.bench.gpu_report")
  parser.add_argument("--data_dir", default="", help="where TFDS's data are")
  parser.add_argument("--out", default="docs/gpu.md", type=pathlib.Path)
  parser.add_argument("--seconds", default=480.0, type=float)
  parser.add_argument("--workdir", type=pathlib.Path, help="default: a temporary folder")
  options = parser.parse_args(arguments)
  with tempfile.TemporaryDirectory() as temporary:
    workdir = options.workdir or pathlib.Path(temporary, "run")
    try:
      write(options.out, workdir, options.data_dir, seconds=options.seconds)
    except errors.InputError as error:
      return command.fail(error, 2)
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
