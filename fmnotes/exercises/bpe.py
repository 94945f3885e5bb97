"""The exercises of 01_bpe: the merge step, a line of dashes, encoding by replay, and a decoder with a bug to find."""

from itertools import pairwise

from fmnotes.exercises import Exercise, Mistake

Ids = list[int]
Pair = tuple[int, int]

# --------------------------------------------------------------------------------------------------- 01.merge


def merge(ids: Ids, pair: Pair, new_id: int) -> Ids:
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_onto_the_end(ids: Ids, pair: Pair, new_id: int) -> Ids:
    merged, free = [], True  # free: the last id is no part of a replaced pair
    for id in ids:
        if merged and free and (merged[-1], id) == pair:
            merged[-1], free = new_id, False
        else:
            merged.append(id)
            free = True
    return merged


def merge_keeps_second(ids: Ids, pair: Pair, new_id: int) -> Ids:
    pairs = pairwise([*ids, None])
    return [new_id if both == pair else both[0] for both in pairs]


def merge_once(ids: Ids, pair: Pair, new_id: int) -> Ids:
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return ids[:i] + [new_id] + ids[i + 2 :]
    return ids


def merge_from_the_right(ids: Ids, pair: Pair, new_id: int) -> Ids:
    return merge(ids[::-1], pair[::-1], new_id)[::-1]


def merge_drops_last(ids: Ids, pair: Pair, new_id: int) -> Ids:
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_either_order(ids: Ids, pair: Pair, new_id: int) -> Ids:
    merged, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) in (pair, pair[::-1])
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_keeps_the_pair(ids: Ids, pair: Pair, new_id: int) -> Ids:
    merged = []
    for i, id in enumerate(ids):
        merged.append(id)
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
    return merged


MERGE = Exercise(
    id="01.merge",
    title="the merge step",
    reread="One merge, by hand",
    solution=merge,
    verified="several pairs, none, pairs that overlap, pairs in the wrong order, the last id, lists of one and of none",
    cases=(
        ([1, 2, 3], (1, 2), 9),
        ([], (1, 2), 9),
        ([1], (1, 1), 9),
        ([3, 1, 2, 4, 1, 2], (1, 2), 9),
        ([5, 5, 5], (5, 5), 6),
        ([2, 1, 2, 1, 3], (1, 2), 9),
        ([1, 3, 2], (1, 2), 9),
    ),
    alternatives=(merge_onto_the_end,),
    mistakes=(
        Mistake(
            merge_keeps_second,
            "the new id is there, but the second half of the pair stays behind it: after a replacement the next "
            "place to look at is two further on, not one.",
        ),
        Mistake(merge_once, "only the first occurrence is replaced: go on after it, to the end of the list."),
        Mistake(
            merge_from_the_right,
            "in [5, 5, 5] the pair (5, 5) overlaps itself, and you replaced the right one: everybody goes from left to "
            "right, or two tokenizers with the same merges disagree.",
        ),
        Mistake(
            merge_drops_last,
            "the last id is lost when it is no part of a pair: the loop stops one too early.",
        ),
        Mistake(merge_either_order, "(2, 1) was replaced as well: a pair has an order, “ab” is not “ba”."),
        Mistake(merge_keeps_the_pair, "the new id is added to the pair instead of taking its place: the list shrinks."),
    ),
)

# -------------------------------------------------------------------------------------------------- 01.dashes

DASHES = Exercise(
    id="01.dashes",
    title="a line of dashes",
    reread="One merge, by hand",
    solution=6,
    verified="each merge joins two symbols that the one before has made, so that 64 become 32, 16, 8, 4, 2 and 1",
    mistakes=(
        Mistake(
            63,
            "so the phrase about the red heart grew, by a letter at a merge. But there the other letters stood still; "
            "in a line of dashes both symbols of the next pair have grown.",
        ),
        Mistake(64, "one for each dash would be one too many even if a merge added a single dash. It adds more."),
        Mistake(
            1,
            "one merge replaces every pair of dashes, but each by a symbol of its own: where 64 symbols stood, 32 do.",
        ),
        Mistake(
            32,
            "so many pairs are replaced, but all of them by the first merge: a merge is one new symbol, wherever it "
            "stands.",
        ),
        Mistake(5, "then two symbols are left, of 32 dashes each, and they are a pair."),
        Mistake(7, "that many make a symbol of 128. The single dash takes no merge: it is in the alphabet already."),
        Mistake(
            8,
            "that is the root of 64, as if the line were put together from eight symbols of eight. Follow the merges: "
            "what is the most frequent pair after the first?",
        ),
    ),
)

# -------------------------------------------------------------------------------------------------- 01.encode

Merges = dict[Pair, int]


def encode(ids: Ids, merges: Merges) -> Ids:
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = min(known, key=merges.__getitem__)
        ids = merge(ids, pair, merges[pair])
    return ids


def encode_replay(ids: Ids, merges: Merges) -> Ids:
    for pair, new_id in sorted(merges.items(), key=lambda item: item[1]):
        ids = merge(ids, pair, new_id)
    return ids


def encode_longest_match(ids: Ids, merges: Merges) -> Ids:
    spelled = {(value,): value for value in range(256)}
    for (a, b), new_id in merges.items():
        parts = {id: symbols for symbols, id in spelled.items()}
        spelled[parts[a] + parts[b]] = new_id
    encoded, i = [], 0
    while i < len(ids):
        end = next(end for end in range(len(ids), i, -1) if tuple(ids[i:end]) in spelled)
        encoded.append(spelled[tuple(ids[i:end])])
        i = end
    return encoded


def encode_leftmost(ids: Ids, merges: Merges) -> Ids:
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        ids = merge(ids, known[0], merges[known[0]])
    return ids


def encode_newest_first(ids: Ids, merges: Merges) -> Ids:
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = max(known, key=merges.__getitem__)
        ids = merge(ids, pair, merges[pair])
    return ids


def encode_one_merge(ids: Ids, merges: Merges) -> Ids:
    known = [pair for pair in pairwise(ids) if pair in merges]
    first = min(known, key=merges.__getitem__, default=None)
    return merge(ids, first, merges[first]) if known else ids


def encode_one_sweep(ids: Ids, merges: Merges) -> Ids:
    encoded, i = [], 0
    while i < len(ids):
        found = tuple(ids[i : i + 2]) in merges
        encoded.append(merges[tuple(ids[i : i + 2])] if found else ids[i])
        i += 2 if found else 1
    return encoded


def encode_most_frequent(ids: Ids, merges: Merges) -> Ids:
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = max(known, key=known.count)
        ids = merge(ids, pair, merges[pair])
    return ids


ENCODE = Exercise(
    id="01.encode",
    title="encoding by replay",
    reread="Encoding: history repeats itself",
    solution=encode,
    verified="the order of learning, merges of merges, pairs that compete, a piece with no known pair, the empty piece",
    cases=(
        ([1, 2], {(1, 2): 256}),
        ([], {(1, 2): 256}),
        ([3, 4], {(1, 2): 256}),
        ([1, 2, 3], {(2, 3): 256, (1, 2): 257}),
        ([1, 2, 3], {(1, 2): 256, (2, 3): 257}),
        ([1, 2, 3], {(2, 3): 256, (1, 2): 257, (1, 256): 258}),
        ([1, 2, 3, 4], {(1, 2): 256, (3, 4): 257, (256, 257): 258}),
        ([1, 2, 3, 4], {(2, 3): 256, (1, 2): 257, (257, 3): 258}),
        ([1, 2, 3, 9, 1, 2, 9, 2, 3, 2, 3], {(1, 2): 256, (2, 3): 257}),
        ([3, 1, 2, 3, 1, 4, 3, 1], {(1, 2): 256, (3, 1): 257, (1, 4): 258}),
    ),
    alternatives=(encode_replay,),
    mistakes=(
        Mistake(
            encode_longest_match,
            "you take the longest symbol that fits. The merges were counted on text encoded by replay, in the order of "
            "learning; the longest match may be a symbol that replay never reaches.",
        ),
        Mistake(
            encode_leftmost,
            "you merge the known pair that comes first in the text. Of all known pairs, the one that was learned first "
            "(the lowest id) goes first, wherever it stands.",
        ),
        Mistake(encode_newest_first, "the order is upside down: the merge with the lowest id was learned first."),
        Mistake(encode_one_merge, "you stop after one merge: its symbol may be half of another pair, so look again."),
        Mistake(
            encode_one_sweep,
            "one walk from left to right is not enough: it ignores the order of learning, and never merges what it has "
            "just made.",
        ),
        Mistake(
            encode_most_frequent,
            "you merge the pair that is most frequent in this piece. Counting was for training; encoding follows the "
            "order of learning.",
        ),
    ),
)

# -------------------------------------------------------------------------------------------------- 01.decode


def decode(ids: Ids, token_bytes: list[bytes]) -> str:
    return b"".join(token_bytes[i] for i in ids).decode("utf-8", errors="replace")


def decode_incrementally(ids: Ids, token_bytes: list[bytes]) -> str:
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    return "".join(decoder.decode(token_bytes[i]) for i in ids) + decoder.decode(b"", final=True)


STAR, FOX = "별".encode(), "🦊".encode()
TOKENS = [b"a", b" b", STAR[:1], STAR[1:], "é".encode(), b"\xff", FOX[:2], FOX[2:]]

DECODE = Exercise(
    id="01.decode",
    title="why the round trip fails",
    reread="Bytes: the alphabet that is already there",
    solution=decode,
    verified="characters in one token, characters over two tokens, bytes that are no UTF-8, no tokens at all",
    cases=(
        ([0, 1], TOKENS),
        ([], TOKENS),
        ([4], TOKENS),
        ([0, 2, 3], TOKENS),
        ([6, 7, 1], TOKENS),
        ([0, 5, 1], TOKENS),
        ([2, 0], TOKENS),
    ),
    alternatives=(decode_incrementally,),
    mistakes=(
        Mistake(
            lambda ids, tokens: "".join(tokens[i].decode("utf-8", errors="replace") for i in ids),
            "each token is decoded alone, and a character may be spread over two: put the bytes together first, then "
            "decode once.",
        ),
        Mistake(
            lambda ids, tokens: "".join(tokens[i].decode("utf-8", errors="ignore") for i in ids),
            "each token is decoded alone, and the bytes that are half a character are thrown away: the text shrinks "
            "without a word of warning.",
        ),
        Mistake(
            lambda ids, tokens: b"".join(tokens[i] for i in ids).decode("utf-8", errors="ignore"),
            "the bytes are put together, but invalid ones vanish silently: show them as U+FFFD, with errors='replace'.",
        ),
        Mistake(
            lambda ids, tokens: b"".join(tokens[i] for i in ids).decode("latin-1"),
            "Latin-1 makes a character of every single byte and never complains: 별 becomes three signs. The bytes are "
            "UTF-8.",
        ),
        Mistake(
            lambda ids, tokens: b" ".join(tokens[i] for i in ids).decode("utf-8", errors="replace"),
            "there are spaces between the tokens: a token carries its own space, and half a character wants none.",
        ),
        Mistake(
            lambda ids, tokens: b"".join(tokens[i] for i in ids).decode("utf-8"),
            "right for every whole text, but a model may stop in the middle of a character, and then this raises: "
            "invalid bytes become U+FFFD, with errors='replace'.",
        ),
    ),
)

EXERCISES = [MERGE, DASHES, ENCODE, DECODE]
