"""What does each connector see, and what does it cost? Four of them, taught the same between the same towers.

    make study NAME=connector_kinds

At matched steps, on the same pictures and questions; at matched operations, where those that make fewer visual tokens
may take more steps; and with the language model frozen or adapted. Three seeds. The language model is the small one:
with gpt2-museum each of these runs would take hours. The frozen picture tower looks at each picture once.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from fmnotes import ROOT, metrics
from fmnotes.connector import KINDS
from fmnotes.museum import questions
from fmnotes.studies.connector_museum import Recipe, between, taught, towers
from fmnotes.studies.museum_looks import MuseumLooks, examined, loss, seen
from fmnotes.studies.museum_rows import stories_bits

STUDY = ROOT / "data" / "studies" / "connector_kinds"
RUNS = ROOT / "runs" / "studies" / "connector_kinds"
LANGUAGE = "gpt2-museum-small"
PICTURES = 8192  # shown again and again, with new questions
SEEDS, EXAM, STORIES, POINTS = 3, 600, 32, 16
RECIPE = Recipe(200, 800)


@dataclass(frozen=True)
class Arm:
    """A way to teach a connector; the defaults are the one that all others are compared with."""

    kind: str
    matched: str = "steps"  # or "operations": as many as the MLP takes
    adapted: bool = True  # the language model in the second stage


ARMS = {kind: Arm(kind) for kind in KINDS}
ARMS |= {f"{kind}, longer": Arm(kind, "operations") for kind in ("resampler", "qformer")}
ARMS |= {f"{kind}, frozen": Arm(kind, adapted=False) for kind in ("mlp", "qformer")}


@lru_cache(maxsize=1)
def patches() -> np.ndarray:
    """What the picture tower makes of the pictures: computed once, then read from the disk as it is needed."""
    file = RUNS / "patches.npy"
    if not file.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        half = file.with_name("half-written.npy")
        np.save(half, seen(towers(LANGUAGE)[0], PICTURES))
        half.replace(file)
    return np.load(file, mmap_mode="r")


@lru_cache(maxsize=8)
def operations(kind: str) -> float:
    """Floating-point operations of a step of the second stage behind the picture tower, counted by torch.

    Fused attention is left out.
    """
    model = between(kind, *towers(LANGUAGE))
    model.adapt(RECIPE.rank)
    batch = MuseumLooks(model.config.n_tokens, RECIPE.pictures, turns=RECIPE.turns, patches=patches())[0]
    with FlopCounterMode(display=False) as counter:
        loss(model, batch).backward()
    return counter.get_total_flops()


def recipe(arm: Arm) -> Recipe:
    """The arm's steps and ranks."""
    more = operations("mlp") / operations(arm.kind) if arm.matched == "operations" else 1.0
    steps = {stage: round(getattr(RECIPE, stage) * more) for stage in ("align", "instruct")}
    return replace(RECIPE, **steps, rank=RECIPE.rank if arm.adapted else 0)


def run(name: str, seed: int) -> dict:
    """Teach an arm, or read what an earlier run found."""
    title, arm = f"{name.replace(', ', '-')}-{seed}", ARMS[name]
    file = RUNS / f"{title}.json"
    if file.exists():
        return json.loads(file.read_text())
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = between(arm.kind, *towers(LANGUAGE))
    lines = taught(model, recipe(arm), seed, RUNS / title, patches())
    result = examined(model, ("test", "composition"), EXAM)
    looks = [line for line in lines["instruct"] if "validation, mean" in line]
    result["validation, mean"] = [line["validation, mean"] for line in looks]
    captions = [line for line in lines["align"] if "validation, CIDEr" in line][-1]
    result |= {key: captions[f"validation, {key}"] for key in ("BLEU-4", "CIDEr")}
    for stage in lines:
        losses = [line["loss"] for line in lines[stage] if "loss" in line]
        result[f"{stage}, loss"] = [float(np.mean(part)) for part in np.array_split(losses, min(POINTS, len(losses)))]
    result["stories, bits per byte"] = stories_bits(model.language, STORIES)
    model.save_pretrained(RUNS / title / "model", torch.float16)
    for stage in lines:
        shutil.rmtree(RUNS / title / stage)
    file.write_text(json.dumps(result))
    return result


def main() -> None:
    """Run what has not been run yet, two at a time, and write down what came of it."""
    jobs = [(name, seed) for seed in range(SEEDS) for name in ARMS]
    patches()
    with ProcessPoolExecutor(2) as pool:
        results = dict(zip(jobs, pool.map(run, *zip(*jobs, strict=True)), strict=True))
    arms = {}
    for name, arm in ARMS.items():
        of_seeds = [results[name, seed] for seed in range(SEEDS)]
        arms[name] = {"arm": asdict(arm) | asdict(recipe(arm)), "operations": operations(arm.kind), "seeds": of_seeds}
        for split in ("test", "composition"):
            shares = [found[f"{split}, mean"] for found in of_seeds]
            base = [results["mlp", seed][f"{split}, mean"] for seed in range(SEEDS)]
            arms[name][split] = metrics.seed_interval(shares)._asdict()
            if name != "mlp":
                arms[name][f"{split}, difference"] = metrics.difference_interval(shares, base)._asdict()
    found = {
        "types": list(questions.TYPES),
        "stories before, bits per byte": stories_bits(towers(LANGUAGE)[1], STORIES),
        "arms": arms,
    }
    STUDY.mkdir(parents=True, exist_ok=True)
    found = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 4))
    (STUDY / "curves.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
