"""Certificates at test time that hold whichever m training images are poisoned, too.

The classifier f is an ensemble with a certificate against poisoning: f(x) = c with radius
r(x) says that no change of r(x) training images moves f(x). On noisy copies a vote counts
at level m only where r is at least m:

  p_m <= P[f(x + e) = c and r(x + e) >= m],  e ~ N(0, sigma^2 I)
  R_m = sigma * Phi^-1(p_m) if p_m > 1/2

with p_m the lower Clopper-Pearson bound of that count. An ensemble f' trained on data with
at most m images changed has f'(x + e) = c wherever the vote counted, so that
P[f'(x + e) = c] >= p_m, and Cohen et al. (2019), https://arxiv.org/abs/1902.02918, gives
the radius R_m for f'. m = 0 is their certificate; R_m does not rise with m. Each m has its
own confidence of 1 - alpha, of the same samples.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import numpy as np

from pacd_jax.certification import certificates, certify, confidence, soundness
from pacd_jax.certification.rules import rule as rules
from pacd_jax.types import ApplyFn, Key, Params

FIELD = "poisoned_images"  # m, in the sidecar of a level above 0.


def certify_to_files(
  apply: ApplyFn,
  params: Params,
  images: np.ndarray,
  labels: np.ndarray,
  indices: np.ndarray,
  key: Key,
  paths: Mapping[int, str | os.PathLike],
  settings: certify.Settings,
  *,
  num_classes: int,
  seed: int,
  extra: Callable[[int], Mapping[str, Any]],
  on_point: certify.ProgressFn | None = None,
) -> None:
  """Certifies test points at every level from one pass of samples, into files of each.

  The files are those of `certificates`. At levels above 0 they have one class more than the
  data: the votes that do not count.

  Args:
    apply: `[B, J K]`, 1 where a copy's vote is counted: of level j and class c at place
      j K + c, j the last level whose m the copy's certificate reaches.
    params, images, labels, indices, key: as for `certify.certify_to_files`.
    paths: `DIR/seed_<k>` of each level, by its m: 0 first, rising.
    settings: in mode fixed.
    num_classes: K.
    seed: the victim's seed.
    extra: further fields of a level's sidecar, by its m.
    on_point: called after each point with (points done, M, its certificate at m = 0, its
      label).

  Raises:
    InputError: as for `certify.certify_to_files`.
    NonFiniteError: a sample's logits are not finite.
  """
  chex.assert_rank(images, 4)
  levels = list(paths)
  rule = certify.rule_of(settings)._replace(start=_sampling(settings, len(levels)))
  stream_of = certify.by_rule(rule, apply, settings)
  common = {**certify.described(settings), **rule.sidecar, "seed": seed}
  common |= {"indices": np.asarray(indices), "key": jax.random.key_data(key)}
  with contextlib.ExitStack() as opened:
    writers = []
    for m in levels:
      own = {"num_classes": num_classes + (m > 0)} | ({FIELD: m} if m else {})
      writer = certificates.Writer(paths[m], {**extra(m), **common, **own})
      writers.append(opened.enter_context(writer))
    done = min(writer.num_done for writer in writers)
    left = np.asarray(indices)[done:]
    stream: Any = stream_of(params, images[left], certify.fold_in(key, left), names=left)
    for number, (idx, (results, seconds)) in enumerate(
      zip(left, stream, strict=True), start=done
    ):
      for writer, result in zip(writers, results, strict=True):
        if writer.num_done == number:  # A killed run may have got further at some levels.
          writer.append(idx, labels[idx], result, seconds=seconds)
      if on_point is not None:
        on_point(number + 1, len(indices), results[0], int(labels[idx]))


def _sampling(settings: certify.Settings, num_levels: int) -> Callable[..., Any]:
  """Mode fixed, whose result is a list: the certificate of each level."""

  def start(unused_label):
    first = rules.votes_of((yield settings.n0), settings.n0)
    votes = rules.votes_of((yield settings.n), settings.n)
    found = at_levels(
      first.reshape(num_levels, -1),
      votes.reshape(num_levels, -1),
      sigma=settings.sigma,
      alpha=settings.alpha,
    )
    if settings.sound:
      return [soundness.certificate(each, settings.sigma) for each in found]
    return found

  return start


def at_levels(
  counts0: np.ndarray, counts: np.ndarray, *, sigma: float, alpha: float
) -> Sequence[Any]:
  """The certificates of all levels from votes by level and class.

  The class is the one with most votes of the first samples, whatever their levels.

  Args:
    counts0: int `[J, K]`, the samples that choose the class.
    counts: int `[J, K]`, the samples that bound its probability.
    sigma: standard deviation of the noise, in image units.
    alpha: probability that the certificate of a level is wrong.

  Returns:
    J certificates; those above the first have K + 1 counts, the last of them the votes that
    do not count.
  """
  chosen, total = counts0.sum(axis=0), counts.sum()
  result = [confidence.certificate(chosen, counts.sum(axis=0), sigma=sigma, alpha=alpha)]
  for level in range(1, len(counts)):
    counted = counts[level:].sum(axis=0)
    votes = np.append(counted, total - counted.sum())
    result.append(
      confidence.certificate(np.append(chosen, 0), votes, sigma=sigma, alpha=alpha)
    )
  return result
