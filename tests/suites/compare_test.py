"""Attacks compared: every part once, the numbers of the parts, and bad input refused."""

import contextlib
import json
import pathlib
import subprocess
import sys

import asked
import finished_run
import jax
import pytest
import suite_configs
from absl.testing import absltest, parameterized
from jax.experimental.compilation_cache import compilation_cache

from configs import comparisons
from pacd_jax import errors
from pacd_jax.experiment import door, schema
from pacd_jax.results import comparison_table
from pacd_jax.suites import comparison

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_TINY = {
  "attack.num_steps": 2,
  "train.num_epochs": 1,
  "certify.n": 100,
  "certify.num_points": 3,
}
_PARTS = [
  "clean",
  "eps_0.05/baselines",
  "eps_0.05/cheap",
  "eps_0.1/baselines",
  "eps_0.1/cheap",
]


def _config():
  """One baseline and one PACD attack that compiles in the shortest time, two epsilons."""
  return comparisons.get_config(
    finished_run.smoke(**_TINY),
    "",
    epsilons=(0.05, 0.1),
    baselines=("classwise",),
    variants={"cheap": {"attack.solver": "identity"}},
  )


def _changed(**changes):
  return suite_configs.change(_config(), **changes)


@contextlib.contextmanager
def _compiled_once(folder):
  """Programs that are the same in several parts are compiled in the first."""
  options = {
    "jax_compilation_cache_dir": str(folder),
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": 0,
  }
  before = {name: getattr(jax.config, name) for name in options}
  for name, value in options.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()
  try:
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()


class CompareTest(suite_configs.SuiteTestCase):
  def setUp(self):
    super().setUp()
    self.enterContext(_compiled_once(self.workdir.with_name("cache")))

  @pytest.mark.long
  def test_whole(self):
    self.assertIsNone(asked.run(_config(), self.workdir, ("attack",)))
    table = asked.run(_config(), self.workdir)
    results = json.loads((self.workdir / "results.json").read_text())
    self.assertEqual(results["epsilons"], [0.05, 0.1])
    expected = [("clean", 0.0, "clean")]
    expected += [("classwise", 0.05, _PARTS[1]), ("cheap", 0.05, _PARTS[2])]
    expected += [("classwise", 0.1, _PARTS[3]), ("cheap", 0.1, _PARTS[4])]
    lines = [(row["method"], row["epsilon"], row["part"]) for row in results["rows"]]
    self.assertEqual(lines, expected)
    for row in results["rows"]:
      own = json.loads((self.workdir / row["part"] / "results.json").read_text())["rows"]
      (own,) = [other for other in own if other["data"] == row["data"]]
      self.assertEqual(row, row | {k: v for k, v in own.items() if k != "epsilon"})
      self.assertLen(row["acr"], 2)
      if row["method"] == "clean":
        self.assertIsNone(row["attack_seconds"])
      else:
        self.assertGreater(row["attack_seconds"], 0.0)
        self.assertEqual(own["epsilon"], row["epsilon"])
    for words in ("epsilon 0.05", "cheap", "classwise", "clean", "victims: 2"):
      self.assertIn(words, table)
    page = (self.workdir / "report" / "index.html").read_text()
    for words in ("image/png;base64", "../eps_0.1/cheap/report", "solver = identity"):
      self.assertIn(words, page)
    self.assertTrue((self.workdir / "report" / "compare.png").exists())
    # The parts' settings are the base's, but for what is compared.
    base, variant = (door.load(self.workdir / part) for part in _PARTS[1:3])
    self.assertEqual((base.rows, variant.rows), (("classwise",), ("pacd",)))
    self.assertEqual(variant.config.attack.solver.name, "identity")
    self.assertEqual(base.config.attack.solver.name, "cg")
    with self.assertRaisesRegex(errors.InputError, "is a comparison: load one of its runs"):
      door.load(self.workdir)
    # Again: nothing is done but the comparison's own page; and another config is refused.
    before = self.times(_PARTS)
    self.assertEqual(asked.run(_config(), self.workdir), table)
    self.assertEqual(self.times(_PARTS), before)
    with self.assertRaisesRegex(errors.InputError, "another config .base.sigma is 0.25"):
      asked.run(_changed(base__sigma=0.5), self.workdir)
    # A part that is damaged is named before anything is done.
    (self.workdir / "eps_0.1/cheap/poison/pacd.npz").write_bytes(b"")
    with self.assertRaisesRegex(errors.InputError, "^eps_0.1/cheap: .*pacd.npz"):
      asked.run(_config(), self.workdir)

  @parameterized.parameters(
    ({"epsilons": (0.1, 0.05)}, r"epsilons is \(0.1, 0.05\): it must be numbers above 0"),
    ({"epsilons": (0.1, 0.1)}, "numbers above 0 that rise"),
    ({"epsilons": ()}, "numbers above 0 that rise"),
    ({"epsilons": ("a",)}, "numbers above 0 that rise"),
    ({"epsilons": 0.1}, "epsilons is 0.1: it must be numbers"),
    ({"epsilons": (0.001, 0.1)}, "attack.epsilon is 0.001: it must be from 1/255"),
    ({"epsilons": (0.1, 1.5)}, "eps_1.5/baselines: attack.epsilon is 1.5: in linf"),
    ({"base__sigma": -1.0}, "base: config field sigma is -1.0"),
    ({"base__train__epochs": 3}, "base: config field train.epochs is unknown"),
    ({"attacks__cheap__row": "magic"}, "attacks.cheap.row is 'magic': it must be one of"),
    ({"attacks__cheap__row": "clean"}, "attacks.cheap.row is 'clean': it must be one of"),
    (
      {"attacks__classwise__row": "watermark"},
      "attacks.classwise: a baseline has the name",
    ),
    ({"attacks__cheap__row": "", "attacks__classwise__row": ""}, "needs attacks"),
    ({"attacks__cheap__lam": 3}, "attacks.cheap must have a row, and may have"),
    ({"attacks__baselines": {"row": "pacd"}}, "attacks.baselines has an unusable name"),
    ({"attacks__report": {"row": "pacd"}}, "attacks.report has an unusable name"),
    (
      {"attacks__cheap__overrides": {"attack": {"solver": "magic"}}},
      "attack cheap: config field attack.solver is 'magic'",
    ),
    (
      {"attacks__cheap__overrides": {"attack": {"damping": "x"}}},
      "attack cheap: config field attack.damping is 'x'",
    ),
    ({"attacks__cheap__overrides": {"attack": {"solvr": 1}}}, "attack.solvr is unknown"),
    ({"attacks__cheap__overrides": {"sigma": 0.5}}, "overrides.sigma: a variant may"),
    (
      {"attacks__cheap__overrides": {"attack": {"epsilon": 0.5}}},
      "overrides.attack.epsilon: a variant may .*not attack.epsilon or attack.norm",
    ),
    (
      {"attacks__cheap__overrides": {"attack": {"poisoned_fraction": 0.5}}},
      "overrides.attack.poisoned_fraction: a variant may",
    ),
    (
      {"attacks__same": {"row": "pacd", "overrides": {"attack": {"solver": "identity"}}}},
      "attacks cheap and same have the same settings: leave one out by "
      "--config.attacks.same.row=",
    ),
    ({"sigma": 0.5}, "config field sigma is unknown: a comparison has base, epsilons"),
    ({"data__name": "mnist"}, "config field data.name is unknown: a comparison"),
    ({"data__data_dir": "somewhere"}, "data.data_dir=somewhere is for mnist and cifar10"),
  )
  def test_refuses(self, changes, message):
    self.refuses(message, _changed(**changes))

  def test_an_attack_is_left_out_by_its_row(self):
    config = _changed(attacks__cheap__row="")
    built = comparison.suite(door.parse(config), self.workdir)
    parts = ["clean", "eps_0.05/baselines", "eps_0.1/baselines"]
    self.assertEqual([part.name for part in built.parts], parts)

  def test_flags_name_its_fields(self):
    for name in (
      "epsilons",
      "attacks.cheap.row",
      "attacks.cheap.overrides.attack.solver",
      "base.train.num_victims",
    ):
      schema.check_flag(name)
    with self.assertRaisesRegex(errors.InputError, "train.epochs is unknown"):
      schema.check_flag("base.train.epochs")

  @parameterized.parameters(
    ("digits_ga.py", (), "this config has no attacks to compare: run it by pacd run"),
    ("digits_compare.py", ("--config.epsilons=(0.2,0.1)",), r"epsilons is \(0.2, 0.1\)"),
  )
  @pytest.mark.long
  def test_the_command(self, config, arguments, message):
    command = [
      sys.executable,
      "-m",
      "pacd_jax",
      "compare",
      f"--config=configs/{config}",
    ]
    command += [f"--workdir={self.workdir}", *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(done.stderr, rf"\Aerror: [^\n]*{message}[^\n]*\n\Z")


class TableTest(absltest.TestCase):
  def _compared(self, **changes):
    row = {"num_seeds": 2, "num_points": 5, "split": "test", "mode": "fixed", "n0": 10}
    row |= {"dtype": "float32", "n": 100, "alpha": 0.001, "bound": "exact"}
    row |= {"acr_mean": 0.25, "acr_std": 0.01, "aca_mean": 0.5, "aca_std": 0.1} | changes
    words = {"dataset": "digits", "description": "digits", "target_class": 8}
    words |= {"sigma": 0.25, "norm": "linf", "model": "mlp", "training": "gaussian"}
    entries = comparison_table.entries((0.05, 0.1), ("classwise",), ("pacd",))
    seconds = {"clean": None, "classwise": 0.1234, "pacd": 1234.5}
    results = {}
    for entry in entries:
      own = row | {"data": entry.row, "attack_seconds": seconds[entry.method]}
      results[entry.part] = words | {"rows": [own]}
    return comparison_table.collect(entries, results)

  def test_cells(self):
    self.assertEqual(
      comparison_table.cells(self._compared(), "acr"),
      [
        ("ACR", "epsilon 0.05", "epsilon 0.1"),
        ("clean", "0.250 ± 0.010", "0.250 ± 0.010"),
        ("classwise", "0.250 ± 0.010 (0.12 s)", "0.250 ± 0.010 (0.12 s)"),
        ("pacd", "0.250 ± 0.010 (1,234 s)", "0.250 ± 0.010 (1,234 s)"),
      ],
    )
    aca = comparison_table.cells(self._compared(), "aca")
    self.assertEqual(aca[3], ("pacd", "50.0 ± 10.0", "50.0 ± 10.0"))

  def test_table(self):
    text = comparison_table.table(self._compared())
    for words in (
      "digits, class 8: mlp, sigma 0.25, epsilon in linf, training gaussian;",
      "victims: 2; test points: 5;",
      "n0 10, n 100, alpha 0.001, bound exact",
    ):
      self.assertIn(words, " ".join(text.split()))
    self.assertLess(max(map(len, text.splitlines())), 90)

  def test_without_acr_the_picture_is_of_aca(self):
    compared = self._compared(acr_mean=None)
    self.assertEqual(comparison_table.quantity(compared), "aca")
    self.assertEqual(comparison_table.cells(compared, "acr")[1], ("clean", "-", "-"))
    self.assertEqual(comparison_table.quantity(self._compared()), "acr")


if __name__ == "__main__":
  absltest.main()
