"""The forms of questions about a picture.

Each form knows how to do five things: ask (draw what it is about, without a picture in mind), say it in one of several
wordings, list the possible answers, plant the objects that an answer needs, and answer it for any scene. The last
starts from what was read in the text, so that it judges every row that was made.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from fmnotes.museum.dice import Dice
from fmnotes.museum.referents import DESCRIPTION, REFERENT, RELATION, SAID, Description, Referent, description, referent
from fmnotes.museum.scenes import EXTREMES, RELATIONS, Object, Scene, Sketch
from fmnotes.museum.world import COLOURS, SHAPES, SIZES, TRAIN_PAIRS

Pairs = Sequence[tuple[str, str]]  # the colour-shape pairs that a question may be about


# --------------------------------------------------------------------------------------------- what questions are about


def thing(dice: Dice, pairs: Pairs) -> Description:
    """A description to ask for: a pair, or only its colour or shape; where one pair is the point, that pair."""
    colour, shape = dice.choice(pairs)
    if len(pairs) > 1:
        colour, shape = dice.choice(((colour, shape), (colour, shape), (colour, ""), ("", shape)))
    return Description(dice.choice(SIZES) if dice.below(3) == 0 else "", colour, shape)


def two_things(dice: Dice, pairs: Pairs, level: str = "") -> tuple[Description, Description]:
    """Two descriptions that no object fits both of: two pairs, two colours or two shapes."""
    level = level or ("pair" if len(pairs) == 1 else dice.choice(("pair", "pair", "colour", "shape")))
    while True:
        colour, shape = dice.choice(pairs)
        other_colour, other_shape = dice.choice(TRAIN_PAIRS)
        if level == "colour" and colour != other_colour:
            return Description(colour=colour), Description(colour=other_colour)
        if level == "shape" and shape != other_shape:
            return Description(shape=shape), Description(shape=other_shape)
        if level == "pair" and (colour, shape) != (other_colour, other_shape):
            return Description("", colour, shape), Description("", other_colour, other_shape)


def near_misses(dice: Dice, thing: Description) -> list[Sketch]:
    """Objects that share a word with a description but may not fit it: the wrong answers worth a second look."""
    return [{field: value} for field, value in thing.sketch.items() if dice.below(2)]


def like(dice: Dice, pairs: Pairs, thing: Description, **known: str) -> Sketch:
    """An object that fits a description and what is known: of one of these pairs or, where none fits, of any."""
    wanted = {**thing.sketch, **known}
    looks = [{**wanted, "colour": colour, "shape": shape} for colour, shape in (*pairs, *TRAIN_PAIRS)]
    fitting = [look for look in looks[: len(pairs)] if wanted.items() <= look.items()]
    return dice.choice(fitting or [look for look in looks if wanted.items() <= look.items()])


# --------------------------------------------------------------------------------------------------- forms of questions

SLOTS = {"d": DESCRIPTION, "e": DESCRIPTION, "r": REFERENT, "q": REFERENT, "relation": RELATION}
_SLOT = re.compile(r"\{(\w+)(?::(\w))?\}")


class Form:
    """What all forms share: wordings with slots, said by `str.format`, read by a regular expression made of them."""

    type: str
    wordings: tuple[str, ...]

    def read(self, text: str) -> dict[str, object] | None:
        """The slots of a question in this form, or None if the text is not one."""
        for wording, pattern in zip(self.wordings, self._patterns()):
            if match := pattern.fullmatch(text):
                slots = {name: _read_slot(name, value) for name, value in match.groupdict().items()}
                if None not in slots.values() and wording.format(**_said(slots, match.groupdict())) == text:
                    return slots
        return None

    @cache  # noqa: B019 (the forms live as long as the module)
    def _patterns(self) -> list[re.Pattern]:
        return [re.compile("".join(_pattern(part) for part in re.split(r"(\{[\w:]+\})", w))) for w in self.wordings]

    def answers(self, pairs: Pairs, **slots) -> tuple[str, ...]:
        """What the answer may be in pictures of these pairs; without a picture, each is equally likely."""
        return "yes", "no"

    def say(self, dice: Dice, slots: dict[str, object]) -> str:
        return dice.choice(self.wordings).format(**slots)


def _pattern(part: str) -> str:
    match = _SLOT.fullmatch(part)
    if not match:
        return re.escape(part)
    name, form = match.groups()
    return f"{'an? ' if form == 'a' else ''}(?P<{name}>{SLOTS[name]})"


def _read_slot(name: str, text: str) -> object:
    return description(text) if name in "de" else referent(text) if name in "rq" else SAID[text]


def _said(slots: dict[str, object], texts: dict[str, str]) -> dict[str, object]:
    """Descriptions, which a wording inflects, as they are; everything else as it was said."""
    return {name: slots[name] if name in "de" else texts[name] for name in slots}


class Existence(Form):
    type = "existence"
    wordings = (
        "Is there {d:a}?",
        "Is there {d:a} in the picture?",
        "Can you see {d:a}?",
        "Does the picture show {d:a}?",
    )

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        return {"d": thing(dice, pairs)}

    def plant(self, dice: Dice, pairs: Pairs, answer: str, d: Description) -> list[Sketch]:
        return near_misses(dice, d) if answer == "no" else [d.sketch]

    def answer(self, scene: Scene, d: Description) -> str | None:
        return "yes" if d.among(scene) else "no"


class Count(Form):
    type = "count"
    wordings = (
        "How many {d:s} are there?",
        "How many {d:s} can you see?",
        "How many {d:s} does the picture show?",
        "What is the number of {d:s}?",
    )

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        return {"d": Description() if len(pairs) > 1 and dice.below(8) == 0 else thing(dice, pairs)}

    def answers(self, pairs: Pairs, d: Description) -> tuple[str, ...]:
        return ("1", "2", "3", "4") if d == Description() else ("0", "1", "2", "3", "4")

    def plant(self, dice: Dice, pairs: Pairs, answer: str, d: Description) -> list[Sketch]:
        return ([d.sketch] * int(answer) + near_misses(dice, d))[:4]

    def answer(self, scene: Scene, d: Description) -> str | None:
        return str(len(d.among(scene)))


@dataclass(frozen=True)
class Attribute(Form):
    """The colour, or the shape, of something that the question names without it."""

    type: str

    @property
    def wordings(self) -> tuple[str, ...]:
        return (
            f"What {self.type} is {{r}}?",
            f"Which {self.type} does {{r}} have?",
            f"What is the {self.type} of {{r}}?",
        )

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        colour, shape = dice.choice(pairs)
        size = dice.choice(SIZES) if dice.below(3) == 0 else ""
        known = Description(size, shape=shape) if self.type == "colour" else Description(size, colour=colour)
        if len(pairs) > 1 and dice.below(3) == 0:  # where one pair is the point, half of it must be named
            known = Description(size)
        way = dice.below(4)
        if way == 0 and known != Description():
            return {"r": f"the {known}"}
        if way == 1:
            return {"r": f"the {dice.choice(tuple(EXTREMES))} {known}"}
        apart = [(c, s) for c, s in TRAIN_PAIRS if c != known.colour and s != known.shape]
        landmark = Description("", *dice.choice(apart))  # else an answer could make two of the landmark
        return {"r": f"the {known} {dice.choice(tuple(SAID))} the {landmark}"}

    def answers(self, pairs: Pairs, r: Referent) -> tuple[str, ...]:
        looks = [Description(r.what.size, *pair) for pair in pairs]
        fitting = [look for look in looks if r.what.sketch.items() <= look.sketch.items()]
        values = {getattr(look, self.type) for look in fitting}
        return tuple(value for value in COLOURS + SHAPES if value in values)

    def plant(self, dice: Dice, pairs: Pairs, answer: str, r: Referent) -> list[Sketch]:
        landmark = [r.landmark.sketch] if r.landmark else []
        another = [r.what.sketch] if r.marker in EXTREMES else []
        return [like(dice, pairs, r.what, **{self.type: answer}), *landmark, *another]

    def answer(self, scene: Scene, r: Referent) -> str | None:
        thing = r.among(scene)
        return thing and getattr(thing, self.type)


@dataclass(frozen=True)
class Numbers(Form):
    """Are there more (fewer, as many) of one than of another?"""

    word: str
    type = "comparison"

    @property
    def wordings(self) -> tuple[str, ...]:
        if self.word == "as many":
            return "Are there as many {d:s} as {e:s}?", "Do you see as many {d:s} as {e:s}?"
        return f"Are there {self.word} {{d:s}} than {{e:s}}?", f"Do you see {self.word} {{d:s}} than {{e:s}}?"

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        return dict(zip("de", dice.shuffled(two_things(dice, pairs))))

    def plant(self, dice: Dice, pairs: Pairs, answer: str, d: Description, e: Description) -> list[Sketch]:
        numbers = [(n, m) for n in range(4) for m in range(4) if 0 < n + m <= 4]
        n, m = dice.choice([(n, m) for n, m in numbers if self._holds(n, m) == (answer == "yes")])
        return [d.sketch] * n + [e.sketch] * m

    def _holds(self, n: int, m: int) -> bool:
        return {"more": n > m, "fewer": n < m, "as many": n == m}[self.word]

    def answer(self, scene: Scene, d: Description, e: Description) -> str | None:
        return "yes" if self._holds(len(d.among(scene)), len(e.among(scene))) else "no"


class TwoThings(Form):
    """What the forms share that are about two things, each alone of its kind."""

    level = ""  # what tells the two apart: their "pair", "colour" or "shape", or ("") any of these

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        return dict(zip("rq", (f"the {thing}" for thing in dice.shuffled(two_things(dice, pairs, self.level)))))

    def plant(self, dice: Dice, pairs: Pairs, answer: str, r: Referent, q: Referent, **rest: str) -> list[Sketch]:
        return [like(dice, pairs, r.what), like(dice, pairs, q.what)]

    def answer(self, scene: Scene, r: Referent, q: Referent, **rest: str) -> str | None:
        one, other = r.among(scene), q.among(scene)
        return None if one is None or other is None or one == other else self.judge(one, other, r, q, **rest)


@dataclass(frozen=True)
class Same(TwoThings):
    """Do two things share their colour (shape, size)?"""

    field: str
    type = "comparison"

    @property
    def wordings(self) -> tuple[str, ...]:
        return f"Are {{r}} and {{q}} the same {self.field}?", f"Do {{r}} and {{q}} have the same {self.field}?"

    @property
    def level(self) -> str:
        return {"colour": "shape", "shape": "colour", "size": ""}[self.field]

    def judge(self, one: Object, other: Object, r: Referent, q: Referent) -> str:
        return "yes" if getattr(one, self.field) == getattr(other, self.field) else "no"


@dataclass(frozen=True)
class Larger(TwoThings):
    """Which of two is larger (smaller)? The answer names it."""

    word: str
    type = "comparison"
    level = "pair"

    @property
    def wordings(self) -> tuple[str, ...]:
        return f"Which is {self.word}, {{r}} or {{q}}?", f"Which one is {self.word}, {{r}} or {{q}}?"

    def answers(self, pairs: Pairs, r: Referent, q: Referent) -> tuple[str, ...]:
        return str(r.what), str(q.what)

    def judge(self, one: Object, other: Object, r: Referent, q: Referent) -> str | None:
        if one.size == other.size:
            return None
        return str(r.what if (one.size == "large") == (self.word == "larger") else q.what)


class Relation(TwoThings):
    """Does a relation hold between two things?"""

    type = "relation"
    wordings = "Is {r} {relation} {q}?", "Would you say that {r} is {relation} {q}?"

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        return super().ask(dice, pairs) | {"relation": dice.choice(tuple(SAID))}

    def judge(self, one: Object, other: Object, r: Referent, q: Referent, relation: str) -> str:
        return "yes" if RELATIONS[relation](one, other) else "no"


@dataclass(frozen=True)
class Side(TwoThings):
    """Left or right, above or below? It is never neither."""

    sides: tuple[str, str]
    wordings: tuple[str, ...]
    type = "relation"

    def answers(self, pairs: Pairs, r: Referent, q: Referent) -> tuple[str, ...]:
        return self.sides

    def judge(self, one: Object, other: Object, r: Referent, q: Referent) -> str | None:
        relations = {side: RELATIONS.get(side) or RELATIONS[f"{side} of"] for side in self.sides}
        return next((side for side, holds in relations.items() if holds(one, other)), None)


class Which(Form):
    """What stands in a relation to something? There is one such object; the answer is its colour and shape."""

    type = "relation"
    wordings = "What is {relation} {q}?", "Which object is {relation} {q}?", "What do you see {relation} {q}?"

    def ask(self, dice: Dice, pairs: Pairs) -> dict:
        return {"relation": dice.choice(tuple(SAID)), "q": f"the {Description('', *dice.choice(TRAIN_PAIRS))}"}

    def answers(self, pairs: Pairs, relation: str, q: Referent) -> tuple[str, ...]:
        return tuple(" ".join(pair) for pair in pairs if pair != (q.what.colour, q.what.shape))

    def plant(self, dice: Dice, pairs: Pairs, answer: str, relation: str, q: Referent) -> list[Sketch]:
        return [q.what.sketch, description(answer).sketch]

    def answer(self, scene: Scene, relation: str, q: Referent) -> str | None:
        landmark = q.among(scene)
        found = [thing for thing in scene.objects if landmark and RELATIONS[relation](thing, landmark)]
        return " ".join(found[0].pair) if len(found) == 1 else None


FORMS: dict[str, tuple[Form, ...]] = {
    "existence": (Existence(),),
    "count": (Count(),),
    "colour": (Attribute("colour"),),
    "shape": (Attribute("shape"),),
    "comparison": (
        *(Numbers(word) for word in ("more", "fewer", "as many")),
        *(Same(field) for field in ("colour", "shape", "size")),
        *(Larger(word) for word in ("larger", "smaller")),
    ),
    "relation": (
        Relation(),
        Side(("left", "right"), ("Is {r} left or right of {q}?", "Is {r} to the left or to the right of {q}?")),
        Side(("above", "below"), ("Is {r} above or below {q}?", "Does {r} stand above or below {q}?")),
        Which(),
    ),
}
TYPES = tuple(FORMS)
