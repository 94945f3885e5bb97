"""What was each ingredient of training for? GPT-2 nano without one at a time, three seeds each.

make study NAME=training_ingredients
"""

import json
import math
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from fmnotes import ROOT
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.gpt2.loss import linear_cross_entropy
from fmnotes.studies import nano
from fmnotes.training import TrainingConfig

STUDY = ROOT / "data" / "studies" / "training_ingredients"
RUNS = ROOT / "runs" / "studies" / "training_ingredients"
SEEDS = (0, 1, 2)
STEPS, WARMUP = 1_000, 50
RATES = (5e-3, 2e-2)  # the recipe's own, and four times as much
DEEP = 12


class Untied(GPT2):
    """A GPT-2 whose output head is a matrix of its own."""

    def __init__(self, config: GPT2Config):
        super().__init__(config)
        self.lm_head = nn.Parameter(0.02 * torch.randn(config.vocab_size, config.d_model))

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.hidden_states(input_ids) @ self.lm_head.T

    def loss(self, input_ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return linear_cross_entropy(self.hidden_states(input_ids).flatten(0, 1), self.lm_head, targets.flatten())


def plainly_initialised(config: GPT2Config) -> GPT2:
    """A GPT-2 all of whose matrices start at 0.02, those that write to the residual stream too."""
    model = GPT2(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("c_proj.weight"):
                parameter.mul_(math.sqrt(2 * config.n_layer))
    return model


def decay_all(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW that decays gains and biases as it does matrices."""
    return torch.optim.AdamW(model.parameters(), config.learning_rate, config.betas, weight_decay=config.weight_decay)


def arms() -> dict[str, tuple[dict, dict]]:
    """Name → what it changes in the recipe, and in the run (its model or optimizer)."""
    shape = GPT2Config.nano()
    deep = replace(shape, n_layer=DEEP)
    common = {
        "all of them": ({}, {}),
        "no warm-up": ({"warmup_steps": 0}, {}),
        "no cosine": ({"min_learning_rate": None}, {}),  # None: the rate stays at its peak
        "no clipping": ({"max_norm": None}, {}),
        "no residual scaling": ({}, {"model": partial(plainly_initialised, shape)}),
        "no weight tying": ({}, {"model": partial(Untied, shape)}),
        "bf16 products": ({"precision": "bf16"}, {}),
        "no weight decay": ({"weight_decay": 0.0}, {}),
    }
    chosen = {(name, rate): arm for rate in RATES for name, arm in common.items()}
    low = RATES[0]
    chosen["bf16 parameters", low] = ({}, {"model": lambda: GPT2(shape).to(torch.bfloat16)})
    for rate in RATES:
        chosen["12 blocks", rate] = ({}, {"model": partial(GPT2, deep)})
        chosen["12 blocks, no residual scaling", rate] = ({}, {"model": partial(plainly_initialised, deep)})
    chosen["decay 1", low] = ({"weight_decay": 1.0}, {})
    chosen["decay 1, of all", low] = ({"weight_decay": 1.0}, {"optimizer": decay_all})
    return chosen


def run_arm(name: str, rate: float, change: dict, run: dict, seed: int) -> dict:
    """One arm with one seed."""
    change = change | ({"min_learning_rate": rate} if change.get("min_learning_rate", 0.0) is None else {})
    recipe = TrainingConfig(STEPS, rate, warmup_steps=WARMUP, seed=seed, log_every=50)
    folder = RUNS / f"{name.replace(' ', '-').replace(',', '')}-{rate:g}-{seed}"
    return nano.run(folder, replace(recipe, **change), **run)


def main() -> None:
    found = {}
    for seed in SEEDS:  # all arms once, then once more: a study that is stopped early has something to say
        for (name, rate), (change, run) in arms().items():
            result = run_arm(name, rate, change, run, seed)
            found.setdefault(f"{name} @ {rate:g}", []).append(result)
            print(f"{name:32s} {rate:g}  seed {seed}  bits {result['bits']}", flush=True)
    STUDY.mkdir(parents=True, exist_ok=True)
    curves = {"tokens": STEPS * nano.BATCH_SIZE * GPT2Config.nano().context_length, "arms": found}
    (STUDY / "curves.json").write_text(json.dumps(curves) + "\n")


if __name__ == "__main__":
    main()
