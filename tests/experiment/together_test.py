"""Fields of a config that contradict each other: refused in one line, with a remedy."""

import re

import changed_settings
from absl.testing import absltest, parameterized
from changed_settings import check, settings
from scipy import stats

from pacd_jax.experiment import kinds


class TogetherTest(changed_settings.TestCase):
  @parameterized.parameters(0.499, 0.25, 0.05, 0.01, 0.001, 2.0**-10, 1e-6, 1e-12, 1e-300)
  def test_an_n_that_cannot_certify_is_told_the_least_that_can(self, alpha):
    """p_A of n equal votes is the alpha-quantile of Beta(n, 1): it must pass 1/2."""
    message = self.assert_refused(
      settings(certify__n=1, certify__alpha=alpha), "certify.n=1 ", "certify.alpha="
    )
    least = int(re.search(r"at least (\d+)", message).group(1))
    self.assertGreater(stats.beta.ppf(alpha, least, 1), 0.5)
    self.assertLessEqual(stats.beta.ppf(alpha, least - 1, 1) if least > 1 else 0.0, 0.5)
    check(settings(certify__n=least, certify__alpha=alpha))
    self.assert_refused(
      settings(certify__n=least - 1, certify__alpha=alpha),
      f"certify.n={least - 1} ",
    )

  def test_sound_certificates_are_in_float32(self):
    sound = settings(certify__sound=True, certify__dtype="bfloat16")
    self.assert_refused(sound, "certify: sound=True with dtype='bfloat16'", "use float32")
    check(settings(certify__sound=True))

  @parameterized.parameters(
    ("attack__solver", "cg"),
    ("attack__starts", ("brightness",)),
    ("attack__step_rule", "sign"),
    ("attack__num_shared_steps", 10),
    ("attack__noise", "fixed"),
  )
  def test_a_preset_is_one_attack(self, field, value):
    fields = dict(kinds.PRESETS["authors"].fields("gaussian"))
    authors = {name.replace(".", "__"): each for name, each in fields.items()}
    authors["attack__preset"] = "authors"
    check(settings(**authors))
    check(settings(**authors, attack__num_steps=3, attack__damping=0.5))
    name = field.replace("__", ".")
    refused = settings(**(authors | {field: value}))
    self.assert_refused(refused, f"config field {name} is ", "attack.preset=authors")

  def test_moments_of_places_are_for_single_images(self):
    refused = settings(attack__step_rule="adam_of_places", attack__num_shared_steps=5)
    self.assert_refused(refused, "adam_of_places", "attack.num_shared_steps is 5")

  def test_a_single_loop_needs_its_warm_start(self):
    refused = settings(attack__solver="single_loop")
    self.assert_refused(refused, "attack.warm_start=True", "attack.solver=neumann")
    check(settings(attack__solver="single_loop", attack__warm_start=True))
    unrolled = {"attack__hypergradient": "unrolling"}
    check(settings(**unrolled))
    for of_nothing in (unrolled, {"attack__solver": "nystrom"}):
      refused = settings(attack__warm_start=True, **of_nothing)
      self.assert_refused(refused, "attack.warm_start is True", *of_nothing.values())

  @parameterized.parameters(
    {"attack__starts": ("clean", "away")},
    {"attack__selection__every": 10},
    {"attack__selection__corners": True},
  )
  def test_a_selection_is_by_the_acr_and_can_certify(self, **several):
    check(settings(**several))
    refused = settings(attack__objective="accuracy", **several)
    self.assert_refused(refused, "attack.objective is 'accuracy'", "give one start")
    refused = settings(attack__selection__n=9, **several)
    self.assert_refused(refused, "attack.selection.n=9", "at least 10")
    check(settings(attack__selection__n=9, attack__objective="accuracy"))

  @parameterized.parameters(
    ({"attack__num_shared_steps": 3}, "attack.num_shared_steps is 3", "set it to 0"),
    ({"attack__selection__corners": True}, "selection.corners is True", "set it to False"),
    ({"attack__starts": ("brightness",)}, "starts is ('brightness',)", "('clean',)"),
  )
  def test_nothing_else_moves_a_mean_that_is_kept(self, changes, *words):
    kept = {"attack__num_shared_steps": 0, "attack__starts": ("clean",)}
    check(settings(attack__zero_mean=True, **kept))
    refused = settings(attack__zero_mean=True, **(kept | changes))
    self.assert_refused(refused, "attack.zero_mean is True, but", *words)

  @parameterized.parameters({"attack__norm": "l2"}, {"attack__num_frequencies": 4})
  def test_corners_are_of_linf_with_all_frequencies(self, **several):
    refused = settings(attack__selection__corners=True, **several)
    self.assert_refused(refused, "attack.selection.corners is for", "set it to False")

  @parameterized.parameters((), ("clean", "clean"), ("clean", "elsewhere"), ("clean", 3))
  def test_starts_are_different_and_known(self, *starts):
    refused = settings(attack__starts=starts)
    self.assert_refused(refused, "attack.starts ", "clean, classwise, away")

  @parameterized.parameters("macer", "smoothadv", "adversarial", "trades")
  def test_losses_that_take_no_mixed_labels(self, name):
    refused = settings(train__mix="mixup", train__loss=name)
    self.assert_refused(
      refused, "train.mix is 'mixup'", f"train.loss={name} ", "standard or gaussian"
    )
    check(settings(train__mix="cutmix"))
    check(settings(train__mix="cutmix", train__loss="standard"))
    check(settings(train__clip_norm=1.0, train__loss=name))

  def test_a_loss_that_does_not_say_that_it_is_a_mean_has_no_clipped_gradients(self):
    entry = kinds.Loss("whole", lambda tools, options: None, "of a whole batch")
    kinds.LOSSES.add(entry)
    self.addCleanup(kinds.LOSSES.remove, "whole")
    check(settings(train__loss="whole"))
    refused = settings(train__clip_norm=1.0, train__loss="whole")
    self.assert_refused(refused, "train.clip_norm is 1", "use train.loss=ibp, ")

  def test_early_stopping_can_certify(self):
    stopping = {"train__stopping__n": 9}
    check(settings(**stopping))
    refused = settings(**stopping, train__stopping__every=1)
    self.assert_refused(refused, "train.stopping.n=9 ", "at least 10")

  def test_weight_decay_is_given_or_chosen(self):
    choices = {"train__weight_decay_choices": (0.0, 0.1)}
    check(settings(**choices))
    refused = settings(**choices, train__weight_decay=0.1)
    self.assert_refused(refused, "train.weight_decay is 0.1", "set the first to 0")

  @parameterized.parameters((0.1,), (0.1, 0.0), (0.1, 0.1), (-1.0, 0.1), (0.0, "1"), 3)
  def test_choices_of_a_weight_decay_rise(self, *choices):
    refused = settings(train__weight_decay_choices=choices if choices != (3,) else 3)
    self.assert_refused(refused, "train.weight_decay_choices is ", "rising numbers")

  def test_clipped_gradients_are_of_single_images(self):
    refused = settings(train__clip_norm=1.0, train__mix="mixup")
    self.assert_refused(refused, "train.clip_norm is 1 ", "use one of them")
    refused = settings(train__noise_multiplier=0.5)
    self.assert_refused(refused, "train.noise_multiplier is 0.5", "set train.clip_norm")
    check(settings(train__noise_multiplier=0.5, train__clip_norm=1.0))

  def test_nystrom_without_damping_is_refused(self):
    zero = {"attack__damping": 0.0}
    refused = settings(attack__solver="nystrom", **zero)
    self.assert_refused(refused, "attack.damping is 0.0", "attack.solver=nystrom")
    check(settings(attack__solver="nystrom", attack__damping=1e-6))
    check(settings(attack__solver="cg", **zero))


if __name__ == "__main__":
  absltest.main()
