"""Adversarial attacks at test time."""

from pacd_jax.evasion.ascent import adam, normalized
from pacd_jax.evasion.projected import Pgd, check, pgd, uniform_in_ball

__all__ = ["Pgd", "adam", "check", "normalized", "pgd", "uniform_in_ball"]
