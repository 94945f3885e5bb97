"""Search by words: BM25."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

WORD = re.compile(r"\w+(?:-\w+)*")


def terms(text: str) -> list[str]:
    """The words of a text in lower case; what hyphens join, such as an accession code, is one word."""
    return WORD.findall(text.lower())


STOP = frozenset(  # Lucene's list of English words that say nothing about a text
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with".split()
)


def english(text: str) -> list[str]:
    """The words of an English text without the commonest ones, cut to their stems (Porter 1980): "made" stays, "makes"
    and "making" become "make".
    """
    return [_stem(word) for word in terms(text) if word not in STOP]


@lru_cache(maxsize=1 << 20)
def _stem(word: str) -> str:
    return _porter().stemWord(word)


@lru_cache(maxsize=1)
def _porter():
    import snowballstemmer

    return snowballstemmer.stemmer("porter")


class BM25:
    """How much a text's words say about a page (Robertson and Zaragoza 2009, equation 3.15), as in rank_bm25.

    A word that stands in more than half of the pages would have a negative weight; it gets a quarter of the mean
    weight instead.

    Args:
        pages: as lists of words.
        k1: how soon a word that comes again adds nothing more: at 0, at once.
        b: how far a long page is held to say everything more often: from 0, not at all, to 1.

    Raises:
        ValueError: if k1 is negative, or b is not between 0 and 1.
    """

    def __init__(self, pages: Sequence[Sequence[str]], k1: float = 1.5, b: float = 0.75):
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"k1 must be 0 or more and b between 0 and 1; got {k1} and {b}")
        self.n, self.weights = len(pages), {}
        length = np.array([len(page) for page in pages], dtype=float)
        postings = defaultdict(list)
        for number, page in enumerate(pages):
            for word, frequency in Counter(page).items():
                postings[word].append((number, frequency))
        idf = {word: math.log((self.n - len(found) + 0.5) / (len(found) + 0.5)) for word, found in postings.items()}
        floor = 0.25 * sum(idf.values()) / max(1, len(idf))
        for word, found in postings.items():
            where, frequency = np.array(found).T
            slower = k1 * (1 - b + b * length[where] / length.mean())
            weight = idf[word] if idf[word] >= 0 else floor
            self.weights[word] = where, weight * frequency * (k1 + 1) / (frequency + slower)

    def scores(self, words: Sequence[str]) -> Float[np.ndarray, " n"]:
        """The score of every page for these words; 0 where none of them stands."""
        scores = np.zeros(self.n)
        for word in words:
            if word in self.weights:
                where, weight = self.weights[word]
                scores[where] += weight
        return scores
