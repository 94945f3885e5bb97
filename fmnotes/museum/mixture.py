"""The museum's text as a language model meets it: stories, pages, captions, and questions answered from pages."""

from collections.abc import Iterator

from fmnotes.museum import captions, catalogue, knowledge, prompt, stories
from fmnotes.museum.grammar import Dice
from fmnotes.museum.world import dice_for

SHARES = {"stories": 4, "pages": 2, "captions": 1, "questions": 3}  # of ten texts


def texts(split: str = "train", seed: int = 0) -> Iterator[str]:
    """Texts without end, each closed by <|endoftext|>; the same ones for the same split and seed."""
    dice = dice_for("mixture", split, seed)
    sources = {
        "stories": (row["text"] for row in stories.stream(split, seed)),
        "pages": (row["text"] for row in catalogue.stream(split, seed)),
        "captions": (dice.choice(row["captions"]) for row in captions.stream(split, seed)),
        "questions": _answered(split, seed, dice),
    }
    while True:
        kind = list(SHARES)[dice.weighted(list(SHARES.values()))]
        text = next(sources[kind])
        yield text if text.endswith(prompt.END) else text + prompt.END


def _answered(split: str, seed: int, dice: Dice) -> Iterator[str]:
    """Questions that can be answered by reading, with one to five pages in random order; one in five lacks a page."""
    index = 0
    while True:
        about = catalogue.museum(split, seed, index)
        store = about.pages()
        for row in knowledge.questions(about):
            if row["needs"] == "knowledge":
                size = len(row["pages"]) + dice.below(prompt.MOST_PAGES + 1 - len(row["pages"]))
                pages = knowledge.context(row, store, dice, size, missing=dice.below(5) == 0)
                yield prompt.build(row["question"], [page["text"] for page in pages], knowledge.answer(row, pages))
        index += 1
