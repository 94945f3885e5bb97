"""Pictures of the museum with captions, batch by batch: what the towers of CLIP are trained on, and judged by."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np
import torch

from fmnotes import clip
from fmnotes.museum import captions, ceiling, render, scenes
from fmnotes.museum.world import dice_for
from fmnotes.studies.museum_rows import tokenizer


class MuseumPairs:
    """Batches of new pictures, each with several captions: a function of the number of the batch alone.

    A picture costs a tower far more than a caption, so each is used several times: caption k of every picture makes
    one choice among all of them.

    Args:
        size: pictures in a batch.
        captions: of each picture, drawn independently.
        doubles: every scene twice in a batch, drawn anew, with the same captions: wrong answers that are right.
        seed: batches of different seeds share nothing.
    """

    unit = "pairs"

    def __init__(self, size: int, captions: int = 1, doubles: bool = False, seed: int = 0):
        self.pictures, self.captions, self.doubles, self.seed = size, captions, doubles, seed
        self.size = size * captions
        self.facts = {"pictures": size, "captions": captions, "doubles": doubles, "seed": seed}

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch i: pixels of shape (pictures, 3, 64, 64), and ids of shape (pictures, captions, tokens)."""
        dice = dice_for("pairs", "train", self.seed, i)
        seen = [scenes.sample(dice) for _ in range(self.pictures // (1 + self.doubles))]
        said = [captions.sample(scene, dice) for scene in seen for _ in range(self.captions)]
        if self.doubles:
            seen, said = seen + [replace(scene, seed=dice.below(2**48)) for scene in seen], said + said
        ids = clip.token_ids(tokenizer(), said, clip.CLIPConfig.context_length)
        return clip.pixel_values(render(seen)), ids.unflatten(0, (self.pictures, self.captions))


def loss(model: clip.CLIP, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`info_nce`, the mean over the captions."""
    pixels, ids = batch
    images, texts = model.encode_image(pixels), model.encode_text(ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
    return torch.stack([clip.info_nce(images, of_each, model.scale) for of_each in texts.unbind(1)]).mean()


@lru_cache(maxsize=4)
def gallery(split: str, number: int) -> tuple[list[scenes.Scene], list[str]]:
    """The first scenes of a split, and the first caption of each."""
    rows = list(islice(captions.stream(split), number))
    return [scenes.Scene.from_row(row) for row in rows], [row["captions"][0] for row in rows]


@lru_cache(maxsize=4)
def best(split: str, number: int) -> dict[str, dict[str, float]]:
    """The recall on a gallery that nobody can beat."""
    seen, said = gallery(split, number)
    return ceiling.retrieval_ceiling(ceiling.likelihoods(said, seen))


def examined(model: clip.CLIP, splits: tuple[str, ...] = ("validation",), number: int = 500) -> dict[str, float]:
    """A look at a model in training: its recall, and its share of what is possible."""
    found = {}
    for split in splits:
        seen, said = gallery(split, number)
        images, texts = clip.embed(model, tokenizer(), render(seen), said)
        similarity = images @ texts.T
        for way, table in (("caption to scene", similarity.T), ("scene to caption", similarity)):
            for k, hits in clip.recall(table).items():
                found[f"{split}, {way}, recall@{k}"] = hits.mean().item()
            share = found[f"{split}, {way}, recall@1"] / best(split, number)[way]["recall@1"]
            found[f"{split}, {way}, of the ceiling"] = share
    found["scale"] = model.scale.item()
    return found


def spread(model: clip.CLIP, split: str = "validation", number: int = 500) -> dict[str, float]:
    """How close pairs are, and how evenly the rest is spread (Wang and Isola 2020)."""
    seen, said = gallery(split, number)
    images, texts = clip.embed(model, tokenizer(), render(seen), said)
    even = float(np.mean([clip.uniformity(images), clip.uniformity(texts)]))
    gap = (images.mean(0) - texts.mean(0)).norm().item()  # Liang et al. 2022, section 2
    return {"alignment": clip.alignment(images, texts), "uniformity": even, "gap": gap}
