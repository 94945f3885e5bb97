"""How good a ranking is. `relevant` maps the right pages to their grades, 1 where there is only right and wrong."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence


def recall(found: Sequence[Hashable], relevant: Mapping[Hashable, int], k: int) -> float:
    """The share of the right pages that is among the first k."""
    right = _right(relevant)
    return len(right & set(found[:k])) / len(right)


def ndcg(found: Sequence[Hashable], relevant: Mapping[Hashable, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002), with the grades as gains, as in trec_eval.

    Σ grade / log2(rank + 1) over the first k, divided by what the best order gives.
    """
    _right(relevant)
    gains = [max(0, relevant.get(item, 0)) for item in found[:k]]
    best = sorted((grade for grade in relevant.values() if grade > 0), reverse=True)[:k]
    return _discounted(gains) / _discounted(best)


def reciprocal_rank(found: Sequence[Hashable], relevant: Mapping[Hashable, int]) -> float:
    """1/rank of the first right page; 0 if there is none. Its mean over questions is MRR."""
    right = _right(relevant)
    return next((1 / rank for rank, item in enumerate(found, start=1) if item in right), 0.0)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _right(relevant: Mapping[Hashable, int]) -> set:
    right = {item for item, grade in relevant.items() if grade > 0}
    if not right:
        raise ValueError("no page is right for this question, so nothing can be measured: leave it out")
    return right
