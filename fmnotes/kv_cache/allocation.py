"""How much of a cache's memory holds tokens: three ways to allocate it, by formula and by simulation.

A request with a prompt of p tokens that generates n holds p + t of them after its t-th step, t = 1 … n. Summed over its
life that is used = n p + n (n + 1) / 2 token-steps; what it occupies depends on the way. Internal fragmentation is the
occupied share that holds no token, external fragmentation the free share that is of no use to whoever waits (Kwon et
al. 2023, section 3.1 and figure 2).
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

WAYS = ("whole context", "exact length", "paged")


class Lengths(NamedTuple):
    """A request's lengths: tokens of its prompt, and tokens that it generates."""

    prompt: int
    new: int


def used(one: Lengths) -> int:
    """Token-steps that a request fills."""
    return one.new * one.prompt + one.new * (one.new + 1) // 2


def ceilings(n: int, block_size: int) -> int:
    """⌈1/b⌉ + ⌈2/b⌉ + … + ⌈n/b⌉ in closed form: with n = m b + r, that is b m (m + 1) / 2 + r (m + 1)."""
    m, r = divmod(n, block_size)
    return block_size * m * (m + 1) // 2 + r * (m + 1)


def occupied(one: Lengths, way: str, context: int, block_size: int = 16) -> int:
    """Token-steps that a request occupies.

    "whole context" reserves the longest possible sequence, "exact length" knows how long the answer will be (nobody
    does), "paged" takes a block when the last one is full.
    """
    whole = one.prompt + one.new
    if way == "whole context":
        return context * one.new
    if way == "exact length":
        return whole * one.new
    if way == "paged":
        return block_size * (ceilings(whole, block_size) - ceilings(one.prompt, block_size))
    raise ValueError(f"way {way!r} is unknown; there are {', '.join(WAYS)}")


def internal(requests: Sequence[Lengths], way: str, context: int, block_size: int = 16) -> float:
    """Internal fragmentation of all requests together, by formula."""
    _check(requests, context)
    return 1 - sum(map(used, requests)) / sum(occupied(one, way, context, block_size) for one in requests)


def internal_padded(requests: Sequence[Lengths], batch: int) -> float:
    """Internal fragmentation of static batches, taken in order: each row is as long as its batch's longest, as late.

    A batch grows by one place a row and step: rows × (n P + n (n + 1) / 2), P its longest prompt, n its longest answer.
    """
    _check(requests, max(one.prompt + one.new for one in requests) if requests else 0)
    rows = [requests[i : i + batch] for i in range(0, len(requests), batch)]
    held = [len(row) * used(Lengths(max(r.prompt for r in row), max(r.new for r in row))) for row in rows]
    return 1 - sum(map(used, requests)) / sum(held)


class Arena:
    """Memory from which pieces of any size are cut, first fit (Knuth, TAOCP 1, section 2.5, algorithm A)."""

    def __init__(self, size: int):
        self.holes: list[tuple[int, int]] = [(0, size)]  # (start, size), by start, never two side by side

    def take(self, size: int) -> int | None:
        """The start of a piece, from the first hole that is large enough; None if there is none."""
        for i, (start, room) in enumerate(self.holes):
            if room >= size:
                self.holes[i : i + 1] = [(start + size, room - size)] if room > size else []
                return start
        return None

    def give_back(self, start: int, size: int) -> None:
        """Free a piece; holes side by side become one."""
        insort(self.holes, (start, size))
        i = self.holes.index((start, size))
        for j in (i, i - 1):
            if 0 <= j < len(self.holes) - 1 and sum(self.holes[j]) == self.holes[j + 1][0]:
                self.holes[j : j + 2] = [(self.holes[j][0], self.holes[j][1] + self.holes[j + 1][1])]

    @property
    def free(self) -> int:
        return sum(size for _, size in self.holes)


class Replay(NamedTuple):
    """What a simulation saw: shares of memory and time, and the mean number of requests at once."""

    internal: float  # of what was occupied
    external: float  # of the whole memory: free, enough for the next request, and of no use to it
    filled: float  # of the whole memory
    at_once: float
    holes: float  # free pieces for each occupied one (Knuth's fifty-percent rule: about a half)
    steps: int


def replay(requests: Sequence[Lengths], way: str, memory: int, context: int, block_size: int = 16) -> Replay:
    """Run requests through a memory of so many token slots: all wait from the start, each step each one says a token.

    Whoever cannot grow (paged) is set aside with its tokens and goes on later; the youngest is the first to yield.

    Raises:
        ValueError: no requests, or one that is longer than the context or the memory.
    """
    _check(requests, min(context, memory if way != "paged" else memory // block_size * block_size))
    size = {"whole context": lambda one: context, "exact length": sum, "paged": None}[way]
    waiting, running = (
        deque((one, 0) for one in requests),
        [],
    )  # (lengths, tokens said), with its place where it has one
    arena, blocks = Arena(memory), memory // block_size
    total = {"used": 0, "held": 0, "stuck": 0, "running": 0, "holes": 0}
    steps = 0
    while waiting or running:
        while waiting:
            one, said = waiting[0]
            if size is None:
                needed = sum(-(-(o.prompt + s + 1) // block_size) for o, s, _ in [*running, (one, said, 0)])
                place = 0 if needed <= blocks else None
            else:
                place = arena.take(size(one))
            if place is None:
                break
            running.append((one, said, place))
            waiting.popleft()
        while size is None and sum(-(-(o.prompt + s + 1) // block_size) for o, s, _ in running) > blocks:
            one, said, _ = running.pop()
            waiting.appendleft((one, said))
        running = [(one, said + 1, place) for one, said, place in running]
        held = [size(o) if size else -(-(o.prompt + s) // block_size) * block_size for o, s, _ in running]
        if waiting and size is not None:
            total["stuck"] += arena.free if arena.free >= size(waiting[0][0]) else 0
        total["used"] += sum(one.prompt + said for one, said, _ in running)
        total["held"] += sum(held)
        total["running"] += len(running)
        total["holes"] += len(arena.holes)
        steps += 1
        for one, said, place in running:
            if said == one.new and size is not None:
                arena.give_back(place, size(one))
        running = [row for row in running if row[1] < row[0].new]
    whole = memory * steps
    return Replay(
        1 - total["used"] / total["held"], total["stuck"] / whole, total["used"] / whole,
        total["running"] / steps, total["holes"] / total["running"], steps,
    )  # fmt: skip


def _check(requests: Sequence[Lengths], most: int) -> None:
    if not requests:
        raise ValueError("there are no requests: give at least one")
    for one in requests:
        if one.prompt < 1 or one.new < 1 or one.prompt + one.new > most:
            raise ValueError(f"{one} must have a prompt and new tokens, and no more than {most:,} together")
