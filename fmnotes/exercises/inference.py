"""The exercises of guide 22: block tables, shared blocks, the steps of continuous batching, speculative sampling."""

from __future__ import annotations

import numpy as np
import torch

from fmnotes.exercises import Exercise, Mistake

# ------------------------------------------------------------------------------------------------- g22.blocks


def slots(table: list[int], positions: list[int], block_size: int) -> list[int]:
    return [table[i // block_size] * block_size + i % block_size for i in positions]


def slots_by_divmod(table: list[int], positions: list[int], block_size: int) -> np.ndarray:
    block, offset = np.divmod(positions, block_size)
    return np.asarray(table)[block] * block_size + offset


def slots_of_a_tensor(table: list[int], positions: list[int], block_size: int) -> torch.Tensor:
    every = torch.tensor(table)[:, None] * block_size + torch.arange(block_size)
    return every.flatten()[torch.tensor(positions)]


BLOCKS = Exercise(
    id="g22.blocks",
    title="the block table",
    reread="Pages instead",
    solution=slots,
    verified="one block and several, blocks in any order, the first and the last place of a block, blocks of one token",
    cases=(
        ([0], [0], 4),
        ([3], [0, 1], 4),
        ([2, 5], [3, 4], 4),
        ([7, 1, 4], [0, 4, 8, 11], 4),
        ([5, 0, 2], [2, 0, 1], 1),
        ([9, 3], [1, 15, 16, 30], 16),
    ),
    alternatives=(slots_by_divmod, slots_of_a_tensor),
    mistakes=(
        Mistake(
            lambda table, positions, b: list(positions),
            "those are logical positions: the table is not looked at. slots([3], [0, 1], 4) gives [0, 1], in block 0, "
            "which may be another sequence's.",
        ),
        Mistake(
            lambda table, positions, b: [table[i // b] for i in positions],
            "those are the blocks; a block has block_size places, and the token's own is missing: "
            "slots([3], [0, 1], 4) gives [3, 3], one place for two tokens.",
        ),
        Mistake(
            lambda table, positions, b: [table[i // b] + i % b for i in positions],
            "block n does not begin at slot n: before it lie n blocks of block_size slots each. slots([3], [0, 1], 4) "
            "gives [3, 4] instead of [12, 13].",
        ),
        Mistake(
            lambda table, positions, b: [table[i % b] * b + i // b for i in positions],
            "`//` and `%` have changed places: i // block_size says which entry of the table, i % block_size which "
            "place of that block. slots([3], [0, 1], 4) looks for an entry 1, and the table has one alone.",
        ),
        Mistake(
            lambda table, positions, b: [table[i // b] * b for i in positions],
            "that is where the block begins, and every token of it would lie there: slots([3], [0, 1], 4) gives "
            "[12, 12]. Add the place inside of the block.",
        ),
        Mistake(
            lambda table, positions, b: [table[i // b] * b + i for i in positions],
            "inside of the block you go on by the whole position, not by what is left of it: slots([2, 5], [3, 4], 4) "
            "gives [11, 24], and token 4 is the first one of block 5, at 20.",
        ),
        Mistake(
            lambda table, positions, b: [(table[i // b], i % b) for i in positions],
            "block and place are right, but as a pair: the pool is one row of slots. slots([3], [0, 1], 4) gives "
            "[(3, 0), (3, 1)]; asked for is block · block_size + place.",
        ),
        Mistake(
            lambda table, positions, b: [table[(i + 1) // b] * b + (i + 1) % b for i in positions],
            "off by one: positions count from 0, so that token 0 lies at the very beginning of the first block. "
            "slots([3], [0, 1], 4) gives [13, 14].",
        ),
    ),
)

# -------------------------------------------------------------------------------------------------- g22.steps

STEPS = Exercise(
    id="g22.steps",
    title="how long four rows are busy",
    reread="Batching: who may get on, and when",
    solution=11,
    verified="2, 8, 3 and 3 begin; 9 gets on at step 3 and is the last to be done, after step 11; the rest fits beside "
    "it",
    mistakes=(
        Mistake(
            17,
            "that is static batching: 8 steps for the first four, as many as the longest takes, and 9 for the others. "
            "When the first request is done after two steps, the next one need not wait.",
        ),
        Mistake(
            8,
            "that is all tokens shared out among four rows, 32 / 4, as if a request could be cut into pieces. It is a "
            "lower bound, and one request alone takes 9.",
        ),
        Mistake(
            9,
            "that is the longest request, and it would be enough if that one began at once. But it is the fifth in the "
            "queue, and there are four rows: when does it get on?",
        ),
        Mistake(
            32,
            "that is one request after the other. Four rows compute in the same step.",
        ),
        Mistake(
            12,
            "one too many: the first row is free after step 2, so the fifth request's first token comes in step 3 and "
            "its ninth in step 11.",
        ),
        Mistake(
            10,
            "one too few: the fifth request's first token comes in step 3, and it needs nine. Which step is the ninth?",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------- g22.shared

SHARED = Exercise(
    id="g22.shared",
    title="the blocks of five answers",
    reread="Copy on write",
    solution=12,
    verified="two full blocks for all, and two of its own for each: the copy of the half-full one, which its 20 tokens "
    "fill, and one more",
    mistakes=(
        Mistake(
            20,
            "that is without sharing: four blocks for 57 tokens, five times. The first 32 tokens are the same for all "
            "five and lie in full blocks that nobody will write to.",
        ),
        Mistake(
            13,
            "you keep the half-full block beside its copies. The last of the five to write has it to itself and needs "
            "no copy: five answers, five such blocks, not six.",
        ),
        Mistake(
            8,
            "you share the third block, too. Five of its places are the prompt's, but each answer goes on in it with "
            "tokens of its own, so each needs its own copy.",
        ),
        Mistake(
            7,
            "you give each answer one block of its own. In it lie the prompt's last 5 tokens and then its own 20: 25 "
            "tokens do not fit 16 places.",
        ),
        Mistake(
            4,
            "that is one answer: 57 tokens in blocks of 16. The five share what is the same, and no more than that.",
        ),
        Mistake(
            16,
            "you share one block. The prompt's 37 tokens fill two, 32 tokens, which nobody will write to.",
        ),
    ),
)

# ----------------------------------------------------------------------------------------------- g22.residual

Row = list[float]


def speculative_token(p: Row, q: Row, drafted: int, u: float, v: float) -> int:
    if u * q[drafted] < p[drafted]:
        return drafted
    rest = [max(0.0, a - b) for a, b in zip(p, q, strict=True)]
    return _inverse(rest, v * sum(rest))


def _inverse(weights: Row, target: float) -> int:
    total = 0.0
    for token, weight in enumerate(weights):
        total += weight
        if target < total:
            return token
    return len(weights) - 1


def speculative_token_in_arrays(p: Row, q: Row, drafted: int, u: float, v: float) -> np.integer:
    p, q = np.array(p), np.array(q)
    if u < min(1, p[drafted] / q[drafted]):
        return np.int64(drafted)
    rest = np.clip(p - q, 0, None)
    return np.searchsorted(np.cumsum(rest / rest.sum()), v, side="right")


def _with(accepts, rest, scaled: bool = True):
    """A variant of the rule: when it accepts, and what it draws from after a rejection."""

    def variant(p: Row, q: Row, drafted: int, u: float, v: float) -> int:
        if accepts(p[drafted], q[drafted], u):
            return drafted
        weights = rest(p, q, drafted)
        return _inverse(weights, v * sum(weights) if scaled else v)

    return variant


def _accepts(p: float, q: float, u: float) -> bool:
    return u * q < p


def _upside_down(p: float, q: float, u: float) -> bool:
    return u * p < q


def _rest(p: Row, q: Row, _: int) -> Row:
    return [max(0.0, a - b) for a, b in zip(p, q, strict=True)]


def _of_p(p: Row, q: Row, _: int) -> Row:
    return p


RESIDUAL = Exercise(
    id="g22.residual",
    title="two bugs in speculative sampling",
    reread="A draft that changes nothing",
    solution=speculative_token,
    verified="drafts that are surely kept, sometimes kept and never kept, and each token that can come in their place",
    cases=(
        ([0.5, 0.5], [0.25, 0.75], 0, 0.9, 0.5),
        ([0.5, 0.5], [0.25, 0.75], 1, 0.5, 0.5),
        ([0.5, 0.5], [0.25, 0.75], 1, 0.9, 0.7),
        ([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 0, 0.5, 0.1),
        ([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 0, 0.5, 0.45),
        ([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 0, 0.5, 0.9),
        ([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 0, 0.2, 0.9),
        ([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 1, 0.7, 0.9),
        ([0.0, 0.4, 0.6], [0.5, 0.4, 0.1], 0, 0.01, 0.3),
        ([0.1, 0.3, 0.6], [0.3, 0.6, 0.1], 1, 0.6, 0.05),
        ([0.4, 0.1, 0.5], [0.1, 0.8, 0.1], 1, 0.3, 0.41),
        ([0.4, 0.1, 0.5], [0.1, 0.8, 0.1], 1, 0.3, 0.45),
    ),
    alternatives=(speculative_token_in_arrays,),
    mistakes=(
        Mistake(
            _with(_upside_down, _of_p),
            "there are two bugs, and here is one. A draft is doubtful where it says a token more often than the model "
            "does, and yours keeps it exactly there: speculative_token([0.5, 0.5], [0.25, 0.75], 1, 0.9, 0.7) gives 1, "
            "though the model says token 1 less often than the draft. The other bug shows when one is rejected.",
            given=True,
        ),
        Mistake(
            _with(_accepts, _of_p),
            "the draft is kept when it should be. What is left: after a rejection you draw from p, but some of p has "
            "come out already, by drafts that were kept. speculative_token([0.5, 0.5], [0.25, 0.75], 1, 0.9, 0.7) "
            "gives 1 again, the very token that came too often.",
        ),
        Mistake(
            _with(_upside_down, _rest),
            "what is drawn after a rejection is right now. What is left: when is a draft kept? Its probability is "
            "min(1, p / q), and yours is min(1, q / p): speculative_token([0.5, 0.5], [0.25, 0.75], 1, 0.9, 0.7) gives "
            "1.",
        ),
        Mistake(
            _with(_accepts, lambda p, q, _: [abs(a - b) for a, b in zip(p, q, strict=True)]),
            "where q is above p there is nothing left to make up for, so the difference counts as 0 there, not as its "
            "absolute value: speculative_token([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 0, 0.5, 0.1) gives 0, the token "
            "that was rejected.",
        ),
        Mistake(
            _with(_accepts, lambda p, q, _: [max(0.0, b - a) for a, b in zip(p, q, strict=True)]),
            "the difference is the wrong way round: q - p is what the draft says too often, and p - q what it says too "
            "seldom, which is to be made up for.",
        ),
        Mistake(
            _with(_accepts, lambda p, q, x: [0.0 if i == x else a for i, a in enumerate(p)]),
            "you take p without the rejected token. That is right where the draft was certain (q = 1 for one token). "
            "But speculative_token([0.1, 0.3, 0.6], [0.3, 0.6, 0.1], 1, 0.6, 0.05) gives 0, and of token 0 there "
            "is too much already.",
        ),
        Mistake(
            _with(_accepts, _rest, scaled=False),
            "the differences do not sum to 1, and v runs up to 1: what is left over falls to the last token. "
            "speculative_token([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 0, 0.5, 0.45) gives 2; scale v, or normalise.",
        ),
        Mistake(
            _with(lambda p, q, u: u < p, _rest),
            "you keep the draft with the probability p; but it came with probability q, and so it has to be kept with "
            "p / q. speculative_token([0.5, 0.5], [0.25, 0.75], 0, 0.9, 0.5) gives the right token by a "
            "detour, and speculative_token([0.2, 0.5, 0.3], [0.6, 0.3, 0.1], 1, 0.7, 0.9) gives 2.",
        ),
        Mistake(
            _with(lambda p, q, u: p >= q, _rest),
            "u is not used: a draft with p below q is never kept, though it should be in p / q of all cases. "
            "speculative_token([0.5, 0.5], [0.25, 0.75], 1, 0.5, 0.5) gives 0.",
        ),
    ),
)

EXERCISES = [BLOCKS, SHARED, STEPS, RESIDUAL]
