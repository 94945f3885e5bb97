"""What does each connector see, and what does it cost? Four of them, taught the same between the same towers.

    make study NAME=connector_kinds

At matched steps, on the same pictures and questions; at matched operations, where those that make fewer visual tokens
may take more steps; and with the language model frozen or adapted. Three seeds. Towers and pictures are those of
`connector_museum`.
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

from fmnotes import ROOT, clip, metrics
from fmnotes.connector import KINDS, VisionLanguageModel, probes
from fmnotes.museum import Scene, questions
from fmnotes.studies.connector_museum import STAGES, Recipe, between, patches, taught, towers
from fmnotes.studies.museum_looks import SEED, MuseumLooks, exam, examined, loss, picture
from fmnotes.studies.museum_rows import stories_bits

STUDY = ROOT / "data" / "studies" / "connector_kinds"
RUNS = ROOT / "runs" / "studies" / "connector_kinds"
SEEDS, EXAM, STORIES, POINTS = 3, 600, 32, 16
RECIPE = Recipe(50, 250)
PROBED = 1000  # pictures from which the linear probes learn


@dataclass(frozen=True)
class Arm:
    """A way to teach a connector; the defaults are the one that all others are compared with."""

    kind: str
    matched: str = "steps"  # or "operations": as many as the MLP takes
    adapted: bool = True  # the language model in the second stage


ARMS = {kind: Arm(kind) for kind in KINDS}
ARMS |= {f"{kind}, longer": Arm(kind, "operations") for kind in ("resampler", "qformer")}
ARMS |= {"qformer, frozen": Arm("qformer", adapted=False)}


@lru_cache(maxsize=8)
def operations(kind: str) -> float:
    """Floating-point operations of a step of the second stage behind the picture tower, counted by torch.

    Fused attention is left out.
    """
    model = between(kind, *towers())
    model.adapt(RECIPE.rank)
    batch = MuseumLooks(model.config.n_tokens, RECIPE.pictures, turns=RECIPE.turns, patches=patches())[0]
    with FlopCounterMode(display=False) as counter:
        loss(model, batch).backward()
    return counter.get_total_flops()


@torch.inference_mode()
def probed(model: VisionLanguageModel | None) -> dict[str, float]:
    """What a linear map reads of place, colour and shape from what a connector passes on, or from the patches."""
    images, rows = exam("test", EXAM)
    learned = [picture(SEED, n)[2] for n in range(PROBED)]
    asked_of = [Scene.from_row(row) for row in rows]
    visual = towers()[0]
    tested = torch.cat([visual.patches(clip.pixel_values(part)) for part in np.array_split(images, -(-EXAM // 64))])
    views = [torch.from_numpy(patches()[:PROBED].astype(np.float32)), tested]
    if model is not None:
        views = [model.connector(view) for view in views]
    found = probes.readable(views[0], learned, views[1], asked_of)
    return {f"probe, {what}": share for what, share in found.items()}


def recipe(arm: Arm) -> Recipe:
    """The arm's steps and ranks."""
    more = operations("mlp") / operations(arm.kind) if arm.matched == "operations" else 1.0
    steps = {stage: round(getattr(RECIPE, stage) * more) for stage in STAGES}
    return replace(RECIPE, **steps, rank=RECIPE.rank if arm.adapted else 0)


def run(name: str, seed: int) -> dict:
    """Teach an arm, or read what an earlier run found."""
    title, arm = f"{name.replace(', ', '-')}-{seed}", ARMS[name]
    file = RUNS / f"{title}.json"
    if file.exists():
        return json.loads(file.read_text())
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = between(arm.kind, *towers())
    lines = taught(model, recipe(arm), seed, RUNS / title, patches())
    result = examined(model, ("test", "composition"), EXAM) | probed(model)
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
        "patches": probed(None),
        "stories before, bits per byte": stories_bits(towers()[1], STORIES),
        "arms": arms,
    }
    STUDY.mkdir(parents=True, exist_ok=True)
    found = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 4))
    (STUDY / "curves.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
