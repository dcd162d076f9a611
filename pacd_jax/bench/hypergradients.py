"""Compares every hypergradient with the exact one, and writes a page and its picture.

  python -m pacd_jax.bench.hypergradients

rewrites docs/hypergradients.md and docs/hypergradients.png in a few minutes, in float64.
`--only`, `--problems` and `--most` (steps) leave some out; `--out` is another folder.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import jax
import numpy as np

from pacd_jax import types
from pacd_jax.bench import bilevel_problems, warm_start
from pacd_jax.bench import hypergradient_methods as methods
from pacd_jax.bench.hypergradient_methods import METHODS, STEPS, Point
from pacd_jax.bilevel import hypergradient
from pacd_jax.results import figures, method_figures

PROBLEMS = {
  "ridge": bilevel_problems.ridge,
  "logistic": bilevel_problems.logistic,
  "net": bilevel_problems.net,
  "untrained": lambda: bilevel_problems.net(trained=False),
}
_BUDGETS = (25, 100, 500)
_NAME = "hypergradients"
Results = dict[str, list[Point]]

_INTRODUCTION = f"""\
# Hypergradients

Rewritten by `python -m pacd_jax.bench.hypergradients`, in float64.

A hypergradient is the derivative of the attacker's objective f(theta*(u), u) in the poison
u, through the training that makes theta*. `attack.hypergradient` is how it is taken, and
for `approx_grad`, `attack.solver` is how its linear system A p = grad f is solved. Here
each is held against the exact one, from a dense Hessian, on three problems at their
optimum:

- ridge regression, 20 weights, u the training points; the condition number is about 230;
- softmax regression, 50 weights, u the training points and the weight of each in the loss;
- a tanh net of 500 parameters with weight decay 0.01, trained to a gradient under 1e-10.
  Its Hessian is positive definite there, the condition number about 4,300.

For the first two, the Gauss-Newton matrix (GN) is the Hessian (H); for the net it is
another matrix, so the answer of `cg` with it is another, however well the system is solved.

Settings: no damping but {methods.NYSTROM_DAMPING:g} for `nystrom`. Gradient steps are of
length {methods.UNIT_STEP:g} in `unrolling` and `single_loop`, which does one step an outer
step, while theta and u stand still here. `ekfac` has {methods.EKFAC_PROBES} probes.
`adam_residual` and `penalty` (gamma {methods.GAMMA:g}) have that learning rate of
{", ".join(f"{rate:g}" for rate in methods.RATES)} which ends best: a run could not know it.
"""

_COLUMNS = """
The columns:

- **matrix**: whose products the method takes;
- **definite**: whether it needs that matrix to be positive definite;
- **error at 25, 100, 500**: |du - exact| / |exact| of the last run that took at most so
  many products, set-up and report included; du = 0 has an error of 1;
- **cosine**: of du and the exact one, at 100 products; the attack moves along signs, or
  along the direction alone, so this matters more than the length;
- **1e-2, 1e-6**: the fewest products, of the runs made, with an error of at most that;
- **own matrix**: the error left at the most products against the dense answer of the
  method's own matrix without damping: what the method itself still lacks.
"""

_INDEFINITE = """
## Where the Hessian is indefinite

The same net as it was drawn, where an attack that restarts its surrogate begins. Its
Hessian has negative eigenvalues, so A p = grad f is no minimum of anything, and what a
method says of that is logged at every outer step, in `metrics.jsonl`. At most 100 products
each; the residual is that of the method's own system, the cosine is with the dense answer
of the Hessian's.

| method | matrix | products | relative residual | negative curvature | least p'Ap / p'p \
| cosine |
|---|---|---:|---:|---|---:|---:|
"""

_MEMORY = """
## Memory

What XLA's program takes on that net beside arguments and results, for a number of steps
(of `nystrom`: columns). `unrolling` grows with them; with `checkpoint`, as configs have
it, by a copy of theta each, and activations are computed twice. The others do not grow,
except for the columns of `nystrom`.

"""

_WARM_START = """
## Warm start

`attack.warm_start=True` begins each solve at the same surrogate's last solution, for one
product more. Batches, noise and theta change in between, so the last solution is that of
another system. PACD on digits, an MLP for the victim, Gauss-Newton with damping 0.1, in
float32: medians over outer steps of |b - A p| / |b|, from the sixth step of a surrogate on.
The arrays that are alive after the last outer step and after the first differ by the last
column: nothing is kept of the steps between.

"""

_ADVICE = """
## Which to choose

- `cg` on the Gauss-Newton matrix with some damping is the default: nothing to tune, no
  negative curvature. What the matrix leaves out of the Hessian, no number of steps brings
  back.
- `cg` on the Hessian (`attack.curvature=hessian`) is exact at a minimum, where surrogates
  are trained well. Elsewhere it stops at the first direction of negative curvature and
  says so: raise `attack.damping`, go back to Gauss-Newton, or take `normal_equations`.
- `normal_equations` is for a Hessian that stays indefinite: two products a step, and the
  condition number squared.
- `ekfac` pays where many products are taken and layers differ in scale: its probes cost
  products before the first step.
- `neumann` and `unrolling` are gradient descent on the same system, slower than `cg` at
  the same cost. `unrolling` alone follows the training from a theta that is no solution.
- `nystrom` takes products that do not depend on each other; its damping has to be
  of the size of the small eigenvalues.
- `single_loop` with a warm start is the least work in an outer step: two products.
- A warm start helps what is far from solved, such as `ekfac` or Adam after a few steps. As
  the batch is another one at every outer step, one more step from zero does as much for
  `cg`; so configs leave it off.
- `adam_residual` and `penalty` are for comparison with the papers that have them; both
  hang on a learning rate.
- `identity` shows whether second order matters at all.
"""


def _number(value: float) -> str:
  return f"{value:.2g}" if 1e-2 <= abs(value) < 1e3 or value == 0 else f"{value:.0e}"


def _at(points: Sequence[Point], budget: int) -> Point | None:
  within = [point for point in points if point.products <= budget]
  return within[-1] if within else None


def _fewest(points: Sequence[Point], error: float) -> str:
  return str(min((p.products for p in points if p.error <= error), default="-"))


def _matrix(name: str) -> str:
  return "GN" if METHODS[name].curvature is hypergradient.gauss_newton else "H"


def accuracy_table(title: str, results: Results) -> str:
  """A table of the errors at some costs, of every method on one problem."""
  heads = " | ".join(f"error at {budget}" for budget in _BUDGETS)
  lines = [
    f"\n## {title.capitalize()}\n",
    f"| method | matrix | definite | {heads} | cosine | 1e-2 | 1e-6 | own matrix |",
    "|---|---|---|" + "---:|" * (len(_BUDGETS) + 4),
  ]
  for name, points in results.items():
    at = [_at(points, budget) for budget in _BUDGETS]
    cells = [f"`{name}`", _matrix(name), METHODS[name].needs_definite]
    cells += [_number(point.error) if point else "-" for point in at]
    cells += [f"{at[1].cosine:.4f}" if at[1] else "-"]
    cells += [_fewest(points, error) for error in (1e-2, 1e-6)]
    lines.append("| " + " | ".join([*cells, _number(points[-1].own_error)]) + " |")
  return "\n".join(lines) + "\n"


def indefinite_table(results: Results) -> str:
  """A table of what each method reports where the Hessian is not definite."""
  lines = []
  for name, points in results.items():
    point = _at(points, 100) or points[0]
    residual, negative, least = point.solve[2:]
    cells = [f"`{name}`", _matrix(name), str(point.products)]
    if residual is None or least is None:
      cells += ["-", "-", "-"]
    else:
      cells += [_number(float(residual)), "yes" if negative else "no"]
      cells += [_number(float(least))]
    cells += [f"{point.cosine:.3f}"]
    lines.append("| " + " | ".join(cells) + " |")
  return _INDEFINITE + "\n".join(lines) + "\n"


def memory_table(names: Sequence[str], steps: Sequence[int]) -> str:
  """A table of temporary memory on the untrained net, against the number of steps."""
  problem = bilevel_problems.net(trained=False)
  known = {name: METHODS[name] for name in names if name != "unrolling"}
  if "unrolling" in names:
    for checkpoint, what in ((False, "without"), (True, "with")):
      known[f"unrolling, {what} checkpoint"] = methods.unrolled(checkpoint=checkpoint)
  heads = " | ".join(f"steps: {count}" for count in steps)
  lines = [f"| method | {heads} |", "|---|" + "---:|" * len(steps)]
  for name, method in known.items():
    # If the number of steps is an argument, there is one program of one size.
    counts = steps if method.is_static else steps[:1]
    sizes = [methods.temporary_bytes(problem, method, count) for count in counts]
    cells = ["-" if size is None else f"{size / 1e6:.2f} MB" for size in sizes]
    cells += ["the same"] * (len(steps) - len(counts))
    lines.append("| " + " | ".join([f"`{name}`", *cells]) + " |")
  return _MEMORY + "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
  """Measures, and writes the page and the picture; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m pacd_jax.bench.hypergradients")
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
  parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
  parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS))
  parser.add_argument("--most", type=int, default=max(STEPS), help="most steps")
  options = parser.parse_args(argv)
  steps = [count for count in STEPS if count <= options.most]
  page, panels = (
    [_INTRODUCTION, _COLUMNS, f"\n![Error against products]({_NAME}.png)\n"],
    {},
  )
  with jax.enable_x64(True):
    for key in options.problems:
      problem = PROBLEMS[key]()
      references: dict[types.CurvatureFn, np.ndarray] = {
        curvature: bilevel_problems.exact(problem, curvature)
        for curvature in (hypergradient.hessian, hypergradient.gauss_newton)
      }
      results = {}
      for name in options.only:
        most = steps if key != "untrained" else [c for c in steps if c <= 100]
        points = methods.measure(problem, METHODS[name], references, most)
        results[name] = points
        last = points[-1]
        sys.stdout.write(
          f"{key:10} {name:18} {last.products:5} products: error {last.error:.1e}\n"
        )
        sys.stdout.flush()
      if key == "untrained":
        page.append(indefinite_table(results))
        continue
      page.append(accuracy_table(problem.title, results))
      panels[problem.title] = {
        name: tuple(np.array([(p.products, p.error) for p in points]).T)
        for name, points in results.items()
      }
    page.append(memory_table(options.only, [c for c in (1, 10, 100) if c <= options.most]))
  if options.most >= max(STEPS):
    page.append(_WARM_START + warm_start.table())
  options.out.mkdir(parents=True, exist_ok=True)
  page_path = options.out / f"{_NAME}.md"
  page_path.write_text("".join([*page, _ADVICE]), encoding="utf-8")
  if panels:
    with figures.own_style():
      picture = method_figures.error_against_products(panels)
      figures.save(picture, options.out / f"{_NAME}.png")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
