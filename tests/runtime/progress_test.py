"""Progress lines and bars, by a clock that the tests move."""

import io
import itertools
import re

from absl.testing import absltest, parameterized

from pacd_jax.runtime import progress


class _Clock:
  def __init__(self):
    self.now = 5000.0

  def __call__(self):
    return self.now


class _Terminal(io.StringIO):
  def isatty(self):
    return True


def _seconds(duration):
  """ "1:02:03" as 3723."""
  seconds = 0
  for part in duration.split(":"):
    seconds = 60 * seconds + int(part)
  return seconds


def _rate_and_left(text, unit="steps"):
  rate = re.search(rf"(\S+) {unit}/s", text).group(1)
  return float(rate), _seconds(re.search(r"([\d:]+) left", text).group(1))


def _run(stream, total, seconds, *, start=0, until=None, note="", unit="steps"):
  """Each step from `start` on takes some seconds; returns what was written."""
  clock = _Clock()
  shown = progress.Progress(
    "attack", total, start=start, unit=unit, stream=stream, clock=clock
  )
  for done in range(start + 1, (until or total) + 1):
    clock.now += seconds
    shown.update(done, note)
  return stream.getvalue()


def _done(line):
  return int(re.search(r"attack: (\d+)/", line).group(1))


class LogTest(parameterized.TestCase):
  @parameterized.parameters(0.25, 1.0, 3.0, 15.0)
  def test_a_line_at_most_every_ten_seconds_and_the_last(self, seconds):
    lines = _run(io.StringIO(), 100, seconds).splitlines()
    steps = [_done(line) for line in lines]
    self.assertEqual(steps[-1], 100)
    self.assertLen(set(steps), len(steps))
    waits = [seconds * (b - a) for a, b in itertools.pairwise(steps[:-1])]
    self.assertNotEmpty(waits)
    self.assertTrue(all(10.0 <= wait < 10.0 + seconds for wait in waits), waits)

  def test_a_line_says_stage_steps_rate_time_left_and_note(self):
    text = _run(io.StringIO(), 100, 4.0, until=40, note="upper 0.3")
    line = next(line for line in text.splitlines() if _done(line) == 40)
    self.assertStartsWith(line, "attack: 40/100 steps")
    self.assertEndsWith(line, "upper 0.3")
    rate, left = _rate_and_left(line)
    self.assertAlmostEqual(rate, 0.25)
    self.assertEqual(left, 60 * 4)
    self.assertNotIn("\r", text)

  def test_hours(self):
    line = _run(io.StringIO(), 10_011, 1.0, until=11).splitlines()[-1]
    self.assertIn("2:46:40 left", line)

  def test_the_first_step_holds_the_compilation_and_does_not_count_in_the_rate(self):
    stream, clock = io.StringIO(), _Clock()
    shown = progress.Progress("attack", 100, stream=stream, clock=clock)
    for done, seconds in ((1, 60.0), (2, 10.0), (3, 10.0)):
      clock.now += seconds
      shown.update(done)
    first, *_, last = stream.getvalue().splitlines()
    self.assertEqual(first, "attack: 1/100 steps")
    self.assertEqual(_rate_and_left(last), (0.1, 970))

  def test_the_last_line_says_how_long_it_took(self):
    text = _run(io.StringIO(), 50, 1.5, unit="epochs")
    self.assertIn("50/50 epochs", text.splitlines()[-1])
    self.assertIn("took 1:15", text.splitlines()[-1])
    self.assertNotIn("left", text.splitlines()[-1])
    self.assertEndsWith(text, "\n")

  def test_a_resumed_start_is_said_and_does_not_count_in_the_rate(self):
    text = _run(io.StringIO(), 100, 20.0, start=90, until=94)
    first, *_, last = text.splitlines()
    self.assertIn("90/100", first)
    self.assertEqual(_done(last), 94)
    rate, left = _rate_and_left(last)
    self.assertAlmostEqual(rate, 0.05)  # 4 steps in 80 seconds, not 94.
    self.assertEqual(left, 6 * 20)

  def test_no_time_between_two_readings_of_the_clock(self):
    """A first step faster than the clock's tick: no rate, no division by zero."""
    text = _run(io.StringIO(), 3, 0.0)
    self.assertIn("3/3", text.splitlines()[-1])
    self.assertNotIn("steps/s", text)


class BarTest(parameterized.TestCase):
  def _drawings(self, text):
    self.assertStartsWith(text, "\r")
    return text[1:].split("\r")

  def test_one_line_is_drawn_over_and_ended_once(self):
    text = _run(_Terminal(), 40, 1.0)
    drawings = self._drawings(text)
    self.assertLen(drawings, 40)
    self.assertEqual(text.count("\n"), 1)
    self.assertEndsWith(text, "\n")

  def test_the_bar_grows_from_empty_to_full(self):
    filled, widths = [], set()
    for drawing in self._drawings(_run(_Terminal(), 40, 1.0)):
      bar = re.match(r"\[(#*)(\.*)\]", drawing)
      filled.append(len(bar.group(1)))
      widths.add(len(bar.group(0)))
    self.assertLen(widths, 1)
    self.assertEqual(filled, sorted(filled))
    self.assertEqual(filled[0], 0)
    self.assertEqual(filled[-1], widths.pop() - 2)
    self.assertEqual(filled[19], filled[-1] // 2)

  def test_rate_time_left_and_note_stand_beside_it(self):
    drawing = self._drawings(_run(_Terminal(), 40, 2.0, note="loss 1.2"))[9]
    self.assertIn("attack: 10/40 steps", drawing)
    self.assertEqual(_rate_and_left(drawing), (0.5, 60))
    self.assertIn("loss 1.2", drawing)

  def test_fast_steps_are_not_all_drawn_but_the_last_is(self):
    drawings = self._drawings(_run(_Terminal(), 1000, 0.001))
    self.assertBetween(len(drawings), 2, 12)
    self.assertEqual(_done(drawings[-1]), 1000)

  def test_a_shorter_text_covers_a_longer_one(self):
    stream, clock = _Terminal(), _Clock()
    shown = progress.Progress("attack", 3, stream=stream, clock=clock)
    for done, note in ((1, "a note that is rather long"), (2, "short")):
      clock.now += 1.0
      shown.update(done, note)
    first, second = self._drawings(stream.getvalue())
    self.assertGreaterEqual(len(second), len(first))
    self.assertEqual(second.split()[-1], "short")

  def test_a_resumed_start_is_excluded_from_the_rate(self):
    text = _run(_Terminal(), 100, 2.0, start=90, until=95)
    self.assertEqual(_rate_and_left(text.rpartition("\r")[2]), (0.5, 10))


if __name__ == "__main__":
  absltest.main()
