"""Questions about a picture, asked so that the text alone tells nothing about the answer.

The order of making is the whole trick. First the question is worded, without a picture in mind; then one of its
possible answers is drawn, each equally likely; then a scene is made in which that answer is true, and in which whatever
the question takes for granted holds. Whoever has not seen the picture can only guess.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

from fmnotes.museum.dice import Dice
from fmnotes.museum.forms import FORMS, TYPES, Attribute, Form, Pairs
from fmnotes.museum.referents import Description, referring_expression, resolve
from fmnotes.museum.scenes import Scene, sample
from fmnotes.museum.world import HELD_OUT_PAIRS, TRAIN_PAIRS, dice_for

__all__ = ["TYPES", "another", "answer", "choices", "draw", "logprob", "referring_expression", "resolve", "stream"]


@lru_cache(maxsize=65536)
def _read(question: str) -> tuple[Form, dict] | None:
    for form in (form for forms in FORMS.values() for form in forms):
        if (slots := form.read(question)) is not None:
            return form, slots
    return None


def answer(question: str, scene: Scene) -> str | None:
    """The answer, or None where the question cannot be asked of this scene: it takes for granted what is not so."""
    read = _read(question)
    return read and read[0].answer(scene, **read[1])


def choices(question: str, pairs: Pairs = TRAIN_PAIRS) -> tuple[str, ...]:
    """The answers that the question can have in pictures of these pairs, each equally likely before one has looked."""
    read = _read(question)
    if read is None:
        raise ValueError(f"this is not a question of the museum: {question!r}")
    return read[0].answers(pairs, **read[1])


def logprob(text: str, question: str, scene: Scene) -> float:
    """log p(answer | question, scene): 0 for the right answer, −∞ for any other, and where there is none."""
    right = answer(question, scene)
    return 0.0 if right is not None and text == right else -math.inf


def draw(dice: Dice, split: str) -> tuple[str, str, str, Scene]:
    """A question, its answer, its type, and a scene to ask it of; in the composition split, about a held-out pair."""
    pairs = (dice.choice(HELD_OUT_PAIRS),) if split == "composition" else TRAIN_PAIRS
    form = dice.choice(FORMS[dice.choice(TYPES)])
    question = form.say(dice, form.ask(dice, pairs))
    _, slots = _read(question)
    wanted = dice.choice(form.answers(pairs, **slots))
    for _ in range(5000):
        scene = sample(dice, split, form.plant(dice, pairs, wanted, **slots))
        if form.answer(scene, **slots) == wanted:
            return question, wanted, form.type, scene
    raise RuntimeError(f"no scene was found in which the answer to {question!r} is {wanted!r}")


def another(dice: Dice, scene: Scene) -> tuple[str, str, str]:
    """A question about a scene that is there already, its answer and its type: more turns about one picture.

    Unlike those of `draw`, the answers are not evenly spread: they are what the scene makes them, so that one who has
    not looked may do better than guess. To learn from, not to be examined with.
    """
    while True:
        form = dice.choice(FORMS[dice.choice(TYPES)])
        for _ in range(8):
            question = form.say(dice, _about(dice, form, scene))
            if (right := answer(question, scene)) is not None:
                return question, right, form.type


def _about(dice: Dice, form: Form, scene: Scene) -> dict:
    """What a form asks about, with things of the scene in the place of those that it takes for granted."""
    pairs = tuple(thing.pair for thing in scene.objects)
    slots, order = form.ask(dice, dice.choice((pairs, TRAIN_PAIRS))), dice.shuffled(pairs)
    if isinstance(form, Attribute):
        beside, found, _ = slots["r"].rpartition(" the ")
        return {"r": f"{beside} the {Description('', *order[0])}"} if found else slots
    level = getattr(form, "level", "pair") or dice.choice(("pair", "colour", "shape"))
    fields = {"pair": ("colour", "shape"), "colour": ("colour",), "shape": ("shape",)}[level]
    names = [name for name in slots if name in ("r", "q")]
    things = [Description("", *pair) for pair in order]
    told = [Description(**{field: getattr(thing, field) for field in fields}) for thing in things]
    return slots | {name: f"the {thing}" for name, thing in zip(names, told, strict=False)}


def stream(split: str, seed: int = 0) -> Iterator[dict]:
    """Rows of the configuration `questions`, without end: id, objects, seed, question, answer, type, needs."""
    dice, number = dice_for("questions", split, seed), 0
    while True:
        question, right, kind, scene = draw(dice, split)
        told = {"question": question, "answer": right, "type": kind, "needs": "sight"}
        yield {"id": f"{split}-{seed}-{number}", **scene.to_row(), **told}
        number += 1
