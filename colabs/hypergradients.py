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
# # Hypergradients
#
# A poison $u$ acts through training: $\theta^*(u) = \arg\min_\theta g(\theta, u)$. The
# attacker's objective $f(\theta^*(u))$ changes with $u$ by
#
# $$\frac{df}{du} = \nabla_u f - \frac{d}{du} \langle \nabla_\theta g(\theta^*, u), p
# \rangle, \qquad A p = \nabla_\theta f,$$
#
# with $A$ the Hessian of $g$ in $\theta$: ApproxGrad, the implicit function theorem and a
# linear system (Algorithm 2 of [Mehra et al., 2021](https://arxiv.org/abs/2012.01274)).
# $A$ is never formed; a solver sees its products with vectors alone. What does the solver
# change, and what does it cost?

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
import jax.numpy as jnp
import numpy as np

from pacd_jax.bench import bilevel_problems
from pacd_jax.bench import hypergradient_methods as methods
from pacd_jax.bilevel import hypergradient, linear_solve
from pacd_jax.results import method_figures, tables

jax.config.update("jax_enable_x64", True)

# %% [markdown]
# ## One hypergradient, by hand and by training again
#
# Ridge regression with the training points as the poison. The upper level is the error on
# other points. 40 steps of conjugate gradients solve the system; moving one point by a
# little, training again and taking the difference says the same.

# %%
ridge = bilevel_problems.ridge()
solve = functools.partial(linear_solve.conjugate_gradient, max_steps=40, tolerance=1e-13)
du, info = hypergradient.approx_grad(
  ridge.upper,
  ridge.lower,
  ridge.params,
  ridge.poison,
  curvature=hypergradient.hessian,
  solve=solve,
)
step = 1e-3 * jnp.zeros_like(ridge.poison).at[0, 0].set(1.0)
ahead, behind = (
  ridge.upper(bilevel_problems.minimise(ridge.lower, ridge.params, u), u)
  for u in (ridge.poison + step, ridge.poison - step)
)
print(f"ApproxGrad        {du[0, 0]:+.10f}")
print(f"training again    {(ahead - behind) / 2e-3:+.10f}")
{name: np.asarray(value).item() for name, value in info.solve._asdict().items()}

# %% [markdown]
# ## Error against work
#
# Work is the number of products with $A$. Three problems whose exact hypergradient is
# known: ridge regression, softmax regression with pixels and example weights as $u$, and a
# net of 500 parameters, trained to its optimum.

# %% mystnb={"image": {"alt": "Error against products on three problems, by method"}}
chosen = (
  "cg, Gauss-Newton",
  "cg, Hessian",
  "normal_equations",
  "neumann",
  "unrolling",
  "identity",
)
problems = (ridge, bilevel_problems.logistic(), bilevel_problems.net())
measured = {}
for problem in problems:
  exact = {
    curvature: bilevel_problems.exact(problem, curvature)
    for curvature in (hypergradient.hessian, hypergradient.gauss_newton)
  }
  measured[problem.title] = {
    name: methods.measure(problem, methods.METHODS[name], exact, (1, 5, 20, 50, 200))
    for name in chosen
  }
method_figures.error_against_products(
  {
    title: {
      name: tuple(np.array([(p.products, p.error) for p in points]).T)
      for name, points in found.items()
    }
    for title, found in measured.items()
  }
)

# %% [markdown]
# - **Conjugate gradients** gain most for each product. For the two convex problems the
#   Gauss-Newton matrix *is* the Hessian; for the net it is another matrix, and however well
#   its system is solved, an error stays.
# - **Neumann series** and **unrolling** are gradient descent on the same system.
# - **Normal equations** square the condition number, and need no definite matrix.
# - **identity**, the first-order answer, costs one product, and is far off.
#
# An attack follows the direction alone, so the cosine with the exact hypergradient may
# matter more than the error: here after at most 50 products.

# %%
lines = [("method", *measured)]
for name in chosen:
  within = [
    [point for point in found[name] if point.products <= 51] or found[name][:1]
    for found in measured.values()
  ]
  lines.append((name, *(f"{points[-1].cosine:.4f}" for points in within)))
print(tables.aligned(lines))

# %% [markdown]
# ## Where the Hessian is not definite
#
# The same net, untrained: the start of an attack that restarts its surrogate. The Hessian
# has negative eigenvalues, conjugate gradients on it stop at the first direction that shows
# it and say so, and the attack logs that at every step. The Gauss-Newton matrix, the
# attack's default, has none.

# %%
untrained = bilevel_problems.net(trained=False)
lines = [("matrix", "products", "relative residual", "negative curvature")]
for name, curvature in (
  ("Hessian", hypergradient.hessian),
  ("Gauss-Newton", hypergradient.gauss_newton),
):
  _, info = hypergradient.approx_grad(
    untrained.upper,
    untrained.lower,
    untrained.params,
    untrained.poison,
    curvature=curvature,
    solve=solve,
  )
  solved = info.solve
  words = "met" if solved.negative_curvature else "none"
  residual = f"{solved.relative_residual:.1e}"
  lines.append((name, str(int(solved.num_products)), residual, words))
print(tables.aligned(lines))

# %% [markdown]
# [docs/hypergradients.md](../docs/hypergradients.md) has all eleven methods, their memory,
# and which to choose when. In an experiment they are `attack.hypergradient` and
# `attack.solver`.
