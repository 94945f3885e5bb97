"""What the temperature and the size of the batch do to contrastive learning: the quick towers, three seeds.

All runs see the same number of pairs, the same ones for each seed: 16,384 pictures three times, with a new caption each
time. Beside recall: how close pairs come and how evenly the rest is spread (Wang and Isola 2020), the length of the
gradient, and what it costs when a batch holds the same scene twice with the same caption.

    make study NAME=clip_contrast
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from fmnotes import ROOT, clip, metrics
from fmnotes.studies.museum_pairs import MuseumPairs, best, examined, loss, spread
from fmnotes.training import Muon, TrainingConfig, quick_precision, train

STUDY = ROOT / "data" / "studies" / "clip_contrast"
RUNS = ROOT / "runs" / "studies" / "clip_contrast"
SEEDS, PAIRS, POOL, LOOKS, POINTS = 3, 48 * 1024, 16 * 1024, 4, 24
TEMPERATURES, SIZES = (0.01, 0.03, 0.07, 0.2, 1.0), (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Arm:
    """A way of training; the defaults are the one that all others are compared with."""

    size: int = 128  # pairs in a batch
    temperature: float | None = None  # None: learned, from 0.07
    doubles: bool = False  # every scene twice in a batch, drawn anew, with the same caption
    rate: float = 1e-2  # of Muon for a batch of 128; in proportion to the root of the size


BASE = Arm()
ARMS = {"learned": BASE}
ARMS |= {f"τ = {t:g}": replace(BASE, temperature=t) for t in TEMPERATURES}
ARMS |= {f"{size} pairs": replace(BASE, size=size) for size in SIZES if size != BASE.size}
ARMS |= {"every scene twice": replace(BASE, doubles=True)}


def run(name: str, seed: int) -> dict:
    """Train an arm, or read what an earlier run found."""
    file, arm = RUNS / f"{name.replace(' ', '_')}-{seed}.json", ARMS[name]
    if file.exists():
        return json.loads(file.read_text())
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = clip.CLIP(clip.CLIPConfig.quick())
    if arm.temperature:
        model.logit_scale.requires_grad_(False).fill_(math.log(1 / arm.temperature))
    steps, rate = PAIRS // arm.size, arm.rate * math.sqrt(arm.size / BASE.size)
    recipe = TrainingConfig(
        steps,
        rate,
        min_learning_rate=rate / 20,
        warmup_steps=steps // 20,
        precision=quick_precision(),
        seed=seed,
        log_every=1,
        eval_every=max(1, steps // LOOKS),
    )
    batches = MuseumPairs(arm.size, pool=POOL, doubles=arm.doubles, seed=seed)
    lines = train(model, loss, batches, recipe, evaluate=lambda m: examined(m) | spread(m), optimizer=Muon)
    looks = [line for line in lines if "scale" in line]
    steps_ = [line for line in lines if "loss" in line]
    result = {key: [round(line[key], 4) for line in looks] for key in looks[0]}
    for key in ("loss", "grad_norm"):
        parts = np.array_split([line[key] for line in steps_], min(POINTS, len(steps_)))
        result[key] = [round(float(np.mean(part)), 4) for part in parts]
    result["largest gradient"] = round(max(line["grad_norm"] for line in steps_), 3)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result))
    return result


def main() -> None:
    """Run what has not been run yet, two at a time, and write down what came of it."""
    jobs = [(name, seed) for seed in range(SEEDS) for name in ARMS]
    with ProcessPoolExecutor(2) as pool:
        results = dict(zip(jobs, pool.map(run, *zip(*jobs, strict=True)), strict=True))
    key, arms = "validation, caption to scene, recall@1", {}
    for name, arm in ARMS.items():
        of_seeds = [results[name, seed] for seed in range(SEEDS)]
        arms[name] = {"arm": asdict(arm), "seeds": of_seeds, "difference": None}
        last = [found[key][-1] for found in of_seeds]
        arms[name]["recall@1"] = metrics.seed_interval(last)._asdict()
        if name != "learned":
            base = [results["learned", seed][key][-1] for seed in range(SEEDS)]
            arms[name]["difference"] = metrics.difference_interval(last, base)._asdict()
    STUDY.mkdir(parents=True, exist_ok=True)
    found = {"pairs": PAIRS, "ceiling": best("validation", 500), "arms": arms}
    found = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 4))
    (STUDY / "curves.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
