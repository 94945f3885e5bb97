"""Muon for the matrices inside a network, AdamW for its embeddings, norms and biases.

A step of Adam rescales each entry by itself. Muon (Jordan et al. 2024) looks at the matrix as a whole: it replaces the
averaged gradient G = U S Vᵀ by U Vᵀ, so that all of its directions, also the rare and small ones, are stepped along
equally far. `torch.optim.Muon` computes the same step, but of matrices alone, and one after another.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmnotes.training.recipe import PRECISIONS, TrainingConfig, quick_precision

if TYPE_CHECKING:
    from jaxtyping import Float

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the polynomial a x + b x³ + c x⁵ that drives singular values towards 1


def orthogonalised(matrix: Float[Tensor, "n m"], steps: int = 5) -> Float[Tensor, "n m"]:
    """U Vᵀ of a matrix U S Vᵀ, roughly: singular values come to lie between about 0.7 and 1.2 (Newton and Schulz).

    Products only, in bfloat16 where that is quick, as Jordan et al. compute it; the exact matrix takes a singular value
    decomposition.
    """
    a, b, c = COEFFICIENTS
    x = matrix.to(PRECISIONS[quick_precision()])
    x = x.T if len(x) > x.shape[1] else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if len(matrix) > matrix.shape[1] else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Steps that `train` can take: `train(..., optimizer=Muon)`.

    Matrices move by rate · 0.2 √(longer side) · U Vᵀ, which is as far, in the root mean square of their entries, as
    AdamW moves them at the same rate (Liu et al. 2025, section 2.2); and they alone decay.

    Args:
        model: its parameters with two dimensions are matrices, but for those of `nn.Embedding`.
        config: gives the rate, the decay, and the betas of AdamW.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig):
        tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        trained = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in trained if p.ndim == 2 and id(p) not in tables]
        others = [p for p in trained if p.ndim != 2 or id(p) in tables]
        groups = [
            {"params": matrices, "matrices": True, "weight_decay": config.weight_decay},
            {"params": others, "matrices": False, "weight_decay": 0.0},
        ]
        super().__init__([g for g in groups if g["params"]], {"lr": config.learning_rate, "betas": config.betas})

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient; matrices on all cores at once, each of them on one."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not group["matrices"]:
                for p in parameters:
                    self._adamw(p, group)
                continue
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda p, group=group: self._muon(p, group), parameters))

    @torch.no_grad()
    def _muon(self, p: Tensor, group: dict) -> None:
        state = self.state[p]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(p)
        mean = state["momentum_buffer"].lerp_(p.grad, 1 - MOMENTUM)
        direction = orthogonalised(p.grad.lerp(mean, MOMENTUM))  # Nesterov's look ahead
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(direction, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)

    @torch.no_grad()
    def _adamw(self, p: Tensor, group: dict) -> None:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        t = state["step"].item()
        mean = state["exp_avg"].lerp_(p.grad, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        size = (square / (1 - beta2**t)).sqrt_().add_(1e-8)
        p.addcdiv_(mean, size, value=-group["lr"] / (1 - beta1**t))
