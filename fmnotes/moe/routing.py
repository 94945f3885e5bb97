"""Which experts a token goes to, with which weights, and what happens where an expert is full."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class Routing(NamedTuple):
    """Where T tokens go: each to k of E experts, best first."""

    logits: Float[Tensor, "tokens expert"]
    experts: Int[Tensor, "tokens k"]
    weights: Float[Tensor, "tokens k"]  # of the experts' outputs in the sum; 0 where there was no room
    kept: Bool[Tensor, "tokens k"] | None = None  # None: there was room for all

    @property
    def probabilities(self) -> Float[Tensor, "tokens expert"]:
        return self.logits.softmax(-1)


def route(logits: Float[Tensor, "tokens expert"], top_k: int, renormalise: bool = True) -> Routing:
    """The top_k experts of each token, by p = softmax(logits), computed at least in float32.

    Args:
        renormalise: divide the chosen experts' probabilities by their sum (Jiang et al. 2024, section 2.1); else the
            weights are the probabilities (Fedus et al. 2022, equation 2).

    Raises:
        ValueError: no tokens, or more experts for each than there are.
    """
    if logits.ndim != 2 or logits.shape[0] == 0:
        raise ValueError(
            f"router logits have the shape {tuple(logits.shape)}: (tokens, experts) with at least one token"
        )
    if not 1 <= top_k <= logits.shape[1]:
        raise ValueError(
            f"top_k = {top_k} experts for each token, but there are {logits.shape[1]}: choose 1 to that many"
        )
    p = logits.softmax(-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    weights, experts = p.topk(top_k, dim=-1)
    if renormalise:
        weights = weights / weights.sum(-1, keepdim=True)
    return Routing(logits, experts, weights)


def capacity_of(tokens: int, n_expert: int, top_k: int = 1, factor: float = 1.25) -> int:
    """Places of each expert: ⌈factor · T k / E⌉ (Fedus et al. 2022, equation 3; with k as in Lepikhin et al. 2021)."""
    if factor <= 0:
        raise ValueError(
            f"a capacity factor of {factor} leaves no room: it must be above 0, and 1 is enough if all share"
        )
    return math.ceil(factor * tokens * top_k / n_expert)


def limited(routing: Routing, capacity: int) -> Routing:
    """The same with at most `capacity` tokens an expert; what finds no place is dropped and gets the weight 0.

    First choices find their place before second ones (Lepikhin et al. 2021, algorithm 1), and among equals the token
    that comes first in the text. The dropped token passes by the layer, on the residual stream.

    Raises:
        ValueError: a capacity below 1.
    """
    if capacity < 1:
        raise ValueError(f"a capacity of {capacity} tokens drops them all: give each expert at least one place")
    tokens, k = routing.experts.shape
    queue = routing.experts.T.flatten()  # all first choices, then all second ones
    arrivals = torch.nn.functional.one_hot(queue, routing.logits.shape[1]).cumsum(0)
    place = arrivals.gather(1, queue[:, None])[:, 0]  # 1 for the first that came to this expert
    kept = (place <= capacity).view(k, tokens).T
    return routing._replace(weights=routing.weights * kept, kept=kept)


def load(routing: Routing) -> Float[Tensor, " expert"]:
    """The share of all assignments that goes to each expert, before any is dropped; 1 / E each where all share."""
    return routing.experts.flatten().bincount(minlength=routing.logits.shape[1]) / routing.experts.numel()
