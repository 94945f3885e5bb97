"""Vectors, and what faiss finds them with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import faiss
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

EF_CONSTRUCTION = 200


def new_index(width: int, m: int | None) -> faiss.Index:
    """Of inner products: exact, or HNSW."""
    if m is None:
        return faiss.IndexFlatIP(width)
    index = faiss.IndexHNSWFlat(width, m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EF_CONSTRUCTION
    return index


def unit_rows(vectors: Sequence[Sequence[float]]) -> Float[np.ndarray, "n e"]:
    """Vectors of length 1, in float32.

    Raises:
        ValueError: if one is zero or not finite.
    """
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(length).all() or not length.all():
        row = int(np.flatnonzero(~np.isfinite(length[:, 0]) | (length[:, 0] == 0))[0])
        raise ValueError(f"vector {row} has the length {length[row, 0]} and points nowhere: see the embedding")
    return vectors / length
