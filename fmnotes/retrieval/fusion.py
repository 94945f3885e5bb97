"""Several rankings made one, and a ranking made less repetitive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def rrf(rankings: Sequence[Sequence[Hashable]], k: int = 60) -> dict[Hashable, float]:
    """Reciprocal rank fusion (Cormack et al. 2009): Σ over rankings of 1/(k + rank), ranks from 1; the best first.

    It reads places only, so scores of different kinds can be put together.

    Raises:
        ValueError: if k is negative, or a ranking holds something twice.
    """
    if k < 0:
        raise ValueError(f"k must be 0 or more, not {k}")
    scores = defaultdict(float)
    for ranking in rankings:
        if len(set(ranking)) < len(ranking):
            raise ValueError("a ranking holds something twice: keep its best place")
        for rank, item in enumerate(ranking, start=1):
            scores[item] += 1 / (k + rank)
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def mmr(query: Float[np.ndarray, " e"], pages: Float[np.ndarray, "n e"], k: int, relevance: float = 0.5) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): pages that are near the query and not near each other.

    One after another, the page with the largest λ cos(query, page) − (1 − λ) max cos(page, a page that is taken).

    Args:
        relevance: λ, from 0, anything new, to 1, the nearest pages.

    Returns:
        numbers of min(k, n) pages, in the order in which they are taken.
    """
    if not 0 <= relevance <= 1:
        raise ValueError(f"relevance must lie between 0 and 1, not at {relevance}")
    pages = pages / np.linalg.norm(pages, axis=1, keepdims=True)
    near = pages @ (query / np.linalg.norm(query))
    taken, nearest = [], np.full(len(pages), -np.inf)
    for _ in range(min(k, len(pages))):
        worth = near if not taken else relevance * near - (1 - relevance) * nearest
        worth = worth.copy()
        worth[taken] = -np.inf
        taken.append(int(worth.argmax()))
        nearest = np.maximum(nearest, pages @ pages[taken[-1]])
    return taken
