"""A frozen linear map whose weights are stored in a code, and computed when they are needed (QLoRA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnotes.quantization.blockwise import Quantised, dequantise, quantise

if TYPE_CHECKING:
    from jaxtyping import Float


class QuantLinear(nn.Module):
    """W x + b, W in a code (Dettmers et al. 2023, equation 5, without its low-rank part).

    W is never trained and is no parameter. What is dequantised is not kept for the backward pass, which computes it
    again: a layer costs its codes, and one layer's W at a time.

    Args:
        linear: the map; its bias stays as it is.
        name, block, double: as for `quantise`.
    """

    def __init__(self, linear: nn.Linear, name: str = "nf4", block: int = 64, double: bool = True):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.quantised = quantise(linear.weight, name, block, double)
        self.dtype = linear.weight.dtype
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone(), requires_grad=False)

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """The weight that the codes stand for, computed now."""
        return dequantise(self.quantised).to(self.dtype)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return _Frozen.apply(x, self.quantised, self.dtype, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, code={self.quantised.name}"


class _Frozen(torch.autograd.Function):
    """F.linear with a dequantised weight, of which the backward pass keeps only the codes."""

    @staticmethod
    def forward(ctx, x: Tensor, quantised: Quantised, dtype: torch.dtype, bias: Tensor | None) -> Tensor:
        ctx.quantised, ctx.dtype = quantised, dtype
        return F.linear(x, dequantise(quantised).to(dtype), bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient @ dequantise(ctx.quantised).to(ctx.dtype), None, None, None


def quantise_model(
    model: nn.Module, targets: Sequence[str], name: str = "nf4", block: int = 64, double: bool = True
) -> nn.Module:
    """Put a QuantLinear in the place of every linear map whose name ends in a target; changed in place."""
    from fmnotes.lora.model import inject

    inject(model, targets, lambda linear: QuantLinear(linear, name, block, double))
    return model


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights: parameters, and codes with their constants."""
    coded = sum(m.quantised.nbytes for m in model.modules() if isinstance(m, QuantLinear))
    return coded + sum(p.nbytes for p in model.parameters())
