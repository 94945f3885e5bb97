"""What is embedded: long pages in pieces, and a question of two steps with the page of the first."""

from __future__ import annotations

import re
from collections.abc import Callable

BREAKS = (r"\n\s*\n", r"\n", r"(?<=[.!?])\s+", r"\s+", "")  # between paragraphs, lines, sentences, words, characters


def split(text: str, size: int, overlap: int = 0, length: Callable[[str], int] = len) -> list[str]:
    """A text in pieces of at most `size`, cut where it hurts least: between paragraphs if that is enough, else lines,
    sentences, words, and at last characters.

    Args:
        overlap: a piece repeats the end of the one before, as much as goes into this length, in whole units.
        length: in what `size` and `overlap` count: characters, or such as `lambda text: len(tokenizer.encode(text))`.

    Returns:
        the pieces, without the blanks around them; none of an empty text.

    Raises:
        ValueError: unless 0 ≤ overlap < size.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap must be 0 or more and less than size: got {overlap} and {size}")
    return [piece.strip() for piece in _split(text, size, overlap, length, BREAKS) if piece.strip()]


def _split(text: str, size: int, overlap: int, length: Callable[[str], int], breaks: tuple[str, ...]) -> list[str]:
    if length(text) <= size:
        return [text]
    first, *rest = breaks
    units = _units(text, first)
    if len(units) == 1 and rest:
        return _split(text, size, overlap, length, tuple(rest))
    found, held = [], []
    for unit in units:
        if held and length("".join([*held, unit])) > size:
            found.append("".join(held))
            while held and (length("".join(held)) > overlap or length("".join([*held, unit])) > size):
                held.pop(0)
        if not held and rest and length(unit) > size:
            found += _split(unit, size, overlap, length, tuple(rest))
        else:
            held.append(unit)
    return [*found, "".join(held)] if held else found


def _units(text: str, pattern: str) -> list[str]:
    """The text cut behind each match; joined, the units are the text."""
    if not pattern:
        return list(text)
    ends = [0, *(match.end() for match in re.finditer(pattern, text)), len(text)]
    return [text[start:end] for start, end in zip(ends, ends[1:]) if start < end]


def further(question: str, page: str) -> str:
    """What to search for in a second step: the question, and the page that the first found (Xiong et al. 2021)."""
    return f"{question}\n{page}"
