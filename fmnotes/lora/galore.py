"""GaLore: all weights are trained, but Adam remembers their gradients in a small subspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def subspace(gradient: Float[Tensor, "m n"], rank: int) -> Float[Tensor, "k rank"]:
    """The directions in which a gradient is largest: its first singular vectors on its shorter side, k = min(m, n).

    (Zhao et al. 2024, definition 3.4 and section 4: one side is enough, and the shorter one is cheaper.)

    Raises:
        ValueError: if the rank is not between 1 and min(m, n), or the gradient is not finite.
    """
    m, n = gradient.shape
    if not 1 <= rank <= min(m, n):
        raise ValueError(f"rank {rank} does not suit a gradient of {m} × {n}: choose one from 1 to {min(m, n)}")
    if not torch.isfinite(gradient).all():
        raise ValueError("the gradient is not finite, so it has no singular vectors: lower the rate, or clip")
    short = gradient if m <= n else gradient.T
    return torch.linalg.svd(short, full_matrices=False)[0][:, :rank].contiguous()


class GaLoreAdamW(torch.optim.Optimizer):
    """AdamW for matrices through a projection (Zhao et al. 2024, algorithm 2): R = Pᵀ G, and W ← W − η α P Adam(R).

    P is found anew every `every` steps, from that step's gradient; Adam's means stay as they are then, as in the
    paper. Vectors, and matrices of a shorter side within `rank`, get plain Adam.

    Args:
        parameters: what is trained.
        lr: η.
        rank: directions kept of each gradient.
        every: T, steps from one projection to the next.
        scale: α of the paper; it multiplies the step of what was projected.
        betas, eps: Adam's.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        rank: int,
        every: int = 200,
        scale: float = 0.25,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        if rank < 1 or every < 1:
            raise ValueError(f"rank and every must be at least 1, not {rank} and {every}")
        defaults = {"lr": lr, "rank": rank, "every": every, "scale": scale, "betas": betas, "eps": eps}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict) -> None:
        state, gradient = self.state[parameter], parameter.grad
        t = state["step"] = state.get("step", 0) + 1
        projected = gradient.ndim == 2 and min(gradient.shape) > group["rank"]
        tall = projected and gradient.shape[0] > gradient.shape[1]
        if projected:
            if (t - 1) % group["every"] == 0:
                state["P"] = subspace(gradient, group["rank"])
            gradient = state["P"].T @ (gradient.T if tall else gradient)
        if t == 1:
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        beta1, beta2 = group["betas"]
        mean = state["mean"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        change = mean / (1 - beta1**t) / ((square / (1 - beta2**t)).sqrt() + group["eps"])
        if projected:
            change = group["scale"] * state["P"] @ change
        parameter.add_(change.T if tall else change, alpha=-group["lr"])

    def state_bytes(self) -> int:
        """What the optimizer keeps between two steps."""
        return sum(v.nbytes for state in self.state.values() for v in state.values() if isinstance(v, Tensor))
