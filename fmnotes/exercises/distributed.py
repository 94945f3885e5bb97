"""The exercises of 02c_scaling: reduce and scatter, bytes a process holds, bytes it sends, and a mean of means."""

from __future__ import annotations

from fmnotes.exercises import Exercise, Mistake

# ---------------------------------------------------------------------------------------------- 02c.scatter


def reduce_scatter(arrays: list[list[float]]) -> list[list[float]]:
    size = len(arrays[0]) // len(arrays)
    total = [sum(column) for column in zip(*arrays, strict=True)]
    return [total[rank * size : (rank + 1) * size] for rank in range(len(arrays))]


def reduce_scatter_by_ring(arrays: list[list[float]]) -> list[list[float]]:
    world, size = len(arrays), len(arrays[0]) // len(arrays)
    chunks = [[array[c * size : (c + 1) * size] for c in range(world)] for array in arrays]
    for turn in range(world - 1):
        sent = [chunks[rank][(rank - turn - 1) % world] for rank in range(world)]
        for rank in range(world):
            place = (rank - turn - 2) % world
            chunks[rank][place] = [a + b for a, b in zip(chunks[rank][place], sent[rank - 1], strict=True)]
    return [chunks[rank][rank] for rank in range(world)]


def _columns(arrays, combine):
    size = len(arrays[0]) // len(arrays)
    total = [combine(column) for column in zip(*arrays, strict=True)]
    return [total[rank * size : (rank + 1) * size] for rank in range(len(arrays))]


SCATTER = Exercise(
    id="02c.scatter",
    title="reduce and scatter",
    reread="Three things to say to each other",
    solution=reduce_scatter,
    verified="two, three and four processes, chunks of one number and of several, and one process alone",
    cases=(
        ([[1.0, 2.0], [30.0, 40.0]],),
        ([[1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 50.0]],),
        ([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [100.0, 200.0, 400.0]],),
        ([[float(7 * r + c * c) for c in range(8)] for r in range(4)],),
        ([[5.0, 6.0]],),
    ),
    tolerance=1e-9,
    alternatives=(reduce_scatter_by_ring,),
    mistakes=(
        Mistake(
            lambda arrays: [[sum(column) for column in zip(*arrays, strict=True)] for _ in arrays],
            "every process gets the whole sum. That is an all-reduce; here each is to keep its own chunk only.",
        ),
        Mistake(
            lambda arrays: _columns(arrays, lambda column: sum(column) / len(column)),
            "these are means. What is asked for is the sum; whoever wants the mean divides it.",
        ),
        Mistake(
            lambda arrays: [a[r * (n := len(a) // len(arrays)) : (r + 1) * n] for r, a in enumerate(arrays)],
            "each process has its own chunk, but nothing was added to it: the others' numbers are missing.",
        ),
        Mistake(
            lambda arrays: reduce_scatter(arrays)[::-1],
            "the chunks are the right ones in the wrong order: process 0 is to keep the first, not the last.",
        ),
        Mistake(
            lambda arrays: [reduce_scatter(arrays)[(r + 1) % len(arrays)] for r in range(len(arrays))],
            "each process holds the next one's chunk. That is where a ring that starts at its own chunk ends: begin "
            "with another.",
        ),
        Mistake(
            lambda arrays: [
                [sum(column) for column in zip(*arrays, strict=True)][r :: len(arrays)] for r in range(len(arrays))
            ],
            "the sum is dealt out number by number, like cards. Chunks are to be connected pieces.",
        ),
        Mistake(
            lambda arrays: sum(reduce_scatter(arrays), []),
            "that is one list, the whole sum. Return a list for each process.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------- 02c.held


def held(n: int, world: int, stage: int) -> float:
    parameters, gradients, state = 4 * n, 4 * n, 8 * n
    if stage >= 1:
        state /= world
    if stage >= 2:
        gradients /= world
    if stage >= 3:
        parameters /= world
    return parameters + gradients + state


def held_in_one_line(n, world, stage):
    return n * sum(size / (world if stage >= first else 1) for size, first in ((8, 1), (4, 2), (4, 3)))


def _held(sizes=(4, 4, 8), first=(3, 2, 1), share=lambda size, world: size / world):
    def answer(n, world, stage):
        return n * sum(share(s, world) if stage >= f else s for s, f in zip(sizes, first, strict=True))

    return answer


HELD = Exercise(
    id="02c.held",
    title="bytes that a process holds",
    reread="What does every device hold?",
    solution=held,
    verified="all four stages, one process, two and sixty-four",
    cases=tuple((n, world, stage) for n, world in ((1000, 4), (640, 1), (7_000, 64), (10, 2)) for stage in range(4)),
    tolerance=1e-6,
    alternatives=(held_in_one_line,),
    mistakes=(
        Mistake(
            _held(sizes=(4, 4, 4)), "Adam keeps two numbers for each parameter, a mean and a mean square: 8 bytes."
        ),
        Mistake(_held(sizes=(4, 0, 8)), "the gradients are missing: 4 bytes a parameter."),
        Mistake(_held(sizes=(0, 4, 8)), "the parameters themselves are missing."),
        Mistake(
            _held(first=(1, 2, 3)),
            "the order is turned around: the optimizer's state is dealt out first, for it is needed last and is the "
            "largest; the parameters last.",
        ),
        Mistake(
            _held(sizes=(2, 2, 12)),
            "that is mixed precision: bf16 parameters and gradients, and a float32 copy beside Adam's two. Here, "
            "everything is float32.",
        ),
        Mistake(_held(first=(9, 9, 9)), "nothing is ever divided by the number of processes: that is stage 0 only."),
        Mistake(_held(first=(0, 0, 0)), "at stage 0 every process holds everything: nothing is divided there."),
        Mistake(_held(sizes=(1, 1, 2)), "you counted numbers. Each takes 4 bytes in float32."),
    ),
)

# ------------------------------------------------------------------------------------------------- 02c.wire

WIRE = Exercise(
    id="02c.wire",
    title="who sends how much?",
    reread="Three things to say to each other",
    solution={"ddp": 1.0, "zero1": 1.5, "zero2": 1.0, "zero3": 1.5},
    verified="an all-reduce is a reduce-scatter and an all-gather, and zero3 gathers twice",
    tolerance=1e-9,
    mistakes=(
        Mistake(
            {"ddp": 2.0, "zero1": 3.0, "zero2": 2.0, "zero3": 3.0},
            "you forgot that each process has its own share already: on a ring of N it sends (N − 1)/N of the array, "
            "one half for two.",
        ),
        Mistake(
            {"ddp": 1.0, "zero1": 1.0, "zero2": 1.0, "zero3": 1.5},
            "zero1 as it is here reduces gradients as ddp does, and then broadcasts parameters on top: half more.",
        ),
        Mistake(
            {"ddp": 0.5, "zero1": 1.0, "zero2": 1.0, "zero3": 1.5},
            "an all-reduce takes two rounds, not one: sums go around once, and the finished sums once more.",
        ),
        Mistake(
            {"ddp": 1.0, "zero1": 1.5, "zero2": 0.5, "zero3": 0.5},
            "scattered gradients alone do not do: the parameters that a process does not hold must be gathered too.",
        ),
        Mistake(
            {"ddp": 1.0, "zero1": 1.5, "zero2": 1.0, "zero3": 1.0},
            "zero3 lets the parameters go after the forward pass, so it gathers them twice: that is its price.",
        ),
        Mistake(
            {"ddp": 1.0, "zero1": 1.0, "zero2": 1.0, "zero3": 1.0},
            "they do not all send the same. Follow the parameters: who gathers or broadcasts them, and how often?",
        ),
        Mistake(
            {"ddp": 1.5, "zero1": 1.0, "zero2": 1.0, "zero3": 0.5},
            "holding less does not mean sending less. Who holds less has to fetch what is missing.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------- 02c.mean


def global_loss(means: list[float], counts: list[int]) -> float:
    return sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)


def global_loss_by_shares(means, counts):
    shares = [count / sum(counts) for count in counts]
    return sum(mean * share for mean, share in zip(means, shares, strict=True))


MEAN = Exercise(
    id="02c.mean",
    title="a mean of means",
    reread="Equal to the bit?",
    solution=global_loss,
    verified="equal and unequal counts, a process with one token, and a process with none",
    cases=(
        ([2.0, 4.0], [10, 10]),
        ([2.0, 4.0], [30, 10]),
        ([1.0, 2.0, 9.0], [1, 5, 2]),
        ([3.0, 0.0], [7, 0]),
        ([5.0], [3]),
    ),
    tolerance=1e-9,
    alternatives=(global_loss_by_shares,),
    mistakes=(
        Mistake(
            lambda means, counts: sum(means) / len(means),
            "that is the bug itself: a process with few tokens counts as much as one with many.",
            given=True,
        ),
        Mistake(
            lambda means, counts: sum(m * c for m, c in zip(means, counts, strict=True)) / len(means),
            "the sum of the losses is right; it is divided by the number of processes, not of tokens.",
        ),
        Mistake(
            lambda means, counts: sum(m * c for m, c in zip(means, counts, strict=True)),
            "that is the sum over all tokens. Divide by how many there are.",
        ),
        Mistake(
            lambda means, counts: sum(m / c if c else 0.0 for m, c in zip(means, counts, strict=True)),
            "the means were divided by their counts a second time: they are means already.",
        ),
        Mistake(
            lambda means, counts: sum(means) / sum(counts),
            "the means are added up as if they were sums, then divided by the tokens: multiply each by its count.",
        ),
        Mistake(
            lambda means, counts: sum(m * c for m, c in zip(means, counts, strict=True)) / max(counts),
            "divided by the largest count. All tokens together are what the sum goes over.",
        ),
        Mistake(
            lambda means, counts: sorted(means)[len(means) // 2],
            "that is the middle one of the means, not their mean.",
        ),
    ),
)

EXERCISES = [HELD, SCATTER, WIRE, MEAN]
