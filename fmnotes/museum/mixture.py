"""The museum's text as a language model meets it: stories, pages, captions, and questions answered from pages."""

from collections.abc import Iterator

from fmnotes.museum import captions, catalogue, knowledge, prompt, stories
from fmnotes.museum.dice import Dice
from fmnotes.museum.world import dice_for

SHARES = {"stories": 4, "pages": 2, "captions": 1, "questions": 3}  # of ten texts
OF_A_MUSEUM = {"pages": 6, "questions": 9}  # then the next: who meets many museums learns to read, not to remember one


def texts(split: str = "train", seed: int = 0) -> Iterator[str]:
    """Texts without end, each closed by <|endoftext|>; the same ones for the same split and seed."""
    return _drawn(split, seed, dice_for("mixture", split, seed))


def _drawn(split: str, seed: int, dice: Dice) -> Iterator[str]:
    sources = {
        "stories": (row["text"] for row in stories.stream(split, seed)),
        "pages": _pages(split, seed),
        "captions": (dice.choice(row["captions"]) for row in captions.stream(split, seed)),
        "questions": _answered(split, seed),
    }
    while True:
        kind = list(SHARES)[dice.weighted(list(SHARES.values()))]
        text = next(sources[kind])
        yield text if text.endswith(prompt.END) else text + prompt.END


def _pages(split: str, seed: int) -> Iterator[str]:
    dice = dice_for("mixture-pages", split, seed)
    for about in _museums(split, seed):
        for page in dice.shuffled(about.pages())[: OF_A_MUSEUM["pages"]]:
            yield page["text"]


def _answered(split: str, seed: int) -> Iterator[str]:
    """Questions that can be answered by reading, with one to five pages in random order; one in five lacks a page."""
    dice = dice_for("mixture-questions", split, seed)
    for about in _museums(split, seed):
        store = about.pages()
        rows = [row for row in knowledge.questions(about, 2 * OF_A_MUSEUM["questions"]) if row["needs"] == "knowledge"]
        for row in rows[: OF_A_MUSEUM["questions"]]:
            size = len(row["pages"]) + dice.below(prompt.MOST_PAGES + 1 - len(row["pages"]))
            pages = knowledge.context(row, store, dice, size, missing=dice.below(5) == 0)
            yield prompt.build(row["question"], [page["text"] for page in pages], knowledge.answer(row, pages))


def _museums(split: str, seed: int) -> Iterator[catalogue.Museum]:
    index = 0
    while True:
        yield catalogue.museum(split, seed, index)
        index += 1
