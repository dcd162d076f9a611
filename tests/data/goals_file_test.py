"""Goals as text and back, and the images that they are about."""

import json

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import goals

_TRIGGER = '{"name": "patch", "options": {"size": 3}}'


class TextTest(parameterized.TestCase):
  @parameterized.parameters(
    (types.Goal(3),), (types.Goal(0, (7, 2)),), (types.Goal(-1, (), _TRIGGER),)
  )
  def test_comes_back(self, goal):
    self.assertEqual(goals.of_text(goals.to_text(goal)), goal)

  def test_none_is_an_empty_text(self):
    self.assertEqual(goals.to_text(None), "")
    self.assertIsNone(goals.of_text(""))

  def test_numbers_of_numpy(self):
    text = goals.to_text(types.Goal(np.int32(3), tuple(np.array([5, 4]))))
    self.assertEqual(json.loads(text), {"label": 3, "points": [5, 4], "trigger": None})


class PositionsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    labels = np.array([2, 0, 1, 2, 1, 0], np.int32)
    self.test = types.Dataset(np.zeros((6, 2, 2, 1), np.uint8), labels)

  @parameterized.parameters(
    (types.Goal(2), [1, 2, 4, 5]),
    (types.Goal(-1), [0, 1, 2, 3, 4, 5]),
    (types.Goal(2, (4, 1)), [1, 4]),
    (types.Goal(-1, (3,)), [3]),
  )
  def test_images_of_a_goal(self, goal, expected):
    np.testing.assert_array_equal(goals.positions(goal, self.test, 3), expected)

  @parameterized.parameters(
    (types.Goal(3), "attacker's label is 3, but there are 3 classes: use at most 2"),
    (types.Goal(2, (1, 6)), "target 6 is no test image: there are 6, from 0"),
    (types.Goal(2, (1, 3)), "target 3 is of class 2, which it is to be taken for"),
  )
  def test_a_goal_that_does_not_fit(self, goal, message):
    with self.assertRaisesRegex(errors.InputError, message):
      goals.positions(goal, self.test, 3)

  def test_a_split_of_the_label_alone(self):
    only = types.Dataset(self.test.images[:1], self.test.labels[:1])
    with self.assertRaisesRegex(errors.InputError, "all test images are of .* label 2"):
      goals.positions(types.Goal(2), only, 3)


if __name__ == "__main__":
  absltest.main()
