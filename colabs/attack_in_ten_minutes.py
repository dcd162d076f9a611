# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PACD in ten minutes
#
# A defense by randomized smoothing certifies that no perturbation inside an $\ell_2$ ball
# changes a prediction. PACD ([Mehra et al., 2021](https://arxiv.org/abs/2012.01274)) moves
# the *training* images of one class a little, with labels that are right, so that whoever
# trains on them certifies less. This is that attack on 8x8 digits, stage by stage: the
# bilevel problem, its poison, victims, certificates. Every function is the package's own.

# %% [markdown]
# **Install.** In Colab, give the address that the repository is cloned from. Where the
# package is installed, as by `make demo`, this cell only finds it.

# %%
import importlib.util
import pathlib
import subprocess
import sys

REPOSITORY = ""  # @param {type:"string"}
if importlib.util.find_spec("pacd_jax") is None:
  assert REPOSITORY, "fill in REPOSITORY: the address that git clones from"
  subprocess.run(["git", "clone", "--quiet", REPOSITORY, "clone"], check=True)
  subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", "clone"], check=True)
  sys.path.insert(0, "clone")
ROOT = pathlib.Path(importlib.util.find_spec("pacd_jax").origin).parents[1]
sys.path.insert(0, str(ROOT))  # For the configs beside the package.

# %matplotlib inline

# %%
import tempfile

import jax
import numpy as np

from configs import digits_ga
from pacd_jax.data import poison_file
from pacd_jax.experiment import door, stages
from pacd_jax.results import evaluate, figures, report, tables

# %% [markdown]
# ## The experiment
#
# A config names every setting. This one is `configs/digits_ga.py` with fewer steps and
# victims, for a notebook: class 8, $\ell_\infty$ budget 0.1 of the grey range, Gaussian
# augmentation with sigma 0.25. `door.build` makes functions of it.

# %%
config = digits_ga.get_config()
config.rows = ("clean", "classwise", "pacd")
config.attack.num_steps = config.attack.num_shared_steps = 100
config.train.num_victims = config.train.victims_at_once = 2
config.train.num_epochs = 50
plan = door.build(door.parse(config), tempfile.mkdtemp())
plan.folder.claim()
{part: getattr(plan.splits, part).images.shape for part in ("train", "validation", "test")}

# %% [markdown]
# ## One step of Algorithm 1
#
# The attacker keeps a model of the victim (the surrogate), trains it on poisoned batches
# (the lower level), and asks how the ACR of class 8 on validation images (the upper level)
# changes with the poison: a **hypergradient**, through the training, by the implicit
# function theorem. What a step logs: `upper` is that soft ACR, `lower` the training loss,
# and the rest is how the linear system of the hypergradient was solved.

# %%
attack = plan.attack
state = attack.attack.init(attack.attack_data(), attack.key, None)
state = jax.jit(attack.attack.restart)(state, attack.attack_data(), attack.key, 0, 0)
state, logged = jax.jit(attack.attack.step)(state, attack.attack_data(), attack.key)
{name: float(value) for name, value in logged.items()}

# %% [markdown]
# ## The whole attack
#
# `stages.attack` takes all 100 steps, restarts the surrogate on the way, rounds the images
# to 8 bits inside the budget, and saves them. The baseline `classwise` moves every image
# towards the mean of the other classes.

# %% mystnb={"image": {"alt": "Upper loss, lower loss and residual by the attack's step"}}
stages.attack(plan)
figures.attack_curves(report.attack_metrics(plan.folder.metrics))

# %% mystnb={"image": {"alt": "Images of the class, their poisons and the differences"}}
poison = poison_file.load(plan.folder.poison("pacd"))
change = poison.images.astype(int) - poison.base_images
print(f"{len(change)} images of class {poison.target_class}, labels unchanged,")
print(f"the largest change of a pixel: {np.abs(change).max() / 255:.3f} of 1")
figures.gallery(poison.base_images, poison.images)

# %% [markdown]
# ## Victims
#
# Fresh models, trained from scratch on the clean data and on each poison, as saved.

# %%
stages.train_victims(plan)
victims = stages.load_victims(plan)
[f"{row}, seed {seed}" for row, seed in victims]

# %% [markdown]
# ## Certificates
#
# Each test image of class 8 is certified with 10,000 noisy copies. A radius is how far its
# prediction cannot change; the average over the class, wrong ones at 0, is the ACR.

# %%
stages.certify_victims(plan)
stages.write_report(plan)
print(stages.table(plan))

# %% mystnb={"image": {"alt": "Certified accuracy against radius: clean and poisoned"}}
radii = np.linspace(0.0, 0.8, 161)
records = {
  row: evaluate.read_records(plan.folder.certificate(row, 0).parent) for row in plan.rows
}
figures.certified_accuracy(
  radii,
  {
    row: np.stack([evaluate.certified_accuracy(record, radii) for record in several])
    for row, several in records.items()
  },
  {
    row: np.array([evaluate.average_certified_radius(record) for record in several])
    for row, several in records.items()
  },
)

# %% [markdown]
# The victims' accuracy without noise hardly says that anything happened: the attack is on
# the certificate. Of the first eight test points, the radius that each is certified for,
# 0 where the prediction is wrong or withheld:

# %%
radius = {
  row: np.where(first.predict == first.label, first.radius, 0.0)[:8]
  for row, (first, *_) in records.items()
}
print(
  tables.aligned(
    [
      ("test point", *map(str, records["clean"][0].idx[:8])),
      *((row, *(f"{r:.2f}" for r in radii)) for row, radii in radius.items()),
    ]
  )
)

# %% [markdown]
# `make demo` is the full run, in two minutes; [the README](../README.md) has the other
# options, data sets and baselines.
