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
# # Certify your model
#
# Randomized smoothing ([Cohen et al., 2019](https://arxiv.org/abs/1902.02918)) makes of any
# classifier $f$ the vote $g(x) = \arg\max_c P[f(x + \eta) = c]$, $\eta \sim N(0, \sigma^2
# I)$, and proves from counted votes how far an image can be moved, in $\ell_2$, before $g$
# changes its mind. All that is asked of $f$ is a function from images to logits. Three are
# certified here: a flax model of your own, a function without training, and a scikit-learn
# forest that JAX cannot see into.

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
import functools
import pathlib
import tempfile

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import buffer_callback
from sklearn.ensemble import RandomForestClassifier

from pacd_jax import losses, train, types
from pacd_jax.certification import certify
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment.entries import data_sets
from pacd_jax.results import evaluate, figures, tables

splits = data_sets.load("digits")
points = slice(0, 100)  # Of the test split.
test_images, test_labels = splits.test.images[points], splits.test.labels[points]
sigma = 0.25

# %% [markdown]
# ## A flax model
#
# The contract is `apply(params, images) -> logits`, with images `[B, H, W, C]` in [0, 1]
# plus noise. Yours may be trained by any means; here by the package's trainer, once on
# clean images and once with Gaussian augmentation, as a smoothed classifier wants it.


# %%
class Net(nn.Module):
  """Your model."""

  @nn.compact
  def __call__(self, images):
    x = nn.relu(nn.Conv(32, (3, 3))(images))
    x = nn.relu(nn.Dense(64)(x.reshape(len(x), -1)))
    return nn.Dense(10)(x)


net = Net()
model = types.Model(
  init=lambda key, shape: net.init(key, jnp.zeros((1, *shape))), apply=net.apply
)
training = {
  "clean images": losses.standard(model.apply),
  "noisy images": losses.gaussian_augmentation(model.apply, sigma=sigma),
}
data = training_sets.stack([training_sets.whole(splits.train)])
keys, victim = train.victim_keys(jax.random.key(0), 1), jnp.zeros(1, jnp.int32)
trained = {}
for name, loss in training.items():
  trainer = train.make(
    model,
    loss,
    lambda num_steps: optax.adam(3e-3),
    image_shape=splits.train.images.shape[1:],
    num_epochs=40,
    batch_size=50,
  )
  state = trainer.init(keys)
  for _ in range(40):
    state, metrics = trainer.epoch(state, data, victim, keys)
  trained[name] = jax.tree.map(lambda leaf: leaf[0], state.params)
  print(f"trained on {name}: loss {metrics['loss'][0]:.3f}")

# %% [markdown]
# `certify.certify` returns, for each image, the vote's class (-1: withheld), its radius in
# image units, and the votes. It is wrong with a probability of at most `alpha`.

# %%
settings = dict(sigma=sigma, n0=100, n=10_000, alpha=0.001)
certify_test = functools.partial(
  certify.certify, images=arrays.to_float(test_images), key=jax.random.key(1), **settings
)
results = {
  f"flax, {name}": certify_test(model.apply, params) for name, params in trained.items()
}
predicted, radius, votes = results["flax, noisy images"]
print(
  tables.aligned(
    [("label", "predicted", "radius", "votes for 0..9")]
    + [
      (str(label), str(p), f"{r:.3f}", " ".join(map(str, v)))
      for label, p, r, v in zip(test_labels[:6], predicted, radius, votes, strict=False)
    ]
  )
)

# %% [markdown]
# ## Any function
#
# Nothing has to be differentiable, or trained by gradients. Here the class whose mean image
# is nearest; the parameters are the ten means.


# %%
def nearest_mean(means, images):
  """logits = -|x - mean_c|^2."""
  distances = images[:, None] - means[None]
  return -jnp.sum(distances**2, axis=(2, 3, 4))


means = np.stack(
  [
    arrays.to_float(splits.train.images[splits.train.labels == c]).mean(axis=0)
    for c in range(10)
  ]
)
results["nearest mean"] = certify_test(nearest_mean, means)

# %% [markdown]
# And a classifier outside of JAX: a callback hands it the noisy images, as
# [docs/pytorch.md](../docs/pytorch.md) does with a network of PyTorch's. Its predictions
# are voted on as they are. 1,000 samples instead of 10,000, as it is slow; the largest
# radius that so many can prove is smaller.

# %%
noisy = arrays.to_float(splits.train.images)
noisy = noisy + sigma * np.random.default_rng(0).normal(size=noisy.shape)
forest = RandomForestClassifier(n_estimators=30, max_depth=10, random_state=0)
forest.fit(noisy.reshape(len(noisy), -1), splits.train.labels)


def forest_logits(params, images):
  """One-hot predictions of the forest; it has no parameters that JAX knows."""
  shape = jax.ShapeDtypeStruct((len(images), 10), jnp.float32)

  def predict(context, out, images):
    images = np.asarray(images)
    flat = images.reshape(len(images), -1)
    np.asarray(out)[...] = np.eye(10, dtype=np.float32)[forest.predict(flat)]

  return buffer_callback.buffer_callback(predict, shape)(images)


results["forest"] = certify_test(forest_logits, {}, n=1000)

# %% [markdown]
# ## What they certify
#
# The share of test images that are classified correctly at any perturbation up to a radius.
# Training on noise is what makes a certificate worth having.

# %% mystnb={"image": {"alt": "Certified accuracy against radius of the classifiers"}}
radii = np.linspace(0.0, 0.9, 181)
correct = {
  name: np.where(predicted == test_labels, radius, 0.0)
  for name, (predicted, radius, _) in results.items()
}
figures.certified_accuracy(
  radii,
  {
    name: ((r[None, :, None] > 0) & (r[None, :, None] >= radii)).mean(axis=1)
    for name, r in correct.items()
  },
  {name: np.array([r.mean()]) for name, r in correct.items()},
)

# %% [markdown]
# ## As files
#
# `certify_to_files` writes one line for each point as it goes, in the format of
# locuslab/smoothing, and goes on where a killed run stopped.

# %%
folder = pathlib.Path(tempfile.mkdtemp(), "certificates")
folder.mkdir()
certify.certify_to_files(
  model.apply,
  trained["noisy images"],
  splits.test.images,
  splits.test.labels,
  np.arange(10),
  jax.random.key(1),
  folder / "seed_0",
  seed=0,
  extra={"accuracy": train.accuracy(model.apply, trained["noisy images"], splits.test)},
  **settings,
)
(record,) = evaluate.read_records(folder)
print((folder / "seed_0.tsv").read_text())
f"ACR {evaluate.average_certified_radius(record):.3f}"
