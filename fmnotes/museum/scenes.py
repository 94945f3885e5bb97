"""What can stand in a picture: one to four objects on a 4×4 grid, drawn from a known distribution.

A scene says what is there and where; `render.py` makes the picture. Everything that captions and questions claim is
decided here, in one place: each relation and each position has exactly one definition, on the cells of the grid.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from fmnotes.museum.dice import Dice
from fmnotes.museum.world import COLOURS, HELD_OUT_PAIRS, PAIRS, SHAPES, SIZES, TRAIN_PAIRS, check_split, dice_for

GRID = 4
MOST_OBJECTS = 4
CELLS = tuple((row, column) for row in range(GRID) for column in range(GRID))


@dataclass(frozen=True)
class Object:
    """One thing in a picture. Rows count from the top, columns from the left, both from 0."""

    colour: str
    shape: str
    size: str
    row: int
    column: int

    def __post_init__(self):
        for value, known in ((self.colour, COLOURS), (self.shape, SHAPES), (self.size, SIZES)):
            if value not in known:
                raise ValueError(f"an object cannot be {value!r}; there are {', '.join(known)}")
        if (self.row, self.column) not in CELLS:
            raise ValueError(f"cell {self.cell} is not on the grid; rows and columns are 0 to {GRID - 1}")

    @property
    def pair(self) -> tuple[str, str]:
        return self.colour, self.shape

    @property
    def cell(self) -> tuple[int, int]:
        return self.row, self.column


@dataclass(frozen=True)
class Scene:
    """Objects in reading order, whatever order they are given in, and the seed of ground, noise and jitter."""

    objects: tuple[Object, ...]
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "objects", tuple(sorted(self.objects, key=lambda thing: thing.cell)))
        if not 1 <= len(self.objects) <= MOST_OBJECTS:
            raise ValueError(f"a scene holds 1 to {MOST_OBJECTS} objects; got {len(self.objects)}")
        if len({thing.cell for thing in self.objects}) < len(self.objects):
            raise ValueError(f"two objects stand in one cell: {[thing.cell for thing in self.objects]}")

    @classmethod
    def from_row(cls, row: Mapping) -> "Scene":
        """The scene of a row of any configuration that has the columns `objects` and `seed`."""
        return cls(tuple(Object(**thing) for thing in row["objects"]), row["seed"])

    def to_row(self) -> dict:
        """The columns `objects` and `seed`, as plain values."""
        return {"objects": [asdict(thing) for thing in self.objects], "seed": self.seed}


# ------------------------------------------------------------------------------------------------ what holds in a scene

# "a is left of b": a's column comes before b's, whatever their rows. The four others likewise.
RELATIONS: dict[str, Callable[[Object, Object], bool]] = {
    "left of": lambda a, b: a.column < b.column,
    "right of": lambda a, b: a.column > b.column,
    "above": lambda a, b: a.row < b.row,
    "below": lambda a, b: a.row > b.row,
}

# The part of the picture that an object stands in: a half, a quarter, the four corner cells, the four inner cells.
POSITIONS: dict[str, Callable[[Object], bool]] = {
    "on the left": lambda a: a.column < GRID // 2,
    "on the right": lambda a: a.column >= GRID // 2,
    "at the top": lambda a: a.row < GRID // 2,
    "at the bottom": lambda a: a.row >= GRID // 2,
    "at the top left": lambda a: a.row < GRID // 2 and a.column < GRID // 2,
    "at the top right": lambda a: a.row < GRID // 2 and a.column >= GRID // 2,
    "at the bottom left": lambda a: a.row >= GRID // 2 and a.column < GRID // 2,
    "at the bottom right": lambda a: a.row >= GRID // 2 and a.column >= GRID // 2,
    "in a corner": lambda a: a.row in (0, GRID - 1) and a.column in (0, GRID - 1),
    "in the middle": lambda a: 0 < a.row < GRID - 1 and 0 < a.column < GRID - 1,
}

# The object that comes first in a direction. It must be alone there: no tie.
EXTREMES: dict[str, Callable[[Object], int]] = {
    "leftmost": lambda a: a.column,
    "rightmost": lambda a: -a.column,
    "highest": lambda a: a.row,
    "lowest": lambda a: -a.row,
}


def extreme(direction: str, objects: Sequence[Object]) -> Object | None:
    """The leftmost (…) of these objects, or None where two share that place or there is none."""
    key = EXTREMES[direction]
    ranked = sorted(objects, key=key)
    if not ranked or (len(ranked) > 1 and key(ranked[0]) == key(ranked[1])):
        return None
    return ranked[0]


# ------------------------------------------------------------------------------------------------------------- sampling

COUNT_WEIGHTS = (2, 3, 4, 3)  # of one, two, three, four objects
Sketch = Mapping[str, str]  # some of colour, shape and size; the others are free


def sample(dice: Dice, split: str = "train", planted: Sequence[Sketch] = ()) -> Scene:
    """Draw a scene of this split, holding at least the `planted` objects, at free places.

    One object in three takes over the colour, and one in three the shape, of an earlier one, so that counting and
    comparing are not trivial. A held-out pair occurs in the composition split only, and there in every scene.
    """
    check_split(split)
    pairs = PAIRS if split == "composition" else TRAIN_PAIRS
    planted = [dict(sketch) for sketch in planted]
    if split == "composition" and not any((s.get("colour"), s.get("shape")) in HELD_OUT_PAIRS for s in planted):
        colour, shape = dice.choice(HELD_OUT_PAIRS)
        planted.append({"colour": colour, "shape": shape})
    n = max(1 + dice.weighted(COUNT_WEIGHTS), len(planted))
    looks: list[tuple[str, str, str]] = []
    for index in range(n):
        sketch = planted[index] if index < len(planted) else _echo(dice, looks, pairs)
        looks.append(_complete(dice, sketch, pairs))
    cells = dice.shuffled(CELLS)[:n]
    objects = (Object(*look, *cell) for look, cell in zip(looks, cells))
    return Scene(tuple(objects), seed=dice.below(2**48))


def _echo(dice: Dice, looks: Sequence[tuple[str, str, str]], pairs: Sequence[tuple[str, str]]) -> Sketch:
    """What a further object takes over from those before it: a colour, a shape, both or nothing."""
    sketch = {}
    if looks and dice.below(3) == 0:
        sketch["colour"] = dice.choice(looks)[0]
    if looks and dice.below(3) == 0:
        shape = dice.choice(looks)[1]
        if "colour" not in sketch or (sketch["colour"], shape) in pairs:
            sketch["shape"] = shape
    return sketch


def _complete(dice: Dice, sketch: Sketch, pairs: Sequence[tuple[str, str]]) -> tuple[str, str, str]:
    """Colour, shape and size: what the sketch says, and for the rest any that this split allows."""
    colour, shape = sketch.get("colour"), sketch.get("shape")
    fitting = [pair for pair in pairs if colour in (None, pair[0]) and shape in (None, pair[1])]
    if not fitting:
        raise ValueError(f"this split has no {colour} {shape}: it is kept for the composition test")
    return *dice.choice(fitting), sketch.get("size") or dice.choice(SIZES)


def stream(split: str, seed: int = 0) -> Iterator[dict]:
    """Rows of the configuration `scenes`, without end: id, objects, seed."""
    dice, number = dice_for("scenes", split, seed), 0
    while True:
        yield {"id": f"{split}-{seed}-{number}", **sample(dice, split).to_row()}
        number += 1
