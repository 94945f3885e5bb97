"""The exercises of guide 09: the balancing loss, the reach of a window over layers, and two bugs in a dispatch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnotes.exercises import Exercise, Mistake

# -------------------------------------------------------------------------------------------------- g09.reach

REACH = Exercise(
    id="g09.reach",
    title="how far a stack of windows sees",
    reread="A window that slides",
    solution=61,
    verified="each of the four layers looks 15 positions further back, and the position itself counts: 1 + 4 · 15",
    mistakes=(
        Mistake(16, "that is one layer. What a position sees has itself seen something, one layer below."),
        Mistake(
            64,
            "4 · 16 counts too much by three: a window of 16 holds the position itself, so each layer reaches 15 "
            "further back, not 16. (The paper's round number is this one.)",
        ),
        Mistake(60, "4 · 15 is how far back it reaches; the position itself makes one more."),
        Mistake(
            65, "1 + 4 · 16: a window of 16 holds the position itself, so that each layer reaches 15 further back."
        ),
        Mistake(46, "that is three layers. The first one already looks back."),
        Mistake(
            65_536,
            "16 to the fourth: windows do not multiply. Each layer adds its reach to that of the layer below.",
        ),
        Mistake(
            128, "nothing is out of reach then. Count: how far back does one layer look, and what does it see there?"
        ),
    ),
)

# ----------------------------------------------------------------------------------------------- g09.dispatch


def dispatch(x: Tensor, experts: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    y, start, k = x.new_zeros(x.shape), 0, experts.shape[1]
    order = experts.flatten().argsort(stable=True)
    for expert, n in enumerate(experts.flatten().bincount(minlength=len(matrices)).tolist()):
        visits = order[start : start + n]
        token = visits // k
        y[token] += weights.flatten()[visits, None] * (x[token] @ matrices[expert])
        start += n
    return y


def dispatch_by_tokens(x: Tensor, experts: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    return torch.einsum("tk,td,tkdf->tf", weights, x, matrices[experts])


def dispatch_by_experts(x: Tensor, experts: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    gates = torch.zeros(len(x), len(matrices), dtype=x.dtype).scatter_add(1, experts, weights)
    return torch.einsum("te,td,edf->tf", gates, x, matrices)


def _dispatch(x, experts, weights, matrices, add=True, sort=True, place=None, weigh=True):
    y, start, k = torch.zeros_like(x), 0, experts.shape[1]
    order = experts.flatten().argsort(stable=True)
    for expert, n in enumerate(experts.flatten().bincount(minlength=len(matrices)).tolist()):
        visits = order[start : start + n]
        token = visits // k if place is None else place(visits, len(x), k)
        w = weights.flatten()[visits if sort else slice(start, start + n)][:, None]
        made = (w if weigh else 1.0) * (x[token] @ matrices[expert])
        if add:
            y.index_add_(0, token, made)
        else:
            y[token] = made
        start += n
    return y


def _dispatch_cases() -> tuple[tuple, ...]:
    dice, cases = torch.Generator().manual_seed(9), []
    for tokens, n_expert, k in ((1, 2, 1), (1, 2, 2), (3, 2, 1), (4, 3, 2), (6, 4, 2), (5, 8, 3)):
        p = torch.rand(tokens, n_expert, generator=dice, dtype=torch.float64)
        weights, experts = (p / p.sum(-1, keepdim=True)).topk(k)
        x = torch.randn(tokens, 2, generator=dice, dtype=torch.float64)
        cases.append((x, experts, weights, torch.randn(n_expert, 2, 2, generator=dice, dtype=torch.float64)))
    return tuple(cases)


DISPATCH = Exercise(
    id="g09.dispatch",
    title="two bugs in a sorted dispatch",
    reread="Sort first, then multiply",
    solution=dispatch,
    verified="one expert a token and several, experts that nobody visits, and a single token",
    cases=_dispatch_cases(),
    alternatives=(dispatch_by_tokens, dispatch_by_experts),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            lambda *case: _dispatch(*case, add=False, sort=False),
            "two things are wrong. A token's second expert wipes out what its first one wrote. And the visits are "
            "sorted by expert, but their weights are still in the order of the tokens.",
            given=True,
        ),
        Mistake(
            lambda *case: _dispatch(*case, add=False),
            "one bug is left: `y[token] =` wipes out what an expert before it wrote for the same token. The experts' "
            "outputs are added up.",
        ),
        Mistake(
            lambda *case: _dispatch(*case, sort=False),
            "one bug is left: the weights stand in the order of the tokens, the visits in that of the experts. Visit "
            "number v has the weight number v of the flat table.",
        ),
        Mistake(
            lambda *case: _dispatch(*case, weigh=False),
            "the outputs are added up without their weights: then the router could say how much it likes an expert, "
            "and nobody would listen.",
        ),
        Mistake(
            lambda *case: _dispatch(*case, place=lambda visits, tokens, k: visits % tokens),
            "visit v is that of token v // k: the flat table holds the k experts of the first token, then those of the "
            "second. v % T would fit a table that was transposed first.",
        ),
        Mistake(
            lambda x, experts, weights, matrices: dispatch(x, experts[:, :1], weights[:, :1], matrices),
            "only the first of each token's experts is asked. All k of them are in the sum.",
        ),
        Mistake(
            lambda x, experts, weights, matrices: dispatch(x, experts, weights.flip(1), matrices),
            "each expert gets the weight of another: a token's best expert counts least.",
        ),
        Mistake(
            lambda x, experts, weights, matrices: dispatch(x, experts, weights, matrices.mT),
            "the matrices are transposed: x W is asked for, with a token as a row.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------ g09.balance


def balancing_loss(probabilities: Tensor, experts: Tensor) -> Tensor:
    n_expert = probabilities.shape[1]
    f = experts.flatten().bincount(minlength=n_expert) / experts.numel()
    return n_expert * (f * probabilities.mean(0)).sum()


def balancing_by_onehot(probabilities: Tensor, experts: Tensor) -> Tensor:
    n_expert = probabilities.shape[1]
    f = F.one_hot(experts, n_expert).to(probabilities.dtype).mean((0, 1))
    return n_expert * (f @ probabilities.mean(0))


def balancing_in_loops(probabilities: Tensor, experts: Tensor) -> float:
    tokens, n_expert = probabilities.shape
    total = 0.0
    for i in range(n_expert):
        visits = sum(int(e) == i for row in experts for e in row)
        total += visits / experts.numel() * sum(float(p) for p in probabilities[:, i]) / tokens
    return n_expert * total


def _share(probabilities, experts):
    return experts.flatten().bincount(minlength=probabilities.shape[1]) / experts.numel()


def _balance_cases() -> tuple[tuple, ...]:
    dice, cases = torch.Generator().manual_seed(3), []
    for tokens, n_expert, k in ((2, 2, 1), (3, 2, 1), (3, 3, 2), (5, 4, 2), (8, 8, 1), (7, 5, 3)):
        p = (2 * torch.randn(tokens, n_expert, generator=dice, dtype=torch.float64)).softmax(-1)
        cases.append((p, p.topk(k).indices))
    return tuple(cases)


BALANCE = Exercise(
    id="g09.balance",
    title="the load-balancing loss",
    reread="Even loads",
    solution=balancing_loss,
    verified="one expert a token and several, more experts than tokens, experts that nobody visits",
    cases=_balance_cases(),
    alternatives=(balancing_by_onehot, balancing_in_loops),
    tolerance=1e-6,
    mistakes=(
        Mistake(
            lambda p, e: balancing_loss(p, e) * e.shape[1],
            "this is Mixtral's normalisation in transformers: k times as much, so that even loads cost k. Here f is a "
            "share of all assignments, T · k of them, and even loads cost 1.",
        ),
        Mistake(
            lambda p, e: balancing_loss(p, e) / p.shape[1],
            "the factor E is missing. Without it even loads cost 1/E, and the loss would count less the more experts "
            "there are.",
        ),
        Mistake(
            lambda p, e: p.shape[1] * p.mean(0).square().sum(),
            "P stands in both places, and f in none: that is Σ P², which can be even while all tokens go to one "
            "expert, by a hair each.",
        ),
        Mistake(
            lambda p, e: p.shape[1] * _share(p, e).square().sum(),
            "f stands in both places. It is a count and has no gradient: nothing of this loss reaches the router.",
        ),
        Mistake(
            lambda p, e: p.shape[1] * (_share(p, e) * p.sum(0)).sum(),
            "P is the mean of the probabilities over the tokens; with their sum the loss grows with the batch.",
        ),
        Mistake(
            lambda p, e: p.shape[1] * (_share(p, e) * len(e) * e.shape[1] * p.mean(0)).sum(),
            "f is a share; with the bare counts the loss grows with the batch. Divide by the number of assignments.",
        ),
        Mistake(
            lambda p, e: balancing_loss(p, e[:, :1]),
            "only first choices are counted. All k experts of a token have work with it.",
        ),
        Mistake(
            lambda p, e: (_share(p, e) * p.mean(0)).mean(),
            "that is the mean over the experts, and asked for is their sum, times E: it is too small by E².",
        ),
        Mistake(
            lambda p, e: ((_share(p, e) - 1 / p.shape[1]) ** 2).sum(),
            "a fair measure of unevenness, but f alone is a count: no gradient reaches the router. That is why Switch "
            "multiplies f by the mean probability P, which has one.",
        ),
    ),
)

EXERCISES = [REACH, DISPATCH, BALANCE]
