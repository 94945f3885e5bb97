"""Speed, side by side: absolute times drift with the machine, ratios within a run hardly do. And memory at its peak."""

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Seconds(float):
    """The median of a function's rounds, in seconds for one call; the rounds themselves are in ``rounds``."""

    rounds: tuple[float, ...]

    def __new__(cls, rounds: list[float]):
        seconds = super().__new__(cls, statistics.median(rounds))
        seconds.rounds = tuple(rounds)
        return seconds


def side_by_side(functions: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, Seconds]:
    """Time functions against each other: each is called once to warm up, then once a round, in turns.

    Turns make a busy spell of the machine hit all alike; each round begins with another function. One that is done
    in under 10 ms is called as often in a round as fills that time. Work on a GPU is waited for.

    Args:
        functions: the name of each, and the function, which takes no arguments.
        rounds: at least 3; the median of 5 forgives two disturbed ones.

    Returns:
        the median time of one call for each name.
    """
    if rounds < 3:
        raise ValueError(f"{rounds} rounds have no meaningful median: at least 3 are needed")
    if not functions:
        raise ValueError("there is nothing to time: give at least one function")
    calls = {}
    for name, function in functions.items():
        _seconds(function, 1)
        calls[name] = max(1, math.ceil(0.01 / max(_seconds(function, 1), 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(_seconds(functions[name], calls[name]) / calls[name])
    return {name: Seconds(taken) for name, taken in times.items()}


def speed_table(times: dict[str, Seconds], baseline: str) -> None:
    """Print each time as a share of the baseline's, to two digits, with the range of that ratio over the rounds."""
    if baseline not in times:
        raise ValueError(f"baseline {baseline!r} was not timed; there are {', '.join(times)}")
    reference, width = times[baseline], max(map(len, times))
    print(f"{'':{width}}  time ÷ {baseline} (median of {len(reference.rounds)} rounds, and their range)")
    for name, seconds in times.items():
        ratios = [mine / its for mine, its in zip(seconds.rounds, reference.rounds, strict=True)]
        spread = "" if name == baseline else f"   {_two_digits(min(ratios))} … {_two_digits(max(ratios))}"
        print(f"{name:{width}}  {_two_digits(seconds / reference):>7}{spread}")


def peak_bytes(function: Callable[[], object]) -> int:
    """The most that torch's tensors on the CPU, made while a function runs, hold at one time, in bytes.

    Counted from torch's profiler, which sees every allocation, those inside a kernel too; what was there before does
    not count. The same function gives the same number: this is bookkeeping, not a measurement.
    """
    from torch.profiler import ProfilerActivity, profile

    run = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _silence():
        run.start()
    try:
        function()
    finally:
        with _silence():
            run.stop()
    changes = [(e.start_ns(), e.nbytes()) for e in run.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for _, change in sorted(changes, key=lambda event: event[0]):
        held += change
        peak = max(peak, held)
    return peak


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches the process's standard error: the profiler reports there, from C++, that it starts and stops."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _two_digits(ratio: float) -> str:
    ratio = float(f"{ratio:.1e}")
    return f"{ratio:,.{max(0, 1 - math.floor(math.log10(ratio)))}f}"


def _seconds(function: Callable[[], object], calls: int) -> float:
    torch = sys.modules.get("torch")
    wait = torch.cuda.synchronize if torch and torch.cuda.is_initialized() else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    wait()
    return time.perf_counter() - start
