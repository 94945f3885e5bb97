"""Eight bits instead of 32: weights with a scale for each row, keys and values with one for each token and head.

Symmetric rounding to the nearest, q = round(x / s) with s = max|x| / 127 (Dettmers et al. 2022, section 2, "absmax").
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnotes.gpt2 import GPT2

if TYPE_CHECKING:
    from jaxtyping import Float, Int8


def quantize(x: Float[Tensor, "*rows n"]) -> tuple[Int8[Tensor, "*rows n"], Float[Tensor, "*rows 1"]]:
    """Bytes and scales of rows, such that bytes * scales is within half a scale of x.

    Raises:
        ValueError: if x holds NaN or an infinity, for which no scale exists.
    """
    if not torch.isfinite(x).all():
        bad = (~torch.isfinite(x)).sum().item()
        raise ValueError(
            f"{bad:,} of {x.numel():,} numbers are NaN or infinite and have no int8: find where they arose"
        )
    scale = x.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays one
    return (x / scale).round().clamp(-127, 127).to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer that keeps its weight as bytes and a scale for each output, and multiplies in its input's type."""

    def __init__(self, weight: Float[Tensor, "m n"], bias: Float[Tensor, " m"] | None = None):
        super().__init__()
        bytes_, scale = quantize(weight.detach())
        self.register_buffer("weight_int8", bytes_)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def weight(self) -> Float[Tensor, "m n"]:
        """The weight as it is used."""
        return self.weight_int8 * self.scale

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        return F.linear(x, self.weight, self.bias)


class Int8Embedding(Int8Linear):
    """A table of token vectors as bytes; GPT-2 uses it as its output head, too."""

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight_int8[ids] * self.scale[ids]


def with_int8_weights(model: GPT2) -> GPT2:
    """A copy of a model whose matrices are int8: all linear layers and the token table; norms and places stay."""
    small = deepcopy(model)
    for block in small.h:
        for part, name in ((block.attn, "c_attn"), (block.attn, "c_proj"), (block.mlp, "c_fc"), (block.mlp, "c_proj")):
            old = getattr(part, name)
            setattr(part, name, Int8Linear(old.weight, old.bias))
    small.wte = Int8Embedding(model.wte.weight)
    return small


def weight_bytes(model: nn.Module) -> int:
    """Bytes of a model's parameters and buffers."""
    return sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
