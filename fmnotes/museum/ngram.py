"""An n-gram model: the best that counting can do, and so the baseline of every language model here.

Interpolated Kneser–Ney smoothing with three discounts per order (Chen & Goodman 1999, "modified Kneser–Ney", sec. 3):
the highest order counts how often a token follows its context, a lower one after how many different contexts it does.
"""

import math
import re
from collections.abc import Sequence

import numpy as np

_TOKEN = re.compile(r"\n\n| ?[A-Za-z]+| ?[^A-Za-z]")
END = "<end>"


def words(text: str) -> list[str]:
    """Words and punctuation marks, each with the space before it: joined, they are the text again."""
    return _TOKEN.findall(text)


class NGram:
    """p(token | the order-1 tokens before it), over the tokens of the training texts, an unknown one, and the end.

    A token that was never seen costs the unknown token and its spelling: its UTF-8 bytes and a stop, each 1 of 257.
    """

    def __init__(self, order: int):
        if order < 1:
            raise ValueError(f"an n-gram model has order 1 or more; got {order}")
        self.order = order

    def fit(self, texts: Sequence[Sequence[str]]) -> "NGram":
        """Count. `texts` are lists of tokens; the model knows where they begin and end."""
        if not texts:
            raise ValueError("an n-gram model needs at least one text to count")
        vocabulary = sorted({token for text in texts for token in text})
        self.index = {token: number for number, token in enumerate([END, *vocabulary], start=2)}  # 0 start, 1 unknown
        self.size = len(self.index) + 2
        contexts, tokens = self._windows(texts)
        self._contexts: list[np.ndarray] = []  # per order: the sorted keys of all contexts
        ids = np.zeros(len(tokens), np.int64)  # of the context so far; its key holds the shorter one and one token more
        for back in range(1, self.order):
            keys, ids = np.unique(ids * self.size + contexts[:, -back], return_inverse=True)
            self._contexts.append(keys)
        # The highest order counts; a lower one counts the different grams of the order above that end in it.
        self._tables, ends = [], ids * self.size + tokens
        for order in range(self.order, 0, -1):
            keys, counts = np.unique(ends, return_counts=True)
            self._tables.append(self._table(keys, counts))
            if order > 1:
                shorter = self._contexts[order - 2][keys // self.size] // self.size
                ends = shorter * self.size + keys % self.size
        self._tables.reverse()
        return self

    def _windows(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Every token as a number (n,), and the order-1 numbers before it (n, order-1), 0 before the beginning."""
        lead = self.order - 1
        flat, real = [], []
        for text in texts:
            flat += [0] * lead + [self.index.get(token, 1) for token in text] + [self.index[END]]
            real += [False] * lead + [True] * (len(text) + 1)
        flat, at = np.array(flat, np.int64), np.flatnonzero(real)
        return flat[at[:, None] - np.arange(lead, 0, -1)], flat[at]

    def _table(self, keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, ...]:
        """For one order: gram keys, their discounted counts, and per context the total and the mass set aside."""
        n = [np.count_nonzero(counts == c) for c in range(1, 5)]
        y = n[0] / max(n[0] + 2 * n[1], 1)
        d = [c - (c + 1) * y * n[c] / max(n[c - 1], 1) for c in (1, 2, 3)]
        discount = np.clip(d, 0.1, (0.9, 1.9, 2.9))[np.minimum(counts, 3) - 1]  # clipped, for small counts
        context = keys // self.size
        total = np.bincount(context, counts)
        aside = np.bincount(context, discount)
        return keys, counts - discount, total, aside

    def logprob(self, tokens: Sequence[str]) -> float:
        """log p of a whole text in nats, the end included."""
        p = self._probabilities(*self._windows([tokens]))
        spelling = sum(len(token.encode()) + 1 for token in tokens if token not in self.index)
        return float(np.log(p).sum() - spelling * math.log(257))

    def _probabilities(self, contexts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        p = np.full(len(tokens), 1 / (self.size - 1))  # every token but the start
        ids, known = np.zeros(len(tokens), np.int64), np.ones(len(tokens), bool)
        for order, (keys, counts, total, aside) in enumerate(self._tables):
            if order:
                ids, found = _find(self._contexts[order - 1], ids * self.size + contexts[:, -order])
                known &= found
            at, seen = _find(keys, ids * self.size + tokens)
            share = np.where(seen, counts[at], 0.0)
            p = np.where(known, (share + aside[ids] * p) / total[ids], p)
        return p

    def distribution(self, context: Sequence[str]) -> dict[str, float]:
        """p(token | context) for every token; the unknown one is called ""."""
        before, _ = self._windows([context])  # its last row stands before the end
        p = self._probabilities(np.repeat(before[-1:], self.size - 1, axis=0), np.arange(1, self.size))
        return dict(zip(["", *self.index], p.tolist(), strict=True))


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted key stands in the sorted keys (0 if nowhere), and whether it does."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[at] == wanted
    return np.where(found, at, 0), found
