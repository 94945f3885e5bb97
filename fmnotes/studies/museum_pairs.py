"""Pictures of the museum with captions, batch by batch: what the towers of CLIP are trained on, and judged by."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np
import torch

from fmnotes import clip
from fmnotes.museum import captions, ceiling, render, scenes
from fmnotes.museum.dice import Dice
from fmnotes.museum.world import dice_for
from fmnotes.studies.museum_rows import tokenizer

WORDS = {
    word for phrases in (scenes.POSITIONS, scenes.RELATIONS, scenes.EXTREMES) for p in phrases for word in p.split()
}
SAYS_WHERE = re.compile(rf"\b({'|'.join(sorted(WORDS - {'a', 'at', 'in', 'of', 'on', 'the'}))})\b", re.IGNORECASE)


class MuseumPairs:
    """Batches of pictures with captions that never come twice: pair i is a function of i and the seed alone.

    So runs with batches of different sizes see the same pairs in the same order. A picture costs a tower more than a
    caption, and may have several: caption k of every picture makes one choice among all of them.

    Args:
        size: pictures in a batch.
        captions: of each picture, drawn independently.
        where: so many of a picture's captions say where something stands; of the others about one in three does.
        alone: of so many batches one holds single objects only, the first of each scene; 0: none does.
        pool: pictures there are; then they come again, with other captions. None: new ones for ever.
        doubles: every scene twice in a batch, drawn anew, with the same captions: wrong answers that are right.
        seed: pairs of different seeds share nothing.
    """

    unit = "pairs"

    def __init__(
        self,
        size: int,
        captions: int = 1,
        where: int = 0,
        alone: int = 0,
        pool: int | None = None,
        doubles: bool = False,
        seed: int = 0,
    ):
        self.pictures, self.captions, self.where, self.alone = size, captions, where, alone
        self.pool, self.doubles, self.seed, self.size = pool, doubles, seed, size * captions
        names = ("pictures", "captions", "where", "alone", "pool", "doubles", "seed")
        self.facts = {name: getattr(self, name) for name in names}
        self.kept = _pool(seed, pool) if pool else None

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch i: pixels of shape (pictures, 3, 64, 64), and ids of shape (pictures, captions, tokens)."""
        items = range(i * self.pictures, (i + 1) * self.pictures)
        items = [item - item % 2 for item in items] if self.doubles else items
        seen = [_scene(self.seed, item % self.pool if self.pool else item) for item in items]
        if self.alone and i % self.alone == 0:
            seen = [scenes.Scene(scene.objects[:1], scene.seed) for scene in seen]
        said = []
        for scene, item in zip(seen, items, strict=True):
            dice = dice_for("said", "train", self.seed, item)
            said += [_caption(scene, dice, k < self.where) for k in range(self.captions)]
        if self.doubles:
            seen = [replace(scene, seed=scene.seed + n % 2) for n, scene in enumerate(seen)]
        images = render(seen) if self.kept is None or self.doubles else self.kept[[item % self.pool for item in items]]
        ids = clip.token_ids(tokenizer(), said, clip.CLIPConfig.context_length)
        return clip.pixel_values(images), ids.unflatten(0, (self.pictures, self.captions))


def _scene(seed: int, item: int) -> scenes.Scene:
    return scenes.sample(dice_for("pairs", "train", seed, item))


def _caption(scene: scenes.Scene, dice: Dice, where: bool) -> str:
    """A caption; one that says where something stands, if that is wanted and thirty draws bring one."""
    for _ in range(30 if where else 1):
        caption = captions.sample(scene, dice)
        if SAYS_WHERE.search(caption):
            break
    return caption


@lru_cache(maxsize=1)
def _pool(seed: int, number: int) -> np.ndarray:
    return render([_scene(seed, item) for item in range(number)])


def loss(model: clip.CLIP, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`info_nce`, the mean over the captions."""
    pixels, ids = batch
    images, texts = model.encode_image(pixels), encoded(model, ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
    return torch.stack([clip.info_nce(images, of_each, model.scale) for of_each in texts.unbind(1)]).mean()


def encoded(model: clip.CLIP, ids: torch.Tensor, groups: int = 4) -> torch.Tensor:
    """`model.encode_text`, in groups of about one length, so that fewer pad tokens are computed."""
    lengths = (ids != model.config.pad_token_id).sum(1)
    order = lengths.argsort(stable=True)
    parts = [model.encode_text(ids[part, : lengths[part].max()]) for part in order.chunk(groups)]
    return torch.cat(parts)[order.argsort()]


@lru_cache(maxsize=4)
def gallery(split: str, number: int) -> tuple[list[scenes.Scene], np.ndarray, list[str]]:
    """The first scenes of a split, their pictures, and the first caption of each."""
    rows = list(islice(captions.stream(split), number))
    seen = [scenes.Scene.from_row(row) for row in rows]
    return seen, render(seen), [row["captions"][0] for row in rows]


@lru_cache(maxsize=4)
def best(split: str, number: int) -> dict[str, dict[str, float]]:
    """The recall on a gallery that nobody can beat."""
    seen, _, said = gallery(split, number)
    return ceiling.retrieval_ceiling(ceiling.likelihoods(said, seen))


def examined(model: clip.CLIP, splits: tuple[str, ...] = ("validation",), number: int = 500) -> dict[str, float]:
    """A look at a model in training: its recall, and its share of what is possible."""
    found = {}
    for split in splits:
        _, pictures, said = gallery(split, number)
        images, texts = clip.embed(model, tokenizer(), pictures, said)
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
    _, pictures, said = gallery(split, number)
    images, texts = clip.embed(model, tokenizer(), pictures, said)
    even = float(np.mean([clip.uniformity(images), clip.uniformity(texts)]))
    gap = (images.mean(0) - texts.mean(0)).norm().item()  # Liang et al. 2022, section 2
    return {"alignment": clip.alignment(images, texts), "uniformity": even, "gap": gap}
