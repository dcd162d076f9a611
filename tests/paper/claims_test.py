"""Verdicts on the paper's claims, from numbers that are made up."""

import pathlib
from unittest import mock

from absl.testing import absltest, parameterized

from pacd_jax.paper import claims, lines
from pacd_jax.paper.analyses import Measured
from pacd_jax.paper.protocol import Protocol

_PLACE = Protocol("mnist", "paper", pathlib.Path("nowhere"))


def _line(settings, row, mean, quantity="acr", std=0.01, done=True):
  here = None if mean is None else Measured(mean, std, 5)
  return lines.Line(settings, row, quantity, here, None, f"run of {settings}", done)


def _judge(says, found):
  """The verdict on the claim that begins so, if every table has these lines or none."""
  (claim,) = (each for each in claims.CLAIMS if each.says.startswith(says))

  def of_table(protocol, item):
    del protocol
    return found if item.name == claim.tables[0] else []

  with mock.patch.object(lines, "lines", of_table):
    return claims.judge(_PLACE, claim)


def _table2(pacd, clean=0.9, **others):
  rows = {"clean": clean, "pacd": pacd} | others
  return [_line({"sigma": 0.25}, row, mean) for row, mean in rows.items()]


class JudgeTest(parameterized.TestCase):
  @parameterized.parameters((0.62, "held"), (0.64, "did not hold"))
  def test_a_reduction_by_30_percent(self, pacd, verdict):
    judged = _judge("PACD reduces", _table2(pacd))
    self.assertEqual((judged.verdict, judged.num_missing), (verdict, 0))
    self.assertIn(f"sigma 0.25: pacd 0.900 to {pacd:.3f} ", judged.numbers)
    self.assertEqual("**not:**" in judged.numbers, verdict != "held")

  def test_one_row_that_fails_decides(self):
    judged = _judge("PACD reduces", _table2(0.1, pacd_authors=0.8))
    self.assertEqual(judged.verdict, "did not hold")
    self.assertEqual(judged.numbers.count("**not:**"), 1)

  def test_other_rows_do_not_speak(self):
    self.assertEqual(_judge("PACD reduces", _table2(0.1, watermark=0.9)).verdict, "held")
    self.assertEqual(_judge("watermarking", _table2(0.1, watermark=0.85)).verdict, "held")
    judged = _judge("watermarking", _table2(0.1, watermark=0.8))
    self.assertEqual(judged.verdict, "did not hold")

  def test_nothing_to_lose_says_nothing(self):
    self.assertEqual(_judge("PACD reduces", _table2(0.0, clean=0.001)).verdict, "not run")
    nothing = [_line({"sigma": 0.75}, row, 0.0, std=0.0) for row in ("clean", "pacd")]
    judged = _judge("PACD reduces", [*_table2(0.1), *nothing])
    self.assertEqual(judged.verdict, "held")
    self.assertIn("1 more had nothing to lose", judged.numbers)

  def test_runs_that_are_missing_are_counted(self):
    missing = [_line({"sigma": 0.5}, row, None, done=False) for row in ("clean", "pacd")]
    self.assertEqual(_judge("PACD reduces", [*_table2(0.1), *missing]).num_missing, 1)
    judged = _judge("PACD reduces", missing)
    self.assertEqual((judged.verdict, judged.num_missing), ("not run", 1))

  @parameterized.parameters(
    ((0.4, 0.2, 0.1), "held"),
    ((0.4, 0.1, 0.2), "did not hold"),
    ((0.9, 0.2, 0.1), "did not hold"),
  )
  def test_along_the_budget(self, acrs, verdict):
    found = [_line({"epsilon": 0.0}, "clean", 0.9)]
    found += [
      _line({"epsilon": epsilon}, "pacd", acr)
      for epsilon, acr in zip((0.1, 0.2, 0.3), acrs, strict=True)
    ]
    self.assertEqual(_judge("the larger the budget", found).verdict, verdict)

  def test_only_robust_victims_speak_of_traditional_poisons(self):
    def victim(name, after):
      rows = {"clean": 0.99, "standard": after}
      return [_line({"victim": name}, r, m, "class_accuracy") for r, m in rows.items()]

    harmless = victim("gaussian", 0.98)
    judged = _judge("a poison against standard", victim("standard", 0.1) + harmless)
    self.assertEqual(judged.verdict, "held")
    self.assertIn("99.0 % to 98.0 %", judged.numbers)
    judged = _judge("a poison against standard", victim("macer", 0.5) + harmless)
    self.assertEqual(judged.verdict, "did not hold")

  @parameterized.parameters((0.85, "did not hold"), (0.8, "held"))
  def test_lower_by_two_standard_errors(self, after, verdict):
    """Of five victims with a spread of 0.05 each: an error of 0.0316, twice is 0.063."""
    found = [
      _line({"victim": "macer"}, "clean", 0.9, std=0.05),
      _line({"victim": "macer"}, "poison_gaussian", after, std=0.05),
    ]
    self.assertEqual(_judge("poisons transfer between", found).verdict, verdict)


class SectionTest(absltest.TestCase):
  def test_has_every_claim_and_protocol(self):
    with mock.patch.object(lines, "lines", lambda protocol, item: []):
      text = claims.section([_PLACE, _PLACE._replace(scale="fast")])
    self.assertEqual(text.count("- mnist, paper: not run."), len(claims.CLAIMS))
    self.assertEqual(text.count("- mnist, fast: not run."), len(claims.CLAIMS))


if __name__ == "__main__":
  absltest.main()
