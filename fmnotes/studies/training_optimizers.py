"""Why AdamW? SGD with momentum, Adam with L2 and AdamW on one transformer, each with its own best learning rate.

Each optimizer's learning rate (and penalty, where it has one) is chosen in two rounds: one seed for every point of a
grid, then three seeds for the three best of them, as one seed alone picks points where other seeds fail. AdamW's grid
is the study `training_grid`.

    make study NAME=training_optimizers
"""

import json
from itertools import product

import torch

from fmnotes import ROOT
from fmnotes.studies import nano, training_grid
from fmnotes.training import TrainingConfig, adamw

STUDY = ROOT / "data" / "studies" / "training_optimizers"
RUNS = ROOT / "runs" / "studies" / "training_optimizers"
SEEDS = (0, 1, 2)
STEPS, WARMUP, FINALISTS = 1_000, 50, 3


def sgd(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.SGD:
    """Momentum 0.9; the penalty is L2, which here is decay too."""
    return torch.optim.SGD(_groups(model, config), config.learning_rate, momentum=0.9)


def adam_l2(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.Adam:
    """The penalty's gradient is added to the loss's, and Adam divides both by √v."""
    return torch.optim.Adam(_groups(model, config), config.learning_rate, config.betas, fused=True)


def _groups(model: torch.nn.Module, config: TrainingConfig) -> list[dict]:
    groups = adamw(model, config).param_groups  # matrices are punished, gains and biases are not
    return [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups]


OPTIMIZERS = {"SGD with momentum": sgd, "Adam with L2": adam_l2, "AdamW": adamw}
GRIDS = {  # learning rates × penalties
    "SGD with momentum": list(product([0.03, 0.1, 0.3, 1.0], [0.0])),
    "Adam with L2": list(product([2.5e-3, 5e-3, 1e-2], [1e-4, 1e-3, 1e-2])) + [(1e-2, 1e-5), (2e-2, 1e-4), (5e-3, 0.1)],
    "AdamW": list(product(*training_grid.SPACE.values())),
}


def run(name: str, rate: float, penalty: float, seed: int) -> dict:
    """One run; AdamW's are those of the grid."""
    recipe = TrainingConfig(STEPS, rate, warmup_steps=WARMUP, weight_decay=penalty, seed=seed, log_every=50)
    folder = RUNS / f"{name.replace(' ', '-')}-{rate:g}-{penalty:g}-{seed}"
    if name == "AdamW":
        folder = training_grid.RUNS / f"64-wide-{rate:g}-{penalty:g}-{seed}"
    result = nano.run(folder, recipe, optimizer=OPTIMIZERS[name])
    print(f"{name:20s} {rate:g}  {penalty:g}  seed {seed}  bits {result['bits']}", flush=True)
    return result


def main() -> None:
    found = {}
    for name, grid in GRIDS.items():
        tuned = [[rate, penalty, run(name, rate, penalty, SEEDS[0])["bits"]] for rate, penalty in grid]
        first = sorted((point for point in tuned if point[2] is not None), key=lambda point: point[2])[:FINALISTS]
        finalists = [[*point[:2], [run(name, *point[:2], seed) for seed in SEEDS]] for point in first]
        rate, penalty, best = min(finalists, key=lambda point: sum(seed["bits"] for seed in point[2]))
        found[name] = {
            "tuned": tuned,
            "finalists": [[*point, [seed["bits"] for seed in seeds]] for *point, seeds in finalists],
            "rate": rate,
            "penalty": penalty,
            "best": best,
        }
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "curves.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
