"""What the page offers: scenes to choose from, a drawn one, and questions that fit a picture and a museum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from fmnotes.demo.pictures import packed
from fmnotes.museum import Dice, Object, Scene, knowledge, questions, render, scenes
from fmnotes.museum.catalogue import Museum, museum, value_of
from fmnotes.museum.world import COLOURS, SHAPES, SIZES, dice_for

SPLIT = "test"  # neither its pictures nor its museums' names were trained on
SCENES = 6
BOTH, SIGHT, PAGES = "the picture and the pages", "the picture alone", "the pages alone"
OF_ANY_PICTURE = ("How many objects are there?", "What shape is the only object?")

Offer = dict[str, str]  # a question, what it needs, and its right answer ("" where that is not known)


def museums(number: int) -> list[Museum]:
    return [museum(SPLIT, 0, index) for index in range(number)]


def choices() -> dict[str, list[str]]:
    """What an object can be."""
    return {"shape": list(SHAPES), "colour": list(COLOURS), "size": list(SIZES)}


def some_scenes(seed: int, number: int = SCENES) -> list[dict]:
    """Scenes to choose from; the same for the same seed."""
    dice = dice_for("demo", SPLIT, seed)
    return [shown(scenes.sample(dice, SPLIT)) for _ in range(number)]


def shown(scene: Scene) -> dict:
    """A scene as a row, its picture, and the same in words."""
    return {**scene.to_row(), "picture": packed(render([scene])[0]), "words": in_words(scene)}


def in_words(scene: Scene) -> str:
    return "; ".join(f"{x.size} {x.colour} {x.shape} in row {x.row + 1}, column {x.column + 1}" for x in scene.objects)


def drawn(row: Mapping) -> Scene:
    """The scene that the page sends.

    Raises:
        ValueError: if it is none.
    """
    try:
        things = tuple(Object(**thing) for thing in row["objects"])
        seed = row["seed"]
        if type(seed) is not int or not 0 <= seed < 2**48:
            raise ValueError(f"the seed of a scene is a whole number below 2⁴⁸; got {seed!r}")
        return Scene(things, seed)
    except (TypeError, KeyError) as error:
        raise ValueError(f"this is no scene: {error}") from error


def suggestions(of: Sequence[Museum], name: str, scene: Scene | None, picture: bool, seed: int = 0) -> list[Offer]:
    """Questions that fit; two of each kind that can be asked.

    Args:
        of: the museums whose pages are there.
        name: the museum that is searched; "": all, so that a question has to say which one it means.
        scene: what the picture shows, if it is one of ours.
        picture: whether there is one.
    """
    dice = dice_for("demo", SPLIT, seed, 1)
    about = next((one for one in of if one.name == name), None) or dice.choice(of)
    offers = []
    if scene:
        offers += [_about_exhibit(about, scene, dice, named=not name) for _ in range(2)]
        offers += [_offer(SIGHT, *questions.another(dice, scene)[:2]) for _ in range(2)]
    elif picture:
        offers += [_offer(SIGHT, question) for question in OF_ANY_PICTURE]
        offers.append(_offer(BOTH, _worded(about, "Who made the only object?", not name)))
    rows = [row for row in _rows(about.index) if not row["objects"] and (not row["filter"] if not name else True)]
    for kind in ("one_hop", "two_hop"):
        row = dice.choice([row for row in rows if row["type"] == kind])
        offers.append(_offer(PAGES, row["question"], row["answer"]))
    unique = {offer["question"]: offer for offer in offers if offer}
    order = (BOTH, SIGHT, PAGES)
    return sorted(unique.values(), key=lambda offer: order.index(offer["needs"]))


def _offer(needs: str, question: str, answer: str = "") -> Offer:
    return {"needs": needs, "question": question, "answer": answer}


def _worded(about: Museum, question: str, named: bool) -> str:
    return f"According to the {about.name}, {question[0].lower()}{question[1:]}" if named else question


def _about_exhibit(about: Museum, scene: Scene, dice: Dice, named: bool) -> Offer | None:
    """What only who sees the picture and searches the pages can answer; None if no words mean just one object."""
    try:
        words, meant = questions.referring_expression(scene, dice)
    except ValueError:
        return None
    fact = dice.choice(tuple(knowledge.ASK["exhibit"]))
    question = dice.choice(knowledge.ASK["exhibit"][fact][0]).format(it=words)
    return _offer(BOTH, _worded(about, question, named), value_of(about.record("exhibit", " ".join(meant.pair)), fact))


@lru_cache(maxsize=64)
def _rows(index: int) -> list[dict]:
    return knowledge.questions(museum(SPLIT, 0, index))
