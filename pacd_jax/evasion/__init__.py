"""Adversarial attacks at test time; those that are a `types.EvasionFn` are classes."""

from pacd_jax.evasion.ascent import adam, normalized
from pacd_jax.evasion.carlini_wagner import CarliniWagner
from pacd_jax.evasion.classifiers import base, margin, smoothed
from pacd_jax.evasion.fast_gradient import FastGradient
from pacd_jax.evasion.projected import (
  Pgd,
  ProjectedGradient,
  check,
  pgd,
  uniform_in_ball,
)

__all__ = [
  "CarliniWagner",
  "FastGradient",
  "Pgd",
  "ProjectedGradient",
  "adam",
  "base",
  "check",
  "margin",
  "normalized",
  "pgd",
  "smoothed",
  "uniform_in_ball",
]
