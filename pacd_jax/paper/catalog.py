"""Every table and figure of the paper's evaluation: the runs behind it, and its columns.

Mehra et al. (2021), https://arxiv.org/abs/2012.01274, section 4; the questions of its
appendix and of reviewers are in `questions.py`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pacd_jax import types
from pacd_jax.paper import empirical, transfers
from pacd_jax.paper.protocol import Protocol, Run

_SIGMAS = {"digits": (0.12, 0.18, 0.25), "mnist": (0.25, 0.5, 0.75), "cifar10": (0.25, 0.5)}
_EPSILONS = {
  "digits": (0.1, 0.2, 0.3),
  "mnist": (0.1, 0.2, 0.3),
  "cifar10": (0.03, 0.06, 0.09),
}
_TRANSFER_SIGMA = {"digits": 0.25, "mnist": 0.5, "cifar10": 0.25}
# Rows of the main tables; the paper has no class-wise shift, and no brighter images.
_ROWS = ("clean", "watermark", "classwise", "brightness", "pacd")
CERTIFIED = ("acr", "aca")
PACD_AUTHORS = "pacd_authors"  # What tables call the authors' attack.
_OF_AUTHORS = ("mnist", "cifar10")  # Data sets that they attacked.


class Item(NamedTuple):
  """One table or figure."""

  name: str  # The name on the command line.
  title: str
  words: str  # The question, and how the runs differ.
  runs: Callable[[Protocol], Sequence[Run]]
  columns: tuple[str, ...]  # Settings of the runs that the table's lines begin with.
  quantities: tuple[str, ...] = CERTIFIED
  published: str = ""  # The paper's table whose numbers stand beside ours.
  analysis: str = ""  # An analysis beyond the certificates: see `analyses.py`.
  shows: tuple[str, ...] = ()  # Training sets that it shows; (): all of its runs'.
  axis: str = ""  # The setting that a picture has on its x-axis; "": no such picture.
  grid: tuple[str, ...] = ()  # The settings of a heat map's axes; (): no heat map.

  def rows(self, run: Run) -> list[str]:
    """Training sets of a run that the table shows."""
    there = (*run.rows, *run.poisons)
    return [row for row in there if not self.shows or run.shown(row) in self.shows]


def certified(config: str, sigma: float) -> Run:
  """A run of the main tables: a training method at one sigma, with all of their rows."""
  return Run(
    f"{config}_sigma={sigma:g}",
    config,
    _ROWS,
    f"sigma={sigma:g}",
    settings={"sigma": sigma, "attack": types.PACD},
  )


def by_authors(protocol: Protocol, config: str, sigma: float) -> Run:
  """The authors' attack on a training method at one sigma, on victims of its own.

  At the scale `paper`, only Gaussian augmentation on MNIST at sigma 0.25 has all of its
  steps: the others are as long as one of its surrogates lives.
  """
  run = Run(
    f"{config}_authors_sigma={sigma:g}",
    config,
    (types.PACD,),
    f"authors,sigma={sigma:g}",
    settings={"sigma": sigma, "attack": PACD_AUTHORS},
    called={types.PACD: PACD_AUTHORS},
  )
  whole = ("mnist", "ga", 0.25)
  if protocol.scale == "paper" and (protocol.dataset, config, sigma) != whole:
    life = protocol.config(run).attack.restart_every
    run = run._replace(fields={"attack.num_steps": life})
  return run


MAIN = certified("ga", 0.25)  # Many tables use it.
POISON = "poison"  # A row that is given another run's PACD poison; tables show it as pacd.
AS_PACD = {POISON: types.PACD}


def _every_sigma(config: str, *, authors: bool = True) -> Callable[[Protocol], list[Run]]:
  def runs(protocol):
    found = []
    for sigma in _SIGMAS[protocol.dataset]:
      found.append(certified(config, sigma))
      if authors and protocol.dataset in _OF_AUTHORS:
        found.append(by_authors(protocol, config, sigma))
    return found

  return runs


def epsilons(protocol: Protocol) -> list[Run]:
  """The main run, and the attack at other budgets."""
  first, *others = _EPSILONS[protocol.dataset]
  runs = [MAIN._replace(settings={"epsilon": first})]
  for epsilon in others:
    runs.append(
      Run(
        f"ga_epsilon={epsilon:g}",
        "ga",
        fields={"attack.epsilon": epsilon},
        settings={"epsilon": epsilon},
      )
    )
  return runs


def _maker(protocol: Protocol, training: str) -> Run:
  """The run whose poison is transferred: one made against this training."""
  variant = transfers.variant(protocol.dataset, training)
  if variant:
    return Run(f"{transfers.CONFIGS[training]}_{variant}", "ga", _ROWS, variant)
  return certified(transfers.CONFIGS[training], _TRANSFER_SIGMA[protocol.dataset])


def _transfer(protocol: Protocol) -> list[Run]:
  sigma = _TRANSFER_SIGMA[protocol.dataset]
  poisons = {f"poison_{n}": _maker(protocol, n) for n in transfers.FIGURE4.poisons}
  return [
    Run(
      f"transfer_victim={victim}",
      transfers.CONFIGS[victim],
      ("clean",),
      f"sigma={sigma:g}",
      poisons=poisons,
      settings={"victim": victim},
    )
    for victim in transfers.FIGURE4.victims
  ]


def _traditional(protocol: Protocol) -> list[Run]:
  poisons = {n: Run(n, transfers.CONFIGS[n]) for n in transfers.TABLE1.poisons}
  return [
    Run(
      f"table1_victim={victim}",
      transfers.CONFIGS[victim],
      ("clean",),
      poisons=poisons,
      settings={"victim": victim},
    )
    for victim in transfers.TABLE1.victims
  ]


def table5(attack: str = empirical.PGD) -> Item:
  """Table 5 by an attack, one of `empirical.attacks`; the paper's is PGD."""
  is_papers = attack == empirical.PGD
  by = "PGD" if is_papers else f"the attack {attack}"
  return Item(
    "table5" if is_papers else f"table5_{attack}",
    "Table 5: empirical robustness" + ("" if is_papers else f" by {attack}"),
    f"Mean l2 distortion at which {by} against the smoothed classifier finds an "
    "adversarial example, on the test points on which Table 2's victims were certified, "
    f"at most {empirical.MOST_POINTS_ELSE}, {empirical.MOST_POINTS['cifar10']} of "
    "CIFAR-10. " + empirical.words(attack),
    _every_sigma("ga", authors=False),
    ("sigma",),
    ("distortion",),
    published="table5",
    analysis=empirical.analysis(attack),
    shows=("clean", "pacd"),
  )


ITEMS = (
  Item(
    "table1",
    "Table 1: traditional poisoning against certified training",
    "A poison made against standard training, on victims of every kind: accuracy on the "
    "target class, without noise.",
    _traditional,
    ("victim",),
    ("class_accuracy", "acr"),
    published="table1",
  ),
  Item(
    "table2",
    "Table 2: Gaussian augmentation",
    "ACR and ACA of the target class after training on each set. pacd_authors is the "
    "paper's attack as its authors' code runs it, from the clean images; pacd is this "
    "package's: it starts from classwise and brightness too, and fresh surrogates choose "
    "among its poisons. The paper's numbers beside both are of its PACD.",
    _every_sigma("ga"),
    ("sigma",),
    published="table2",
  ),
  Item(
    "table3",
    "Table 3: MACER",
    "As Table 2, with MACER in the attack's lower level and in the victims.",
    _every_sigma("macer"),
    ("sigma",),
    published="table3",
  ),
  Item(
    "table4",
    "Table 4: SmoothAdv",
    "As Table 2, with SmoothAdv in the attack's lower level and in the victims.",
    _every_sigma("smoothadv"),
    ("sigma",),
    published="table4",
  ),
  table5(),
  Item(
    "figure3",
    "Figure 3: the budget",
    "ACR against epsilon, and the images; epsilon 0 are the clean ones.",
    epsilons,
    ("epsilon",),
    axis="epsilon",
  ),
  Item(
    "figure4",
    "Figure 4: transfer between training methods",
    "Poisons made against each training method, on victims of each.",
    _transfer,
    ("victim",),
    axis="victim",
  ),
)
