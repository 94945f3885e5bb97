"""Pages with many questions about them: what a model practises reading on.

The mixture of `mixture.py` asks one question of a prompt, as a user would. Then nine tokens of ten are pages, and few
of them teach reading. Here as many questions as one likes are asked of the same pages, each with its one right answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fmnotes.museum import knowledge
from fmnotes.museum.catalogue import Museum, museum
from fmnotes.museum.dice import Dice
from fmnotes.museum.knowledge import LEADS, SUBJECTS
from fmnotes.museum.prompt import UNKNOWN
from fmnotes.museum.world import dice_for

UNKNOWNS = 5  # about one answer in so many is "unknown"
ELSEWHERE = 8  # one question in so many is about a page that is, most likely, not there


class Asked(NamedTuple):
    """A question about a context, its one right answer, and the value that is asked for."""

    question: str
    answer: str
    value: str


@dataclass(frozen=True)
class Context:
    """Pages in the order of the prompt, and questions about them."""

    pages: tuple[dict, ...]
    asked: tuple[Asked, ...]


def draw(about: Museum, store: Mapping[str, dict], dice: Dice, size: int, questions: int) -> Context:
    """So many pages of a museum, in random order, and at most so many questions, no fact asked for twice.

    Args:
        store: the museum's pages by id.
    """
    pages = _chosen(about, store, dice, size)
    asked, facts = [], set()
    for _ in range(3 * questions):
        start = dice.choice(list(store.values()) if dice.below(ELSEWHERE) == 0 else pages)
        two_hop = start["kind"] in SUBJECTS["two_hop"] and dice.below(5) < 2
        row = knowledge.question_on(about, store, start, "two_hop" if two_hop else "one_hop", dice)
        fact = (row["sentence"], row["answer"])
        right = knowledge.answer(row, pages)
        unknown = sum(one.answer == UNKNOWN for one in asked)
        if fact in facts or (right == UNKNOWN and UNKNOWNS * unknown > len(asked)):
            continue
        facts.add(fact)
        asked.append(Asked(row["question"], right, row["answer"]))
        if len(asked) == questions:
            break
    return Context(tuple(pages), tuple(asked))


def _chosen(about: Museum, store: Mapping[str, dict], dice: Dice, size: int) -> list[dict]:
    """Pages in random order; if there are several, mostly some that lead from one to another."""
    first = dice.choice([page for page in store.values() if page["kind"] in SUBJECTS["two_hop"]])
    chosen = {first["id"]: first} if dice.below(4) or size > 1 else {}
    if dice.below(4):
        record = about.record(first["kind"], first["subject"])
        leads = dice.shuffled([(fact, target) for (kind, fact), (target, _) in LEADS.items() if kind == first["kind"]])
        for fact, target in leads[: size - 1]:
            page = store[about.page_id(target, record[fact])]
            chosen[page["id"]] = page
    others = dice.shuffled([page for page in store.values() if page["id"] not in chosen])
    return dice.shuffled([*chosen.values(), *others[: size - len(chosen)]])


@dataclass(frozen=True)
class Item:
    """One question of an exam in reading."""

    kind: str  # "one hop", "two hops", "withheld"
    question: str
    pages: tuple[str, ...]
    answer: str  # the page's sentence and its number, or "unknown"
    value: str  # what is asked for, also where no page says it


KINDS = ("one hop", "two hops", "withheld")


def exam(split: str, number: int, sizes: tuple[int, ...] = (3, 4, 5), seed: int = 0) -> list[Item]:
    """So many questions of each kind, about museums of a split, each with its own pages in random order.

    In "withheld", one page that the question needs is missing (of two hops, either), and another stands in its place.

    Args:
        sizes: the numbers of pages, each equally likely; with a single page there are no two hops.
    """
    dice, items = dice_for("exam", split, seed), {kind: [] for kind in KINDS[:: 1 if max(sizes) > 1 else 2]}
    index = 0
    while min(map(len, items.values())) < number:
        about = museum(split, seed, index)
        store, index = about.pages(), index + 1
        for row in knowledge.questions(about, 30):
            size, withheld = dice.choice(sizes), dice.below(3) == 0
            kind = "withheld" if withheld else {"one_hop": "one hop", "two_hop": "two hops"}.get(row["type"])
            if row["needs"] != "knowledge" or len(row["pages"]) - withheld > size:
                continue
            if len(items.get(kind, range(number))) >= number:
                continue
            pages = knowledge.context(row, store, dice, size, withheld)
            texts = tuple(page["text"] for page in pages)
            items[kind].append(Item(kind, row["question"], texts, knowledge.answer(row, pages), row["answer"]))
    return [item for of_kind in items.values() for item in of_kind]
