"""Learn merges: join the most frequent pair of neighbouring tokens, again and again (Sennrich et al. 2016, fig. 1)."""

import heapq
import operator
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fmnotes.bpe.pieces import GPT2_PATTERN, count_pieces, read_texts
from fmnotes.bpe.tokenizer import Tokenizer, check_special_tokens

_END = -1  # stands between two pieces, so that no pair spans them
_GONE = -2  # was joined to the token on its left


def train_bpe(
    source: str | Path | Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    pattern: str | None = GPT2_PATTERN,
) -> Tokenizer:
    """Train a byte-level vocabulary: 256 byte values, then merges in the order they were learned, then special tokens.

    The most frequent pair is merged first; of equally frequent ones the lexicographically greater pair of byte strings.

    Args:
        source: a text (a str is never a path), a `pathlib.Path` to a UTF-8 file, or an iterable of texts. With
            GPT2_PATTERN a file is streamed and may be larger than memory.
        vocab_size: size of the vocabulary, with bytes and special tokens. If no pair is left before, training stops
            with a warning and the vocabulary is smaller.
        special_tokens: cut out of the text first, the longest first; they take no part in merges.
        pattern: a regular expression; merges stay inside its matches. None: each text between special tokens is one
            piece.
    Raises:
        ValueError: `vocab_size` too small, special tokens empty or repeated, no text, bad UTF-8, a pattern that leaves
            characters out. TypeError: a source that is not text, a `vocab_size` that is no integer.
    """
    check_special_tokens(special_tokens)
    try:
        vocab_size = operator.index(vocab_size)
    except TypeError:
        raise TypeError(f"vocab_size must be an integer, not {vocab_size!r}") from None
    n_merges = vocab_size - 256 - len(special_tokens)
    if n_merges < 0:
        raise ValueError(
            f"vocab_size is {vocab_size}, but 256 byte values and {len(special_tokens)} special tokens need at least "
            f"{256 + len(special_tokens)}"
        )
    pieces = count_pieces(read_texts(source, special_tokens, pattern), pattern)
    if not pieces:
        raise ValueError("the corpus is empty: there is no text to train on")
    merges = learn_merges({piece.encode(): count for piece, count in pieces.items()}, n_merges)
    if len(merges) < n_merges:
        warnings.warn(
            f"no pair is left to merge: the vocabulary has {vocab_size - n_merges + len(merges)} tokens instead of "
            f"{vocab_size}; give more text or ask for fewer",
            stacklevel=2,
        )
    return Tokenizer(merges, special_tokens, pattern)


def learn_merges(pieces: Mapping[bytes, int], n_merges: int) -> list[tuple[bytes, bytes]]:
    """Up to `n_merges` merges from pieces and their counts, each the most frequent pair at its time.

    The naive trainer counts all pairs again after each merge. This one keeps the counts and touches only the places
    where a merge happens. A merge makes pairs with the new token; all other counts only fall. So a pair enters the heap
    once, when it is new, and its count there is an upper bound: if it comes up outdated, it goes back with today's.
    """
    row = _Row(pieces)
    vocabulary = [bytes([value]) for value in range(256)]
    order = [_order_key(token) for token in vocabulary]
    heap = [(-count, order[a], order[b], a, b) for (a, b), count in row.counts.items()]
    heapq.heapify(heap)
    merges = []
    while len(merges) < n_merges and heap:
        count, _, _, a, b = heapq.heappop(heap)
        count_now = row.counts[a, b]
        if count_now == -count:
            merges.append((vocabulary[a], vocabulary[b]))
            new = len(vocabulary)
            vocabulary.append(vocabulary[a] + vocabulary[b])
            order.append(_order_key(vocabulary[new]))
            enter = row.merge(a, b, new)
        else:
            enter = [(a, b)]
        for x, y in enter:
            if row.counts[x, y] > 0:
                heapq.heappush(heap, (-row.counts[x, y], order[x], order[y], x, y))
    return merges


def _order_key(token: bytes) -> str:
    """A key that sorts the lexicographically greater byte string first: bytes complemented, the end above them all."""
    return bytes(255 - value for value in token).decode("latin-1") + "\u0100"


class _Row:
    """All pieces in one row of tokens, each place linked to its neighbours, with the count and places of each pair."""

    def __init__(self, pieces: Mapping[bytes, int]):
        self.tokens = [_END]
        self.weights = [0]  # of a place: how often its piece occurs
        for piece, count in pieces.items():
            if len(piece) > 1:
                self.tokens += [*piece, _END]
                self.weights += [count] * (len(piece) + 1)
        self.left = list(range(-1, len(self.tokens) - 1))
        self.right = list(range(1, len(self.tokens) + 1))
        self.counts: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for place, pair in enumerate(zip(self.tokens, self.tokens[1:], strict=False)):
            if _END not in pair:
                self.counts[pair] += self.weights[place]
                self.places[pair].append(place)

    def merge(self, a: int, b: int, new: int) -> set[tuple[int, int]]:
        """Replace every pair (a, b) by the token `new`, from left to right, and return the pairs that this made.

        `places` keeps places in rising order, as each list grows during one such sweep only. Some are out of date: a
        place counts only if the pair is still there.
        """
        tokens, left, right, counts, places = self.tokens, self.left, self.right, self.counts, self.places
        made = set()
        for place in places.pop((a, b)):
            follower = right[place]
            if tokens[place] != a or tokens[follower] != b:
                continue
            weight = self.weights[place]
            before, after = left[place], right[follower]
            if (x := tokens[before]) != _END:
                counts[x, a] -= weight
                counts[x, new] += weight
                places[x, new].append(before)
                made.add((x, new))
            if (y := tokens[after]) != _END:
                counts[b, y] -= weight
                counts[new, y] += weight
                places[new, y].append(place)
                made.add((new, y))
            tokens[place], tokens[follower] = new, _GONE
            right[place], left[after] = after, place
        del counts[a, b]
        return made
