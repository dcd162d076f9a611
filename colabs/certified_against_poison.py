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
# # Certified against poison
#
# Randomized smoothing promises that a prediction stays when the *test* image changes. It
# says nothing of the training set, which PACD changes. Here the victim is an ensemble: the
# training set is cut into parts, each network sees one, and they vote. A changed training
# image reaches one network, so that a lead in votes is a promise too: **Deep Partition
# Aggregation** ([Levine and Feizi, 2021](https://arxiv.org/abs/2006.14768)). Both promises
# are then joined into a radius at test time that holds whichever $m$ training images are
# poisoned.

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

from configs import digits_aggregation
from pacd_jax.certification import poisoning
from pacd_jax.data import arrays
from pacd_jax.experiment import door
from pacd_jax.results import ensembles, poisoning_figures, tables
from pacd_jax.runtime import run_folder

# %% [markdown]
# ## An ensemble
#
# 30 linear networks on scikit-learn's digits, each trained on a thirtieth of the images
# with Gaussian noise. The attacker makes the images of class 8 brighter by at most 0.3 of
# the grey range: three of them in the first run, all of them in the second.

# %%
folder = pathlib.Path(tempfile.mkdtemp())
config = digits_aggregation.get_config()
config.model.name = "linear"
config.rows = ("clean", "brightness")
config.attack.epsilon = 0.3
config.train.num_victims = 1
config.train.num_epochs = 60
config.train.learning_rate = 0.02
config.certify.num_points = 20
splits = door.build(door.parse(config), folder / "few").splits
of_class = len(arrays.class_indices(splits.train, config.data.target_class))
config.attack.poisoned_fraction = 3 / of_class
few = door.parse(config)
config.attack.poisoned_fraction = 1.0
whole = door.parse(config)
for name, parsed in {"few": few, "whole": whole}.items():
  door.run(parsed, folder / name)
of_class

# %% [markdown]
# ## Certificates against poisoning
#
# `radius` is a number of replaced training images, of any kind, anywhere in the set: so
# many cannot move the prediction. It holds always, not with a confidence.

# %%
certificates = {
  (run, row): ensembles.read(folder / run / "certificates" / row)[0]
  for run in ("few", "whole")
  for row in ("clean", "brightness")
}
clean = certificates["few", "clean"]
median = ensembles.median_radius(clean.radius_of_truth)
print(f"accuracy {clean.sidecar['accuracy']:.3f}; half of all points: {median:g} images")

# %% mystnb={"image": {"alt": "Certified accuracy against the number of replaced images"}}
sizes, shares = ensembles.shares({"clean": [clean]})
poisoning_figures.against_poison(sizes, shares, clean.sidecar["unit"])

# %% [markdown]
# ## Three images are poisoned
#
# The networks that saw one of them change, and their votes do. No point that was certified
# against three images or more changes its prediction.

# %%
lines = [("poisoned", "networks that vote otherwise", "certified before", "of them moved")]
for run, count in (("few", 3), ("whole", of_class)):
  before, after = (certificates[run, row] for row in ("clean", "brightness"))
  votes = [
    poisoning.read_orders(folder / run / f"certificates/{row}/against_poison/seed_0")
    for row in ("clean", "brightness")
  ]
  certified = before.radius >= count
  moved = certified & (before.predict != after.predict)
  changed = int((votes[0] != votes[1]).any(axis=(0, 2)).sum())
  lines.append((str(count), str(changed), str(certified.sum()), str(moved.sum())))
print(tables.aligned(lines))

# %% [markdown]
# ## The whole class is poisoned
#
# An ensemble of 30 networks certifies at most 15 images. Against a whole class nothing is
# promised: what is left has to be measured. The table is of class 8, at test time; `ACR, m`
# counts only the noisy copies on which the ensemble is certified against $m$ images. The
# median radius is of all classes, and of the poisoned ensemble's own predictions: it counts
# *further* changes, and says nothing of those that were made before.

# %%
results = {
  name: run_folder.read_json(folder / name / "results.json") for name in ("few", "whole")
}
for name, found in results.items():
  print(f"{name}:", tables.table(found), sep="\n")

# %% [markdown]
# ## One radius for both
#
# The ACR that holds at test time whichever $m$ training images are poisoned, against $m$.
# At $m = 0$ it is the ordinary one.

# %% mystnb={"image": {"alt": "ACR against the number of poisoned images, of three rows"}}
numbers, acrs = ensembles.acr_by_level(results["few"]["rows"])
_, of_whole = ensembles.acr_by_level(results["whole"]["rows"])
poisoning_figures.acr_by_level(
  numbers,
  {
    "clean": acrs["clean"],
    "3 images brighter": acrs["brightness"],
    "all of class 8 brighter": of_whole["brightness"],
  },
  clean.sidecar["unit"],
)

# %% [markdown]
# The formulas, other rules of voting, and certificates without an ensemble are in
# [docs/aggregation.md](../docs/aggregation.md).
