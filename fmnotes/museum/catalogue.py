"""The catalogue: for every museum, facts drawn anew, and a page for everything that has a name in it.

All 48 colour-shape pairs are exhibits of every museum, but who made the red star, when and of what, differs from
museum to museum: a model that was trained on some cannot know another's, so it must look it up. A museum has 97
pages; a thousand museums are a store of about 100,000.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from fmnotes.museum.dice import Dice
from fmnotes.museum.grammar import Words
from fmnotes.museum.names import names
from fmnotes.museum.pages import FIXED, KINDS, sentences, write
from fmnotes.museum.world import PAIRS, dice_for

Record = dict[str, str]  # what is known about one thing, by the variables of its page; record[kind] is its name
METADATA = ("colour", "shape", "maker", "city", "year", "material", "wing", "code")


@dataclass(frozen=True)
class Museum:
    """A museum and all that is known in it. `records[kind]` lists its exhibits, makers, cities, wings, and itself."""

    split: str
    seed: int
    index: int
    name: str
    records: dict[str, list[Record]]

    def record(self, kind: str, subject: str) -> Record:
        """What is known about a subject of this kind: `museum.record("exhibit", "red star")`."""
        for record in self.records[kind]:
            if record[kind] == subject:
                return record
        raise KeyError(f"the {self.name} has no {kind} {subject!r}")

    def page_id(self, kind: str, subject: str) -> str:
        """The page about a subject: "test-0-17/exhibit/red-star"."""
        return f"{self.split}-{self.seed}-{self.index}/{kind}/{subject.replace(' ', '-')}"

    def pages(self) -> list[dict]:
        """The 97 pages: id, museum, kind, subject, title, text, and the metadata ("" or 0 where there is none)."""
        dice = dice_for("pages", self.split, self.seed, self.index, 1)
        return [self._page(kind, record, dice) for kind in KINDS for record in self.records[kind]]

    def _page(self, kind: str, record: Record, dice: Dice) -> dict:
        text = write(kind, record, dice, self.split)
        subject = record[kind]
        page = {"id": self.page_id(kind, subject), "museum": self.name, "kind": kind, "subject": subject}
        page |= {"title": text.partition("\n")[0], "text": text, **dict.fromkeys(METADATA, ""), "year": 0}
        if kind == "exhibit":
            page["colour"], page["shape"] = subject.split()
            page |= {name: value_of(record, name) for name in METADATA[2:]} | {"year": int(record["year"])}
        elif kind != "museum":
            page[kind] = subject
        return page


def value_of(record: Record, fact: str) -> str:
    """What the sentence about a fact ends in."""
    return f"{record['series']}-{record['number']}" if fact == "code" else record[fact]


def sentence_of(page: dict, value: str) -> str:
    """The page's own sentence that ends in this value. ValueError unless there is exactly one."""
    found = [sentence for sentence in sentences(page["text"]) if sentence.endswith(f" {value}.")]
    if len(found) != 1:
        raise ValueError(f"{len(found)} sentences of {page['title']!r} end in {value!r}; there should be one")
    return found[0]


def draw_distinct(dice: Dice, domain: Words, count: int) -> list[str]:
    """So many different values, in random order: each place in the list is uniform over the domain."""
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        drawn[dice.choice(domain.values)] = None
    return list(drawn)


@cache
def museum_names(split: str, seed: int) -> list[str]:
    """The split's names in the order in which its museums take them: no two museums share one until all are used."""
    return dice_for("museum-names", split, seed).shuffled(names(split)["museum"].values)


def museum(split: str, seed: int = 0, index: int = 0) -> Museum:
    """Museum number `index` of a split. Within a museum names differ; every name is uniform over the split's names."""
    order = museum_names(split, seed)
    dice = dice_for("pages", split, seed, index, 0)
    name, known = order[index % len(order)], names(split) | FIXED
    people = draw_distinct(dice, known["person"], 2 * KINDS["maker"] + KINDS["wing"] + 1)
    makers, teachers, (founder, *curators) = people[:24], people[24:48], people[48:]
    cities = draw_distinct(dice, known["city"], KINDS["city"])
    wings = draw_distinct(dice, known["wing"], KINDS["wing"])
    records = {
        "exhibit": _exhibits(dice, known, makers, cities, wings),
        "maker": [{"maker": maker, "teacher": teacher} for maker, teacher in zip(makers, teachers, strict=True)],
        "city": [{"city": city} for city in cities],
        "wing": [{"wing": wing, "curator": curator} for wing, curator in zip(wings, curators, strict=True)],
        "museum": [{"founder": founder, "home": dice.choice(cities), "opened": dice.choice(known["opened"].values)}],
    }
    records["museum"][0]["guard"] = dice.choice(known["guard"].values)
    rivers = draw_distinct(dice, known["river"], KINDS["city"])
    for record, river in zip(records["city"], rivers, strict=True):
        record["river"] = river
        record |= {fact: dice.choice(known[fact].values) for fact in ("country", "founded", "ware")}
    for record in records["maker"]:
        record["birthplace"] = dice.choice(cities)
        record |= {fact: dice.choice(known[fact].values) for fact in ("age", "tool")}
    for record in records["wing"]:
        record |= {fact: dice.choice(known[fact].values) for fact in ("floor", "paint", "view")}
    for kind in KINDS:
        for record in records[kind]:
            record["museum"] = name
    return Museum(split, seed, index, name, records)


def _exhibits(dice: Dice, known: dict[str, Words], makers: list, cities: list, wings: list) -> list[Record]:
    """The 48 exhibits: two of each maker, three from each city, six in each wing; titles and numbers all different."""
    facts = {
        "exhibit": [f"{colour} {shape}" for colour, shape in PAIRS],
        "title": draw_distinct(dice, known["title"], len(PAIRS)),
        "maker": dice.shuffled(makers * 2),
        "year": [dice.choice(known["year"].values) for _ in PAIRS],
        "material": [dice.choice(known["material"].values) for _ in PAIRS],
        "city": dice.shuffled(cities * 3),
        "wing": dice.shuffled(wings * 6),
        "series": [dice.choice(known["series"].values) for _ in PAIRS],
        "number": draw_distinct(dice, known["number"], len(PAIRS)),
    }
    return [dict(zip(facts, values, strict=True)) for values in zip(*facts.values(), strict=True)]


def stream(split: str, seed: int = 0) -> Iterator[dict]:
    """Rows of the configuration `pages`, without end: museum after museum, 97 pages each."""
    index = 0
    while True:
        yield from museum(split, seed, index).pages()
        index += 1
