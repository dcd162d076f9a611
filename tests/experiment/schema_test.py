"""Every config field is checked, and every refusal is one line that names the field."""

import dataclasses
import itertools
import math

import changed_settings
from absl.testing import absltest, parameterized
from changed_settings import check, place, settings, with_field

from pacd_jax import errors
from pacd_jax.experiment import fields, kinds, schema

_MOST_EPSILON = 1000.0  # In l2: over the largest distance of two images of 1,000 x 1,000.
_WRONG_TYPES = {
  int: (True, 1.0, "1", None, (1,)),
  float: (True, "0.1", None, math.nan, math.inf, -math.inf, (0.1,)),
  str: (1, True, None, ("linf",)),
  tuple: ("clean", None, 3, True),
  bool: (0, 1, 1.0, "true", None),
}
_FIELDS = schema.known()
_BY_KIND = {
  kind: [name for name, field in _FIELDS.items() if field.check.kind is kind]
  for kind in (int, float, str, tuple, bool)
}


class SettingsTest(changed_settings.TestCase):
  def test_the_base_config_passes(self):
    check(settings())

  def test_every_kind_of_field_is_covered(self):
    self.assertCountEqual(itertools.chain(*_BY_KIND.values()), _FIELDS)

  # --- names --------------------------------------------------------------------------

  @parameterized.parameters(*_FIELDS)
  def test_a_missing_field_is_named(self, name):
    resolved = settings()
    group, field = place(resolved, name)
    del group[field]
    self.assert_refused(resolved, name, "missing")

  @parameterized.parameters(
    "sigmas", "data.nam", "attack.epsilom", "train.epsilon", "certify.N", "watermark.x"
  )
  def test_an_unknown_field_is_named_with_those_known_there(self, name):
    neighbour = next(
      field for field in _FIELDS if field.rpartition(".")[0] == name.rpartition(".")[0]
    )
    self.assert_refused(with_field(name, 0.1), f"{name} ", "unknown", neighbour)

  @parameterized.parameters("sigmas", "attack.epsilom", "attack", "attack.", "")
  def test_a_name_alone_is_checked(self, name):
    with self.assertRaises(errors.InputError) as caught:
      schema.check_name(name)
    self.assertLen(str(caught.exception).splitlines(), 1)
    self.assertIn(f"{name} is unknown", str(caught.exception))

  @parameterized.parameters(*_FIELDS)
  def test_a_known_name_passes(self, name):
    schema.check_name(name)

  def test_an_unknown_group_is_named(self):
    self.assert_refused(settings(defense={"strength": 1}), "defense.strength")

  def test_a_value_in_the_place_of_a_group_is_refused(self):
    self.assert_refused(settings(attack=3), "attack")

  def test_a_group_in_the_place_of_a_value_is_refused(self):
    self.assert_refused(settings(sigma={"train": 0.25}), "sigma")

  # --- types --------------------------------------------------------------------------

  @parameterized.parameters(
    (name, value)
    for kind, values in _WRONG_TYPES.items()
    for name in _BY_KIND[kind]
    for value in values
  )
  def test_a_wrong_type_is_refused(self, name, value):
    self.assert_refused(with_field(name, value), f"{name} ", repr(value))

  @parameterized.parameters(*_BY_KIND[float])
  def test_a_whole_number_may_stand_for_a_float(self, name):
    """1 says what 1.0 says: both are taken, or neither."""
    try:
      check(with_field(name, 1.0))
    except errors.InputError as error:
      self.assert_refused(with_field(name, 1), f"{name} ")
      self.assertIn(name, str(error))
    else:
      check(with_field(name, 1))

  def test_a_whole_number_too_large_for_a_float_is_refused(self):
    self.assert_refused(settings(sigma=10**400), "sigma")

  # --- ranges -------------------------------------------------------------------------

  @parameterized.parameters(*_BY_KIND[int], *_BY_KIND[float])
  def test_no_number_may_be_negative(self, name):
    value = -1 if _FIELDS[name].check.kind is int else -1e-6
    self.assert_refused(with_field(name, value), f"{name} ", repr(value))

  @parameterized.parameters(
    name
    for name in _BY_KIND[int]
    if name
    not in (
      "seed",
      "data.target_class",
      "data.num_train",
      "train.victims_at_once",
      "train.recovery_epochs",
      "train.stopping.every",
      "train.stopping.num_points",
      "train.ensemble.num_models",
      "attack.num_shared_steps",
      "attack.num_frequencies",
      "attack.surrogates_at_once",
      "attack.selection.every",
      "attack.selection.num_points",
      "attack.warmup_steps",
      "attack.adversary.warmup",
      "train.adversary.warmup",
      "certify.num_points",
      "defense.two_sample.num_trusted",
      "defense.unshift.num_trusted",
      "badnets.margin",
      "label_consistent.margin",
      "certifier_backdoor.margin",
      "blended.seed",
      "wanet.seed",
    )
    and name.rpartition(".")[-1] not in ("target", "num_images", "num_halvings")
  )
  def test_a_count_is_at_least_one(self, name):
    self.assert_refused(with_field(name, 0), f"{name} ", "from 1 to ")
    self.assert_refused(with_field(name, 2**31), f"{name} ", "from 1 to ")

  @parameterized.named_parameters(
    ("sigma", {"sigma": 0.0}, {"sigma": 1e-6}),
    ("sigma_negative", {"sigma": -0.25}, {"sigma": 2.0}),
    ("seed", {"seed": -1}, {"seed": 0}),
    ("target_class", {"data__target_class": -1}, {"data__target_class": 0}),
    ("num_points", {"certify__num_points": -1}, {"certify__num_points": 0}),
    ("shared_steps", {"attack__num_shared_steps": -1}, {"attack__num_shared_steps": 0}),
    ("warmup", {"attack__warmup_steps": -1}, {"attack__warmup_steps": 0}),
    ("epsilon_zero", {"attack__epsilon": 0.0}, {"attack__epsilon": 1 / 255}),
    ("epsilon_under", {"attack__epsilon": 0.999 / 255}, {"attack__epsilon": 1.0}),
    ("tolerance", {"attack__solver_tolerance": 1.0}, {"attack__solver_tolerance": 0.0}),
    ("damping", {"attack__damping": -1e-9}, {"attack__damping": 0.0}),
    ("solver_rate", {"attack__solver_learning_rate": 0.0}, {"attack__solver": "neumann"}),
    ("rank", {"attack__nystrom__rank": 0}, {"attack__nystrom__rank": 1}),
    ("probes", {"attack__ekfac__num_probes": 0}, {"attack__ekfac__num_probes": 1}),
    ("unrolled", {"attack__unrolling__learning_rate": 0.0}, {"attack__solver": "ekfac"}),
    ("gamma", {"attack__penalty__gamma": 0.0}, {"attack__penalty__gamma": 1e-3}),
    ("penalty", {"attack__penalty__learning_rate": -1.0}, {"attack__solver": "cg"}),
    ("lam", {"train__macer__lam": -1e-9}, {"attack__macer__lam": 0.0}),
    ("gamma_zero", {"train__macer__gamma": 0.0}, {"train__macer__gamma": 20.0}),
    ("gamma_over", {"attack__macer__gamma": 20.1}, {"attack__macer__gamma": 1e-3}),
    ("k", {"train__macer__num_noise_samples": 0}, {"train__macer__num_noise_samples": 1}),
    ("beta", {"train__macer__inverse_temperature": 0.0}, {"train__loss": "macer"}),
    ("radius", {"train__adversary__epsilon": 0.0}, {"train__adversary__epsilon": 0.1}),
    ("weight", {"train__trades__weight": -1.0}, {"train__trades__weight": 0.0}),
    ("step_size", {"attack__step_size": 0.0}, {"attack__step_size": 1e-6}),
    ("rate", {"train__learning_rate": 0.0}, {"train__learning_rate": 1e-6}),
    ("share", {"attack__poisoned_fraction": 0.0}, {"attack__poisoned_fraction": 1e-9}),
    ("over", {"attack__poisoned_fraction": 1.01}, {"attack__poisoned_fraction": 1.0}),
    ("decay", {"train__weight_decay": -1e-9}, {"train__weight_decay": 5e-4}),
    ("opacity_zero", {"watermark__opacity": 0.0}, {"watermark__opacity": 1e-3}),
    ("opacity_over", {"watermark__opacity": 1.001}, {"watermark__opacity": 1.0}),
    ("blur", {"convolution__blur": 0.0}, {"convolution__blur": 1e-3}),
    (
      "kernel",
      {"convolution__kernel_size": 100},
      {"convolution__kernel_size": 99},
    ),
    (
      "share_zero",
      {"error_minimizing__step_size": 0.0},
      {"error_minimizing__step_size": 1e-3},
    ),
    (
      "share_over",
      {"targeted_adversarial__step_size": 2.01},
      {"targeted_adversarial__step_size": 2.0},
    ),
    ("alpha_zero", {"certify__alpha": 0.0}, {"certify__alpha": 1e-9}),
    ("alpha_half", {"certify__alpha": 0.5}, {"certify__alpha": 0.499}),
    ("alpha_one", {"certify__alpha": 1.0}, {"certify__alpha": 0.001}),
  )
  def test_the_ends_of_the_ranges(self, outside, inside):
    check(settings(**inside))
    ((name, value),) = outside.items()
    name = name.replace("__", ".")
    self.assert_refused(settings(**outside), f"{name} ", repr(value))

  def test_linf_epsilon_is_at_most_one(self):
    """The images are in [0, 1]; an l2 distance of theirs may be larger."""
    over = {"attack__epsilon": 1.01}
    check(settings(attack__epsilon=1.0, attack__norm="linf"))
    check(settings(**over, attack__norm="l2"))
    message = self.assert_refused(settings(**over, attack__norm="linf"), "1.01")
    self.assertIn("attack.epsilon", message)

  def test_an_l2_epsilon_that_is_too_large_is_told_the_most(self):
    check(settings(attack__epsilon=_MOST_EPSILON, attack__norm="l2"))
    over = settings(attack__epsilon=1.1 * _MOST_EPSILON, attack__norm="l2")
    message = self.assert_refused(over, "attack.epsilon", "1000")
    self.assertRegex(message.partition("must be")[2], "1000|most")

  def test_smoothadv_without_steps_is_told_what_that_is(self):
    for group in ("attack", "train"):
      changes = {f"{group}__loss": "smoothadv", f"{group}__adversary__num_steps": 0}
      name = f"{group}.adversary.num_steps is 0"
      self.assert_refused(settings(**changes), name, "for none: loss=gaussian")

  # --- choices ------------------------------------------------------------------------

  @parameterized.parameters("data.name", "model.name")
  def test_a_name_is_not_empty(self, name):
    self.assert_refused(with_field(name, ""), f"{name} ")

  @parameterized.parameters(
    ("attack.loss", "standard", "gaussian", "macer", "smoothadv"),
    ("train.loss", "standard", "gaussian", "macer", "smoothadv", "adversarial", "trades"),
    ("train.noise", "fresh", "fixed"),
    ("attack.noise", "fresh", "fixed"),
    ("attack.adversary.ascent", "normalized", "adam"),
    ("train.adversary.norm", "l2", "linf"),
    ("attack.objective", "acr", "accuracy"),
    ("attack.norm", "linf", "l2"),
    ("attack.step_schedule", "constant", "linear"),
    ("attack.curvature", "gauss_newton", "hessian"),
    ("attack.hypergradient", "approx_grad", "unrolling", "penalty"),
    ("attack.solver", "identity", "cg", "normal_equations", "adam_residual"),
    ("attack.solver", "neumann", "nystrom", "ekfac"),
    ("attack.step_rule", "sign", "normalized", "adam"),
    ("data.augment", "none", "crop_and_flip", "cutout"),
    ("train.mix", "none", "mixup", "cutmix"),
  )
  def test_a_choice_is_one_of_those_named(self, name, *choices):
    for choice in choices:
      check(with_field(name, choice))
      self.assert_refused(with_field(name, choice.upper()), f"{name} ", *choices)
    self.assert_refused(with_field(name, ""), f"{name} ", *choices)

  def test_target_points_are_of_the_test_split(self):
    check(with_field("data.target_points", (7, 15)))
    seen = settings(data__target_points=(7,), certify__split="validation")
    self.assert_refused(seen, "data.target_points", "certify.split is 'validation'")
    check(settings(certify__split="validation"))

  def test_victims_have_the_datas_augmentation_or_their_own(self):
    for choice in ("", "none", "crop_and_flip"):
      check(with_field("train.augment", choice))
    self.assert_refused(
      with_field("train.augment", "crops"), "train.augment ", "crop_and_flip"
    )

  @parameterized.named_parameters(
    ("one", ("pacd",)),
    ("all_in_another_order", ("pacd", "classwise", "clean", "watermark")),
    ("a_list", ["clean", "pacd"]),
  )
  def test_rows(self, rows):
    check(settings(rows=rows))

  @parameterized.named_parameters(
    ("none", ()),
    ("twice", ("clean", "pacd", "clean")),
    ("number", ("clean", 3)),
    ("list_in_a_list", (["clean"],)),
  )
  def test_rows_are_different_and_known(self, rows):
    self.assert_refused(settings(rows=rows), "rows ")

  def test_an_unknown_row_is_told_those_known(self):
    words = ("rows has 'poison'", "clean, watermark, classwise", "poisons.poison")
    self.assert_refused(settings(rows=("clean", "poison")), *words)
    self.assert_refused(settings(rows=("clean", "yours")), "rows has 'yours'")
    check(settings(rows=("clean", "yours"), poisons__yours="theirs.npz"))

  @parameterized.parameters(3, None, True, [["a.npz"]])
  def test_a_poison_is_a_path(self, value):
    self.assert_refused(settings(poisons__yours=value), "poisons.yours", repr(value))

  @parameterized.parameters("clean", "report", "a b", "../a")
  def test_a_poison_has_a_name_for_files(self, name):
    refused = settings(poisons={name: "theirs.npz"})
    self.assert_refused(refused, f"poisons.{name} has an unusable name")


@dataclasses.dataclass(frozen=True)
class _One:
  x: int = fields.field(1, fields.count(), "One.")


@dataclasses.dataclass(frozen=True)
class _Other:
  y: int = fields.field(2, fields.count(), "Another.")


class NamesOfEntriesTest(parameterized.TestCase):
  def added(self, options, name="mine"):
    entry = kinds.Row(name, lambda tools, options: None, "mine.", options=options)
    kinds.ROWS.add(entry)
    self.addCleanup(lambda: name in kinds.ROWS and kinds.ROWS.remove(name))

  @parameterized.parameters("attack", "data", "certify")
  def test_options_by_the_name_of_a_group(self, name):
    self.added(_One, name)
    with self.assertRaisesRegex(errors.InputError, f"the group {name}, .* rename"):
      schema.known()

  def test_options_by_the_name_of_a_field(self):
    self.added(_One, "sigma")
    with self.assertRaisesRegex(errors.InputError, "sigma.x stand below the field sigma"):
      schema.known()

  def test_another_entry_of_the_same_name_has_its_own_options(self):
    self.added(_One)
    self.assertIn("mine.x", schema.known())
    kinds.ROWS.remove("mine")
    self.added(_Other)
    self.assertIn("mine.y", schema.known())
    self.assertNotIn("mine.x", schema.known())
    made = schema.make(schema.defaults())
    self.assertEqual(made.rows.options["mine"], _Other(2))


if __name__ == "__main__":
  absltest.main()
