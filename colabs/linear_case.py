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
# # The linear case: Theorem 1
#
# Section 3.4 of [Mehra et al. (2021)](https://arxiv.org/abs/2012.01274) solves the
# poisoning problem on paper: one dimension, two classes, least squares. The attacker may
# move each training point of the negative class by $\epsilon$ and wants its average
# certified radius (ACR) small:
#
# $$\min_u \; \mathbb{E}_{P^-}[\max(\mathrm{sign}(w^*)(-b^*/w^* - x), 0)]
# \quad \text{s.t.} \quad |u_i - x_i^-| \le \epsilon,$$
#
# with $w^*, b^*$ the least-squares line through $(x_i^+, 1)$ and $(u_i, -1)$. Here the
# closed form (`pacd_jax.linear_case.theory`) meets the package's own bilevel solver, then
# two dimensions, and the smaller examples that teach the same lesson.

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

import jax
import numpy as np

from pacd_jax.certification import certify
from pacd_jax.data import arrays
from pacd_jax.experiment.entries import data_sets
from pacd_jax.linear_case import (
  estimators,
  influence,
  least_squares,
  linear_attack,
  linear_classifiers,
  theory,
)
from pacd_jax.results import tables, theory_figures

jax.config.update("jax_enable_x64", True)  # All of it is small: exact is affordable.

# %% [markdown]
# ## Two ways to move a boundary
#
# With as many points in both classes, the boundary is the midpoint of the two means,
# $-b^*/w^* = (\bar x^+ + \bar u)/2$, whatever the variances are. So the poison matters by
# its mean alone: **Case 1** shifts the class away from the other by $\epsilon$, and drags
# the boundary into it. **Case 2** shifts it past the other class, so that the classifier
# turns around. That takes an $\epsilon$ above the gap of the means.

# %% mystnb={"image": {"alt": "Both classes and the boundary: clean, Case 1 and Case 2"}}
rng = np.random.default_rng(0)
positive, negative = rng.normal(1.5, 0.7, 200), rng.normal(0.0, 1.2, 200)
gap = theory.needed_epsilon(positive, negative)
clean = least_squares.fit(positive, negative)
small, large = 0.6 * gap, 1.3 * gap
(case_1,) = theory.local_optima(positive, negative, small)
large_1, large_2 = theory.local_optima(positive, negative, large)
theory_figures.decision_boundaries(
  positive,
  negative,
  {
    "Clean": (negative, clean.threshold, clean.slope),
    f"Case 1, ε = {small:.2f} < {gap:.2f}: the only optimum": (
      case_1.poison,
      case_1.line.threshold,
      case_1.line.slope,
    ),
    f"Case 2, ε = {large:.2f} > {gap:.2f}: the classifier turns around": (
      large_2.poison,
      large_2.line.threshold,
      large_2.line.slope,
    ),
  },
)

# %%
clean_acr = least_squares.negative_acr(positive, negative, negative)
rows = [("clean", 0.0, clean.threshold, clean_acr)]
rows += [
  (f"case {optimum.case}", epsilon, optimum.line.threshold, optimum.acr)
  for epsilon, optimum in ((small, case_1), (large, large_1), (large, large_2))
]
heads = ("data", "epsilon", "boundary", "ACR")
print(tables.aligned([heads, *((n, *(f"{v:.3f}" for v in vs)) for n, *vs in rows)]))

# %% [markdown]
# ## The solver finds both cases
#
# ACR against the mean shift of the poison. It rises with the mean left of the dotted line,
# where the classes have the same mean and there is no boundary, and falls to the right of
# it. ApproxGrad, the hypergradient of the attack on networks, starts at 12 poisons with
# each $\epsilon$: on the left, all of them end in Case 1; on the right, those that start
# beyond the dotted line end in Case 2.

# %% mystnb={"image": {"alt": "ACR against the poison's mean shift, and where runs end"}}
panels, ends = {}, {}
for epsilon in (small, large):
  levels = epsilon * np.linspace(-0.9, 0.95, 12)
  attack = linear_attack.run(
    positive[:, None],
    negative[:, None],
    negative[:, None],
    criterion=linear_classifiers.squared,
    epsilon=epsilon,
    step_size=0.05 * epsilon,
    num_steps=45,
    starts=negative[None, :, None] + levels[:, None, None],
  )
  shifts = np.linspace(-1.2 * large, 1.2 * large, 1001)
  acr = np.array(
    [least_squares.negative_acr(positive, negative + s, negative) for s in shifts]
  )
  title = f"ε = {epsilon:.2f} {'<' if epsilon < gap else '>'} {gap:.2f}"
  panels[title] = shifts, acr, epsilon
  moved = np.asarray(attack.poison)[..., 0].mean(axis=1) - negative.mean()
  ends[title] = levels, moved, np.asarray(attack.acr)[:, -1]
theory_figures.acr_landscape(panels, ends, gap=gap)

# %% [markdown]
# **Corollary 2**: moving a share $\alpha$ of the points by $\tilde\epsilon$ is worth as
# much as moving all of them by $\alpha \tilde\epsilon$: the mean is the same.

# %%
some = theory.move_fraction(negative, 0.25, -1.2)  # A quarter of the points by 1.2,
every = negative - 0.3  # and all of them by 0.3.
(
  least_squares.negative_acr(positive, some, negative),
  least_squares.negative_acr(positive, every, negative),
)

# %% [markdown]
# ## Two dimensions
#
# The same solver on linear classifiers in the plane, $\ell_\infty$ budget 0.1, from 12
# starts each, of which the best is shown. Logistic regression has one optimum, where
# Theorem 1 says: everything away from the other class. Least squares has better ones than
# that: *spreading* the class changes its covariance and turns the boundary, which one
# dimension does not have. The support vector machine has several, as only points near its
# margin count.

# %% mystnb={"image": {"alt": "Three linear victims before and after the poisoning"}}
covariance = 0.07**2 * np.array([[1.0, 0.6], [0.6, 1.0]])
draw = functools.partial(rng.multivariate_normal, cov=covariance)
plus, minus = draw([0.68, 0.65], size=60), draw([0.38, 0.38], size=60)
test = draw([0.38, 0.38], size=60)
victims = {
  "least squares": (linear_classifiers.squared, 0.0),
  "logistic regression": (linear_classifiers.logistic, 1e-3),
  "support vector machine": (linear_classifiers.squared_hinge, 1e-3),
}
starts = minus + np.concatenate([np.zeros((1, 60, 2)), rng.uniform(-0.1, 0.1, (11, 60, 2))])
attacks, fitted = {}, {}
for name, (criterion, ridge) in victims.items():
  settings = dict(criterion=criterion, ridge=ridge, epsilon=0.1)
  tried = linear_attack.run(
    plus, minus, test, step_size=0.005, num_steps=60, starts=starts, **settings
  )
  best = int(np.argmin(tried.acr[:, -1]))
  attacks[name] = jax.tree.map(lambda leaf, best=best: leaf[best], tried)
  lower = linear_classifiers.lower_level(criterion, plus, ridge=ridge)
  fitted[name] = linear_classifiers.fit(lower, minus)
clean_acr = {
  name: float(linear_classifiers.negative_acr(clean_fit, test))
  for name, clean_fit in fitted.items()
}
theory_figures.plane(
  plus,
  minus,
  {
    f"{name}\nACR {clean_acr[name]:.3f} → {attack.acr[-1]:.3f}": (
      np.asarray(attack.poison),
      np.append(fitted[name].weights, fitted[name].bias),
      np.append(attack.params.weights, attack.params.bias),
    )
    for name, attack in attacks.items()
  },
)

# %% [markdown]
# The radius of a linear classifier is its distance to the boundary. The Monte-Carlo
# certificate ([Cohen et al., 2019](https://arxiv.org/abs/1902.02918)), which knows nothing
# of that, finds the same from votes, a little below on purpose.

# %%
images = linear_classifiers.as_images(test)
options = dict(sigma=0.25, n0=100, n=20_000, alpha=0.001)
lines = [("victim", "data", "ACR exact", "ACR certified")]
for name, attack in attacks.items():
  for kind, params in (("clean", fitted[name]), ("poisoned", attack.params)):
    single = jax.tree.map(lambda leaf: leaf.astype("float32"), params)
    predicted, radius, _ = certify.certify(
      linear_classifiers.apply, single, images, jax.random.key(0), **options
    )
    exact = float(linear_classifiers.negative_acr(params, test))
    certified = np.where(predicted == 0, radius, 0.0).mean()
    lines.append((name, kind, f"{exact:.3f}", f"{certified:.3f}"))
print(tables.aligned(lines))

# %% [markdown]
# ## Poisoning a mean
#
# The smallest victim of all is an estimate. The attacker adds points anywhere in
# [-10, 10] to 100 clean ones from a standard normal. One point moves the mean; the median
# and the trimmed mean hold until a share of points is his. Dropping what is far from the
# median helps against a crude attacker, and less against one who stays just inside.

# %% mystnb={"image": {"alt": "Shift of five estimators against the share of poison"}}
sample = rng.normal(size=100)
counts = np.arange(0, 67, 3)
shift = functools.partial(estimators.worst_shift, clean=sample, bound=10.0)
trimmed = functools.partial(estimators.trimmed_mean, share=0.2)
filtered = functools.partial(estimators.filtered_mean, radius=3.0)
known = {
  "mean": (estimators.mean, 1),
  "trimmed mean, 20 % off each end": (trimmed, 1),
  "median": (estimators.median, 1),
  "mean within 3 of the median, crude attacker": (filtered, 1),
  "mean within 3 of the median, adaptive attacker": (filtered, 500),
}
theory_figures.shift_curves(
  counts / (100 + counts),
  {
    name: np.array([shift(f, num_poison=k, num_places=places)[0] for k in counts])
    for name, (f, places) in known.items()
  },
  unit="standard deviations",
)

# %% [markdown]
# ## Influence functions
#
# How much would a test loss change without one training point?
# [Koh and Liang (2017)](https://arxiv.org/abs/1703.04730) answer without retraining, by the
# derivative in the point's weight: a hypergradient once more, from the same solver. Here it
# is held against retraining on all points but one, for 300 of 1,077 digits.

# %% mystnb={"image": {"alt": "Influence against retraining without each of 300 points"}}
splits = data_sets.load("digits")
x, test_x = (
  arrays.to_float(part.images).reshape(len(part.labels), -1).astype(np.float64)
  for part in (splits.train, splits.test)
)
digits = influence.problem(x, splits.train.labels, num_classes=10, ridge=0.01)
params = influence.fit(digits)
values, info = influence.of_points(digits, params, test_x, splits.test.labels)
chosen = np.random.default_rng(0).choice(len(x), 300, replace=False)
without = influence.leave_one_out(digits, params, chosen)
change = influence.mean_loss(without, test_x, splits.test.labels)
change = change - influence.mean_loss(params, test_x, splits.test.labels)
pearson = np.corrcoef(change, -values[chosen])[0, 1]
theory_figures.agreement(
  1e3 * change,
  -1e3 * values[chosen],
  x_label="change of the test loss, retrained ($10^{-3}$ nats)",
  y_label="change by influence function ($10^{-3}$ nats)",
  title=f"Leaving one digit out: Pearson {pearson:.4f}",
)
