"""Cut text into the pieces inside which byte pairs may merge, and count them."""

import codecs
import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing import current_process, get_context
from pathlib import Path

import regex

# Radford et al. 2019: contractions, then words, numbers and symbols with the space before them, then other whitespace.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

BLOCK = 1 << 16  # characters of a stream that are worth looking at in one go
BATCH = 1 << 23  # characters that one worker process counts in one go
LARGE = 1 << 26  # characters counted in this process before others are started, which takes time as well

# Where GPT-2's pattern ends a piece whatever comes before or after: before whitespace, and between punctuation and a
# letter or digit (so that scripts without spaces can be cut too; not after an apostrophe, which may be a contraction).
# Only characters that every version of Unicode classes alike are named. (?r) searches from the end.
_BREAK = regex.compile(r"(?r)(?<=\S)(?=\s)|(?<=[.,;:!?。、,!?])(?=[0-9A-Za-zぁ-んァ-ヺ一-龥가-힣])")
# A space that may not begin a piece: whitespace or nothing follows. (Here `re` knows more whitespace: only safer.)
_INNER_SPACE = re.compile(r" (?!\S)")
_MARK = "\ud800"  # stands for an inner space; no valid text contains it


def check_text(text: str, name: str = "the text", offset: int = 0) -> None:
    """Raise TypeError unless `text` is a str, ValueError if it holds a lone surrogate, which UTF-8 cannot write."""
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has a lone surrogate U+{ord(text[error.start]):04X} at position {offset + error.start}, "
            "which is half a character: repair the text where it was read, e.g. with errors='replace'"
        ) from None


def special_regex(special_tokens: Iterable[str]) -> re.Pattern:
    """A pattern that finds special tokens, the longest first; it finds nothing if there are none."""
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, longest_first)) + ")" if longest_first else r"((?!))")


def segments(chunks: Iterable[str], special_tokens: Iterable[str], pattern: str | None) -> Iterator[str]:
    """Cut a stream into special tokens and texts between them that can be encoded one by one.

    However the stream comes in chunks, the concatenated ids are those of the whole text. With GPT2_PATTERN memory is
    bounded by a few `BLOCK`s, or the longest stretch without whitespace or punctuation if that is more. Where another
    pattern ends a piece cannot be known before all is read: text up to the next special token is then held whole.
    """
    special_tokens = list(special_tokens)
    special = special_regex(special_tokens)
    hold = max(map(len, special_tokens), default=1) - 1  # a special token may have begun in the last characters
    buffer, wanted = "", BLOCK
    for chunk in chunks:
        buffer += chunk
        if len(buffer) < wanted:
            continue
        start, limit = 0, len(buffer) - hold
        while (match := special.search(buffer, start)) and match.start() < limit:
            if start < match.start():
                yield buffer[start : match.start()]
            yield match[0]
            start = match.end()
        if pattern == GPT2_PATTERN and (cut := _BREAK.search(buffer, start, limit)) and start < cut.start():
            yield buffer[start : cut.start()]
            start = cut.start()
        buffer = buffer[start:]
        wanted = max(BLOCK, 2 * len(buffer))  # doubling: a long stretch without a break is not searched again and again
    yield from filter(None, special.split(buffer))


def read_texts(source: str | Path | Iterable[str], special_tokens: Iterable[str], pattern: str | None) -> Iterator[str]:
    """Texts of a source, without its special tokens: no piece spans two of them.

    Args:
        source: a text, a path (read in blocks) or an iterable of texts.
    Raises:
        ValueError: a file that is not UTF-8 (which byte, where) or a lone surrogate. TypeError: not text.
    """
    special = special_regex(special_tokens)
    if isinstance(source, str | Path):
        chunks = _read_utf8(source) if isinstance(source, Path) else _slices(source)
        yield from (text for text in segments(chunks, special_tokens, pattern) if text not in special_tokens)
        return
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        raise TypeError(
            f"the source must be a text, a pathlib.Path or an iterable of texts, not {type(source).__name__}"
        )
    for number, text in enumerate(source):
        check_text(text, f"text {number} of the source")
        if any(token in text for token in special_tokens):
            yield from special.split(text)[::2]  # every second part is a special token
        else:
            yield text


def _slices(text: str) -> Iterator[str]:
    check_text(text)
    return (text[i : i + BLOCK] for i in range(0, len(text), BLOCK))


def _read_utf8(path: Path) -> Iterator[str]:
    """The text of a file in blocks, line ends as they are."""
    decoder, offset = codecs.getincrementaldecoder("utf-8")(), 0
    with open(path, "rb") as file:
        block = b" "
        while block:
            block = file.read(BLOCK)
            try:
                yield decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:  # its object is what was left of the last block, and this block
                at = offset + len(block) - len(error.object) + error.start
                raise ValueError(
                    f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {at} ({error.reason}); "
                    "convert the file to UTF-8 first"
                ) from None
            offset += len(block)


def count_pieces(texts: Iterable[str], pattern: str | None) -> Counter[str]:
    """How often each piece occurs. Large inputs are counted by several processes, with the same result.

    Raises:
        ValueError: a pattern that is no regular expression, or that leaves some character out.
    """
    if pattern is None:
        return Counter(filter(None, texts))
    chunks: Counter[str] = Counter()
    batches = _batches(texts)
    seen = 0
    for batch in batches:
        chunks.update(_count_chunks(batch, pattern))
        seen += sum(map(len, batch))
        if seen >= LARGE and (os.cpu_count() or 1) > 1 and not current_process().daemon:
            _count_in_processes(batches, pattern, chunks)
    if pattern != GPT2_PATTERN:
        return chunks
    pieces: Counter[str] = Counter()
    find_pieces = regex.compile(pattern).findall
    for chunk, count in chunks.items():
        for piece in find_pieces(chunk.replace(_MARK, " ")):
            pieces[piece] += count
    return pieces


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _count_chunks(texts: list[str], pattern: str) -> Counter[str]:
    """Count pieces or, for GPT-2's pattern, chunks of several pieces.

    A piece of GPT-2's always begins at a space that is followed by something else than whitespace. So the text may be
    split there, which `str.split` does far faster than a regular expression, and only distinct chunks need the latter:
    "to be or not to be" has the chunks "to", " be" (twice), " or", " not", " to".
    """
    if pattern != GPT2_PATTERN:
        return _count_direct(texts, pattern)
    firsts: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for text in texts:
        first, *rest = _INNER_SPACE.sub(_MARK, text).split(" ")
        firsts[first] += 1
        others.update(rest)
    return firsts + Counter({" " + chunk: count for chunk, count in others.items()})


def _count_direct(texts: list[str], pattern: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    try:
        find = regex.compile(pattern).finditer
    except regex.error as error:
        raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from None
    for text in texts:
        pieces = [match[0] for match in find(text)]
        if sum(map(len, pieces)) != len(text):
            raise ValueError(f"the pattern {pattern!r} leaves characters of the text out: let it match everything")
        counts.update(filter(None, pieces))
    return counts


def _count_in_processes(batches: Iterator[list[str]], pattern: str, total: Counter[str]) -> None:
    """Add the chunks of all `batches` to `total`, a few batches at a time so that memory stays bounded.

    Processes are spawned, not forked: that is safe on every system and beside threads. A script that calls this must
    guard its main part with `if __name__ == "__main__"`; where it does not, counting goes on in one process.
    """
    workers = os.cpu_count() or 1
    waiting, futures = deque(), deque()  # batches that are not in the total yet, oldest first
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for batch in batches:
                waiting.append(batch)
                futures.append(pool.submit(_count_chunks, batch, pattern))
                if len(futures) > workers:
                    total.update(futures.popleft().result())
                    waiting.popleft()
            while futures:
                total.update(futures.popleft().result())
                waiting.popleft()
    except BrokenProcessPool:
        warnings.warn("worker processes could not run: counting goes on in this one", stacklevel=2)
        for batch in chain(waiting, batches):
            total.update(_count_chunks(batch, pattern))
