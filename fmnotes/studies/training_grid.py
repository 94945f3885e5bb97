"""Learning rate × weight decay, sixteen pairs, as an Optuna study in a file; then which of it holds for a larger model.

The study is in `runs/studies/training_grid/optuna.db` (SQLite): stopped, it goes on with the pairs that are missing.

    make study NAME=training_grid
"""

import json
from functools import partial
from itertools import product

import optuna

from fmnotes import ROOT
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.studies import nano
from fmnotes.training import TrainingConfig

STUDY = ROOT / "data" / "studies" / "training_grid"
RUNS = ROOT / "runs" / "studies" / "training_grid"
SEEDS = (0, 1, 2)
STEPS, WARMUP = 1_000, 50
SPACE = {"learning_rate": [2.5e-3, 5e-3, 1e-2, 2e-2], "weight_decay": [0.0, 0.1, 0.3, 1.0]}
LARGER = GPT2Config(4096, 128, d_model=128, n_layer=6, n_head=4)  # 1,730,560 parameters, four times as many
LARGER_PAIRS = [(1.25e-3, 0.1), (2.5e-3, 0.1), (5e-3, 0.1), (1e-2, 0.1), (2.5e-3, 1.0), (5e-3, 1.0)]
BEST = 3  # pairs that are run with the other seeds too


def bits(rate: float, decay: float, seed: int, shape: GPT2Config | None = None) -> float:
    """Bits per byte of held-out stories after one run."""
    recipe = TrainingConfig(STEPS, rate, warmup_steps=WARMUP, weight_decay=decay, seed=seed, log_every=50)
    shape = shape or GPT2Config.nano()
    folder = RUNS / f"{shape.d_model}-wide-{rate:g}-{decay:g}-{seed}"
    result = nano.run(folder, recipe, partial(GPT2, shape))
    print(f"{shape.d_model} wide  {rate:g}  {decay:g}  seed {seed}  bits {result['bits']}", flush=True)
    return result["bits"]


def search() -> optuna.Study:
    """All pairs with the first seed. A trial is written when it has ended, so that one cut short leaves no trace."""
    RUNS.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{RUNS / 'optuna.db'}", study_name="training_grid", load_if_exists=True
    )
    choices = {name: optuna.distributions.CategoricalDistribution(values) for name, values in SPACE.items()}
    done = [tuple(trial.params[name] for name in SPACE) for trial in study.trials]
    for pair in product(*SPACE.values()):
        if pair not in done:
            params = dict(zip(SPACE, pair, strict=True))
            study.add_trial(optuna.create_trial(params=params, distributions=choices, value=bits(*pair, SEEDS[0])))
    return study


def main() -> None:
    trials = search().trials
    grid = sorted((trial.params["learning_rate"], trial.params["weight_decay"], trial.value) for trial in trials)
    best = sorted(grid, key=lambda pair: pair[2])[:BEST]
    curves = {
        "grid": grid,
        "best": [[rate, decay, [bits(rate, decay, seed) for seed in SEEDS]] for rate, decay, _ in best],
        "larger": [[rate, decay, bits(rate, decay, SEEDS[0], LARGER)] for rate, decay in LARGER_PAIRS],
    }
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    main()
