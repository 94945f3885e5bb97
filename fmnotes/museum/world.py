"""What there is in every museum: shapes, colours and sizes, the splits, and the pairs kept for the composition test."""

import zlib

from fmnotes.museum.dice import Dice

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
SIZES = ("small", "large")

# No training picture, caption or visual question holds one of these pairs; the composition split is about them. Each
# shape and each of six colours is missed once, so a model sees every part and must put the parts together.
HELD_OUT_PAIRS = (
    ("yellow", "circle"),
    ("white", "square"),
    ("purple", "triangle"),
    ("green", "star"),
    ("orange", "heart"),
    ("blue", "cross"),
)
PAIRS = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
TRAIN_PAIRS = tuple(pair for pair in PAIRS if pair not in HELD_OUT_PAIRS)

SPLITS = ("train", "validation", "test", "composition")


def check_split(split: str) -> None:
    """ValueError unless the museum has this split."""
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r} in the museum; there are {', '.join(SPLITS)}")


def dice_for(config: str, split: str, *seed: int) -> Dice:
    """The dice of one stream. No two splits or configurations share a seed: training data are not the tests'."""
    check_split(split)
    return Dice(SPLITS.index(split), zlib.crc32(config.encode()), *seed)
