"""Runs whatever a config asks for: one run, or a suite of several."""

import os
from collections.abc import Sequence

from pacd_jax.experiment import door, stages
from pacd_jax.experiment.attack_specs import AttackTable
from pacd_jax.experiment.defense_specs import DefenseMatrix
from pacd_jax.experiment.suite_specs import Comparison, Transfer
from pacd_jax.experiment.target_specs import Targets
from pacd_jax.suites import attacks, comparison, defenses, runner, targeted, transfer


def run(
  asked: door.Asked,
  workdir: str | os.PathLike[str],
  stage_names: Sequence[str] = stages.NAMES,
  *,
  allow_other_versions: bool = False,
) -> str | None:
  """Runs the stages that are not done; everything is checked before the first.

  Args:
    asked: what `door.parse` made of a config.
    workdir: the folder of the run, or of the suite.
    stage_names: some of `stages.NAMES`.
    allow_other_versions: whether to resume a run that other code or versions began.

  Returns:
    The tables of results where "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: a loss or a gradient is not finite.
  """
  if isinstance(asked, Transfer):
    suite = transfer.suite(asked, workdir)
  elif isinstance(asked, Comparison):
    suite = comparison.suite(asked, workdir)
  elif isinstance(asked, DefenseMatrix):
    suite = defenses.suite(asked, workdir)
  elif isinstance(asked, AttackTable):
    suite = attacks.suite(asked, workdir)
  elif isinstance(asked, Targets):
    suite = targeted.suite(asked, workdir)
  else:
    return door.run(asked, workdir, stage_names, allow_other_versions=allow_other_versions)
  return runner.run(suite, stage_names, allow_other_versions=allow_other_versions)
