"""connector-museum: the four connectors of notebook 04, between clip-museum and gpt2-museum-small.

    make study NAME=connector_museum

Two stages (Liu et al. 2023, section 4.2), and two more. First the connector alone learns to make the language model
say captions; then it learns to make it answer questions, and low-rank updates of the language model learn with it.
Then both learn to write down what is where, and to compare places and sizes step by step; and at last they answer
questions again. The towers' own weights never change; the picture tower looks at each picture once. Stopped at any
moment, the same command goes on where it was; a kind that `exam.json` has is not taught again. The connectors are
written to `data/checkpoints/connector-museum`, in half precision.
"""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmnotes import ROOT, clip, data
from fmnotes.connector import ConnectorConfig, VisionLanguageModel
from fmnotes.gpt2 import GPT2
from fmnotes.museum import prompt
from fmnotes.studies.museum_looks import MuseumLooks, captioned, examined, loss, seen
from fmnotes.studies.museum_rows import encoded
from fmnotes.training import Muon, TrainingConfig, quick_precision, train

if TYPE_CHECKING:
    from pathlib import Path

STUDY = ROOT / "data" / "studies" / "connector_museum"
RUNS = ROOT / "runs" / "studies" / "connector_museum"
SHIPPED = ROOT / "data" / "checkpoints" / "connector-museum"
LANGUAGE = "gpt2-museum-small"
SPLITS = ("test", "composition")
STAGES = {"align": 1.0, "instruct": 1.0, "places": 0.75, "again": 0.75}  # parts of the learning rate
PICTURES, EXAM = 16_384, 600  # shown again and again, with new questions; and questions to be examined with


@dataclass(frozen=True)
class Recipe:
    """How a connector is taught. A step holds `pictures` × `turns` captions or questions."""

    align: int  # steps of the first stage
    instruct: int  # of the second
    places: int = 0  # of the third
    again: int = 0  # and of the last
    rank: int = 8  # of the language model's updates from the second on; 0: none
    rate: float = 2e-3  # at the peak; three quarters of it from the third stage on
    pictures: int = 32
    turns: int = 4


RECIPES = {kind: Recipe(150, 2500, 1300, 800, rank=16, turns=6) for kind in ("mlp", "qformer", "resampler", "linear")}


@lru_cache(maxsize=1)
def towers() -> tuple[clip.VisionTransformer, GPT2]:
    """Those that are shipped; all connectors share them."""
    visual = clip.CLIP.from_pretrained(data.checkpoint("clip-museum")).visual.eval()
    return visual, GPT2.from_pretrained(data.checkpoint(LANGUAGE)).eval()


@lru_cache(maxsize=1)
def patches() -> np.ndarray:
    """What the picture tower makes of the pictures: computed once, then read from the disk as it is needed."""
    file = RUNS / "patches.npy"
    if not file.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        half = file.with_name("half-written.npy")
        np.save(half, seen(towers()[0], PICTURES))
        half.replace(file)
    return np.load(file, mmap_mode="r")


def between(kind: str, visual: clip.VisionTransformer, language: GPT2) -> VisionLanguageModel:
    """A new connector between two towers."""
    sizes = visual.config.vision_d_model, language.config.d_model, visual.config.n_patches
    config = ConnectorConfig(kind, *sizes, n_head=visual.config.vision_n_head)
    return VisionLanguageModel(visual, config, language, encoded(prompt.IMAGE)[0])


def taught(
    model: VisionLanguageModel, recipe: Recipe, seed: int, folder: Path, patches: np.ndarray
) -> dict[str, list[dict]]:
    """Train a connector through its stages, or go on with it; and the lines of their logs.

    Args:
        patches: of pictures that are shown again and again, as for `MuseumLooks`.
    """
    lines = {}
    for number, stage in enumerate(stage for stage in STAGES if getattr(recipe, stage)):
        steps, rate = getattr(recipe, stage), recipe.rate * STAGES[stage]
        if stage == "instruct" and recipe.rank:
            model.adapt(recipe.rank)
        config = TrainingConfig(
            steps,
            rate,
            min_learning_rate=rate / 20,
            warmup_steps=max(1, steps // 20),
            precision=quick_precision(),
            seed=seed,
            log_every=10,
            eval_every=max(1, steps // 4),
            save_every=max(1, steps // 4),
        )
        seeds = len(STAGES) * seed + number
        batches = MuseumLooks(model.config.n_tokens, recipe.pictures, stage, recipe.turns, seeds, patches)
        look = captioned if stage == "align" else examined
        lines[stage] = train(model, loss, batches, config, folder / stage, evaluate=look, optimizer=Muon)
    model.eval()
    return lines


def shipped(kind: str) -> dict[str, float]:
    """Teach a connector, ship it, and examine it: shares of right answers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = between(kind, *towers())
    taught(model, RECIPES[kind], 0, RUNS / kind, patches())
    model.save_pretrained(SHIPPED / kind, torch.float16)
    return {name: round(share, 4) for name, share in examined(model, SPLITS, number=EXAM).items()}


def main() -> None:
    """Teach those that `exam.json` does not know yet, two at a time, and write down how many questions they answer."""
    file = STUDY / "exam.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    missing = [kind for kind in RECIPES if kind not in found]
    patches()
    with ProcessPoolExecutor(2) as pool:
        found |= zip(missing, pool.map(shipped, missing), strict=True)
    STUDY.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
