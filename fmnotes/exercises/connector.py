"""The exercises of 04_connector: a picture among words, what is to be learned, how queries look, who may look at whom,
what their reader saves, and two bugs in a clipped precision.
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
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

# ------------------------------------------------------------------------------------------------- 04.splice


def splice(
    ids: Int[Tensor, " time"], visual: Float[Tensor, "v d"], table: Float[Tensor, "words d"], image: int
) -> Float[Tensor, "time d"]:
    vectors = table[ids]
    vectors[ids == image] = visual
    return vectors


def splice_word_by_word(ids, visual, table, image):
    following = iter(visual)
    return torch.stack([next(following) if token == image else table[token] for token in ids.tolist()])


def _filled(fill):
    """A wrong answer: what fills the picture's places is made of its tokens, the table's vectors there, and where."""

    def answer(ids, visual, table, image):
        vectors, places = table[ids], (ids == image).nonzero()[:, 0]
        vectors[places] = fill(visual, vectors[places], places)
        return vectors

    return answer


def _at_the_first_place(ids, visual, table, image):
    first = ids.tolist().index(image)
    return torch.cat([table[ids[:first]], visual, table[ids[first:]]])


def _prompt(ids: list[int], image: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """A case: words with vectors 0, 1; 2, 3; …, and visual tokens 100, 101; 102, 103; …"""
    visual = 100.0 + torch.arange(2.0 * ids.count(image)).view(-1, 2)
    return torch.tensor(ids), visual, torch.arange(12.0).view(6, 2), image


SPLICE = Exercise(
    id="04.splice",
    title="a picture among words",
    reread="A picture among words",
    solution=splice,
    verified="a picture of one token and of several, at the beginning, at the end, and with words in between",
    cases=tuple(
        _prompt(ids, image) for ids, image in (([4, 3], 3), ([3, 3, 5], 3), ([0, 4, 0], 0), ([1, 3, 3, 2, 3, 5], 3))
    ),
    alternatives=(
        splice_word_by_word,
        lambda ids, visual, table, image: table[ids].masked_scatter((ids == image)[:, None], visual),
    ),
    mistakes=(
        Mistake(
            _filled(lambda visual, words, places: visual[0]),
            "every place got the *first* visual token. The n-th place is the n-th token's: count the places, or take "
            "`next` of an iterator.",
        ),
        Mistake(
            _filled(lambda visual, words, places: visual[-1]),
            "every place got the *last* visual token, as it happens if they are written into the image token's row of "
            "the table, one over the other. Write into the row of vectors.",
        ),
        Mistake(
            _filled(lambda visual, words, places: torch.cat([visual[:1], words[1:]])),
            "only the first place holds a visual token; the others still have the image token's vector.",
        ),
        Mistake(_filled(lambda visual, words, places: visual.flip(0)), "the visual tokens stand in reverse order."),
        Mistake(
            _filled(lambda visual, words, places: visual.mean(0)),
            "every place got the mean of the visual tokens, so that the model sees one grey patch. Each is to keep its "
            "own.",
        ),
        Mistake(
            _filled(lambda visual, words, places: words + visual),
            "the visual tokens are added to the image token's own vector. They are to *replace* it: the table is not "
            "asked there.",
        ),
        Mistake(
            lambda ids, visual, table, image: torch.cat([visual, table[ids]]),
            "the picture stands before the prompt, and its places still hold the image token's vector: the row has "
            "become longer than ids. It belongs into the places.",
        ),
        Mistake(
            lambda ids, visual, table, image: torch.cat([visual, table[ids[ids != image]]]),
            "as many vectors as ids, but the picture has been moved to the front. It belongs where its places are, "
            "between the words if they are there.",
        ),
        Mistake(
            _at_the_first_place,
            "the picture was put in where its first place is, and the places were kept behind it: the row has become "
            "longer than ids. Each visual token *takes* a place.",
        ),
        Mistake(
            lambda ids, visual, table, image: table[ids],
            "all vectors come from the table, the image token's too: the model sees no picture.",
        ),
        Mistake(
            lambda ids, visual, table, image: table[ids[ids != image]],
            "the image tokens are left out, and nothing stands for them: there are fewer vectors than ids.",
        ),
        Mistake(
            _filled(lambda visual, words, places: visual[torch.arange(len(places)) + 1]),
            "IndexError, as it happens if the places are counted from 1: the first visual token is visual[0], and the "
            "last place asks for one that is not there.",
        ),
        Mistake(
            _filled(lambda visual, words, places: visual[places]),
            "the visual token is taken by its place in the row, which is right where the picture comes first, and else "
            "an IndexError. Count the *image tokens* before it.",
        ),
    ),
)

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


# ------------------------------------------------------------------------------------------- 04.qformer_mask


def qformer_mask(n_queries: int, n_text: int) -> Bool[Tensor, "places places"]:
    mask = torch.ones(n_queries + n_text, n_queries + n_text, dtype=torch.bool).tril()
    mask[:n_queries, :n_queries] = True
    return mask


def mask_by_places(n_queries: int, n_text: int) -> list[list[bool]]:
    places = range(n_queries + n_text)
    return [[j < n_queries or n_queries <= j <= i for j in places] for i in places]


def _mask(from_queries, to_queries, text, queries=torch.ones):
    """A wrong answer in four parts: what queries see of the text, it of them, it of itself, and they of themselves."""

    def answer(q, t):
        rows = [[queries(q, q), from_queries(q, t)], [to_queries(t, q), text(torch.ones(t, t))]]
        return torch.cat([torch.cat(row, 1) for row in rows]).bool()

    return answer


def _same(x: Tensor) -> Tensor:
    return x


def _square(q: int, t: int) -> Tensor:
    return torch.ones(q + t, q + t, dtype=torch.bool)


QFORMER_MASK = Exercise(
    id="04.qformer_mask",
    title="who may look at whom in a Q-Former",
    reread="A Q-Former",
    solution=qformer_mask,
    verified="one query and several, one word and several, no text, and no queries: then it is the causal mask of 02",
    cases=((1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (3, 2), (2, 0), (0, 3)),
    alternatives=(mask_by_places, _mask(torch.zeros, torch.ones, torch.tril)),
    mistakes=(
        Mistake(
            lambda q, t: _square(q, t).tril(),
            "that is the causal mask of 02, for the queries too: the first of them may not look at the second. Queries "
            "have no order, and all see each other.",
        ),
        Mistake(
            lambda q, t: _square(q, t),
            "everything is open. That is the mask for matching, where nothing is to be said; here a word would see the "
            "one that it is to predict.",
        ),
        Mistake(
            _mask(torch.zeros, torch.zeros, _same),
            "queries and text do not see each other: that is the mask for the contrast. Whoever is to say what is in "
            "the picture must hear from the queries.",
        ),
        Mistake(
            lambda q, t: qformer_mask(q, t).T,
            "the mask lies on its side: rows are for those that look, columns for what they look at. As it is, the "
            "queries see the text, and a word only what comes after it.",
        ),
        Mistake(
            lambda q, t: ~qformer_mask(q, t),
            "True and False are swapped: True is asked for where a place may look.",
        ),
        Mistake(
            _mask(torch.ones, torch.ones, torch.tril),
            "the queries see the text. That is a leak by a detour: a query reads the whole text, each word reads the "
            "query in the next layer, and so its own future.",
        ),
        Mistake(
            _mask(torch.zeros, torch.ones, lambda x: x.tril(-1)),
            "a word may look at itself, and yours sees only the words before it.",
        ),
        Mistake(
            _mask(torch.zeros, torch.ones, lambda x: x.tril(1)),
            "one too far: each word sees the next one, which is the very word that it is to predict.",
        ),
        Mistake(
            _mask(torch.zeros, torch.ones, _same),
            "the words see the words after them, the ones to be predicted: the text's own corner must be causal.",
        ),
        Mistake(
            _mask(torch.zeros, torch.ones, torch.zeros_like),
            "the words see the queries only, and neither themselves nor what was said before.",
        ),
        Mistake(
            _mask(torch.zeros, torch.zeros, torch.tril),
            "the words do not see the queries: that is a language model without a picture.",
        ),
        Mistake(
            _mask(torch.zeros, torch.ones, torch.tril, lambda n, _: torch.eye(n)),
            "each query sees itself alone, so that they cannot share the work. Queries see each other.",
        ),
        Mistake(
            lambda q, t: qformer_mask(q, t).roll((t, t), (0, 1)),
            "the text stands before the queries. Asked for are the queries first: rows and columns 0 to n_queries − 1.",
        ),
        Mistake(
            lambda q, t: torch.zeros(q + t, q + t).masked_fill(~qformer_mask(q, t), -math.inf),
            "this is the mask that is added to the scores, 0 and −∞. Asked for is the truth behind it: `mask == 0`.",
        ),
        Mistake(
            lambda q, t: qformer_mask(q, t).float(),
            "every entry is in its place, but they are numbers, 1 and 0, and attention would add them to the scores. "
            "`.bool()`, or dtype=torch.bool from the start.",
        ),
    ),
)

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

EXERCISES = [SPLICE, TARGETS, LOOK, QFORMER_MASK, READER, CLIPPED]
