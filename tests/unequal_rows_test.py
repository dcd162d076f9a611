"""Victims of rows of other sizes and labels, in one program: each as if by itself."""

import as_users_run
import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
from absl.testing import absltest, parameterized
from small_training import assert_close, make, of_victim, recorded, run, shifted

from pacd_jax import losses, train, types
from pacd_jax.data import arrays, training_sets
from pacd_jax.runtime import sharding


def _unequal():
  """Four rows: 60 images, 38 of them, 17 of which some have other labels, and 70."""
  whole = shifted(1)[0]
  rng = np.random.default_rng(1)
  fewer = training_sets.keep(whole, rng.permutation(60)[:38])
  fewest = training_sets.keep(whole, rng.permutation(60)[:17])
  flipped = fewest.present[:5]
  fewest = training_sets.relabel(fewest, flipped, 1 - whole.labels[flipped])
  new = rng.integers(0, 256, (10, 2, 2, 1), np.uint8)
  return [whole, fewer, fewest, training_sets.insert(whole, new, np.arange(10) % 2)]


def _cosine(num_steps):
  return optax.adamw(train.cosine(0.05, num_steps), weight_decay=0.1)


def _together_and_alone(alone=range(4), **options):
  """Of some rows two victims after 3 epochs: among those of others, and by themselves."""
  trainer = make(optimizer_of=_cosine, num_epochs=3, **options)[1]
  seeds, sets = train.victim_keys(jax.random.key(0), 2), _unequal()
  rows, keys = train.every_row(seeds, 4)
  together = run(trainer, keys, 3, sets=sets, rows=rows)
  return [
    (of_victim(together, slice(2 * k, 2 * k + 2)), run(trainer, seeds, 3, sets=[own]))
    for k, own in enumerate(sets)
    if k in alone
  ]


class UnequalRowsTest(parameterized.TestCase):
  """Batches of 16: the rows have 3, 2, 1 and 4 of them in an epoch."""

  @parameterized.parameters("fresh", "fixed")
  @pytest.mark.long
  def test_victims_are_those_of_their_row_alone(self, noise_choice):
    """To the bit, where a device trains one after the other, as users compile it."""
    options = dict(noise_choice=noise_choice, victims_at_once=1)
    for found, expected in as_users_run.call(_together_and_alone, **options):
      jax.tree.map(np.testing.assert_array_equal, found[0], expected[0])
      assert_close(found[1], expected[1])  # Sums of other lengths.

  @parameterized.parameters((0, False), (3, False), (0, True), (1, True))
  @long.after(1)
  def test_side_by_side_they_differ_by_rounding(self, victims_at_once, on_devices):
    """Products of batches of another size add up in another order, as of equal rows."""
    options = dict(victims_at_once=victims_at_once, alone=(1, 2))
    if on_devices:
      options["mesh"] = sharding.mesh()
    for found, expected in _together_and_alone(**options):
      assert_close(found, expected)

  @pytest.mark.long
  def test_it_is_a_loop_over_batches_with_a_recovery(self):
    """In plain Python, on the images that are there, cut out."""
    model, trainer = make(optimizer_of=_cosine, num_epochs=2, recovery_epochs=2)
    loss = losses.gaussian_augmentation(model.apply, sigma=0.1)
    seeds, sets = train.victim_keys(jax.random.key(0), 1), _unequal()
    rows, keys = train.every_row(seeds, 4)
    state, metrics = run(trainer, keys, 4, sets=sets, rows=rows, recovery=1)
    np.testing.assert_array_equal(state.epoch, [4] * 4)
    for row, num_steps in enumerate((10, 8, 6, 12)):
      params, values = self._by_hand(model, loss, [sets[row], sets[1]], seeds[0], num_steps)
      found = jax.tree.map(lambda leaf, k=row: leaf[k], state.params)
      assert_close(found, params)
      np.testing.assert_allclose(metrics["loss"][row], values, rtol=1e-4)

  def _by_hand(self, model, loss, sets, key, num_steps):
    """Two epochs on each of two sets; parameters, and the last epoch's mean loss."""
    # The schedule spans the steps of both.
    optimizer = optax.adamw(optax.cosine_decay_schedule(0.05, num_steps), weight_decay=0.1)
    init_key, order_key, noise_key = (jax.random.fold_in(key, i) for i in range(3))
    params = model.init(init_key, (2, 2, 1))
    opt_state, number = optimizer.init(params), 0
    gradient_of = jax.jit(jax.value_and_grad(loss, has_aux=True))
    for epoch in range(4):
      images, labels = training_sets.to_dataset(sets[epoch // 2])
      images, values = arrays.to_float(images), []
      order = jax.random.permutation(jax.random.fold_in(order_key, epoch), len(labels))
      for first in range(0, len(labels) - 15, 16):
        batch = np.asarray(order[first : first + 16])
        step_key = jax.random.fold_in(noise_key, number)
        (value, _), gradient = gradient_of(params, images[batch], labels[batch], step_key)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        params, number = optax.apply_updates(params, updates), number + 1
        values.append(value)
    self.assertEqual(number, num_steps)
    return params, np.mean(values)

  @parameterized.parameters((True,), (False,))
  @long.after(1)
  def test_what_was_removed_is_never_drawn(self, is_alone):
    """To the bit, it is the set from which it is cut out."""
    whole = shifted(1)[0]
    kept = np.setdiff1d(np.arange(60), np.arange(0, 60, 7))
    images, labels = whole.images.copy(), whole.labels.copy()
    removed = np.arange(0, 60, 7)
    images[removed], labels[removed] = 255 - images[removed], 1 - labels[removed]
    wrong = training_sets.keep(types.TrainingSet(images, labels, whole.present), kept)
    cut_out = training_sets.whole(training_sets.to_dataset(wrong))
    trainer = make(num_epochs=4)[1]
    keys = train.victim_keys(jax.random.key(0), 2)
    others = [] if is_alone else [whole]
    found, expected, whole_again = (
      run(trainer, keys, 4, sets=[own, *others])[0]
      for own in (wrong, cut_out, wrong._replace(present=whole.present))
    )
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    kernels = [state.params["Dense_0"]["kernel"] for state in (found, whole_again)]
    self.assertGreater(float(jnp.abs(kernels[0] - kernels[1]).max()), 1e-2)

  @pytest.mark.long
  def test_an_image_keeps_its_noise_when_others_are_removed(self):
    data = types.Dataset(np.zeros((8, 2, 2, 1), np.uint8), np.arange(8)[::-1])
    whole = training_sets.whole(data)  # The last one has the label that is recorded.
    fewer = training_sets.keep(whole, np.array([1, 2, 5, 7]))
    found = [
      recorded(2, sets=sets, noise_choice="fixed", batch_size=4)[1]
      for sets in ([fewer], [fewer, whole], [whole])
    ]
    np.testing.assert_array_equal(found[0] * 2.0, found[2] * 4.0)
    np.testing.assert_array_equal(found[1], found[0])


if __name__ == "__main__":
  absltest.main()
