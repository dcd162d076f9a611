"""Transfer between training methods on scikit-learn's digits, epsilon 0.2.

Section 4.5 of Mehra et al. (2021), Figure 4, carried over to 8x8 images. The poisons are
those of four finished runs, in the folders where these commands leave them:

  python main.py --config=configs/digits_ga.py:eps02
  python main.py --config=configs/digits_macer.py
  python main.py --config=configs/digits_smoothadv.py
  python main.py --config=configs/digits_ga.py:eps02,model.name=mlp
  python main.py --config=configs/digits_transfer.py

A poison from elsewhere is judged by the same command: --config.poisons.yours=FILE.npz;
--config.poisons.mlp= leaves one out.
"""

import ml_collections

from configs import digits_ga, digits_macer, digits_smoothadv, transfers


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """`variant`: "", "smoke", or fields of every victim such as "sigma=0.5"."""
  return transfers.get_config(
    {
      "gaussian": lambda variant: digits_ga.get_config(f"eps02,{variant}"),
      "macer": digits_macer.get_config,
      "smoothadv": digits_smoothadv.get_config,
    },
    {
      "gaussian": ("digits_ga", "eps02"),
      "macer": ("digits_macer", ""),
      "smoothadv": ("digits_smoothadv", ""),
      "mlp": ("digits_ga", "eps02,model.name=mlp"),
    },
    variant,
  )
