"""Captions: what one may say about a picture, how probable each saying is, and how well a caption can find its picture.

A caption is full (it names every object) or partial; it may tell relations, places, counts, or who comes first. Before
an object is named it is picked: by a rule whose alternatives say nothing and only remember the object. So a caption
that fits two equal objects has two derivations, and its probability is their sum.
"""

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import permutations

from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import Alt, Facts, Grammar, State, Words
from fmnotes.museum.referents import Description
from fmnotes.museum.scenes import EXTREMES, MOST_OBJECTS, POSITIONS, RELATIONS, Object, Scene, extreme
from fmnotes.museum.scenes import sample as sample_scene
from fmnotes.museum.world import COLOURS, SHAPES, SIZES, dice_for

NUMBERS = ("no", "one", "two", "three", "four")
PICKS = ("first", "second", "third", "fourth")  # the objects, in the order in which a caption names them
ATTRIBUTES = {*SIZES, *COLOURS, *SHAPES}
SINGULAR = {f"{Description(shape=shape):s}": shape for shape in SHAPES}
LISTS = (  # how one, two, three, four objects are named in a row
    "<first>{one:first|a}",
    "<first>{one:first|a} and <second>{two:second|a}",
    "<first>{one:first|a}, <second>{two:second|a} and <third>{three:third|a}",
    "<first>{one:first|a}, <second>{two:second|a}, <third>{three:third|a} and <fourth>{four:fourth|a}",
)

# ---------------------------------------------------------------------------------------------- what is true of a scene


def _objects(facts: Facts) -> tuple[Object, ...]:
    return facts["scene"].objects


@cache
def _full(thing: Object) -> list[str]:
    return [str(Description("", *thing.pair)), str(Description(thing.size, *thing.pair))]


@cache
def _vague(thing: Object) -> list[str]:
    one_word = [str(Description(colour=thing.colour)), str(Description(shape=thing.shape))]
    return [*_full(thing), *one_word, str(Description(thing.size, shape=thing.shape))]


def _relations(one: Object, other: Object) -> list[str]:
    return [relation for relation, holds in RELATIONS.items() if holds(one, other)]


def _places(thing: Object) -> list[str]:
    return [place for place, holds in POSITIONS.items() if holds(thing)]


KINDS = [Description(*words) for words in [(size, "", "") for size in SIZES]]
KINDS += [Description(colour=colour) for colour in COLOURS] + [Description(shape=shape) for shape in SHAPES]


def _tallies(scene: Scene) -> list[str]:
    """Exact counts of two or more: "two circles", "three red objects", "two red circles"."""
    pairs = {thing.pair: Description("", *thing.pair) for thing in scene.objects}
    counts = [(len(kind.among(scene)), kind) for kind in (*KINDS, *pairs.values())]
    return [f"{NUMBERS[n]} {kind:s}" for n, kind in counts if n > 1]


def _balances(scene: Scene) -> list[str]:
    """Comparisons of what is there: "more circles than stars", "as many red objects as blue objects"."""
    counts = [(len(kind.among(scene)), kind) for kind in KINDS]
    said = []
    for (n, one), (m, other) in permutations([(n, kind) for n, kind in counts if n], 2):
        if one.sketch.keys() == other.sketch.keys() and n >= m:
            said.append(f"more {one:s} than {other:s}" if n > m else f"as many {one:s} as {other:s}")
    return said


def _shared(scene: Scene) -> list[str]:
    """What all the objects are: "red", "small", "circles"."""
    if len(scene.objects) == 1:
        return []
    looks = [(thing.size, thing.colour, f"{Description(shape=thing.shape):s}") for thing in scene.objects]
    return [words[0] for words in zip(*looks) if len(set(words)) == 1]


def _differing(scene: Scene) -> list[str]:
    """In what no two objects are alike."""
    things = scene.objects
    return [field for field in ("colour", "shape") if len({getattr(x, field) for x in things}) == len(things) > 1]


def _groups(scene: Scene) -> list[str]:
    """The whole scene with equal pairs taken together, in any order: "two red circles and a blue star"."""
    pairs = list(dict.fromkeys(thing.pair for thing in scene.objects))
    if len(pairs) == len(scene.objects):
        return []
    groups = []
    for pair in pairs:
        n, kind = sum(thing.pair == pair for thing in scene.objects), Description("", *pair)
        groups.append(f"{NUMBERS[n]} {kind:s}" if n > 1 else f"{kind:a}")
    return [" and ".join([", ".join(order[:-1])] * bool(order[:-1]) + [order[-1]]) for order in permutations(groups)]


@lru_cache(maxsize=4096)
def _facts(scene: Scene) -> dict[str, object]:
    """What a caption starts from: the scene, and what can be said of it as a whole."""
    whole = {"tallies": _tallies, "balances": _balances, "shared": _shared, "differing": _differing, "groups": _groups}
    return {"scene": scene, **{name: truths(scene) for name, truths in whole.items()}}


# --------------------------------------------------------------------------------------------------------- silent rules


def _sorted(direction: str) -> Callable[[Facts], dict[str, Object]]:
    return lambda facts: dict(zip(PICKS, sorted(_objects(facts), key=EXTREMES[direction])))


def _in_order(direction: str) -> Callable[[Facts], bool]:
    """Two objects or more, no two of them level with each other."""
    return lambda facts: len({EXTREMES[direction](thing) for thing in _objects(facts)}) == len(_objects(facts)) > 1


def _pick(name: str) -> list[Alt]:
    """Remember as `name` one of the objects that have not been picked, unless it is settled already."""

    def pick(i: int) -> Alt:
        def free(facts: Facts) -> bool:
            things = _objects(facts)
            return name not in facts and i < len(things) and all(facts.get(pick) is not things[i] for pick in PICKS)

        return Alt(1, "", when=free, then=lambda facts: {name: _objects(facts)[i]})

    return [Alt(1, "", when=lambda facts: name in facts), *(pick(i) for i in range(MOST_OBJECTS))]


def _outstanding(direction: str) -> Alt:
    """Remember the object that comes first in a direction, where there is one."""
    return Alt(
        1,
        "",
        when=lambda facts: len(_objects(facts)) > 1 and extreme(direction, _objects(facts)) is not None,
        then=lambda facts: {"first": extreme(direction, _objects(facts)), "extreme": direction},
    )


def _lone(field: str, i: int) -> Alt:
    """Remember the one object of a colour, shape or size by that (`kind`), and what else it is (`look`)."""

    def alone(facts: Facts) -> bool:
        values = [getattr(thing, field) for thing in _objects(facts)]
        return 1 < len(values) > i and values.count(values[i]) == 1

    def words(facts: Facts) -> dict[str, str]:
        thing = _objects(facts)[i]
        look = {"shape": thing.colour, "colour": f"{Description(shape=thing.shape):a}"}
        kind = Description(**{field: getattr(thing, field)})
        return {"kind": str(kind), "look": look.get(field, f"{Description('', *thing.pair):a}")}

    return Alt(1, "", when=alone, then=words)


# -------------------------------------------------------------------------------------------------------------- grammar


def _holds(*numbers: int) -> Callable[[Facts], bool]:
    """The condition that a scene holds so many objects."""
    return lambda facts: len(_objects(facts)) in numbers


def _domain(values: Callable[[Facts], list[str]]) -> State:
    return State(values, anything=Words(()))  # captions are never read loosely


def _known(name: str, *numbers: int) -> Callable[[Facts], bool]:
    """The condition that something of this kind is true of the whole scene (and that it holds so many objects)."""
    return lambda facts: bool(facts[name]) and (not numbers or len(_objects(facts)) in numbers)


def _any(alternatives: list[Alt]) -> Callable[[Facts], bool]:
    """The condition that one of these alternatives is open."""
    return lambda facts: any(alt.when(facts) for alt in alternatives)


OUTSTANDING = [_outstanding(direction) for direction in EXTREMES]
LONE = [_lone(field, i) for field in ("colour", "shape", "size") for i in range(MOST_OBJECTS)]
ONE, TWO = "<first>{one:first|a}", "<second>{two:second|a}"
FULL = [
    (3, "<Names>."),
    (2, "A picture of <names>."),
    (2, "There is <names>."),
    (2, "This picture shows <names>."),
    (2, "We see <names>."),
    (1, "Nothing but <names>."),
    (1, "On a plain ground, <names>."),
    Alt(3, "{number:number|cap} objects: <names>.", _holds(2, 3, 4)),
    Alt(3, "<left_to_right>From left to right: <names>.", _in_order("leftmost")),
    Alt(3, "<top_to_bottom>From top to bottom: <names>.", _in_order("highest")),
    Alt(6, "{group:group|cap}.", _known("groups")),
    Alt(4, f"Just {ONE}, {{place:place}}.", _holds(1)),
    Alt(4, "<first>All alone {place:place}: {one:first|a}.", _holds(1)),
    Alt(4, "<first>{one:first|A} <second>{relation:relation} {two:second|a}.", _holds(2)),
    Alt(4, f"<first>{{one:first|A}} and, <second>{{back:back}} it, {TWO}.", _holds(2)),
    Alt(4, f"<first>{{one:first|A}} {{place:place}} and {TWO} {{place2:place2}}.", _holds(2)),
    Alt(4, "<first>{one:first|A} <second>{relation:relation} {two:second|a}, and <third>{three:third|a}.", _holds(3)),
    Alt(
        4,
        "<first>{one:first|A} <second>{relation:relation} {two:second|a}, "
        "and <third>{three:third|a} <fourth>{relation2:relation2} {four:fourth|a}.",
        _holds(4),
    ),
]
PARTIAL = [
    (3, "<first>{one:vague|A}."),
    (3, "There is <first>{one:vague|a} {place:place}."),
    (3, "<first>{place:place|cap} there is {one:vague|a}."),
    (2, "One can see <first>{one:vague|a} here."),
    Alt(2, "One of the {number:number} objects is <first>{one:first|a}.", _holds(2, 3, 4)),
    Alt(2, "{number:number|cap} objects, one of them <first>{one:vague|a}.", _holds(2, 3, 4)),
    Alt(3, f"<first>{{one:first|A}} and {TWO}, among other things.", _holds(3, 4)),
    Alt(6, "<first>{one:vague|A} <second>{relation:relation} {two:vague2|a}.", _holds(2, 3, 4)),
    Alt(3, "<first><second>{relation:relation|cap} {two:vague2|a} there is {one:vague|a}.", _holds(2, 3, 4)),
    Alt(2, "The <outstanding>{extreme} object is {one:first|a}.", _any(OUTSTANDING)),
    Alt(3, "The only <lone>{kind} is {look}.", _any(LONE)),
    Alt(3, "{tally:tally|cap}.", _known("tallies")),
    Alt(3, "There are {tally:tally} in the picture.", _known("tallies")),
    Alt(2, "There are {balance:balance}.", _known("balances")),
    Alt(2, "Both objects are {look:shared}.", _known("shared", 2)),
    Alt(2, "All {number:number} objects are {look:shared}.", _known("shared", 3, 4)),
    Alt(1, "No two objects have the same {field:field}.", _known("differing")),
    Alt(1, "There are {number:number} objects.", _holds(2, 3, 4)),
]
GRAMMAR = Grammar(
    rules={
        "caption": [(3, "<full>"), (2, "<partial>")],
        "full": FULL,
        "partial": PARTIAL,
        "names": [Alt(1, template, _holds(n)) for n, template in enumerate(LISTS, start=1)],
        "Names": [Alt(1, template.replace("|a", "|A", 1), _holds(n)) for n, template in enumerate(LISTS, start=1)],
        "left_to_right": [Alt(1, "", then=_sorted("leftmost"))],
        "top_to_bottom": [Alt(1, "", then=_sorted("highest"))],
        "outstanding": OUTSTANDING,
        "lone": LONE,
        **{name: _pick(name) for name in PICKS},
    },
    domains={
        **{name: _domain(lambda facts, name=name: _full(facts[name])) for name in PICKS},
        "vague": _domain(lambda facts: _vague(facts["first"])),
        "vague2": _domain(lambda facts: _vague(facts["second"])),
        "place": _domain(lambda facts: _places(facts["first"])),
        "place2": _domain(lambda facts: _places(facts["second"])),
        "relation": _domain(lambda facts: _relations(facts["first"], facts["second"])),
        "relation2": _domain(lambda facts: _relations(facts["third"], facts["fourth"])),
        "back": _domain(lambda facts: _relations(facts["second"], facts["first"])),
        "tally": _domain(lambda facts: facts["tallies"]),
        "balance": _domain(lambda facts: facts["balances"]),
        "shared": _domain(lambda facts: facts["shared"]),
        "field": _domain(lambda facts: facts["differing"]),
        "group": _domain(lambda facts: facts["groups"]),
        "number": _domain(lambda facts: [NUMBERS[len(_objects(facts))]]),
    },
)


def sample(scene: Scene, dice: Dice) -> str:
    """A caption of this scene."""
    return GRAMMAR.sample("caption", dice, _facts(scene))[0]


def logprob(text: str, scene: Scene) -> float:
    """log p(caption | scene) in nats; −∞ if it is not true of the scene, or not a caption."""
    return GRAMMAR.logprob(text, "caption", _facts(scene))


def stream(split: str, seed: int = 0) -> Iterator[dict]:
    """Rows of the configuration `captions`, without end: id, objects, seed, captions (five, drawn independently)."""
    dice, number = dice_for("captions", split, seed), 0
    while True:
        scene = sample_scene(dice, split)
        row = {"id": f"{split}-{seed}-{number}", **scene.to_row()}
        yield row | {"captions": [sample(scene, dice) for _ in range(5)]}
        number += 1
