"""Attacks on single test images of MNIST: 20 targets, from scratch and on frozen features.

  python main.py --config=configs/mnist_targeted.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_targeted.py:fast      two cores, no GPU
  python main.py --config=configs/mnist_targeted.py:smoke     every stage, for tests
  python main.py --config=configs/mnist_targeted.py:fast --config.targets="(0, 1, 2)"

`feature_collision`, `bullseye_polytope` and `gradient_matching` change the images of class
8 so that one test image of another class, the target, gets label 8. Each of the 20 targets
is attacked by itself. The table says how many targets get the label, and how large its
certified radius is, beside clean victims as a control; the ACR of class 8 is not its
subject. The class is 10 % of the training images, and epsilon 0.4 is large.

The budget was tuned on the test images 1001 and 1004, which are not among the 20: with
`:fast` from scratch, at epsilon 0.4, gradient matching misled one of them and feature
collision none (`--config.targets="(1001, 1004)"`).

Expected of `:fast` with --config.training="('scratch',)", one Gaussian-augmented victim of
each target, n = 1,000, on two cores that other programs used, too, in 70 minutes; how many
targets get label 8 without noise, how many are certified to get it, with the mean radius of
these, and the mean radius of the target's own label, in place of an ACR:

                      misled    certified   radius of 8   own radius
  clean                0 of 20    0 of 20                      0.606
  feature_collision    9 of 20    4 of 20         0.534        0.399
  bullseye_polytope    6 of 20    3 of 20         0.416        0.471
  gradient_matching   14 of 20   11 of 20         0.455        0.154

At epsilon 0.5 (`:fast,attack.epsilon=0.5`) all three misled both of the first two targets,
from scratch and on frozen features. On frozen features the first ten targets have been run
at epsilon 0.4: 5, 5 and 4 are misled. The other ten, and all but `:fast`, have not been
run.
"""

import ml_collections

from configs import base, mnist_ga

_ROWS = ("feature_collision", "bullseye_polytope", "gradient_matching")
# The first 20 test images of other classes than 8.
_TARGETS = (0, 1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 19, 20, 21, 22)


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  run = mnist_ga.one_start()
  run.rows = ("clean", *_ROWS)
  run.attack.epsilon = 0.4
  run.train.num_victims = 1
  run.certify.num_points = 100
  base.apply_variant(run, variant, {"fast": _fast, "smoke": _smoke})
  targets = _TARGETS[:2] if "smoke" in variant.split(",") else _TARGETS
  del run.poisons, run.data.data_dir, run.train.frozen_features
  for row in _ROWS:
    del run[row].target
  return ml_collections.ConfigDict(
    {
      "base": run,
      "targets": targets,
      "training": ("scratch", "frozen"),
      "data": {"data_dir": ""},
    }
  )


def _fast(run: ml_collections.ConfigDict) -> None:
  """For two cores and no GPU: few training images, and as few steps as suffice."""
  mnist_ga.fast(run)
  run.data.num_train = 2000
  run.attack.clean_batch, run.attack.poison_batch = 90, 10
  run.train.num_victims = 1
  run.train.num_epochs = 12
  run.train.batch_size = 100
  run.train.victims_at_once = 0
  run.train.save_every = 12
  run.certify.n = 1000
  run.certify.num_points = 5
  run.bullseye_polytope.num_steps = 100
  run.feature_collision.num_steps = 100
  run.gradient_matching.num_steps, run.gradient_matching.num_restarts = 150, 1
  for row in _ROWS:
    run[row].surrogate_steps = 250


def _smoke(run: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  _fast(run)
  mnist_ga.smoke(run)
  run.model.name = "mlp"
  run.train.batch_size = 100
  run.gradient_matching.num_restarts = 2
  for row in _ROWS:
    run[row].surrogate_steps, run[row].num_steps, run[row].num_images = 2, 2, 10
