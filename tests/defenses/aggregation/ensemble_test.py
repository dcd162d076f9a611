"""Ensembles: what each network sees, what their votes predict, and retraining by force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from small_training import make, separable

from pacd_jax import types
from pacd_jax.data import arrays, training_sets
from pacd_jax.defenses.aggregation import deep_partition, ensemble, partitions, scheme

_CHOSEN = partitions.PARTITIONS["position"]


def _scheme(num_models):
  def members(training_set):
    parts = _CHOSEN.assign(training_set, num_models)
    return partitions.members(training_set, parts, num_models, positional=True)

  def predict(logits):
    return deep_partition.certify(logits)[0]

  return scheme.Scheme(
    num_models, _CHOSEN.unit, members, _CHOSEN.size, predict, deep_partition.certify
  )


def _trained(network_of, training_set, num_models, num_epochs=2):
  """The networks of one victim of a training set: parameters `[M, ...]`."""
  trainer, made = network_of, _scheme(num_models)
  rows = ensemble.rows([training_set], training_sets.stack([training_set]), made)
  keys = ensemble.model_keys(jax.random.key(3), num_models)
  state, lists = trainer.init(keys), jnp.arange(num_models, dtype=jnp.int32)
  for _ in range(num_epochs):
    state, metrics = trainer.epoch(state, jax.tree.map(jnp.asarray, rows), lists, keys)
  return state.params, metrics


class TrainingTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model, cls.trainer = make(batch_size=5, num_epochs=2)
    cls.whole = training_sets.whole(separable(60))

  def test_each_network_is_the_one_of_its_part_alone(self):
    params, _ = _trained(self.trainer, self.whole, 4)
    keys = ensemble.model_keys(jax.random.key(3), 4)
    for number in range(4):
      part = training_sets.keep(self.whole, np.arange(number, 60, 4))
      stacked = training_sets.stack([part])._replace(sizes=np.array([15], np.int32))
      data, own = jax.tree.map(jnp.asarray, stacked), keys[number : number + 1]
      state, zero = self.trainer.init(own), jnp.zeros(1, jnp.int32)
      for _ in range(2):
        state, _ = self.trainer.epoch(state, data, zero, own)
      jax.tree.map(
        lambda found, alone, n=number: np.testing.assert_allclose(
          found[n], alone[0], rtol=1e-5, atol=1e-6
        ),
        params,
        state.params,
      )

  def test_a_replaced_image_changes_its_own_network_alone(self):
    before, _ = _trained(self.trainer, self.whole, 4)
    images = self.whole.images.copy()
    images[6] = 255 - images[6]
    after, _ = _trained(self.trainer, self.whole._replace(images=images), 4)
    same = jax.tree.map(
      lambda old, new: (np.asarray(old) == np.asarray(new)).reshape(4, -1).all(axis=1),
      before,
      after,
    )
    for leaf in jax.tree.leaves(same):
      np.testing.assert_array_equal(leaf, [True, True, False, True])  # 6 = 2 modulo 4.

  def test_a_part_smaller_than_a_batch_leaves_its_network_as_it_began(self):
    few = training_sets.keep(self.whole, np.arange(16))
    params, metrics = _trained(self.trainer, few, 4)
    began = jax.vmap(lambda key: self.trainer.init(key[None]).params)(
      ensemble.model_keys(jax.random.key(3), 4)
    )
    jax.tree.map(
      lambda found, first: np.testing.assert_array_equal(found, first[:, 0]), params, began
    )
    np.testing.assert_array_equal(metrics["loss"], 0.0)

  @pytest.mark.long
  def test_every_change_of_up_to_the_radius_leaves_the_prediction(self):
    """By force: every set of changed images, retrained, each label flipped."""
    small = training_sets.whole(separable(20))
    model, trainer = make(batch_size=2, num_epochs=12)
    made = _scheme(5)
    points = arrays.to_float(separable(60).images[40:])

    def certified(training_set):
      params, _ = _trained(trainer, training_set, 5, num_epochs=12)
      logits = ensemble.logits_of(model.apply, params, points)
      return jax.tree.map(np.asarray, made.certify(logits))

    predict, radius = certified(small)
    self.assertGreater(radius.max(), 1)
    moved = 0
    for number in (1, 2):
      for changed in itertools.combinations(range(20), number):
        labels = small.labels.copy()
        labels[list(changed)] ^= 1
        images = small.images.copy()
        images[list(changed)] = 255 - images[list(changed)]
        now, _ = certified(small._replace(images=images, labels=labels))
        np.testing.assert_array_equal(now[radius >= number], predict[radius >= number])
        moved += (now != predict).sum()
    self.assertGreater(moved, 0)  # The changes are strong enough to move others.


class ModelTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    draws = np.random.default_rng(0)
    self.weights = jnp.asarray(draws.normal(size=(7, 4, 3)), jnp.float32)
    self.images = jnp.asarray(draws.normal(size=(20, 2, 2, 1)), jnp.float32)
    network = types.Model(
      lambda key, shape: jax.random.normal(key, (4, 3)),
      lambda params, images: images.reshape(len(images), -1) @ params,
    )
    self.made = _scheme(7)
    self.network, self.model = network, ensemble.make(network, self.made)

  def _votes(self):
    logits = np.einsum("bd,mdk->mbk", self.images.reshape(20, 4), self.weights)
    return logits.argmax(axis=-1)

  def test_the_prediction_is_the_plurality(self):
    outputs = np.asarray(self.model.apply(self.weights, self.images))
    counts = np.stack([(self._votes() == label).sum(axis=0) for label in range(3)], axis=1)
    np.testing.assert_array_equal(outputs.argmax(axis=1), counts.argmax(axis=1))
    np.testing.assert_array_equal(np.sort(outputs, axis=1), [[0, 0, 1]] * 20)

  def test_parameters_of_the_model_are_those_of_its_networks(self):
    params = self.model.init(jax.random.key(1), (2, 2, 1))
    keys = ensemble.model_keys(jax.random.key(1), 7)
    for number in range(7):
      np.testing.assert_array_equal(params[number], self.network.init(keys[number], ()))

  def test_one_network_that_is_not_finite_makes_the_outputs_nan(self):
    weights = self.weights.at[5, 0, 1].set(jnp.inf)
    outputs = self.model.apply(weights, self.images)
    self.assertTrue(np.isnan(outputs).all())

  @parameterized.parameters(((0,),), ((0, 1, 3),), ((0, 2),))
  def test_levels_are_the_last_that_the_certificate_reaches(self, levels):
    apply = ensemble.joint(self.network, self.made, levels)
    outputs = np.asarray(apply(self.weights, self.images)).reshape(20, len(levels), 3)
    logits = ensemble.logits_of(self.network.apply, self.weights, self.images)
    predict, radius = self.made.certify(logits)
    self.assertGreater(len(np.unique(radius)), 2)
    for place, (label, size) in enumerate(zip(predict, radius, strict=True)):
      level = max(j for j, m in enumerate(levels) if m <= size)
      self.assertEqual(outputs[place, level, label], 1)
      self.assertEqual(outputs[place].sum(), 1)


class OrdersTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_logits_of_orders_have_these_orders(self, depth):
    logits = np.random.default_rng(1).integers(0, 3, (5, 40, 4)).astype(np.float32)
    orders = scheme.orders(jnp.asarray(logits), depth)
    whole = np.argsort(-logits, axis=-1, kind="stable")
    np.testing.assert_array_equal(orders, whole[..., : depth or 4])
    again = scheme.orders(scheme.as_logits(orders, 4), depth)
    np.testing.assert_array_equal(again, orders)


if __name__ == "__main__":
  absltest.main()
