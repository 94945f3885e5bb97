"""Serving many requests: static and continuous batching over block tables, in virtual time or with a model.

A step is one pass of the model; the clock advances by what a `StepCost` says that it takes, so that the same requests
give the same schedule on every machine. Continuous batching is iteration-level scheduling (Yu et al. 2022, section 4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fmnotes.gpt2 import GPT2
from fmnotes.kv_cache.attention import forward
from fmnotes.kv_cache.tables import BlockTables

Step = Callable[[BlockTables, Mapping[Hashable, Sequence[int]]], Mapping[Hashable, int]]


class Request(NamedTuple):
    """Who asks, when (seconds), the prompt's tokens (a range does where no model runs), and how many to generate."""

    name: Hashable
    arrival: float
    prompt: Sequence[int]
    new: int


class StepCost(NamedTuple):
    """Seconds of one pass: fixed (the weights travel once), and for each token computed and each past token read."""

    fixed: float
    per_token: float
    per_past: float

    def __call__(self, tokens: int, past: int) -> float:
        return self.fixed + self.per_token * tokens + self.per_past * past


def fit_step_cost(tokens: Sequence[int], past: Sequence[int], seconds: Sequence[float]) -> StepCost:
    """The least-squares StepCost of measured passes, weighed by 1/seconds so that short ones count as much as long."""
    weight = 1 / np.asarray(seconds)
    columns = np.stack([np.ones(len(weight)), np.asarray(tokens), np.asarray(past)], 1)
    found, *_ = np.linalg.lstsq(columns * weight[:, None], np.ones(len(weight)), rcond=None)
    return StepCost(*np.maximum(found, 0).tolist())


@dataclass
class _Row:
    """A request in the queue or in the batch."""

    request: Request
    said: list[int] = field(default_factory=list)  # survives a preemption
    feed: list[int] = field(default_factory=list)  # what the next pass computes

    @property
    def done(self) -> bool:
        return len(self.said) >= self.request.new


@dataclass
class Served:
    """What happened.

    Attributes:
        finished, first: when each request had its last and its first token (seconds).
        said: the tokens of each.
        rows: of each step, (rows in the batch, rows whose token somebody wanted).
        preempted: how often a request was thrown out of the pool and had to be computed again.
        computed: tokens that passed through the model.
    """

    requests: list[Request]
    finished: dict = field(default_factory=dict)
    first: dict = field(default_factory=dict)
    said: dict = field(default_factory=dict)
    rows: list[tuple[int, int]] = field(default_factory=list)
    preempted: int = 0
    computed: int = 0

    @property
    def latencies(self) -> np.ndarray:
        """Seconds from arrival to the last token, in the order of the requests."""
        return np.array([self.finished[request.name] - request.arrival for request in self.requests])

    @property
    def throughput(self) -> float:
        """Tokens generated per second, from the first arrival to the last token."""
        began = min(request.arrival for request in self.requests)
        return sum(request.new for request in self.requests) / (max(self.finished.values()) - began)

    @property
    def wasted(self) -> float:
        """The share of computed rows whose token nobody wanted."""
        rows, wanted = np.array(self.rows).sum(0)
        return float(1 - wanted / rows)


def serve(
    requests: Sequence[Request],
    cost: StepCost,
    tables: BlockTables,
    *,
    continuous: bool = True,
    slots: int = 8,
    step: Step | None = None,
) -> Served:
    """Serve requests in the order of their arrival.

    Static: whoever waits forms a batch, which runs until its longest member is done; rows of members that are done are
    computed all the same. Continuous: a row is free for the next request as soon as its request is done, and prompts
    are computed in the same pass as the others' next tokens. If the pool runs out of blocks, the request that was
    admitted last gives up its own, waits at the head of the queue, and is computed again (vLLM's recomputation).

    Args:
        requests: with names of their own.
        cost: what a step takes.
        tables: where their tokens lie; a PagedKVCache if `step` runs a model. Blocks as long as the context make it the
            contiguous cache that reserves everything at once.
        slots: the most rows of a batch.
        step: (tables, new tokens of each row) → next token of each, the tables extended by them; see `greedy_step`.
            Without one no model runs, and every token is 0.

    Raises:
        ValueError: no requests, two of one name, one that generates nothing, or one that can never fit.
    """
    _check(requests, tables, slots)
    step = step or _pretend
    waiting = deque(_Row(request) for request in sorted(requests, key=lambda request: request.arrival))
    batch: dict[Hashable, _Row] = {}
    served, clock = Served(list(requests)), 0.0
    while waiting or batch:
        if not batch:
            clock = max(clock, waiting[0].request.arrival)
        if continuous or not batch:
            _admit(waiting, batch, clock, tables, slots)
        served.preempted += _make_room(waiting, batch, tables)
        new = {name: row.feed for name, row in batch.items()}
        computed = sum(map(len, new.values()))
        clock += cost(computed, sum(tables.length(name) for name in new))
        served.rows.append((len(batch), sum(not row.done for row in batch.values())))
        served.computed += computed
        for name, token in step(tables, new).items():
            _hear(batch[name], token, clock, served, tables)
        if continuous or all(row.done for row in batch.values()):
            for name in [name for name, row in batch.items() if row.done]:
                tables.free(name)
                served.said[name] = batch.pop(name).said
    return served


def greedy_step(model: GPT2) -> Step:
    """A step that computes with a model and takes the likeliest token; the tables must be a PagedKVCache."""
    return lambda cache, new: {
        name: int(rows[-1].argmax()) for name, rows in forward(model, cache, new).items()
    }  # fmt: skip


def _pretend(tables: BlockTables, new: Mapping[Hashable, Sequence[int]]) -> dict[Hashable, int]:
    """A step without a model: the tables grow, and every token is 0."""
    for name, ids in new.items():
        tables.extend(name, ids)
    return dict.fromkeys(new, 0)


def _admit(waiting: deque, batch: dict, clock: float, tables: BlockTables, slots: int) -> None:
    """Let requests that have arrived into the batch, in turn, while there are rows and blocks."""
    while waiting and len(batch) < slots and waiting[0].request.arrival <= clock:
        row = waiting[0]
        name, known = row.request.name, [*row.request.prompt, *row.said]
        row.feed = known[tables.start(name, known) :]
        batch[name] = row
        if tables.blocks_needed({name: len(row.feed) for name, row in batch.items()}) > tables.n_free:
            del batch[name]
            tables.free(name)
            return
        waiting.popleft()


def _make_room(waiting: deque, batch: dict, tables: BlockTables) -> int:
    """Throw out whoever came last until the others' next tokens fit; returns how many were."""
    thrown = 0
    while tables.blocks_needed({name: len(row.feed) for name, row in batch.items()}) > tables.n_free:
        name, row = batch.popitem()
        tables.free(name)
        waiting.appendleft(row)
        thrown += 1
    return thrown


def _hear(row: _Row, token: int, clock: float, served: Served, tables: BlockTables) -> None:
    """A row's next token. One that is done already, in a static batch, computes its last place again and again."""
    name = row.request.name
    if row.done:
        tables.truncate(name, tables.length(name) - 1)
        return
    row.said.append(token)
    served.first.setdefault(name, clock)
    row.feed = [token]
    if row.done:
        served.finished[name] = clock
        row.feed = [([*row.request.prompt, *row.said])[-2]]
        tables.truncate(name, tables.length(name) - 1)


def _check(requests: Sequence[Request], tables: BlockTables, slots: int) -> None:
    if not requests:
        raise ValueError("there is nothing to serve: give at least one request")
    if slots < 1:
        raise ValueError(f"a batch needs at least one slot, not {slots}")
    if len({request.name for request in requests}) < len(requests):
        raise ValueError("two requests have the same name: number them")
    for name, _, prompt, new in requests:
        if not len(prompt) or new < 1:
            raise ValueError(
                f"request {name!r}: a prompt of {len(prompt)} and {new} new tokens; both must be 1 or more"
            )
        length = len(prompt) + new - 1  # the last token is said and never read
        if length > (tables.max_length or length) or tables.blocks_for(length) > len(tables.allocator.users):
            pool = f"{len(tables.allocator.users)} blocks of {tables.block_size}"
            raise ValueError(f"request {name!r} never fits: {length:,} tokens, a pool of {pool}, a context of "
                             f"{tables.max_length or 'any length'}; shorten it, or make the pool larger")  # fmt: skip
