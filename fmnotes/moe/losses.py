"""Two losses that keep a router in order: one for even loads, one for small logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fmnotes.moe.routing import Routing, load

if TYPE_CHECKING:
    from jaxtyping import Float


def balancing_loss(routings: Sequence[Routing]) -> Float[Tensor, ""]:
    """E Σ f_i P_i, the mean over the layers; 1 where all experts share evenly, up to E where one gets all.

    f_i is the share of assignments that expert i gets, P_i its mean probability; only P has a gradient (Fedus et al.
    2022, equations 4 to 6, there with k = 1). transformers' Mixtral does not divide by k, so its loss is k times
    this for one layer; and it pools the layers before it multiplies, so that uneven layers can cancel out.

    Raises:
        ValueError: no layer has a router.
    """
    _check(routings)
    shares = ((load(r) * r.probabilities.mean(0)).sum() * r.logits.shape[1] for r in routings)
    return torch.stack(list(shares)).mean()


def z_loss(routings: Sequence[Routing]) -> Float[Tensor, ""]:
    """The mean of (log Σ exp z)² over tokens and layers: logits that grow cost (Zoph et al. 2022, equation 5).

    Raises:
        ValueError: no layer has a router.
    """
    _check(routings)
    return torch.stack([r.logits.logsumexp(-1).square().mean() for r in routings]).mean()


def _check(routings: Sequence[Routing]) -> None:
    if not routings:
        raise ValueError("there is no routing to judge: a dense model has no router; collect with routings=[]")
