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
# # One image, every certificate, every attack
#
# A certificate is a promise about one classifier, one norm and one image. Here are five
# ways to train a classifier of 8x8 digits, four ways to certify it, and four attacks that
# try to break what was promised: randomized smoothing, smoothing behind a denoiser,
# interval bounds and linear bounds, against the fast gradient sign, PGD, Carlini and
# Wagner's attack, and PGD along the manifold of images. No attack may get closer than a
# certificate's radius.

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
import dataclasses
import tempfile

import jax
import numpy as np

from pacd_jax.certification import certify, distortion
from pacd_jax.data import arrays
from pacd_jax.experiment import door, kinds, manifolds, stages
from pacd_jax.results import figures, tables

# %% [markdown]
# ## Five classifiers
#
# Each is one victim of a config, trained on clean images. The classifier behind a denoiser
# is trained without noise, as is the first one.

# %%
one = {"rows": ("clean",), "train.num_victims": 1, "train.num_epochs": 30}
one["model.name"] = "mlp"  # Two dense layers: quick, and any other has bounds, too.
configs = {
  "standard": ("digits_ga", {"train.loss": "standard"}),
  "gaussian": ("digits_ga", {}),
  "behind a denoiser": (
    "digits_denoised",
    {"denoiser.loss": "mse", "denoiser.num_epochs": 30},
  ),
  "ibp": ("digits_ibp", {"train.adversary.warmup": 15}),
  "dual_manifold": ("digits_dual_manifold", {}),
}
plans, victims = {}, {}
for name, (config, changes) in configs.items():
  plans[name] = door.build(door.named(config, "", one | changes), tempfile.mkdtemp())
  plans[name].folder.claim()
  stages.attack(plans[name])
  stages.train_victims(plans[name])
  victims[name] = stages.load_victims(plans[name])["clean", 0]
# All have one network, but for the one behind a denoiser: what is compiled serves them all.
networks = {name: plans["standard"].model for name in plans}
networks["behind a denoiser"] = plans["behind a denoiser"].model

# %% [markdown]
# The image is the first of the test split that all of them get right.

# %%
splits = plans["standard"].splits
images, labels = arrays.to_float(splits.test.images), splits.test.labels
right = np.all(
  [
    np.asarray(model.apply(victims[name], images)).argmax(axis=-1) == labels
    for name, model in networks.items()
  ],
  axis=0,
)
place = int(right.argmax())
image, label = images[place : place + 1], labels[place : place + 1]
{"place": place, "class": int(label[0])}

# %% [markdown]
# ## Every certificate
#
# Smoothing certifies the vote of noisy copies in $\ell_2$, wrong with a probability of at
# most 0.001. Bounds certify the network itself, in $\ell_2$ or $\ell_\infty$. Every network
# has some. Intervals (`ibp`) of one that was not trained for them reach next to nowhere;
# linear bounds (`crown`) of so small a network reach far. With a denoiser before it there
# are none: that is not described by layers.

# %%
settings = plans["standard"].certify.settings._replace(n=10_000)._asdict()
certificates = {}  # (classifier, procedure, norm) -> radius.
for name, model in networks.items():
  predicted, radius, _ = certify.certify(
    model.apply, victims[name], image, jax.random.key(0), **settings
  )
  is_right = predicted[0] == label[0]
  certificates[name, "smoothing", "l2"] = float(radius[0]) if is_right else 0.0
sampling = plans["standard"].certify.settings
shape, num_classes = image.shape[1:], splits.num_classes
tools = kinds.ProcedureTools(networks["standard"], shape, num_classes, sampling)
for entry in kinds.PROCEDURES:
  if entry.draws:
    continue
  for norm in ("l2", "linf"):
    balls = dataclasses.replace(entry.options(), norm=norm, most=2.0, num_halvings=10)
    procedure = entry.make(tools, balls)
    for name, model in networks.items():
      if model.describe is not None:
        _, radius = procedure.certify(victims[name], image, label, jax.random.key(0))
        certificates[name, entry.name, norm] = float(radius[0])
ways = list(dict.fromkeys((procedure, norm) for _, procedure, norm in certificates))
print(
  tables.aligned(
    [("classifier", *(f"{procedure} {norm}" for procedure, norm in ways))]
    + [
      (name, *(f"{certificates.get((name, *way), np.nan):.4f}" for way in ways))
      for name in plans
    ]
  )
)

# %% [markdown]
# ## Every attack
#
# The least change that each attack finds: of the networks themselves, and in $\ell_2$ of
# the smoothed classifiers, too. The attack along the manifold moves latents, in standard
# deviations of the images' own: its distances are no distances of pixels.

# %%
network = networks["standard"]
of_latents, encode = manifolds.on_latents(plans["standard"].config, splits, network.apply)
latents = np.asarray(encode(image))
found = {}  # (classifier, attack, norm, whether smoothed) -> the least distance.
for entry in kinds.EVASIONS:
  options = None if entry.options is None else entry.options()
  for norm in entry.norms:
    for sigma in (0.0, settings["sigma"]) if norm == "l2" else (0.0,):
      copies = distortion.Search() if sigma else distortion.Search(1, 1)
      for name, model in networks.items():
        if model is not network and not sigma:
          continue
        least = distortion.distances(
          of_latents if entry.of_latents else model.apply,
          victims[name],
          latents if entry.of_latents else image,
          label,
          jax.random.key(1),
          sigma=sigma,
          search=copies._replace(max_radius=8.0 if norm == "l2" else 1.0),
          attack=entry.make(kinds.EvasionTools(norm, False), options),
        )
        distance = float(least.distance[0]) if least.is_found[0] else np.inf
        found[name, entry.name, norm, sigma > 0] = distance
heads = list(dict.fromkeys(key[1:] for key in found))
print(
  tables.aligned(
    [("classifier", *(f"{a} {n}{', smoothed' if s else ''}" for a, n, s in heads))]
    + [
      (name, *(f"{found.get((name, *head), np.nan):.3f}" for head in heads))
      for name in networks
    ]
  )
)

# %% [markdown]
# ## Do the promises hold?
#
# Beside each certificate the nearest that any attack came to in its norm: on the smoothed
# classifier where that is certified, else on the network.

# %%
pairs = {
  (name, procedure, norm): (
    radius,
    min(
      distance
      for (other, attack, of_norm, smoothed), distance in found.items()
      if (other, of_norm, smoothed) == (name, norm, procedure == "smoothing")
      and not kinds.EVASIONS[attack].of_latents
    ),
  )
  for (name, procedure, norm), radius in certificates.items()
}
assert all(radius <= nearest for radius, nearest in pairs.values())
print(
  tables.aligned(
    [("classifier", "procedure", "norm", "certified", "nearest found", "share %")]
    + [
      (*key, f"{radius:.4f}", f"{nearest:.4f}", f"{100 * radius / nearest:.1f}")
      for key, (radius, nearest) in pairs.items()
    ]
  )
)

# %% [markdown]
# ## The gap
#
# Between the two bars of a certificate nobody knows: the bound may be loose, or the attack
# weak. Training decides which of them is short.

# %% mystnb={"image": {"alt": "Certified radii beside the nearest adversarial examples"}}
best = {}
for (name, _, norm), (radius, nearest) in pairs.items():
  before, _ = best.get((name, norm), (-1.0, 0.0))
  if radius > before:
    best[name, norm] = radius, nearest
figure = figures.Figure(figsize=(9.0, 4.0), layout="constrained")
for axes, norm in zip(figure.subplots(1, 2), ("l2", "linf"), strict=True):
  names = [name for name, of_norm in best if of_norm == norm]
  radii, nearest = zip(*(best[name, norm] for name in names), strict=True)
  axes.barh(names, nearest, color="#bbbbbb", label="nearest found")
  axes.barh(names, radii, height=0.4, color="#0072B2", label="certified")
  axes.invert_yaxis()
  axes.set_xlabel(f"{norm} radius (image units)")
  axes.legend()
figure
