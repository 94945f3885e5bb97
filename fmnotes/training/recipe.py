"""How a model is trained, in numbers: the configuration, the schedule of the learning rate, the optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def quick_precision() -> str:
    """ "bf16" where the machine multiplies such numbers, else "float32".

    A processor without instructions for them takes them apart, one by one: with AVX2 alone a product in bf16 took fifty
    times as long as in float32.
    """
    bf16 = torch.cuda.is_available() or (
        torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    return "bf16" if bf16 else "float32"


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; the batches say on what, and in which sizes.

    Args:
        steps: updates of the parameters.
        learning_rate: at its peak, after the warm-up.
        min_learning_rate: where the cosine ends.
        warmup_steps: over which the learning rate rises from 0.
        weight_decay: decoupled (Loshchilov and Hutter 2019), on matrices alone.
        betas: of AdamW: the memories of the gradient's mean and of its square.
        max_norm: gradients together longer than this are scaled down to it; None: never.
        accumulation: batches whose gradients are averaged for one step.
        precision: of the matrix products: "float32", "bf16" (autocast) or "fp16" (autocast and loss scaling). The
            parameters and the optimizer's state stay float32.
        seed: of what is random during training (dropout).
        log_every: steps between two looks at the losses; every step's loss is kept. A GPU waits for each look.
        eval_every: steps between two evaluations; 0: at the end only.
        save_every: steps between two checkpoints; 0: at the end only.

    Raises:
        ValueError: naming the field.
    """

    steps: int
    learning_rate: float = 1e-3
    min_learning_rate: float = 0.0
    warmup_steps: int = 0
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    max_norm: float | None = 1.0
    accumulation: int = 1
    precision: str = "float32"
    seed: int = 0
    log_every: int = 1
    eval_every: int = 0
    save_every: int = 0

    def __post_init__(self):
        for name in ("steps", "accumulation", "log_every"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("weight_decay", "eval_every", "save_every"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        _require(0 <= self.warmup_steps <= self.steps, "warmup_steps", self.warmup_steps, f"0 to {self.steps}, steps")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        low, high = self.min_learning_rate, self.learning_rate
        _require(0 <= low <= high, "min_learning_rate", low, f"0 to {high}, learning_rate")
        _require(self.max_norm is None or self.max_norm > 0, "max_norm", self.max_norm, "above 0, or None")
        _require(self.precision in PRECISIONS, "precision", repr(self.precision), "one of " + ", ".join(PRECISIONS))


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise ValueError(f"TrainingConfig: {name} is {value}, but must be {expected}")


def schedule(step: int, config: TrainingConfig) -> float:
    """The learning rate of a step, counted from 0: up in a line, then down half a cosine (Loshchilov and Hutter 2017).

    The same as transformers' `get_cosine_with_min_lr_schedule_with_warmup`; like there, a warm-up begins at 0.
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    fall = 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_learning_rate + (config.learning_rate - config.min_learning_rate) * fall


def adamw(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over what is to be trained (Loshchilov and Hutter 2019, algorithm 2; its λ is rate × weight_decay).

    Matrices decay, embeddings too; biases, gains and scales do not, as is usual for transformers.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], config.learning_rate, config.betas, fused=True)
