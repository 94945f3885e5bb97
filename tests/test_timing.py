import os

import pytest
import torch

from fmnotes import timing
from fmnotes.timing import Seconds, side_by_side, speed_table


class Clock:
    """Time passes only inside the functions; each call is written down."""

    def __init__(self, monkeypatch):
        self.now, self.calls = 0.0, []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def function(self, name, *durations):
        left = list(durations)

        def call():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_rounds_are_interleaved_and_the_warm_up_is_not_counted(monkeypatch):
    clock = Clock(monkeypatch)
    times = side_by_side({"a": clock.function("a", 90, 1, 1, 7, 2, 1), "b": clock.function("b", 50, 4)}, rounds=3)
    assert "".join(clock.calls) == "aabb" + "ab" + "ba" + "ab"
    assert times == {"a": 2, "b": 4} and times["a"].rounds == (1, 7, 2)


def test_a_short_function_is_called_often(monkeypatch):
    clock = Clock(monkeypatch)
    times = side_by_side({"short": clock.function("s", 0.5, 0.004), "long": clock.function("l", 1.0)}, rounds=3)
    assert clock.calls.count("s") == 2 + 3 * 3 and clock.calls.count("l") == 2 + 3
    assert times["short"] == pytest.approx(0.004)


def test_speed_table(capsys):
    speed_table({"naive": Seconds([2.0, 2.0, 4.0]), "fmnotes": Seconds([0.02, 0.0246, 0.03])}, baseline="naive")
    assert capsys.readouterr().out == (
        "         time ÷ naive (median of 3 rounds, and their range)\n"
        "naive        1.0\n"
        "fmnotes    0.012   0.0075 … 0.012\n"
    )


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.0, "1.0"), (0.714, "0.71"), (0.0996, "0.10"), (12.6, "13"), (1234.0, "1,200"), (9.96, "10")],
)
def test_two_digits(ratio, text):
    assert timing._two_digits(ratio) == text


def test_errors():
    with pytest.raises(ValueError, match="2 rounds have no meaningful median"):
        side_by_side({"a": int}, rounds=2)
    with pytest.raises(ValueError, match="nothing to time"):
        side_by_side({})
    with pytest.raises(ValueError, match="baseline 'b' was not timed; there are a"):
        speed_table({"a": Seconds([1.0])}, baseline="b")


def test_peak_bytes_of_what_lives_at_the_same_time():
    x = torch.zeros(1000, 1000)
    assert 8e6 <= timing.peak_bytes(lambda: (x + 1) * 2) < 8.1e6  # the sum and its double
    assert 4e6 <= timing.peak_bytes(lambda: [x.neg() is None for _ in range(5)]) < 4.1e6  # each gone before the next
    assert timing.peak_bytes(lambda: None) == 0


def test_peak_bytes_says_nothing_and_silences_nobody_else(capfd):
    timing.peak_bytes(lambda: os.write(2, b"mine"))
    assert capfd.readouterr().err == "mine"
    with pytest.raises(ZeroDivisionError):
        timing.peak_bytes(lambda: 1 / 0)
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
