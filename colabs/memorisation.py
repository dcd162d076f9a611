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
# # What a network memorises, and what of it can be certified
#
# [Zhang et al. (2017)](https://arxiv.org/abs/1611.03530) train networks on labels that say
# nothing and on images that show nothing: they are fitted all the same. So a small training
# loss does not mean that anything was learned. Here their three pictures are remade on 8x8
# digits, each for training without noise and for Gaussian augmentation, the training behind
# certificates by randomized smoothing.

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

from configs import digits_memorisation
from pacd_jax import train
from pacd_jax.attacks import corruptions
from pacd_jax.data import training_sets
from pacd_jax.experiment import door, memorisation_command, stages, words
from pacd_jax.results import memorisation_figures, tables
from pacd_jax.runtime import sharding

# %% [markdown]
# ## Rows
#
# `clean` is the training split. `corrupted_labels` draws half of the labels anew,
# `random_labels` all. `shuffled_pixels` puts the pixels of all images into one other order,
# `random_pixels` those of each image into an order of its own, and `gaussian_images` are
# noise of the images' mean and variance. Each is drawn once.

# %%
plans = {}
for name in ("standard", "gaussian"):
  config = digits_memorisation.get_config("" if name == "standard" else name)
  config.train.num_victims = 1
  config.train.num_epochs = 200
  plans[name] = door.build(door.parse(config), tempfile.mkdtemp())
  plans[name].folder.claim()
  stages.attack(plans[name])
  stages.train_victims(plans[name])
{row: words.origin(row, plan.config) for plan in plans.values() for row in plan.rows[1:]}

# %% [markdown]
# ## Learning curves
#
# Figure 1a of the paper. Above, without noise, every row is fitted, in the paper's order:
# true labels, then shuffled pixels, which are a little slower for a convolutional
# network, random pixels and Gaussian images, and random labels last. Corrupted labels
# rise at once to the half that can be learned, wait there, and are then memorised
# together with the random ones. Below, with Gaussian augmentation, clean and shuffled
# images come near 99 % under the noise, and nothing else does: half of the corrupted
# labels are fitted, and of random labels less than a third.

# %% mystnb={"image": {"alt": "Training loss and accuracy by epoch, for each kind of data"}}
curves = {
  name: {
    row: tuple(
      np.array(list(plan.metrics_file().values("train", f"{row}/{value}").values())).T
      for value in ("loss", "accuracy")
    )
    for row in plan.rows
  }
  for name, plan in plans.items()
}
styles = {row: words.style(row) for row in digits_memorisation.ROWS}
memorisation_figures.learning_curves(curves, styles)

# %% [markdown]
# The first epoch with a training accuracy of 99 %:

# %%
fitted = {
  name: {
    row: memorisation_command.first_fitted(accuracy[0])
    for row, (_, accuracy) in of_run.items()
  }
  for name, of_run in curves.items()
}
heads = ("data", *fitted)
lines = [(row, *(str(fitted[n][row] or "never") for n in fitted)) for row in styles]
print(tables.aligned([heads, *lines]))

# %% [markdown]
# ## How much slower, and how much worse
#
# Now the share of labels that are drawn anew rises from none to all. Figure 1b: the
# number of epochs until all are fitted. A fifth of labels drawn anew costs almost nine
# times as many epochs as none, and two fifths, or all of them, ten times as many. It does
# not rise steadily here, where each share has one victim.
# Gaussian augmentation has no points, as it fits none, not even the true labels, to 99 %
# under its noise.

# %%
shares = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
splits, num_epochs = plans["standard"].splits, plans["standard"].train.num_epochs
whole = training_sets.whole(splits.train)
labels_key, victims_key = jax.random.split(jax.random.key(0))
sets = [
  training_sets.relabel(
    whole,
    np.arange(len(whole.labels)),
    corruptions.labels(
      whole.labels, jax.random.fold_in(labels_key, number), share=share, num_classes=10
    ),
  )
  for number, share in enumerate(shares)
]
victim_keys = train.victim_keys(victims_key, len(shares))
victims = np.arange(len(shares), dtype=np.int32), victim_keys
epochs, test_errors = {}, {}
for name, plan in plans.items():
  given = training_sets.stack(sets), *victims
  state, *given = sharding.replicate(
    (plan.train.first(victims[1]), *given), plan.train.mesh
  )
  accuracies = []
  for _ in range(num_epochs):
    state, values = plan.train.trainer.epoch(state, *given)
    accuracies.append(np.asarray(values["accuracy"]))
  found = [memorisation_command.first_fitted(each) for each in np.array(accuracies).T]
  epochs[name] = np.array([np.nan if each is None else each for each in found])
  test_errors[name] = 1.0 - np.array(
    [
      train.accuracy(
        plan.model.apply, jax.tree.map(lambda leaf, v=v: leaf[v], state.params), splits.test
      )
      for v in range(len(shares))
    ]
  )

# %% mystnb={"image": {"alt": "Epochs to fit against the share of corrupted labels"}}
memorisation_figures.against_corruption(
  shares, epochs, "epochs to a training accuracy of 99 %"
)

# %% [markdown]
# Figure 1c: the test error, between that of the true labels and chance, 90 %. Without
# noise it rises along with the share, since the wrong labels are fitted, too. Gaussian
# augmentation, which cannot fit them, keeps it lower at every share but the last, where
# there is nothing to learn: at four fifths it is 46 % in place of 69 %.

# %% mystnb={"image": {"alt": "Test error against the share of corrupted labels"}}
memorisation_figures.against_corruption(shares, test_errors, "test error")

# %% [markdown]
# `configs/digits_memorisation.py` has half as many epochs again and three victims of each
# row; `pacd memorisation` certifies training and test points of its runs, and [the
# docs](../docs/memorisation.md) have what came out.
