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
TRIES = 24  # to find a question that is wanted
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


def draw(
    about: Museum,
    store: Mapping[str, dict],
    dice: Dice,
    size: int,
    questions: int,
    foreign: Mapping[str, dict] | None = None,
    balanced: bool = False,
) -> Context:
    """So many pages of a museum, in random order, and at most so many questions, no fact asked for twice.

    Args:
        store: the museum's pages by id.
        foreign: those of another one. Some of them take the places of pages, often of the same name ("the red star"
            of the other museum), and every question names the museum that it is about.
        balanced: as many questions of two hops as of one, where pages lead to each other, and one in five of each
            unknown. If not, few of two hops are answered, and most of what is unknown is of two hops: whoever learns
            from such contexts learns to say "unknown" to them.
    """
    pages = _chosen(about, store, dice, size)
    own = pages
    if foreign:
        pages, own = _among_foreign(pages, foreign, dice)
    draw_question = _balanced if balanced else _as_they_come
    asked, facts = [], set()
    for _ in range(3 * questions):
        drawn = draw_question(about, store, dice, pages, own, asked)
        if drawn is None:
            break
        row, right = drawn
        fact = (row["sentence"], row["answer"])
        unknown = sum(one.answer == UNKNOWN for one in asked)
        too_many = not balanced and UNKNOWNS * unknown > len(asked)
        if fact in facts or (right == UNKNOWN and too_many) or (foreign and row["filter"]):
            continue
        facts.add(fact)
        asked.append(Asked(row["question"], right, row["answer"]))
        if len(asked) == questions:
            break
    return Context(tuple(pages), tuple(asked))


def _as_they_come(
    about: Museum, store: Mapping[str, dict], dice: Dice, pages: list[dict], own: list[dict], asked: list[Asked]
) -> tuple[dict, str]:
    """A question, two hops where they can be in two of five, and its right answer."""
    start = dice.choice(list(store.values()) if dice.below(ELSEWHERE) == 0 else own)
    two_hop = start["kind"] in SUBJECTS["two_hop"] and dice.below(5) < 2
    row = knowledge.question_on(about, store, start, "two_hop" if two_hop else "one_hop", dice)
    return row, knowledge.answer(row, pages)


def _balanced(
    about: Museum, store: Mapping[str, dict], dice: Dice, pages: list[dict], own: list[dict], asked: list[Asked]
) -> tuple[dict, str] | None:
    """A question of one or two hops, one in so many of them unknown; None if all that the pages say is asked.

    Where no page leads to another one, few are of two hops.
    """
    taken = {one.value for one in asked}

    def found(hops: str, unknown: bool) -> tuple[dict, str] | None:
        starts = own if hops == "one_hop" else [page for page in own if page["kind"] in SUBJECTS["two_hop"]]
        for _ in range(TRIES if starts else 0):
            start = dice.choice(list(store.values()) if unknown and hops == "one_hop" else starts)
            row = knowledge.question_on(about, store, start, hops, dice)
            right = knowledge.answer(row, pages)
            if (right == UNKNOWN) == unknown and row["answer"] not in taken:
                return row, right
        return None

    unknown = dice.below(UNKNOWNS) == 0
    if dice.below(2):
        known = found("two_hop", False)
        if known is None and dice.below(2 * UNKNOWNS) == 0 or known and unknown:
            known = found("two_hop", True)
        if known:
            return known
    return found("one_hop", unknown) or found("one_hop", False)


def _among_foreign(pages: list[dict], foreign: Mapping[str, dict], dice: Dice) -> tuple[list[dict], list[dict]]:
    """The pages with some replaced by another museum's, half of these namesakes of pages that stay; and what stays."""
    own = pages[: max(1, dice.below(len(pages)))]
    strangers = dice.shuffled(list(foreign.values()))
    namesakes = [page for page in strangers if any(_alike(page, mine) for mine in own)]
    others = [page for page in strangers if page not in namesakes]
    taken = [(namesakes if namesakes and dice.below(2) else others).pop() for _ in pages[len(own) :]]
    return dice.shuffled([*own, *taken]), own


def _alike(one: Mapping, other: Mapping) -> bool:
    return (one["kind"], one["subject"]) == (other["kind"], other["subject"])


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


def exam(
    split: str, number: int, sizes: tuple[int, ...] = (3, 4, 5), namesakes: bool = False, seed: int = 0
) -> list[Item]:
    """So many questions of each kind, about museums of a split, each with its own pages in random order.

    In "withheld", one page that the question needs is missing (of two hops, either), and another stands in its place.

    Args:
        sizes: the numbers of pages, each equally likely; with a single page there are no two hops.
        namesakes: ask only what names its museum, about things that another museum has too, and put that museum's
            page about them among the pages.
    """
    dice, items = dice_for("exam", split, seed), {kind: [] for kind in KINDS[:: 1 if max(sizes) > 1 else 2]}
    index = 0
    while min(map(len, items.values())) < number:
        about, foreign = museum(split, seed, index), museum(split, seed, index + 1).pages() if namesakes else []
        store, index = about.pages(), index + 1
        for row in knowledge.questions(about, 30):
            size, withheld = dice.choice(sizes), dice.below(3) == 0
            kind = "withheld" if withheld else {"one_hop": "one hop", "two_hop": "two hops"}.get(row["type"])
            needed = len(row["pages"]) - withheld + namesakes
            if row["needs"] != "knowledge" or needed > size or len(items.get(kind, range(number))) >= number:
                continue
            pages = knowledge.context(row, store, dice, size - namesakes, withheld)
            if namesakes:
                asked = next(page for page in store if page["id"] == row["pages"][0])
                same = [page for page in foreign if _alike(page, asked)]
                if row["filter"] or not same:
                    continue
                pages = dice.shuffled([*pages, *same])
            texts = tuple(page["text"] for page in pages)
            items[kind].append(Item(kind, row["question"], texts, knowledge.answer(row, pages), row["answer"]))
    return [item for of_kind in items.values() for item in of_kind]
