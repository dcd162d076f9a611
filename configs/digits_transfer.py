"""Transfer between training methods on scikit-learn's digits, epsilon 0.2.

Section 4.5 of Mehra et al. (2021), Figure 4, applied to 8x8 images. The poisons are those
of four finished runs. These commands make the runs, and the last one the transfer:

  python main.py --config=configs/digits_ga.py:eps02
  python main.py --config=configs/digits_macer.py
  python main.py --config=configs/digits_smoothadv.py
  python main.py --config=configs/digits_ga.py:eps02,model.name=mlp
  python main.py --config=configs/digits_transfer.py

For Table 1 (the poison of standard training on every kind of victim):

  python main.py --config=configs/digits_standard.py
  python main.py --config=configs/digits_transfer.py:table1

Expected, seed 0, on two cores (no GPU) in 316 s; ACR of class 8, mean and standard
deviation over five victims, n = 10,000, alpha = 0.001:

  poison \\ victim   gaussian          macer             smoothadv
  clean             0.303 +- 0.013    0.307 +- 0.019    0.318 +- 0.012
  gaussian          0.000 +- 0.000    0.000 +- 0.000    0.000 +- 0.000
  macer             0.000 +- 0.000    0.000 +- 0.001    0.001 +- 0.001
  mlp               0.000 +- 0.001    0.002 +- 0.003    0.002 +- 0.002
  smoothadv         0.000 +- 0.000    0.000 +- 0.000    0.000 +- 0.000

and from `:table1` in 187 s, the ACR (first line) and the class's accuracy without noise:

  poison \\ victim   gaussian          macer             smoothadv         standard
  standard          0.004 +- 0.002    0.006 +- 0.002    0.012 +- 0.005    0.000 +- 0.000
  clean             93.1 %            91.4 %            93.1 %            94.3 %
  standard          17.1 %            23.4 %            24.6 %            5.7 %

Unlike in the paper's Table 1, the traditional attack succeeds here: at this epsilon, and
from the class-wise shift, its poison also works against robust training. Its victims do
keep more accuracy and a higher ACR than those of the poisons made against robust training.

A poison from elsewhere is evaluated by the same command: --config.poisons.yours=FILE.npz;
--config.poisons.mlp= leaves one out.
"""

import ml_collections

from configs import digits_ga, digits_macer, digits_smoothadv, digits_standard, transfers


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "smoke", "sigma=0.5", of victims and poisons; "table1" too."""
  return transfers.paper(
    variant,
    "digits",
    {
      "gaussian": lambda variant: digits_ga.get_config(f"eps02,{variant}"),
      "macer": digits_macer.get_config,
      "smoothadv": digits_smoothadv.get_config,
      "standard": digits_standard.get_config,
    },
  )
