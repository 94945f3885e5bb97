"""What a linear map can read of a scene from the vectors of its picture: before a connector, and behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from fmnotes.museum.scenes import GRID
from fmnotes.museum.world import COLOURS, SHAPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor

    from fmnotes.museum.scenes import Scene

FIELDS = GRID * GRID
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the ridge, in means of the Gram matrix's diagonal
NAMES = {"colour": COLOURS, "shape": SHAPES}


def fields(scenes: Sequence[Scene], what: str) -> Int[Tensor, "n fields"]:
    """What stands in each field of each picture, row by row: its number in COLOURS or SHAPES, and −1 for nothing."""
    found = torch.full((len(scenes), FIELDS), -1)
    for n, scene in enumerate(scenes):
        for thing in scene.objects:
            found[n, GRID * thing.row + thing.column] = NAMES[what].index(getattr(thing, what))
    return found


def readable(
    seen: Float[Tensor, "n tokens d"],
    scenes: Sequence[Scene],
    seen_test: Float[Tensor, "m tokens d"],
    scenes_test: Sequence[Scene],
) -> dict[str, float]:
    """Shares of the things in unseen pictures of which a ridge regression on all vectors names colour, shape and place.

    Colour and shape: the likeliest at the field where the thing stands. Place: with k things in the picture, the share
    of them that stand in the k fields where the map says "something" loudest. The strength of the ridge is the best for
    the last fifth of the pictures to learn from; then the map is fitted to all of them.
    """
    result = {}
    for what in NAMES:
        labels, labels_test = fields(scenes, what), fields(scenes_test, what)
        target = F.one_hot(labels + 1, len(NAMES[what]) + 1)[..., 1:].flatten(1)
        guess = _ridge(seen, target, labels, seen_test)
        result[what] = _named(guess, labels_test)
    result["place"] = _placed(guess.unflatten(1, (FIELDS, -1)).sum(-1), labels_test)
    return {what: result[what] for what in ("place", *NAMES)}


def _ridge(
    seen: Float[Tensor, "n tokens d"],
    target: Float[Tensor, "n numbers"],
    labels: Int[Tensor, "n fields"],
    seen_test: Float[Tensor, "m tokens d"],
) -> Float[Tensor, "m numbers"]:
    """Ridge regression in its dual form, for there are fewer pictures than numbers in each."""
    x, x_test = seen.flatten(1).double(), seen_test.flatten(1).double()
    centre, scale = x.mean(0), x.std(0) + 1e-6
    x, x_test, y = (x - centre) / scale, (x_test - centre) / scale, target.double()

    def fitted(train: slice, strength: float, vectors: Tensor) -> Tensor:
        gram = x[train] @ x[train].T
        gram += strength * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        mean = y[train].mean(0)
        return vectors @ (x[train].T @ torch.linalg.solve(gram, y[train] - mean)) + mean

    cut = len(x) - len(x) // 5
    held_out = {s: _named(fitted(slice(cut), s, x[cut:]), labels[cut:]) for s in STRENGTHS}
    return fitted(slice(None), max(held_out, key=held_out.get), x_test)


def _named(guess: Float[Tensor, "m numbers"], labels: Int[Tensor, "m fields"]) -> float:
    full = labels >= 0
    return float((guess.unflatten(1, (FIELDS, -1)).argmax(-1) == labels)[full].double().mean())


def _placed(loudness: Float[Tensor, "m fields"], labels: Int[Tensor, "m fields"]) -> float:
    full = labels >= 0
    rank = loudness.argsort(1, descending=True).argsort(1)
    return float((rank < full.sum(1, keepdim=True))[full].double().mean())
