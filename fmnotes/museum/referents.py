"""Words that point at things: "small red circle", "the only star", "the object left of the blue star".

A description says what a thing may look like; several things may match. A referring expression begins with "the" and
means one object of the scene, or nothing: an expression that fits two objects does not refer.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import FORMS
from fmnotes.museum.scenes import EXTREMES, RELATIONS, Object, Scene, Sketch, extreme
from fmnotes.museum.world import COLOURS, SHAPES, SIZES

# How a relation may be said, and which one is meant.
SAID = {
    "to the left of": "left of",
    "to the right of": "right of",
    **{relation: relation for relation in RELATIONS},
}


class Description(NamedTuple):
    """What a thing may look like. An empty field leaves it open."""

    size: str = ""
    colour: str = ""
    shape: str = ""

    def fits(self, thing: Object) -> bool:
        return self.size in ("", thing.size) and self.colour in ("", thing.colour) and self.shape in ("", thing.shape)

    def among(self, scene: Scene) -> list[Object]:
        return [thing for thing in scene.objects if self.fits(thing)]

    def __str__(self) -> str:
        return " ".join(word for word in (self.size, self.colour, self.shape or "object") if word)

    def __format__(self, form: str) -> str:
        """f"{d}" is "orange cross", f"{d:a}" is "an orange cross", f"{d:s}" is "orange crosses"."""
        if form == "s":
            return f"{self}es" if self.shape == "cross" else f"{self}s"
        return FORMS[form](str(self))

    @property
    def sketch(self) -> Sketch:
        """The fields that are not left open."""
        return {name: value for name, value in self._asdict().items() if value}


def _one_of(words: Sequence[str]) -> str:
    return "(?:" + "|".join(words) + ")"


# Regular expressions for the questions to build on. Longer ways to say a relation come first.
DESCRIPTION = rf"(?:{_one_of(SIZES)} )?(?:{_one_of(COLOURS)} )?{_one_of((*SHAPES, 'object'))}(?:e?s)?"
RELATION = _one_of(SAID)
REFERENT = rf"the (?:{_one_of(('only', *EXTREMES))} )?{DESCRIPTION}(?: {RELATION} the {DESCRIPTION})?"

_DESCRIPTION = re.compile(rf"(?:({_one_of(SIZES)}) )?(?:({_one_of(COLOURS)}) )?({_one_of((*SHAPES, 'object'))})(e?s)?")
_REFERENT = re.compile(
    rf"the (?:({_one_of(('only', *EXTREMES))}) )?({DESCRIPTION})(?: ({RELATION}) the ({DESCRIPTION}))?"
)


@lru_cache(maxsize=4096)
def description(text: str) -> Description | None:
    """Read "small red circle" or "small red circles"; None if the text describes nothing."""
    match = _DESCRIPTION.fullmatch(text)
    if match is None:
        return None
    size, colour, shape, _ = match.groups(default="")
    read = Description(size, colour, "" if shape == "object" else shape)
    return read if text in (f"{read}", f"{read:s}") else None


class Referent(NamedTuple):
    """A referring expression, taken apart."""

    marker: str  # "", "only", or one of EXTREMES
    what: Description
    relation: str = ""  # one of RELATIONS, or ""
    landmark: Description | None = None

    def among(self, scene: Scene) -> Object | None:
        """The one object that is meant in this scene; None if there is none, or several."""
        things = self.what.among(scene)
        if self.landmark:
            landmarks = self.landmark.among(scene)
            if len(landmarks) != 1:
                return None
            things = [thing for thing in things if RELATIONS[self.relation](thing, landmarks[0])]
        if self.marker in EXTREMES:
            return extreme(self.marker, things) if len(things) > 1 else None
        return things[0] if len(things) == 1 else None


@lru_cache(maxsize=4096)
def referent(text: str) -> Referent | None:
    """Read "the leftmost star" or "the object above the red heart"; None if the text is no such thing."""
    match = _REFERENT.fullmatch(text)
    if match is None:
        return None
    marker, what, said, landmark = match.groups(default="")
    read = Referent(marker, description(what), SAID.get(said, ""), description(landmark) if landmark else None)
    singular = str(read.what) == what and (not landmark or str(read.landmark) == landmark)
    return read if singular else None


def resolve(text: str, scene: Scene) -> Object | None:
    """The one object that a referring expression means in this scene; None if it means none, or fits several."""
    read = referent(text)
    return read and read.among(scene)


def referring_expression(scene: Scene, dice: Dice, target: Object | None = None) -> tuple[str, Object]:
    """Words that mean one object of the scene (any, or the target), and that object.

    The words never give away both its colour and its shape: who wants to know them must look at the picture. Raises a
    ValueError where there are no such words, as when four equal objects stand in a square.
    """
    for _ in range(300):
        meant = target or dice.choice(scene.objects)
        size = meant.size if dice.below(3) == 0 else ""
        colour, shape = dice.choice((("", ""), ("", ""), (meant.colour, ""), ("", meant.shape)))
        text = f"the {Description(size, colour, shape)}"
        others = [thing for thing in scene.objects if thing != meant]
        way = dice.below(4) if others else 0
        if way == 0 and dice.below(2):
            text = text.replace("the ", "the only ", 1)
        elif way == 1:
            text = text.replace("the ", f"the {dice.choice(tuple(EXTREMES))} ", 1)
        elif way > 1:
            landmark = dice.choice(others)
            size = landmark.size if dice.below(4) == 0 else ""
            text += f" {dice.choice(tuple(SAID))} the {Description(size, *landmark.pair)}"
        if resolve(text, scene) == meant:
            return text, meant
    raise ValueError(f"no words mean just {'one of these objects' if target is None else target}: {scene.objects}")
