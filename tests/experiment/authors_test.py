"""The variant `authors` against ../reference_settings, and its refusals."""

from absl.testing import absltest, parameterized

from configs import authors
from pacd_jax import errors, types
from pacd_jax.experiment import config_files, door, kinds, schema, together, words

_CONFIGS = [
  f"{data}_{method}"
  for data in ("mnist", "cifar10")
  for method in ("ga", "macer", "smoothadv")
]


class AuthorsTest(parameterized.TestCase):
  @parameterized.product(
    name=[*_CONFIGS, "digits_ga"], variant=("authors", "authors,smoke", "fast,authors")
  )
  def test_checks(self, name, variant):
    if name == "digits_ga" and "fast" in variant:
      variant = "authors"  # Digits have no smaller variant but smoke.
    config = door.named(name, variant)
    together.check(config)
    self.assertEqual(config.attack.preset.name, "authors")

  @parameterized.parameters(
    # config, steps, restarts, batches, k, T1, T2, the solution's rate, noise.
    ("mnist_ga", 2750, 550, (900, 100, 100), 20, 10, 10, 1e-2, "fresh"),
    ("mnist_macer", 2750, 550, (900, 100, 100), 20, 10, 10, 1e-4, "fixed"),
    ("mnist_smoothadv", 5500, 1100, (900, 100, 100), 20, 1, 10, 1e-3, "fixed"),
    ("cifar10_ga", 11475, 2250, (180, 20, 20), 5, 10, 10, 1e-3, "fresh"),
    ("cifar10_macer", 11250, 2250, (180, 20, 20), 5, 10, 10, 1e-4, "fixed"),
    ("cifar10_smoothadv", 22500, 4500, (180, 20, 20), 5, 1, 10, 1e-3, "fixed"),
  )
  def test_settings(self, name, steps, restart, batches, k, t1, t2, rate, noise):
    attack = door.named(name, "authors").attack
    self.assertEqual((attack.num_steps, attack.restart_every), (steps, restart))
    self.assertEqual((attack.clean_batch, attack.poison_batch, attack.val_batch), batches)
    self.assertEqual((attack.num_noise_samples, attack.lower_steps), (k, t1))
    self.assertEqual((attack.solver_steps, attack.solver_learning_rate), (t2, rate))
    self.assertEqual((attack.noise, attack.damping), (noise, 1e-3))
    self.assertEqual((attack.step_size, attack.inverse_temperature), (0.1, 16.0))
    self.assertEqual(attack.learning_rate, 1e-3)
    self.assertEqual((attack.starts.names, attack.selection.every), (("clean",), 0))

  def test_losses_have_their_own_numbers(self):
    macer = {
      n: door.named(f"{n}_macer", "authors").attack.loss.own for n in ("mnist", "cifar10")
    }
    self.assertEqual((macer["mnist"].num_noise_samples, macer["mnist"].lam), (1, 1.0))
    self.assertEqual((macer["cifar10"].num_noise_samples, macer["cifar10"].lam), (2, 2.0))
    smoothadv = door.named("mnist_smoothadv", "authors").attack
    self.assertEqual((smoothadv.adversary.warmup, smoothadv.adversary.epsilon), (275, 1.0))
    self.assertEqual(smoothadv.adversary.ascent.name, "adam")

  def test_refuses_another_solver_or_start(self):
    for field, value in (("attack.solver", "cg"), ("attack.starts", ("classwise",))):
      config = door.named("mnist_ga", "authors", {field: value})
      with self.assertRaisesRegex(errors.InputError, f"field {field} is .*preset=authors"):
        together.check(config)

  def test_says_what_it_is(self):
    of_authors = words.origin(types.PACD, door.named("mnist_ga", "authors"))
    usual = words.origin(types.PACD, door.named("mnist_ga"))
    self.assertIn(kinds.PRESETS["authors"].words, of_authors)
    self.assertIn("2750 outer steps", of_authors)
    self.assertIn("From classwise and brightness; a change shared by the class", usual)
    self.assertNotEqual(of_authors, usual)

  def test_overrides_are_the_variant(self):
    """A comparison's overrides of the plain config give the variant's config."""
    get_config = config_files.get_config_of("mnist_ga")
    changed = door.named("mnist_ga", "", dict(authors.overrides(get_config(""), "")))
    self.assertEqual(
      schema.values(changed), schema.values(door.named("mnist_ga", "authors"))
    )


if __name__ == "__main__":
  absltest.main()
