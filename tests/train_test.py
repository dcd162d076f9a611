"""Training: victims apart and together, resumed epochs, and a problem it must solve."""

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
from absl.testing import absltest, parameterized
from small_training import assert_close, make, of_victim, recorded, run, separable, shifted

from pacd_jax import losses, train, types
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment.entries import networks
from pacd_jax.runtime import sharding


class TrainTest(parameterized.TestCase):
  def test_learns_a_separable_problem(self):
    model, trainer = make()
    keys = train.victim_keys(jax.random.key(0), 3)
    state, metrics = run(trainer, keys, 30)
    self.assertEqual(metrics["loss"].shape, (3,))
    self.assertLess(float(metrics["loss"].max()), 0.2)
    for victim in range(3):
      params = jax.tree.map(lambda leaf, k=victim: leaf[k], state.params)
      self.assertEqual(train.accuracy(model.apply, params, separable(), batch_size=7), 1.0)

  def test_victims_do_not_see_each_other(self):
    _, trainer = make()
    keys = train.victim_keys(jax.random.key(0), 3)
    together, _ = run(trainer, keys, 2)
    alone, _ = run(trainer, keys[1:2], 2)
    assert_close(of_victim(together, 1), of_victim(alone, 0))
    kernel = together.params["Dense_0"]["kernel"]
    self.assertGreater(float(jnp.abs(kernel[0] - kernel[1]).max()), 1e-3)

  @parameterized.parameters(1, 2, 3, 4, 6, 100)
  @long.after(2)
  def test_how_many_are_trained_at_once_changes_nothing(self, victims_at_once):
    rows, keys = train.every_row(train.victim_keys(jax.random.key(0), 3), 2)
    arguments = dict(sets=shifted(2), rows=rows)
    expected, expected_metrics = run(make()[1], keys, 3, **arguments)
    trainer = make(victims_at_once=victims_at_once)[1]
    state, metrics = run(trainer, keys, 3, **arguments)
    self.assertEqual(metrics["loss"].shape, (6,))
    assert_close((state, metrics), (expected, expected_metrics))

  def test_rows_do_not_see_each_other(self):
    """The second of three rows, against the same images as the only row."""
    _, trainer = make(victims_at_once=2)
    seeds = train.victim_keys(jax.random.key(0), 2)
    rows, keys = train.every_row(seeds, 3)
    np.testing.assert_array_equal(rows, [0, 0, 1, 1, 2, 2])
    together, _ = run(trainer, keys, 2, sets=shifted(3), rows=rows)
    alone, _ = run(trainer, seeds, 2, sets=shifted(3)[1:2])
    assert_close(of_victim(together, slice(2, 4)), alone)
    kernel = together.params["Dense_0"]["kernel"]
    self.assertGreater(float(jnp.abs(kernel[0] - kernel[2]).max()), 1e-4)

  def test_the_rows_have_the_same_seeds(self):
    seeds = train.victim_keys(jax.random.key(0), 2)
    rows, keys = train.every_row(seeds, 3)
    words = jax.random.key_data(keys)
    np.testing.assert_array_equal(words, np.tile(jax.random.key_data(seeds), (3, 1)))
    state, _ = run(make()[1], keys, 1, sets=shifted(1) * 3, rows=rows)
    assert_close(of_victim(state, slice(0, 2)), of_victim(state, slice(4, 6)))

  def test_the_loss_sees_the_images_of_to_float(self):
    """Every grey level, to the bit: as the attack and the certificate see it."""
    images = np.arange(256, dtype=np.uint8).reshape(64, 2, 2, 1)

    def criterion(logits, labels):
      num_different = (logits != expected[labels]).sum()
      return num_different.astype(jnp.float32), {"accuracy": jnp.float32(0)}

    # The label is the image's number, so that its place in the batch does not matter.
    expected, labels = jnp.asarray(arrays.to_float(images)), np.arange(64)
    loss = types.Loss(lambda params, images, key: images, criterion)
    trainer = make(loss=loss, batch_size=64)[1]
    sets = [training_sets.whole(types.Dataset(images, labels))]
    _, metrics = run(trainer, train.victim_keys(jax.random.key(0), 1), 1, sets=sets)
    np.testing.assert_array_equal(metrics["loss"], [0.0])

  @parameterized.parameters(
    (0, [1, 1, 1]), (1, [1, 1, 1]), (2, [0.5, 1, 1]), (4, [1, 2, 3])
  )
  def test_the_adversarys_radius_warms_up(self, warmup, expected):
    strengths, _ = recorded(3, adversary_warmup=warmup)
    scale = 4.0 if warmup == 4 else 1.0
    np.testing.assert_allclose(strengths * scale, expected, rtol=1e-6)

  @parameterized.parameters((0, [1, 1, 1]), (1, [0.75, 1, 1]), (2, [0.375, 0.875, 1]))
  def test_it_rises_at_every_step(self, warmup, expected):
    """An epoch has two; the means of their strengths."""
    strengths, _ = recorded(3, adversary_warmup=warmup, adversary_ramp="step")
    np.testing.assert_allclose(strengths, expected, rtol=1e-6)

  @parameterized.parameters((1, 1, 1), (0, 1, 1), (1, 3, 1), (0, 3, 3))
  def test_one_after_the_other_compute_one_branch_of_a_loss(
    self, victims_at_once, num_victims, num_devices
  ):
    """CROWN-IBP has linear bounds during its ramp alone: here the first of two steps."""
    calls = []

    def outputs(params, inputs, key):
      del key
      images, strength = inputs
      logits = apply(params, images)

      def during():
        jax.debug.callback(lambda: calls.append(1))
        return logits

      return jax.lax.cond(strength < 1.0, during, lambda: logits)

    def adversary(params, images, labels, key, strength):
      del params, labels, key
      return images, jnp.float32(strength)

    apply = make()[0].apply
    loss = losses.standard(apply)._replace(outputs=outputs, adversary=adversary)
    mesh = None if num_devices == 1 else sharding.mesh(num_devices)  # A victim on each.
    options = dict(batch_size=30, adversary_warmup=1, adversary_ramp="step", mesh=mesh)
    trainer = make(loss=loss, victims_at_once=victims_at_once, **options)[1]
    run(trainer, train.victim_keys(jax.random.key(0), num_victims), 2)
    jax.effects_barrier()
    self.assertLen(calls, num_victims)

  def test_a_ramp_that_there_is_not(self):
    with self.assertRaisesRegex(ValueError, "adversary_ramp 'batch'"):
      make(adversary_ramp="batch")

  def test_noise_is_fresh_or_an_images_own(self):
    """In every epoch the image stands elsewhere in the order."""
    _, fresh = recorded(4)
    _, fixed = recorded(4, noise_choice="fixed")
    self.assertLen(set(fresh.tolist()), 4)
    np.testing.assert_array_equal(fixed, fixed[:1].repeat(4))
    _, changed = recorded(4, noise_choice="fixed", augment=lambda key, images: images)
    np.testing.assert_array_equal(changed, fixed)

  def test_more_victims_leave_the_first_ones_as_they_are(self):
    few = train.victim_keys(jax.random.key(0), 2)
    many = train.victim_keys(jax.random.key(0), 4)
    np.testing.assert_array_equal(jax.random.key_data(few), jax.random.key_data(many)[:2])

  def test_epochs_compose(self):
    _, trainer = make()
    keys = train.victim_keys(jax.random.key(0), 2)
    whole, _ = run(trainer, keys, 5)
    half, _ = run(trainer, keys, 2)
    rest, _ = run(trainer, keys, 3, state=half)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(rest), strict=True):
      np.testing.assert_array_equal(a, b)

  def test_first_step_is_the_optimisers_on_the_losss_gradient(self):
    """One batch of everything under SGD: theta - lr grad L, with the step's own noise."""
    dataset = separable(8)
    images, labels = arrays.to_float(dataset.images), jnp.asarray(dataset.labels)
    model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
    loss = losses.standard(model.apply)
    sgd = dict(optimizer_of=lambda num_steps: optax.sgd(0.5), batch_size=8)
    trainer = make(loss=loss, **sgd)[1]
    keys = train.victim_keys(jax.random.key(0), 1)
    before = trainer.init(keys)
    params = of_victim(before.params, 0)
    sets = [training_sets.whole(dataset)]
    after, _ = run(trainer, keys, 1, sets=sets, state=before)
    gradient = jax.grad(lambda params: loss(params, images, labels, jax.random.key(9))[0])(
      params
    )
    expected = jax.tree.map(lambda leaf, g: leaf - 0.5 * g, params, gradient)
    for a, b in zip(jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(a[0], b, rtol=1e-5, atol=1e-6)


class CosineTest(parameterized.TestCase):
  @parameterized.parameters(1, 7, 30, 500)
  def test_it_is_that_of_optax(self, num_steps):
    """But for the last bits, in which XLA's versions differ; in a compiled loop, too."""
    ours, theirs = train.cosine(0.3, num_steps), optax.cosine_decay_schedule(0.3, num_steps)
    for count in (0, 1, num_steps - 1, num_steps, num_steps + 3):
      np.testing.assert_allclose(ours(count), theirs(count), rtol=1e-6, atol=1e-7)
    scanned = self._scanned(ours), self._scanned(theirs)
    np.testing.assert_allclose(*scanned, rtol=1e-6, atol=1e-7)

  @parameterized.parameters(1, 7, 30, 500)
  def test_a_number_on_the_device_gives_the_bits_of_a_constant(self, num_steps):
    traced = jax.jit(lambda total: self._scanned(train.cosine(0.3, total)))
    expected = jax.jit(lambda: self._scanned(train.cosine(0.3, num_steps)))()
    np.testing.assert_array_equal(traced(jnp.int32(num_steps)), expected)

  def _scanned(self, schedule):
    def step(count, _):
      return count + 1, schedule(count)

    return jax.lax.scan(step, jnp.int32(0), None, length=510)[1]


if __name__ == "__main__":
  absltest.main()
