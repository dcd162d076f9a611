"""`make bench`: speed as ratios, measured side by side in one run, into bench.json.

Each entry times what the package does and another way of doing the same, in turn
(A B A B ...), and reports the medians. A ratio above 1 is faster than the other way; where
one side's turns differ by more than a fifth the entry is noisy, and says so. The table of
`docs/performance.md` is rewritten by `pacd bench --write-docs`; its sections stay.
"""

import argparse
import json
import pathlib
import platform
import sys
from collections.abc import Callable, Mapping

import jax

from pacd_jax.bench import (
  check,
  entry,
  kept_programs,
  matmul,
  methods,
  parts,
  peers,
  plain,
  pytorch,
  sharded,
  sound,
)
from pacd_jax.runtime import files, sharding

_DOCS = pathlib.Path("docs", "performance.md")
_NOISY = 0.2  # Spread above which a row is noisy.
_INSTRUCTIONS = ("avx512f", "avx2", "avx", "asimd")  # The widest first.
Results = Mapping[str, Mapping[str, float | str]]


def _of_processor(*names: str) -> str:
  """What the system says of the first processor's property, by its name; "" if nothing."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:
    return ""
  found = (line.partition(":") for line in lines)
  return next((value.strip() for name, _, value in found if name.strip() in names), "")


def _processor() -> str:
  name = _of_processor("model name") or platform.processor() or platform.machine()
  flags = _of_processor("flags", "Features").split()
  widest = next((each for each in _INSTRUCTIONS if each in flags), "")
  return f"{name} ({widest})" if widest else name


def hardware(gflops: float) -> str:
  """The device and the versions that the figures were measured on, in one line."""
  device = jax.devices()[0]
  if device.platform == "cpu":
    name = f"{sharding.num_cores()} cores of {_processor()}, {jax.device_count()} devices"
  else:
    name = f"{jax.device_count()} x {device.device_kind}"
  versions = f"Python {platform.python_version()}, JAX {jax.__version__}"
  if peers.torch is not None:
    threads = peers.torch.get_num_threads()
    versions += f", PyTorch {peers.torch.__version__} with {threads} threads"
  return f"{name}; float32 matrix products at {gflops:.0f} GFLOP/s; {versions}"


def tables(
  with_pytorch: bool,
) -> Mapping[str, Mapping[str, Callable[[], entry.Entry | entry.Row]]]:
  """The entries, by what the package is compared with; some measure themselves."""
  found = {
    "plain JAX": plain.ENTRIES,
    "the whole batch": parts.ENTRIES,
    "a GA step": methods.ENTRIES,
    "matrix products": matmul.ENTRIES,
    "one device": sharded.ENTRIES,
    "ordinary noise": sound.ENTRIES,
    "nothing compiled": kept_programs.ENTRIES,
  }
  if not with_pytorch:
    return found
  return found | {"PyTorch": pytorch.ENTRIES, "torch.compile": pytorch.COMPILED}


def _remark(row: Mapping[str, float | str]) -> str:
  words = ["noisy"] if float(row.get("spread", 0.0)) > _NOISY else []
  if "programs" in row:
    words.append(f"{row['programs']} programs, {row['compiled_again']} compiled again")
  return f" ({'; '.join(words)})" if words else ""


def markdown(results: Results, on: str, before: str = "") -> str:
  """The page `docs/performance.md`: the table, and the sections of the page before."""
  lines = [
    "# Performance",
    "",
    "The table is rewritten by `pacd bench --write-docs`; `make bench` measures alone.",
    "Each line is one comparison, both sides in turn in one run, medians; a ratio above 1",
    "is in the package's favour. Against the machine's own float32 matrix products of as",
    "many multiplications, it is the share of what they would allow; `*_channels_last` is",
    "PyTorch with its kernels in the layout that is faster here, `*_compiled` that layout",
    "under `torch.compile`, where it runs. `sharded_step` is by CPU time: eight simulated",
    "devices, which share the cores, against one. `programs_kept` is the attack's stage of",
    "`digits_ga:smoke` in a process of its own, imports included. A step of MACER",
    "(k = 16) costs 16 / ratio steps of Gaussian augmentation (GA), one of SmoothAdv (two",
    "steps of PGD) 3 / ratio. Where one side's turns differ by more than a fifth the line",
    "is noisy. `pacd_jax/bench/` says what each side does.",
    "",
    f"Measured on {on}.",
    "",
    "| comparison | with | package | other | ratio | unit |",
    "|---|---|---:|---:|---:|---|",
  ]
  for name, row in results.items():
    figures = f"{row['ours']:.4g} | {row['peer']:.4g} | {row['ratio']:.2f}"
    lines.append(f"| `{name}` | {row['with']} | {figures} | {row['unit']}{_remark(row)} |")
  _, heading, sections = before.partition("\n## ")
  return "\n".join(lines) + "\n" + heading + sections


def main(argv: list[str]) -> int:
  """Measures, prints the table, writes bench.json; returns the exit status."""
  parser = argparse.ArgumentParser(prog="pacd bench")
  parser.add_argument("--write-docs", action="store_true", help=f"rewrite {_DOCS}")
  parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the entries")
  options = parser.parse_args(argv)
  sharding.cores_as_devices()
  if options.only and options.write_docs:
    parser.error("--write-docs is for all entries, without --only")
  before = _DOCS.read_text(encoding="utf-8") if options.write_docs else ""
  with_pytorch = peers.torch is not None and jax.default_backend() == "cpu"
  if not with_pytorch:
    sys.stdout.write("without PyTorch on a CPU: no comparisons with it\n")
  entries = {
    name: (peer, make_entry)
    for peer, table in tables(with_pytorch).items()
    for name, make_entry in table.items()
  }
  if unknown := set(options.only or ()) - entries.keys():
    parser.error(f"no entry {', '.join(unknown)}: use some of {', '.join(entries)}")
  entries = {name: entries[name] for name in options.only or entries}
  asks_for_compiler = entries.keys() & pytorch.COMPILED.keys()
  if asks_for_compiler and (reason := peers.without_compiler()):
    sys.stdout.write(f"torch.compile does not run here, no comparisons: {reason}\n")
    entries = {n: each for n, each in entries.items() if n not in pytorch.COMPILED}
    if not entries:
      return 1
  if entries.keys() & (pytorch.ENTRIES.keys() | pytorch.COMPILED.keys()):
    check.check()
  results = {}
  sys.stdout.write(f"{'':32}{'package':>12}{'other':>12}{'ratio':>8}  unit\n")
  for name, (peer, make_entry) in entries.items():
    made = make_entry()
    measured = entry.measure(made) if isinstance(made, entry.Entry) else made
    row = results[name] = {"with": peer, **measured}
    figures = f"{row['ours']:12.4g}{row['peer']:12.4g}{row['ratio']:8.2f}"
    sys.stdout.write(f"{name:32}{figures}  {row['unit']}{_remark(row)}\n")
    sys.stdout.flush()
  text = json.dumps(results, indent=2, allow_nan=False) + "\n"
  files.write_text(pathlib.Path("bench.json"), text)
  on = hardware(matmul.flops())
  sys.stdout.write(f"{on}\n")
  if options.write_docs:
    files.write_text(_DOCS, markdown(results, on, before))
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
