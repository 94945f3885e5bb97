"""What the experts are for: token types, and whether routing knows more about them than chance would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fmnotes.museum.stories_text import words
from fmnotes.museum.world import COLOURS, SHAPES

TYPES = ("punctuation", "inside a word", "name", "colour", "shape", "number", "function word", "other word")
NUMBERS = set(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand".split()
)
FUNCTION = set(
    "a an the and or but so as if then than that this these those there here it its he him his himself she her hers "
    "herself they them their i you your my me we us our who what which when where why how all some any no not nobody "
    "nothing every each both is was were are be been had has have did do does would could will can must may might in "
    "on at to of for from with without by into over under up down out off about after before until between behind "
    "like at only too very just again".split()
)
NAMES = {name.lower() for name in (*words.GIRLS, *words.BOYS, *words.SURNAMES)} - {"page", "rose"}


def token_type(text: str) -> int:
    """The type of a token by what it says, its place in `TYPES`; " red" is a colour, "red" the end of some word."""
    word = text.strip().lower()
    if not word.replace("-", "").isalpha():
        return TYPES.index("punctuation")
    if text[:1].islower():  # no space before it and no capital: a piece of a word
        return TYPES.index("inside a word")
    groups = {"colour": COLOURS, "shape": SHAPES, "number": NUMBERS, "function word": FUNCTION}
    if text.strip()[0].isupper() and word in NAMES:
        return TYPES.index("name")
    return TYPES.index(next((name for name, group in groups.items() if word in group), "other word"))


def mutual_information(types: Sequence[int], experts: Sequence[int]) -> float:
    """What the expert of a token tells about its type, in bits: Σ p(t, e) log2 p(t, e) / (p(t) p(e)).

    Raises:
        ValueError: no tokens, or not as many types as experts.
    """
    types, experts = _pair(types, experts)
    return _information(
        np.bincount(types * (experts.max() + 1) + experts, minlength=1).astype(float), experts.max() + 1
    )


class Test(NamedTuple):
    """Of a permutation test: what was measured, its mean under chance, and the share of chances that reach it."""

    value: float
    chance: float
    p: float


def permutation_test(ids: Sequence[int], experts: Sequence[int], types: Sequence[int], seed: int, n: int = 500) -> Test:
    """Do experts go by type, or only by word? The types change hands among the words of the vocabulary.

    A router that sends every word somewhere of its own already tells types apart better than none, because a word has
    one type. So chance here leaves the routing of every word as it is and deals the types anew among the words that
    occur, each word keeping all of its tokens: what is above it is shared by the words of a type.

    Args:
        ids: (tokens,) the token ids of a text.
        experts: (tokens,) where each went.
        types: (vocabulary,) the type of each id.
        seed: of the permutations.
        n: how many there are.

    Returns:
        the information in bits, its mean over the permutations, and p = (1 + those that reach it) / (1 + n).
    """
    ids, experts = _pair(ids, experts)
    occurring, place = np.unique(ids, return_inverse=True)
    width = int(experts.max()) + 1
    table = np.bincount(place * width + experts, minlength=len(occurring) * width).reshape(-1, width).astype(float)
    kinds = np.asarray(types)[occurring]

    def information(kinds: np.ndarray) -> float:
        onehot = np.zeros((int(kinds.max()) + 1, len(kinds)))
        onehot[kinds, np.arange(len(kinds))] = 1.0
        return _information((onehot @ table).ravel(), width)

    value, dice = information(kinds), np.random.default_rng(seed)
    chances = np.array([information(dice.permutation(kinds)) for _ in range(n)])
    return Test(value, float(chances.mean()), float((1 + (chances >= value - 1e-12).sum()) / (1 + n)))


def _information(counts: np.ndarray, width: int) -> float:
    rest = -len(counts) % width
    joint = np.pad(counts, (0, rest)).reshape(-1, width) / counts.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log2(joint[some] / apart[some])).sum())


def _pair(a: Sequence[int], b: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a).ravel(), np.asarray(b).ravel()
    if len(a) == 0 or len(a) != len(b):
        raise ValueError(f"there are {len(a)} tokens and {len(b)} experts: one expert for each token, at least one")
    return a, b
