"""What the attention heads of a model look at, and which of them read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from fmnotes.gpt2.model import GPT2


@torch.inference_mode()
def attention_weights(model: GPT2, ids: Int[Tensor, " time"]) -> Float[Tensor, "layer head time time"]:
    """softmax(q kᵀ / √d) of every head: entry [l, h, t, s] is how much position t looks at position s ≤ t.

    A training or generating model never holds these tables; here they are computed for one text.
    """
    x, tables = model.wte(ids[None]) + model.wpe.weight[: len(ids)], []
    future = torch.ones(len(ids), len(ids), dtype=torch.bool, device=ids.device).triu(1)
    for block in model.h:
        qkv = block.attn.c_attn(block.ln_1(x)).view(len(ids), 3, block.attn.n_head, -1).permute(1, 2, 0, 3)
        scores = qkv[0] @ qkv[1].mT / qkv.shape[-1] ** 0.5
        tables.append(scores.masked_fill(future, -torch.inf).softmax(-1))
        x = block(x)
    return torch.stack(tables)


def copying(model: GPT2, ids: Int[Tensor, " time"], copied: Sequence[tuple[int, int]]) -> Float[Tensor, "layer head"]:
    """How much of its attention each head gives to the token that is to be copied, on average.

    A head that looks, when a token is to be predicted, at an earlier place of that very token is what copying is made
    of: an induction head (Olsson et al. 2022).

    Args:
        copied: pairs (position of the token that is predicted, position of the token that it repeats).
    """
    weights = attention_weights(model, ids)
    return torch.stack([weights[:, :, to - 1, source] for to, source in copied]).mean(0)
