"""The one layout of a prompt, from the first notebook to the last:

    [image tokens] [0 to 5 numbered pages] question → answer [n]

    <|image|><|image|>…<|page|>[1] The Velmovian Museum: the red star
    The red star was made by Talo Brenik. …<|page|>[2] …<|question|>Who made the red star?<|answer|>The red star was
    made by Talo Brenik. [1]<|endoftext|>

Here it is text. The special tokens are single tokens of the vocabulary; a tokenizer must be told to allow them, and
text from outside, which a page is, must not hold them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fmnotes.museum.scenes import Scene

END, PAD, IMAGE, PAGE, QUESTION, ANSWER = SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|pad|>",
    "<|image|>",
    "<|page|>",
    "<|question|>",
    "<|answer|>",
)
MOST_PAGES = 5
UNKNOWN = "unknown"

_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))
_TEXT = rf"(?:(?!{_SPECIAL.pattern}).)*"
_LAYOUT = re.compile(
    rf"((?:{re.escape(IMAGE)})*)((?:{re.escape(PAGE)}{_TEXT})*)"
    rf"{re.escape(QUESTION)}({_TEXT}){re.escape(ANSWER)}(?:({_TEXT}){re.escape(END)})?",
    re.DOTALL,
)
_CITED = re.compile(r"(.*) \[([1-5])\]", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """The parts of a prompt. `answer` is None where the model is to write it."""

    question: str
    pages: tuple[str, ...] = ()
    answer: str | None = None
    image_tokens: int = 0


def build(question: str, pages: Sequence[str] = (), answer: str | None = None, image_tokens: int = 0) -> str:
    """The text of a prompt: up to `<|answer|>`, where generation begins, or with an answer up to `<|endoftext|>`.

    pages: their texts, in the order in which they are numbered from 1. ValueError if there are more than five, if a
    part holds a special token, or if the number of image tokens is negative.
    """
    if isinstance(pages, str):
        raise ValueError("pages must be a list of texts; got one text: put it into a list")
    if len(pages) > MOST_PAGES:
        raise ValueError(f"a prompt holds at most {MOST_PAGES} pages; got {len(pages)}: keep the best")
    if image_tokens < 0:
        raise ValueError(f"the number of image tokens cannot be negative; got {image_tokens}")
    parts = {f"page {number}": page for number, page in enumerate(pages, start=1)}
    parts |= {"question": question, "answer": answer or ""}
    _refuse_special(parts)
    numbered = "".join(f"{PAGE}[{number}] {page}" for number, page in enumerate(pages, start=1))
    written = "" if answer is None else answer + END
    return IMAGE * image_tokens + numbered + QUESTION + question + ANSWER + written


def build_hypothesis(question: str, page: str | None = None) -> str:
    """Question → page, for HyDE (Gao et al. 2022): what a page that answers would look like, for a retriever to seek.

    It ends where the model is to write the page, or, for training, with it. Such a page has no number.
    """
    _refuse_special({"question": question, "page": page or ""})
    return QUESTION + question + PAGE + (page or "")


def _refuse_special(parts: dict[str, str]) -> None:
    for name, part in parts.items():
        if found := _SPECIAL.search(part):
            raise ValueError(f"the {name} holds the special token {found[0]}, which the layout alone may write")


def describe(scene: Scene) -> str:
    """A scene in words, in the place of a picture: "<|image|>small red star 0 2, large blue cross 3 1<|image|>".

    Each object's size, colour and shape, its row and its column, in reading order. On such lines a language model
    learns to answer questions about what is seen before it has seen anything.
    """
    things = (f"{x.size} {x.colour} {x.shape} {x.row} {x.column}" for x in scene.objects)
    return IMAGE + ", ".join(things) + IMAGE


def parse(text: str) -> Prompt:
    """The parts of a prompt that `build` has written. ValueError, saying where, if the text has another layout."""
    match = _LAYOUT.fullmatch(text)
    if not match:
        raise ValueError(
            f"not a prompt: expected {IMAGE}… {PAGE}[1] … {QUESTION} … {ANSWER}, and with an answer {END} at the end, "
            f"each special token in this order; got {text[:80]!r}"
        )
    images, numbered, question, answer = match.groups()
    pages = numbered.split(PAGE)[1:]
    if len(pages) > MOST_PAGES:
        raise ValueError(f"a prompt holds at most {MOST_PAGES} pages; got {len(pages)}")
    for number, page in enumerate(pages, start=1):
        if not page.startswith(f"[{number}] "):
            raise ValueError(f"page {number} must begin with '[{number}] '; got {page[:20]!r}")
    unnumbered = tuple(page.partition(" ")[2] for page in pages)
    return Prompt(question, unnumbered, answer, images.count(IMAGE))


def cite(sentence: str, number: int) -> str:
    """An answer: a sentence from a page, and the number of that page in the prompt."""
    if not 1 <= number <= MOST_PAGES:
        raise ValueError(f"pages are numbered 1 to {MOST_PAGES}; got {number}")
    return f"{sentence} [{number}]"


def cited(answer: str) -> tuple[str, int | None]:
    """An answer taken apart: (sentence, page number), or (answer, None) if it cites no page."""
    match = _CITED.fullmatch(answer)
    return (match[1], int(match[2])) if match else (answer, None)


def says(answer: str, value: str) -> bool:
    """Whether an answer ends in this value, cited or not: what is scored. "The star was made by Talo Brenik. [2]" says
    "Talo Brenik"; the bare "Talo Brenik" does too."""
    sentence = cited(answer.strip())[0].removesuffix(".")
    return sentence == value or sentence.endswith(f" {value}")
