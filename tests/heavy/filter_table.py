"""The table of docs/defenses.md: what filters take out of digits, clean and poisoned.

  python tests/heavy/filter_table.py

Four training sets: clean; class 8 brighter by 25 levels; and clean with 12 more images
called 8 that are images of a 3, with a white patch of 2x2 pixels or without. Every filter
is applied at its defaults, with three keys; its features and losses are of one victim of
configs/digits_ga.py, trained on that set with that key.
"""

import functools
import sys
import tempfile

import jax
import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses import chain
from pacd_jax.experiment import door, kinds

_KEYS, _STRANGERS = 3, 12


def _sets(clean: types.TrainingSet, target: int) -> dict[str, types.TrainingSet]:
  brighter = clean.images.copy()
  of_class = clean.labels == target
  brighter[of_class] = np.minimum(brighter[of_class].astype(int) + 25, 255)
  drawn = np.random.default_rng(0).choice(
    np.flatnonzero(clean.labels == 3), _STRANGERS, replace=False
  )
  strangers, labels = clean.images[drawn], np.full(_STRANGERS, target, np.int32)
  patched = strangers.copy()
  patched[:, :2, :2] = 255
  return {
    "clean": clean,
    "brighter": clean._replace(images=brighter),
    "patch": training_sets.insert(clean, patched, labels),
    "stranger": training_sets.insert(clean, strangers, labels),
  }


def main() -> int:
  """Writes a line for each filter and set; returns the exit status."""
  config = door.named("digits_ga", changes={"defense.chain": ("identity",)})
  with tempfile.TemporaryDirectory() as folder:
    plan = door.build(config, folder)
  tools, target = plan.defense.tools(), plan.target_class
  clean = training_sets.whole(plan.splits.train)
  filters = [entry for entry in kinds.DEFENCES if entry.is_filter]
  for name, given in _sets(clean, target).items():
    found = {entry.name: [] for entry in filters}
    for number in range(_KEYS):
      params = tools.train(given, jax.random.key(number))
      own = tools._replace(train=functools.partial(lambda p, s, k: p, params))
      for entry in filters:
        of_one = [(entry.name, entry.make(entry.options()))]
        _, (report,) = chain.apply(of_one, given, jax.random.key(10 + number), own)
        is_target = given.labels == target
        out = np.isin(np.arange(len(is_target)), report.removed)
        new = out[len(clean.labels) :]
        of_new = new.mean() if len(new) else np.nan
        found[entry.name].append((out[is_target].mean(), out[~is_target].mean(), of_new))
    for filter_name, shares in found.items():
      of_class, others, strangers = 100 * np.mean(shares, axis=0)
      words = f"of the class {of_class:.1f} %, of others {others:.1f} %"
      words += "" if np.isnan(strangers) else f", of the strangers {strangers:.0f} %"
      sys.stdout.write(f"{name}, {filter_name}: {words}\n")
      sys.stdout.flush()
  return 0


if __name__ == "__main__":
  sys.exit(main())
