"""The exercises of 04_connector: what is to be learned, how queries look, what their reader saves, and two bugs in a
clipped precision.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import torch

from fmnotes.exercises import Exercise, Mistake

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# ------------------------------------------------------------------------------------------------ 04.targets

IGNORE = -100


def answer_targets(ids: list[int], prompt_length: int) -> list[int]:
    return [IGNORE] * (prompt_length - 1) + ids[prompt_length:] + [IGNORE]


def targets_in_a_loop(ids: list[int], prompt_length: int) -> Tensor:
    targets = torch.full((len(ids),), IGNORE)
    for place in range(len(ids) - 1):
        if place + 1 >= prompt_length:
            targets[place] = ids[place + 1]
    return targets


TARGETS = Exercise(
    id="04.targets",
    title="learning from the answer only",
    reread="Loss on the answer only",
    solution=answer_targets,
    verified="answers of one token and of several, a prompt of one token, and no answer at all",
    cases=(
        ([5, 6, 7, 8, 9], 3),
        ([5, 6, 7, 8, 9], 4),
        ([5, 6, 7], 1),
        ([5, 6, 7], 3),
        ([48, 48, 48, 2, 3, 4, 11, 0], 6),
    ),
    alternatives=(targets_in_a_loop,),
    mistakes=(
        Mistake(
            lambda ids, p: [IGNORE] * p + ids[p:],
            "each target stands one place too late: a position is to say what comes *next*, so the target of place i "
            "is ids[i + 1]. As it is, the model learns to repeat the token that it is reading.",
        ),
        Mistake(
            lambda ids, p: [*ids[1:], IGNORE],
            "the whole sequence is learned, the prompt and the picture's places too. Only the answer is to count.",
        ),
        Mistake(
            lambda ids, p: [IGNORE] * p + ids[p + 1 :] + [IGNORE] * (len(ids) > p),
            "the answer's first token is not learned: it is said at the prompt's *last* place, p − 1, which must have "
            "it as its target.",
        ),
        Mistake(
            lambda ids, p: [IGNORE] * max(p - 2, 0) + ids[max(p - 1, 1) :] + [IGNORE],
            "one too many: the prompt's last token is learned as well. Place p − 1 is the first whose next token "
            "belongs to the answer.",
        ),
        Mistake(
            lambda ids, p: [IGNORE] * (p - 1) + ids[p:],
            "the last place is missing. Targets are as many as ids; behind the last token nothing is known: −100.",
        ),
        Mistake(
            lambda ids, p: [0] * (p - 1) + ids[p:] + [0],
            "0 is a token like any other, so the model would learn to say it. What is not to count is marked −100.",
        ),
        Mistake(
            lambda ids, p: ids[1:p] + [IGNORE] * (len(ids) - p + 1),
            "the other way round: here the prompt is learned and the answer is left out.",
        ),
    ),
)

# --------------------------------------------------------------------------------------------------- 04.look


def look(
    queries: Float[Tensor, "q d"],
    patches: Float[Tensor, "p e"],
    W_q: Float[Tensor, "d h"],
    W_k: Float[Tensor, "e h"],
    W_v: Float[Tensor, "e h"],
) -> Float[Tensor, "q h"]:
    scores = (queries @ W_q) @ (patches @ W_k).T / math.sqrt(W_q.shape[1])
    return scores.softmax(-1) @ (patches @ W_v)


def look_fused(queries, patches, W_q, W_k, W_v):
    fused = torch.nn.functional.scaled_dot_product_attention
    return fused((queries @ W_q)[None], (patches @ W_k)[None], (patches @ W_v)[None])[0]


def _look(axis=-1, root=None, scale=True):
    def answer(queries, patches, W_q, W_k, W_v):
        size = math.sqrt(W_q.shape[1] if root is None else root(queries, patches)) if scale else 1.0
        weights = ((queries @ W_q) @ (patches @ W_k).T / size).softmax(axis)
        return weights @ (patches @ W_v)

    return answer


def _numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _case(q: int, p: int, d: int, e: int, h: int) -> tuple[Tensor, ...]:
    shapes = ((q, d), (p, e), (d, h), (e, h), (e, h))
    return tuple(_numbers(*shape, seed=n) for n, shape in enumerate(shapes))


LOOK = Exercise(
    id="04.look",
    title="queries look at patches",
    reread="A Q-Former",
    solution=look,
    verified="few queries and many patches, one of each, and widths that differ",
    cases=(_case(2, 5, 3, 4, 6), _case(1, 1, 2, 2, 2), _case(3, 3, 4, 4, 4), _case(4, 2, 5, 3, 2)),
    alternatives=(look_fused,),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            _look(axis=0),
            "the softmax runs over the queries, so that they compete for each patch. Each query is to spread its own "
            "attention over the patches: its row adds up to 1.",
        ),
        Mistake(
            _look(scale=False),
            "the scores are not divided by √h, h the width of queries and keys: the softmax is too sharp.",
        ),
        Mistake(
            _look(root=lambda queries, patches: queries.shape[1]),
            "divided by the root of the queries' own width. What is multiplied are their images under W_q: √h.",
        ),
        Mistake(
            _look(root=lambda queries, patches: len(patches)),
            "divided by the root of the *number* of patches. The scale is the root of the width of the keys, √h.",
        ),
        Mistake(
            lambda queries, patches, W_q, W_k, W_v: (
                ((queries @ W_q) @ (patches @ W_k).T / math.sqrt(W_q.shape[1])).softmax(-1) @ (patches @ W_k)
            ),
            "what is averaged are the keys. Keys say where to look; what is fetched there are the values, patches W_v.",
        ),
        Mistake(
            lambda queries, patches, W_q, W_k, W_v: (
                ((queries @ W_q) @ (patches @ W_k).T / math.sqrt(W_q.shape[1])) @ (patches @ W_v)
            ),
            "there is no softmax: the weights of a query must be positive and add up to 1.",
        ),
        Mistake(
            lambda queries, patches, W_q, W_k, W_v: (
                (patches @ W_v).mean(0, keepdim=True).expand(len(queries), -1).clone()
            ),
            "every query gets the same mean of all patches: nobody has looked at the scores.",
        ),
        Mistake(
            lambda *args: _with_query(look(*args), args),
            "the query itself is added to what it found. That is the residual connection around attention; asked for "
            "is attention alone.",
        ),
    ),
)


def _with_query(found: Tensor, args: tuple[Tensor, ...]) -> Tensor:
    """What was found, with the mapped query added to it."""
    return found + args[0] @ args[2]


# ------------------------------------------------------------------------------------------------- 04.reader

READER = Exercise(
    id="04.reader",
    title="what does the reader save?",
    reread="What they cost",
    solution=42,
    verified="the work goes with all the places that are read, 37 of 85; the part that goes with their square is small "
    "in so short a row, and takes off a little more",
    tolerance=3,
    mistakes=(
        Mistake(
            25,
            "16 of 64 is the share of the visual tokens. The question is read and the answer said as before, at the "
            "same price a place.",
        ),
        Mistake(
            6,
            "that is a quarter, squared. Only the scores of attention go with the square of the length, and in a row "
            "this short the matrices are nearly all of the work; besides, the question has to be read too.",
        ),
        Mistake(
            19,
            "the places are the right ones, 37 of 85, but you squared their share. Matrices take each place by itself; "
            "only the scores of attention compare all with all, a small part in so short a row.",
        ),
        Mistake(58, "so much is saved. Asked for is what is left."),
        Mistake(
            76,
            "that counts the connectors' own work as well, and a Q-Former has more of it than an MLP. Asked for is the "
            "language model's alone.",
        ),
        Mistake(
            100,
            "its weights are as many as before, frozen or not. But each of them is used once for every place that is "
            "read, and there are fewer.",
        ),
    ),
)

# ------------------------------------------------------------------------------------------------ 04.clipped


def clipped_precision(candidate: list[str], references: list[list[str]], n: int) -> float:
    counts = _ngrams(candidate, n)
    allowed = Counter()
    for reference in references:
        allowed |= _ngrams(reference, n)
    return sum((counts & allowed).values()) / max(sum(counts.values()), 1)


def _ngrams(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def clipped_in_loops(candidate: list[str], references: list[list[str]], n: int) -> float:
    grams = [tuple(candidate[i : i + n]) for i in range(len(candidate) - n + 1)]
    right = 0
    for gram in set(grams):
        most = max(list(_ngrams(reference, n).elements()).count(gram) for reference in references)
        right += min(grams.count(gram), most)
    return right / len(grams) if grams else 0.0


def _share(allowed, divide=None):
    def answer(candidate, references, n):
        counts = _ngrams(candidate, n)
        right = sum(min(count, allowed(gram, count, references, n)) for gram, count in counts.items())
        size = sum(counts.values()) if divide is None else divide(counts, references, n)
        return right / size if size else 0.0

    return answer


def _most(gram, count, references, n):
    return max(_ngrams(reference, n)[gram] for reference in references)


def _per_word(allowed: Callable[[list[Counter]], Counter]) -> Callable[..., float]:
    """A wrong answer: n-grams are divided by words."""

    def answer(candidate, references, n):
        limits = allowed([_ngrams(reference, n) for reference in references])
        return sum((_ngrams(candidate, n) & limits).values()) / len(candidate)

    return answer


def _words(text: str) -> list[str]:
    return text.split()


CLIPPED = Exercise(
    id="04.clipped",
    title="two bugs in BLEU's clipped precision",
    reread="When is a caption good?",
    solution=clipped_precision,
    verified="repeated words, pairs of words, several references, and a candidate shorter than n",
    cases=(
        (_words("the the the the"), [_words("the star is red")], 1),
        (_words("the the the the"), [_words("the star is on the cross"), _words("the red star")], 1),
        (_words("a red star and a red cross"), [_words("a red star and a cross"), _words("a red cross")], 2),
        (_words("a red star"), [_words("a red star")], 3),
        (_words("two stars"), [_words("two stars")], 3),
        (_words("a star a star"), [_words("a star"), _words("a circle a star and a cross")], 2),
        (_words("one circle"), [_words("two red stars")], 1),
    ),
    alternatives=(clipped_in_loops,),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            _per_word(lambda counts: sum(counts, Counter())),
            "there are two bugs, and here is one. The references are added up, so that “the the the the” gets 3/4: two "
            "for the “the” of one reference, and one for that of another. The other bug does not show in single words.",
            given=True,
        ),
        Mistake(
            _per_word(lambda counts: reduce(or_, counts)),
            "the references are right now. What is left: you divide by the words, and a sentence of seven words has "
            "six pairs and five triples. “a red star” has one triple, which is right, and gets 1/3.",
        ),
        Mistake(
            lambda candidate, references, n: (
                clipped_precision(candidate, references, n) if len(candidate) >= n else 1 / 0
            ),
            "right but for a caption with fewer than n words, which has no n-grams at all: that is a division by zero. "
            "Nothing of it is right, so return 0.",
        ),
        Mistake(
            _share(lambda gram, count, references, n: count * any(_ngrams(r, n)[gram] for r in references)),
            "nothing is clipped: “the the the the” gets 1 for one “the” in the reference. An n-gram counts at most as "
            "often as in the reference that has it most.",
        ),
        Mistake(
            _share(lambda gram, count, references, n: sum(_ngrams(r, n)[gram] for r in references)),
            "you divide by the right number now. What is left: the references are added up, and an n-gram may be used "
            "as often as in the *one* reference that has it most.",
        ),
        Mistake(
            _share(lambda gram, count, references, n: min(_ngrams(r, n)[gram] for r in references)),
            "you clip at the reference that has the n-gram *least*: then it must stand in all of them.",
        ),
        Mistake(
            _share(lambda gram, count, references, n: _ngrams(references[0], n)[gram]),
            "only the first reference is read.",
        ),
        Mistake(
            _share(
                _most,
                lambda counts, references, n: max(sum(_ngrams(r, n).values()) for r in references),
            ),
            "you divide by the n-grams of a reference, which is recall. Precision is a share of the candidate's own.",
        ),
        Mistake(
            lambda candidate, references, n: (
                len(grams & {g for r in references for g in _ngrams(r, n)}) / len(grams)
                if (grams := set(_ngrams(candidate, n)))
                else 0.0
            ),
            "each n-gram is counted once only, however often the candidate says it: repeating costs nothing then.",
        ),
        Mistake(
            lambda candidate, references, n: clipped_precision(candidate, references, 1),
            "these are single words, whatever n is: for n = 2 count pairs that stand side by side.",
        ),
        Mistake(
            _share(_most, lambda counts, references, n: len(counts)),
            "you divide by the number of *different* n-grams. All of the candidate's count, repeated ones too.",
        ),
    ),
)

EXERCISES = [TARGETS, LOOK, READER, CLIPPED]
