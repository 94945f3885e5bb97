"""The museum: one small world for all notebooks, drawn from known distributions.

Read `world.py`, `dice.py` and `grammar.py` first (what there is; how languages are written, sampled and scored), then
`scenes.py` and `render.py` (what can be seen), `captions.py`, `referents.py`, `forms.py` and `questions.py` (what
can be said and asked about it), `names.py`, `catalogue.py`, `pages.py` and `knowledge.py` (what can be known),
`stories.py` (what happens there), `prompt.py` and `mixture.py` (how it is laid out for a model), `contexts.py` (pages
with many questions about them, and exams in reading). `ceiling.py`, `ngram.py` and `probes.py` measure it; `build.py`
writes the committed sample.
"""

import math
from collections.abc import Iterator, Mapping

from fmnotes.museum import captions, catalogue, knowledge, pages, questions, scenes, stories
from fmnotes.museum.dice import Dice
from fmnotes.museum.mixture import texts
from fmnotes.museum.prompt import SPECIAL_TOKENS
from fmnotes.museum.render import render
from fmnotes.museum.scenes import Object, Scene
from fmnotes.museum.world import COLOURS, HELD_OUT_PAIRS, PAIRS, SHAPES, SIZES, SPLITS, TRAIN_PAIRS, check_split

__all__ = [
    "COLOURS", "CONFIGS", "Dice", "HELD_OUT_PAIRS", "Object", "PAIRS", "SHAPES", "SIZES", "SPECIAL_TOKENS", "SPLITS",
    "Scene", "TRAIN_PAIRS", "logprob", "render", "stream", "texts", "with_pictures",
]  # fmt: skip

CONFIGS = {
    "scenes": scenes.stream,
    "captions": captions.stream,
    "questions": questions.stream,
    "pages": catalogue.stream,
    "knowledge": knowledge.stream,
    "stories": stories.stream,
}


def stream(config: str, split: str = "train", seed: int = 0) -> Iterator[dict]:
    """Rows of a configuration, without end; the same rows for the same split and seed."""
    if config not in CONFIGS:
        raise ValueError(f"the museum has no configuration {config!r}; there are {', '.join(CONFIGS)}")
    check_split(split)
    if (config, split) == ("stories", "composition"):
        raise ValueError("stories show no pictures, so they have no composition split; take validation or test")
    return CONFIGS[config](split, seed)


def logprob(text: str, given: Scene | tuple | None = None, split: str = "train") -> float:
    """log p(text | given) in nats, exactly; −∞ for a text that cannot be said.

    Args:
        text: a story or a page (nothing given), a caption (a scene given), or an answer.
        given: None; a `Scene`; (question, scene) for what can be seen; (row, pages) for what can be read.
        split: whose names a page draws from; only pages depend on it.
    """
    check_split(split)
    if not isinstance(text, str):
        raise TypeError(f"a text is scored, not a {type(text).__name__}")
    if given is None:
        story = stories.logprob(text)
        return story if story > -math.inf else pages.logprob(text, split)
    if isinstance(given, Scene):
        return captions.logprob(text, given)
    match given:
        case (str() as question, Scene() as scene):
            return questions.logprob(text, question, scene)
        case (Mapping() as row, [*evidence]):
            return knowledge.logprob(text, row, evidence)
    raise TypeError(f"given must be None, a Scene, (question, scene) or (row, pages); got {given!r:.80}")


def with_pictures(dataset):
    """The data set with a column `image` (64×64 RGB, uint8), rendered when a row is read; None where there is none."""

    def add_pictures(batch: dict[str, list]) -> dict[str, list]:
        if "objects" in batch:
            rows = zip(batch["objects"], batch["seed"], strict=True)
            scenes = [Scene.from_row({"objects": objects, "seed": seed}) if objects else None for objects, seed in rows]
            batch["image"] = [render([scene])[0] if scene else None for scene in scenes]
        return batch

    if hasattr(dataset, "with_transform"):
        return dataset.with_transform(add_pictures)
    return dataset.map(add_pictures, batched=True, batch_size=32)  # a stream
