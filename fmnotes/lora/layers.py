"""Layers that stand in the place of a frozen linear map and learn a small change of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


class LoRALinear(nn.Module):
    """W x + b + s B A x, where only A and B are learned (Hu et al. 2022, equation 3).

    B starts at 0, so that at first nothing changes; A starts uniform in ±1/√in, as in `peft`. The scale s is alpha/r,
    or alpha/√r where `rs` is set (rsLoRA, Kalajdzievski 2023, theorem 3.2).

    Args:
        base: the frozen map: an nn.Linear, or a layer with `weight` (out, in), `bias`, `in_features`, `out_features`.
        rank: rows of A, columns of B.
        alpha: how large the update may be, whatever the rank.
        rs: whether to divide by the rank's root.

    Raises:
        ValueError: if the rank is not between 1 and the smaller side of the matrix, or alpha is not positive.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, rs: bool = False):
        super().__init__()
        check_rank(rank, base)
        if not alpha > 0:
            raise ValueError(f"alpha is {alpha}, but must be above 0: with 0 the update would never count")
        self.base = base.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.scale = alpha / (math.sqrt(rank) if rs else rank)
        like = _dense(base)
        self.A = nn.Parameter(like.new_empty(rank, base.in_features))
        self.B = nn.Parameter(like.new_zeros(base.out_features, rank))
        nn.init.uniform_(self.A, -(base.in_features**-0.5), base.in_features**-0.5)

    def update(self) -> Float[Tensor, "out in"]:
        """s B A."""
        return self.scale * self.B @ self.A

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return self.base(x) + self.scale * F.linear(F.linear(x, self.A), self.B)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One nn.Linear that computes the same."""
        return as_linear(_dense(self.base) + self.update(), self.base.bias)


class DoRALinear(LoRALinear):
    """m ∘ V/‖V‖ with V = W + s B A: a length m for each output, and a direction (Liu et al. 2024, equation 5).

    Rows of our weight (out, in) are the paper's columns. m starts as the rows' lengths, so that at first nothing
    changes. The length ‖V‖ counts as a constant in the backward pass (section 4.3), as in `peft`.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, rs: bool = False):
        super().__init__(base, rank, alpha, rs)
        self.m = nn.Parameter(_dense(base).detach().norm(dim=1))

    def lengths(self) -> Float[Tensor, " out"]:
        """‖V‖ of each row."""
        return (_dense(self.base) + self.update()).norm(dim=1)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        with torch.no_grad():
            lengths = self.lengths()
        bias = self.base.bias
        y = super().forward(x) - (0 if bias is None else bias)
        y = y * (self.m / lengths)
        return y if bias is None else y + bias

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        weight = _dense(self.base) + self.update()
        return as_linear(weight * (self.m / weight.norm(dim=1))[:, None], self.base.bias)


class IA3Linear(nn.Module):
    """A frozen map whose outputs, or inputs, are each multiplied by a learned number (IA3, Liu et al. 2022).

    The numbers start at 1.

    Args:
        base: as for `LoRALinear`.
        inputs: scale what goes in (the paper's l_ff, before the second map of an MLP) rather than what comes out (its
            l_k and l_v).
    """

    def __init__(self, base: nn.Linear, inputs: bool = False):
        super().__init__()
        self.base, self.inputs = base.requires_grad_(False), inputs
        self.scale = nn.Parameter(_dense(base).new_ones(base.in_features if inputs else base.out_features))

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return self.base(x * self.scale) if self.inputs else self.base(x) * self.scale

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One nn.Linear that computes the same: columns, or rows and bias, multiplied."""
        weight, bias = _dense(self.base), self.base.bias
        if self.inputs:
            return as_linear(weight * self.scale, bias)
        return as_linear(weight * self.scale[:, None], None if bias is None else bias * self.scale)


class Bottleneck(nn.Module):
    """y + U gelu(D y + d) + u behind a frozen map y = base(x) (adapters, Houlsby et al. 2019, section 2.1).

    U starts at 0, so that at first nothing changes. What bends in between cannot be merged into one matrix.

    Args:
        base: as for `LoRALinear`: the map that writes into the residual stream.
        width: of the bottleneck.
    """

    def __init__(self, base: nn.Linear, width: int):
        super().__init__()
        if width < 1:
            raise ValueError(f"the bottleneck's width is {width}, but must be at least 1")
        self.base = base.requires_grad_(False)
        like = _dense(base)
        self.down = nn.Linear(base.out_features, width, device=like.device, dtype=like.dtype)
        self.up = nn.Linear(width, base.out_features, device=like.device, dtype=like.dtype)
        nn.init.normal_(self.down.weight, std=0.02)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        y = self.base(x)
        return y + self.up(F.gelu(self.down(y)))


def check_rank(rank: int, base: nn.Linear) -> None:
    """Raise ValueError unless a matrix of this shape can have an update of this rank."""
    most = min(base.in_features, base.out_features)
    if not 1 <= rank <= most:
        shape = f"{base.out_features} × {base.in_features}"
        raise ValueError(
            f"rank {rank} does not suit a matrix of {shape}: its updates have ranks from 1 to {most}; "
            f"at {most} an update is as free as the matrix itself, and has more parameters"
        )


def as_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """An nn.Linear of this weight and bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


def _dense(base: nn.Module) -> Tensor:
    """The base's weight (out, in); a quantised layer computes it when asked."""
    return base.weight
