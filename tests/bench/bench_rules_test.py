"""The comparison of sampling rules on a run's own victims."""

import contextlib
import io

import finished_run
import pytest
from absl.testing import absltest

from pacd_jax.bench import rules
from pacd_jax.runtime import sharding


class RulesTest(finished_run.FinishedRunTestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(absltest.mock.patch.object(sharding, "cores_as_devices"))
    self.out, self.err = io.StringIO(), io.StringIO()
    self.enterContext(contextlib.redirect_stdout(self.out))
    self.enterContext(contextlib.redirect_stderr(self.err))

  @pytest.mark.long
  def test_every_rule_has_a_line(self):
    self.assertEqual(rules.main([str(self.finished), "--points", "2"]), 0)
    fixed, adaptive, aca = self.out.getvalue().splitlines()
    self.assertRegex(fixed, r"^fixed +samples +300 +1 times fewer +ACR 0\.\d{4} ")
    self.assertIn("like fixed on 100.00 % of 16 points", fixed)
    self.assertRegex(adaptive, r"^adaptive .*ACR 0\.\d{4} ")
    self.assertRegex(aca, r"^aca .*ACR +- ")

  def test_refuses_what_is_no_run(self):
    self.assertEqual(rules.main([str(self.workdir)]), 2)
    self.assertRegex(self.err.getvalue(), "^error: .*config.json is no run's config.*\n$")


if __name__ == "__main__":
  absltest.main()
