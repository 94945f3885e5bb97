"""The experts: a feed-forward layer cut into several, of which a token visits few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnotes.moe.routing import Routing, limited, route

if TYPE_CHECKING:
    from jaxtyping import Float


def swiglu(x: Float[Tensor, "*n d"], gate_up: Float[Tensor, "two_f d"], down: Float[Tensor, "d f"]) -> Tensor:
    """W_d (silu(W_g x) ⊙ W_u x), with W_g above W_u in one matrix (Shazeer 2020, equation 6)."""
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, down)


def dispatch(
    x: Float[Tensor, "tokens d"],
    routing: Routing,
    gate_up: Float[Tensor, "expert two_f d"],
    down: Float[Tensor, "expert d f"],
) -> Float[Tensor, "tokens d"]:
    """Σ w_i FFN_i(x) over each token's experts, with the tokens sorted by expert.

    Sorted, an expert's tokens lie side by side: one product an expert, whatever the number of tokens, and no look at
    the experts one by one for who goes where (Gale et al. 2023, section 5).
    """
    n_expert, k = gate_up.shape[0], routing.experts.shape[1]
    visits = routing.experts.flatten()
    if routing.kept is not None:
        visits = visits.masked_fill(~routing.kept.flatten(), n_expert)  # sorted behind all others
    order = visits.argsort(stable=True)
    counts = visits.bincount(minlength=n_expert + 1)[:n_expert]
    order = order[: int(counts.sum())]
    token = order if k == 1 else order.div(k, rounding_mode="floor")
    if not len(order):
        return torch.zeros_like(x)
    made = (_grouped if _can_group(x, gate_up) else _one_by_one)(x[token], counts, gate_up, down)
    weights = routing.weights.flatten()[order, None].to(made.dtype)
    return torch.zeros_like(x, dtype=made.dtype).index_add(0, token, made * weights).to(x.dtype)


def _one_by_one(rows: Tensor, counts: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The experts' outputs for rows sorted by expert, expert after expert."""
    # unbind: one gradient for all experts' weights together; indexing would make a table of zeros for each.
    experts = zip(rows.split(counts.tolist()), gate_up.unbind(0), down.unbind(0), strict=True)
    return torch.cat([swiglu(part, up, out) for part, up, out in experts if len(part)])


def _grouped(rows: Tensor, counts: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The same in two calls, which walk over the experts inside of PyTorch."""
    ends = counts.cumsum(0).to(torch.int32)
    gate, up = F.grouped_mm(rows, gate_up.mT, offs=ends).chunk(2, dim=-1)
    return F.grouped_mm(F.silu(gate) * up, down.mT, offs=ends)


def _can_group(x: Tensor, gate_up: Tensor) -> bool:
    """Whether PyTorch's grouped product takes these: a newer version, float32 or half, rows of whole 16 bytes."""
    known = hasattr(F, "grouped_mm") and x.dtype in (torch.float32, torch.bfloat16) and x.dtype == gate_up.dtype
    if not known or torch.is_autocast_enabled(x.device.type) or x.shape[1] % 8 or gate_up.shape[1] % 16:
        return False
    return x.device.type == "cpu" or torch.cuda.get_device_capability(x.device) >= (8, 0)


class Gate(nn.Module):
    """The router's weights, under the name of `transformers`: gate.weight (E, D)."""

    def __init__(self, n_expert: int, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_expert, d_model) * 0.02)


class Experts(nn.Module):
    """The experts' weights, under the names of `transformers`: gate_up_proj (E, 2F, D), down_proj (E, D, F)."""

    def __init__(self, n_expert: int, d_model: int, d_ff: int):
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.randn(n_expert, 2 * d_ff, d_model) * 0.02)
        self.down_proj = nn.Parameter(torch.randn(n_expert, d_model, d_ff) * 0.02)


class MoE(nn.Module):
    """A router and its experts; in the place of a feed-forward layer (Shazeer et al. 2017, equation 1).

    Its state dict is that of `transformers`' MixtralSparseMoeBlock.
    """

    def __init__(self, d_model: int, d_ff: int, n_expert: int, top_k: int, renormalise: bool = True):
        super().__init__()
        if not 1 <= top_k <= n_expert:
            raise ValueError(f"top_k = {top_k} experts for each token, but there are {n_expert}: choose 1 to that many")
        self.top_k, self.renormalise = top_k, renormalise
        self.gate = Gate(n_expert, d_model)
        self.experts = Experts(n_expert, d_model, d_ff)

    def forward(
        self,
        x: Float[Tensor, "*batch d_model"],
        routings: list[Routing] | None = None,
        capacity: int | None = None,
    ) -> Float[Tensor, "*batch d_model"]:
        """The weighted sum of each token's experts.

        Args:
            routings: a list, to which where the tokens went is added.
            capacity: places of each expert in this batch; None: as many as come.

        Raises:
            ValueError: an empty batch, or tokens of another width.
        """
        width = self.gate.weight.shape[1]
        if x.shape[-1] != width:
            raise ValueError(f"tokens are {x.shape[-1]} wide, the experts read vectors of {width}")
        flat = x.reshape(-1, width)
        with torch.autocast(x.device.type, enabled=False):  # which expert wins is decided in full precision
            weight = self.gate.weight
            routing = route(F.linear(flat.to(weight.dtype), weight), self.top_k, self.renormalise)
        if capacity is not None:
            routing = limited(routing, capacity)
        if routings is not None:
            routings.append(routing)
        return dispatch(flat, routing, self.experts.gate_up_proj, self.experts.down_proj).view(x.shape)
