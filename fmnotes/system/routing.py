"""What a question needs, and what it points at: the two things that are read off its words."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice

from fmnotes import retrieval
from fmnotes.museum import knowledge, questions
from fmnotes.museum.referents import REFERENT, referent

SIGHT, ONE_HOP, TWO_HOPS = "sight", "one hop", "two hops"
KINDS = {SIGHT: 0, ONE_HOP: 1, TWO_HOPS: 2}  # what a question needs, and how many pages that are
RARE, NAME = 5, "·"  # words that come less often stand for names, and all names for one
FIELDS = {"colour": "What colour is {it}?", "shape": "What shape is {it}?"}  # what names an exhibit


class Router:
    """What a question needs, by its words: naive Bayes (Maron 1961), with one added to each count.

    The signs that it counts are words, and two and three of them in a row. A word that comes less than RARE times in
    all examples is most likely a name: such words are one sign, NAME, whatever they are.

    Args:
        examples: questions of each kind.
    """

    def __init__(self, examples: Mapping[str, Sequence[str]]):
        words = Counter(word for texts in examples.values() for text in texts for word in retrieval.terms(text))
        self.common = {word for word, number in words.items() if number >= RARE}
        counts = {
            kind: Counter(sign for text in texts for sign in self.signs(text)) for kind, texts in examples.items()
        }
        self.known = set().union(*counts.values())
        self.logs = {}
        for kind, count in counts.items():
            total = sum(count.values()) + len(self.known)
            self.logs[kind] = {sign: math.log((count[sign] + 1) / total) for sign in self.known}

    def signs(self, question: str) -> list[str]:
        """A question's words, with NAME for rare ones, then all two and all three neighbours."""
        words = [word if word in self.common else NAME for word in retrieval.terms(question)]
        return [" ".join(words[start : start + n]) for n in (1, 2, 3) for start in range(len(words) - n + 1)]

    def __call__(self, question: str) -> str:
        """The likeliest kind.

        Raises:
            ValueError: if no word of the question is common.
        """
        if not self.common & set(retrieval.terms(question)):
            raise ValueError(
                f"no word of {question[:60]!r} is known here: ask in English, about a picture or about the museums"
            )
        heard = [sign for sign in self.signs(question) if sign in self.known]
        return max(self.logs, key=lambda kind: sum(self.logs[kind][sign] for sign in heard))


@lru_cache(maxsize=1)
def router(number: int = 1_000) -> Router:
    """Taught by so many questions about pictures and so many about museums, all of the training split."""
    examples = defaultdict(list)
    for row in islice(questions.stream("train"), number):
        examples[SIGHT].append(row["question"])
    for row in islice(knowledge.stream("train"), number):
        examples[TWO_HOPS if row["type"] == "two_hop" else ONE_HOP].append(row["question"])
    return Router(examples)


def pointed_at(question: str) -> str:
    """The longest words that point at a thing and leave its colour or shape open; empty if there are none.

    "the object left of the blue star", "the lowest large star"; but not "the red star", which says what it is.
    """
    texts = [match.group() for match in re.finditer(REFERENT, question)]
    return max((text for text in texts if referent(text) and not all(said(text).values())), key=len, default="")


def said(text: str) -> dict[str, str]:
    """Colour and shape, as far as words that point say them."""
    thing = referent(text).what
    return {name: getattr(thing, name) for name in FIELDS}
