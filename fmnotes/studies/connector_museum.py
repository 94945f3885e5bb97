"""connector-museum: the four connectors of notebook 04, between clip-museum and gpt2-museum.

    make study NAME=connector_museum

Two stages (Liu et al. 2023, section 4.2). First the connector alone learns to make the language model say captions;
then it learns to make it answer questions, and low-rank updates of the language model learn with it. The towers' own
weights never change. Stopped at any moment, the same command goes on where it was. The connectors are written to
`data/checkpoints/connector-museum`, in half precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from fmnotes import ROOT, clip, data
from fmnotes.connector import ConnectorConfig, VisionLanguageModel
from fmnotes.gpt2 import GPT2
from fmnotes.museum import prompt
from fmnotes.studies.museum_looks import MuseumLooks, captioned, examined, loss
from fmnotes.studies.museum_rows import encoded
from fmnotes.training import Muon, TrainingConfig, quick_precision, train

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

RUNS = ROOT / "runs" / "studies" / "connector_museum"
SHIPPED = ROOT / "data" / "checkpoints" / "connector-museum"


@dataclass(frozen=True)
class Recipe:
    """How a connector is taught. A step holds `pictures` × `turns` captions or questions."""

    align: int  # steps of the first stage
    instruct: int  # and of the second
    rank: int = 8  # of the language model's updates in the second; 0: none
    rate: float = 2e-3
    pictures: int = 32
    turns: int = 4


RECIPES = {kind: Recipe(300, 1200) for kind in ("linear", "mlp", "resampler", "qformer")}


@lru_cache(maxsize=2)
def towers(language: str = "gpt2-museum") -> tuple[clip.VisionTransformer, GPT2]:
    """Those that are shipped; all connectors share them."""
    visual = clip.CLIP.from_pretrained(data.checkpoint("clip-museum")).visual.eval()
    return visual, GPT2.from_pretrained(data.checkpoint(language)).eval()


def between(kind: str, visual: clip.VisionTransformer, language: GPT2) -> VisionLanguageModel:
    """A new connector between two towers."""
    sizes = visual.config.vision_d_model, language.config.d_model, visual.config.n_patches
    return VisionLanguageModel(visual, ConnectorConfig(kind, *sizes), language, encoded(prompt.IMAGE)[0])


def taught(
    model: VisionLanguageModel, recipe: Recipe, seed: int, folder: Path, patches: np.ndarray | None = None
) -> dict[str, list[dict]]:
    """Train a connector through both stages, or go on with it; and the lines of both logs.

    Args:
        patches: of pictures that are shown again and again, as for `MuseumLooks`.
    """
    lines = {}
    for number, stage in enumerate(("align", "instruct")):
        steps = getattr(recipe, stage)
        if stage == "instruct" and recipe.rank:
            model.adapt(recipe.rank)
        config = TrainingConfig(
            steps,
            recipe.rate,
            min_learning_rate=recipe.rate / 20,
            warmup_steps=max(1, steps // 20),
            precision=quick_precision(),
            seed=seed,
            log_every=10,
            eval_every=max(1, steps // 4),
            save_every=max(1, steps // 4),
        )
        described, seeds = stage == "align", 2 * seed + number
        batches = MuseumLooks(model.config.n_tokens, recipe.pictures, described, recipe.turns, seeds, patches)
        look = {"align": captioned, "instruct": examined}[stage]
        lines[stage] = train(model, loss, batches, config, folder / stage, evaluate=look, optimizer=Muon)
    model.eval()
    return lines


def main() -> None:
    """Teach all four and ship them."""
    for kind, recipe in RECIPES.items():
        torch.manual_seed(0)
        model = between(kind, *towers())
        taught(model, recipe, 0, RUNS / kind)
        model.save_pretrained(SHIPPED / kind, torch.float16)


if __name__ == "__main__":
    main()
