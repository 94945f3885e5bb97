"""The exercises of 03_clip: the gradient of the temperature, who pushes, two bugs in recall, and classes made of
sentences.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmnotes.exercises import Exercise, Mistake

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# ------------------------------------------------------------------------------------------------ 03.log_tau


def gradient_of_log_tau(cosines: Float[Tensor, "N N"], tau: float) -> float:
    z = cosines / tau
    eye = torch.eye(len(z), dtype=z.dtype)
    G = (z.softmax(1) + z.softmax(0) - 2 * eye) / (2 * len(z))
    return -(G * z).sum().item()


def by_autograd(cosines: Float[Tensor, "N N"], tau: float) -> Tensor:
    log_tau = torch.tensor(math.log(tau), dtype=cosines.dtype, requires_grad=True)
    z, own = cosines / log_tau.exp(), torch.arange(len(cosines))
    loss = (torch.nn.functional.cross_entropy(z, own) + torch.nn.functional.cross_entropy(z.T, own)) / 2
    return torch.autograd.grad(loss, log_tau)[0]


def _log_tau(weights, factor=lambda tau: -1 / tau):
    """A wrong answer: other weights in the place of G, and another factor of the cosines."""

    def answer(cosines, tau):
        z = cosines / tau
        p, q, eye, n = z.softmax(1), z.softmax(0), torch.eye(len(z), dtype=z.dtype), len(z)
        return (weights(p, q, eye, n) * cosines).sum().item() * factor(tau)

    return answer


def _whole(p, q, eye, n):
    return (p + q - 2 * eye) / (2 * n)


def _table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


LOG_TAU = Exercise(
    id="03.log_tau",
    title="the gradient of the temperature",
    reread="The gradient, by hand",
    solution=gradient_of_log_tau,
    verified="two, three and four pairs, right ones and wrong ones ahead, at four temperatures",
    cases=(
        (_table([1.0, 0.0], [0.0, 1.0]), 0.5),
        (_table([0.2, 0.9], [-0.3, 0.1]), 1.0),
        (_table([0.5, 0.1, -0.2], [0.3, 0.6, 0.0], [-0.4, 0.2, 0.7]), 0.07),
        (_table([0.1, 0.3, 0.2, 0.0], [0.9, 0.4, 0.1, -0.1], [0.2, 0.2, 0.2, 0.5], [0.0, -0.8, 0.3, 0.6]), 0.2),
    ),
    alternatives=(by_autograd,),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            _log_tau(_whole, lambda tau: 1 / tau),
            "the sign is the other one: this is the gradient of `logit_scale`, t = −ln τ. For the cosines "
            "[[1, 0], [0, 1]] and τ = 0.5 you get −0.24. A higher temperature makes this good model less sure, so the "
            "loss must rise.",
        ),
        Mistake(
            _log_tau(_whole, lambda tau: -1 / tau**2),
            "this is ∂L/∂τ. Asked for is ∂L/∂ln τ = τ ∂L/∂τ, for ∂τ/∂ln τ = τ.",
        ),
        Mistake(
            _log_tau(_whole, lambda tau: -1.0),
            "you sum G·c, but the logits are z = c/τ, and ∂z/∂ln τ = −z: a factor of 1/τ is missing.",
        ),
        Mistake(
            _log_tau(lambda p, q, eye, n: (p - eye) / n),
            "only the pictures choose here. The loss has two directions: the columns' softmax q belongs to G, too.",
        ),
        Mistake(
            _log_tau(lambda p, q, eye, n: (q - eye) / n),
            "only the captions choose here. The loss has two directions: the rows' softmax p belongs to G, too.",
        ),
        Mistake(
            _log_tau(lambda p, q, eye, n: p + q - 2 * eye),
            "the loss is a mean over N pairs and two directions: the factor 1/(2N) of G is missing.",
        ),
        Mistake(
            _log_tau(lambda p, q, eye, n: (p + q - 2 * eye) / n),
            "twice too large: the loss is the mean of the two directions, 1/(2N), and you have 1/N.",
        ),
        Mistake(
            _log_tau(lambda p, q, eye, n: (p + q) / (2 * n)),
            "the −2δ is missing: the right pair's logit is subtracted in the loss, ∂(−ln p_ii)/∂z_ij = p_ij − δ_ij.",
        ),
        Mistake(
            lambda cosines, tau: gradient_of_log_tau(cosines, 1.0) / tau,
            "the softmax is taken of the cosines; the logits are the cosines divided by τ.",
        ),
    ),
)

# --------------------------------------------------------------------------------------------------- 03.push

PUSH = Exercise(
    id="03.push",
    title="how many captions push?",
    reread="What pulls, and what pushes",
    solution=3,
    verified="cosines of random directions spread by 1/√32 = 0.18, which is 2.5 when it is divided by 0.07: each such "
    "step makes a weight twelve times as large, so that a few carry most",
    tolerance=1,
    mistakes=(
        Mistake(
            50,
            "half of the push from half of the captions: so it would be if all weighed the same, in the limit of a "
            "high temperature. The weights are a softmax, and what lies near weighs most.",
        ),
        Mistake(
            43,
            "nearly all alike: that is the picture at τ = 1, where scores differ by a few tenths. Divided by 0.07 the "
            "same cosines differ fourteen times as much.",
        ),
        Mistake(
            20,
            "you have seen that some weigh more than others, but not how much: so many it takes at τ = 0.2. The "
            "exponential is steep.",
        ),
        Mistake(
            7,
            "is that the 0.07? A temperature is no share. It divides the cosines, and how many captions then weigh "
            "something depends on how far these are spread.",
        ),
        Mistake(
            1,
            "the nearest one alone: that takes a lower temperature, 0.03 or less. At 0.07 its rivals still have a say.",
        ),
        Mistake(
            100,
            "all of them push, and together they make up the whole. Asked for is how many make up *half* of it, if "
            "the hardest are taken first.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------- 03.recall


def recall_at_k(similarity: Float[Tensor, "n n"], k: int) -> float:
    better = (similarity > similarity.diagonal()[:, None]).sum(1)
    return (better < k).double().mean().item()


def recall_by_sorting(similarity: Float[Tensor, "n n"], k: int) -> Tensor:
    first = similarity.argsort(dim=1, descending=True)[:, :k]
    return (first == torch.arange(len(similarity))[:, None]).any(1).double().mean()


def recall_in_loops(similarity: Float[Tensor, "n n"], k: int) -> float:
    rows = similarity.tolist()
    return float(np.mean([sorted(row, reverse=True).index(row[i]) < k for i, row in enumerate(rows)]))


def _ranks(similarity):
    return (similarity > similarity.diagonal()[:, None]).sum(1)


RECALL = Exercise(
    id="03.recall",
    title="two bugs in recall at k",
    reread="Searching",
    solution=recall_at_k,
    verified="k = 1, 2 and 3, all right, all wrong, and rows that find what columns do not",
    cases=(
        (_table([0.9, 0.1], [0.2, 0.8]), 1),
        (_table([0.1, 0.9], [0.8, 0.2]), 1),
        (_table([0.5, 0.6, 0.1], [0.4, 0.7, 0.2], [0.9, 0.8, 0.3]), 1),
        (_table([0.5, 0.6, 0.1], [0.4, 0.7, 0.2], [0.9, 0.8, 0.3]), 2),
        (_table([0.1, 0.2, 0.3], [0.1, 0.9, 0.2], [0.3, 0.2, 0.8]), 1),
        (_table([0.1, 0.6, 0.5], [0.4, 0.3, 0.8], [0.9, 0.5, 0.7]), 2),
        (_table([0.1, 0.6, 0.5], [0.4, 0.3, 0.8], [0.9, 0.5, 0.7]), 3),
        (_table([0.4, 0.6, 0.5, 0.1], [0.4, 0.9, 0.8, 0.3], [0.9, 0.8, 0.7, 0.6], [0.2, 0.3, 0.4, 0.5]), 2),
    ),
    alternatives=(recall_by_sorting, recall_in_loops),
    tolerance=1e-6,  # a mean in float32
    mistakes=(
        Mistake(
            lambda s, k: ((s > s.diagonal()).sum(1) <= k).double().mean().item(),
            "there are two bugs, and here is one. The diagonal is a plain row of numbers, so that column j is compared "
            "with the j-th of them: in the row (0.5, 0.6, 0.1) of query 0 the 0.6 is to be held against 0.5, its own, "
            "and not against what query 1 has found. The other shows where exactly k items are better.",
            given=True,
        ),
        Mistake(
            lambda s, k: ((s > s.diagonal()).sum(1) < k).double().mean().item(),
            "the count is right now. What is left: every *column* is compared with its number of the diagonal, and it "
            "is the row that belongs to a query. Turn the diagonal into a column, with [:, None].",
        ),
        Mistake(
            lambda s, k: recall_at_k(s.T, k),
            "you search down the columns. Row i is query i: its own item, column i, must be among the k largest of "
            "that row.",
        ),
        Mistake(
            lambda s, k: (_ranks(s) <= k).double().mean().item(),
            "the rows are right now. What is left is one too many: where exactly k items are better, its own is number "
            "k + 1. recall_at_k([[0.1, 0.9], [0.8, 0.2]], 1) gives 1, and every query has found the wrong item.",
        ),
        Mistake(
            lambda s, k: (_ranks(s) < k - 1).double().mean().item(),
            "one too few: with no better item the own one is the first, and counts at k = 1. "
            "recall_at_k([[0.9, 0.1], [0.2, 0.8]], 1) gives 0, and every query has found its item.",
        ),
        Mistake(
            lambda s, k: recall_at_k(s, 1),
            "you look at the best item only, whatever k is. At k = 2 the second best counts as well.",
        ),
        Mistake(
            lambda s, k: recall_at_k(-s, k),
            "the order is upside down: the most similar item is the one with the *largest* number.",
        ),
        Mistake(
            lambda s, k: (_ranks(s) < k).sum().item(),
            "this counts the queries that find their item; recall is their share.",
        ),
        Mistake(
            lambda s, k: (_ranks(s) < k).double().sum().item() / (k * len(s)),
            "you divide by k as well, as precision does: of the k items found only one is right. Recall asks whether "
            "it was found.",
        ),
        Mistake(
            lambda s, k: (s.argsort(1, descending=True)[:, :k] == 0).any(1).double().mean().item(),
            "you look for item 0 in every row; query i looks for item i.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------ 03.classes


def class_vectors(embeddings: Float[Tensor, "classes sentences E"]) -> Float[Tensor, "classes E"]:
    units = embeddings / embeddings.norm(dim=-1, keepdim=True)
    mean = units.mean(1)
    return mean / mean.norm(dim=-1, keepdim=True)


def class_vectors_in_loops(embeddings: Float[Tensor, "classes sentences E"]) -> list[list[float]]:
    rows = []
    for of_class in embeddings.numpy():
        total = sum(sentence / np.sqrt((sentence**2).sum()) for sentence in of_class)
        rows.append((total / np.sqrt((total**2).sum())).tolist())
    return rows


def _unit(x, dim=-1):
    return x / x.norm(dim=dim, keepdim=True)


_SENTENCES = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3

CLASSES = Exercise(
    id="03.classes",
    title="a class made of several sentences",
    reread="Zero-shot",
    solution=class_vectors,
    verified="one sentence, two, and three; short embeddings and long ones",
    cases=((_table([3.0, 4.0])[None],), (_table([3.0, 0.0], [0.0, 1.0])[None],), (_SENTENCES,)),
    alternatives=(class_vectors_in_loops, lambda e: torch.nn.functional.normalize(_unit(e).sum(1), dim=1)),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            lambda e: _unit(e).mean(1),
            "the mean of unit vectors is shorter than 1: [[[3, 0], [0, 1]]] gives (0.5, 0.5). A class whose sentences "
            "agree less would get smaller scores. Divide by its length once more.",
        ),
        Mistake(
            lambda e: _unit(e.mean(1)),
            "the sentences are averaged as they are, so that a long vector outvotes a short one: [[[3, 0], [0, 1]]] "
            "gives (0.95, 0.32). Only directions count: make them unit vectors first.",
        ),
        Mistake(
            lambda e: e.mean(1),
            "nothing is normalised here: [[[3, 4]]] gives (3, 4). Sentences and class are directions, unit vectors.",
        ),
        Mistake(
            lambda e: _unit(e)[:, 0],
            "only the first sentence of each class is used.",
        ),
        Mistake(
            lambda e: _unit(_unit(e).mean(0)),
            "you average over the classes: axis 0. The sentences of a class lie along axis 1.",
        ),
        Mistake(
            lambda e: _unit(_unit(e, dim=1).mean(1)),
            "the vectors are divided by a length taken across the sentences. A vector's length is taken over its E "
            "numbers, the last axis.",
        ),
        Mistake(
            _unit,
            "each sentence has become a unit vector, but they are not averaged: a class wants one vector.",
        ),
        Mistake(
            lambda e: (x := _unit(e).mean(1)) / x.sum(-1, keepdim=True),
            "you divide by the sum of the numbers; the length is the root of the sum of their squares.",
        ),
    ),
)

EXERCISES = [LOG_TAU, PUSH, RECALL, CLASSES]
