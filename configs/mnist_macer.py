"""MACER on MNIST: section 4.2 of Mehra et al. (2021), Table 3.

  python main.py --config=configs/mnist_macer.py --config.data.data_dir=FOLDER
  python main.py --config=configs/mnist_macer.py:sigma=0.5    0.75 likewise
  python main.py --config=configs/mnist_macer.py:fast         two cores, no GPU
  python main.py --config=configs/mnist_macer.py:smoke        every stage, for tests

Victims by the authors' settings: k = 16, lambda = 16, gamma = 8, beta = 16; Adam 1e-3,
batch 200, 101 epochs. The lower level of the attack has k = 2, as in the paper (its code
has 1), lambda = 1 and damping 0.1; the rest is as in configs/mnist_ga.py, with one start.
The authors kept one noise draw for each image: --config.attack.noise=fixed. The paper's ACR
of clean / PACD at sigma 0.25, 0.5 and 0.75: 0.915 / 0.431, 1.484 / 0.685, 1.353 / 1.008.
This scale has not been run here yet.

Expected from `:fast` (k = 4 for victims; in the attack lambda = 4 and a start from the
class-wise shift; the rest as `fast` of configs/mnist_ga.py with one start), seed 0, on two
cores in 34 minutes with other programs running; ACR of class 8, mean and standard
deviation, and accuracy over ten classes:

  clean        0.705 +- 0.035    97.6 %
  watermark    0.728 +- 0.051    97.5 %
  classwise    0.166 +- 0.010    97.3 %
  pacd         0.288 +- 0.009    96.6 %

PACD reduces the clean ACR by 59 %; the class-wise shift, which optimises nothing, by 76 %.

The settings were chosen on 100 points of the validation split, n = 1,000, two victims:
clean victims had an ACR of 0.541 +- 0.017 with lambda = 4, 0.548 +- 0.000 with 16 (Gaussian
augmentation 0.537 +- 0.024). PACD left 0.335 +- 0.193 from the clean images and 0.237 +-
0.014 from the shift. The code of commit e5216de left 0.502 +- 0.039 from the shift, with
three differences at once: no convex model of the criterion in (theta, u), damping 0.01, and
120 steps of warm-up.
"""

import ml_collections

from configs import authors, base, mnist_ga


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "fast", "smoke", fields such as "sigma=0.5"; commas between several."""
  config = mnist_ga.one_start()
  config.attack.loss = "macer"
  config.attack.damping = 0.1
  config.attack.macer.num_noise_samples = 2
  config.attack.macer.lam = 1.0
  config.train.loss = "macer"
  config.train.macer.num_noise_samples = 16
  config.train.macer.lam = 16.0
  variants = {"fast": fast, "smoke": smoke, "paper": paper, "authors": authors.of(variant)}
  base.apply_variant(config, variant, variants)
  return config


def fast(config: ml_collections.ConfigDict) -> None:
  """For two cores and no GPU."""
  mnist_ga.fast(config)
  config.attack.starts = ("classwise",)
  config.attack.macer.lam = 4.0
  config.train.macer.num_noise_samples = 4


def paper(config: ml_collections.ConfigDict) -> None:
  """Two cores, all images: victims and certificates that compare with the paper's."""
  fast(config)
  mnist_ga.paper(config)
  config.attack.starts = ("classwise", "brightness")
  config.attack.selection.corners = True
  config.attack.selection.num_surrogates = 1


def smoke(config: ml_collections.ConfigDict) -> None:
  """Every stage and row at the smallest size; the numbers mean nothing."""
  fast(config)
  mnist_ga.smoke(config)
  config.train.macer.num_noise_samples = 2
