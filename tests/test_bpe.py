import json
import os
import random
import re
import subprocess
import sys
import tracemalloc
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import regex
import tiktoken
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import bpe
from fmnotes.bpe import GPT2_PATTERN, Tokenizer, pieces, train_bpe
from fmnotes.museum import SPECIAL_TOKENS

# --- a naive implementation: every line is the definition, nothing is reused ---------------------------------------


def naive_pieces(text, special_tokens=(), pattern=GPT2_PATTERN):
    """Pieces of a text; special tokens are pieces of their own, marked by a tuple."""
    for place in range(len(text)):
        found = [token for token in special_tokens if text.startswith(token, place)]
        if found:
            token = max(found, key=len)
            rest = naive_pieces(text[place + len(token) :], special_tokens, pattern)
            return naive_pieces(text[:place], (), pattern) + [(token,)] + rest
    return (regex.findall(pattern, text) if pattern else [text]) if text else []


def naive_merge(tokens, pair):
    merged = []
    while tokens:
        if tuple(tokens[:2]) == pair:
            merged, tokens = [*merged, pair[0] + pair[1]], tokens[2:]
        else:
            merged, tokens = [*merged, tokens[0]], tokens[1:]
    return merged


def naive_train(texts, n_merges, special_tokens=(), pattern=GPT2_PATTERN):
    rows = [p for text in texts for p in naive_pieces(text, special_tokens, pattern) if isinstance(p, str)]
    rows = [[bytes([value]) for value in piece.encode()] for piece in rows]
    merges = []
    for _ in range(n_merges):
        counts = Counter(pair for row in rows for pair in zip(row, row[1:], strict=False))
        if not counts:
            break
        merges.append(max(counts, key=lambda pair: (counts[pair], pair)))
        rows = [naive_merge(row, merges[-1]) for row in rows]
    return merges


class NaiveEncoder:
    def __init__(self, tokenizer):
        self.rank = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
        self.id = {token: id for id, token in enumerate(tokenizer.token_bytes)}
        self.find_pieces = regex.compile(GPT2_PATTERN).findall

    def encode(self, text):
        return [id for piece in self.find_pieces(text) for id in self.encode_piece(piece)]

    def encode_piece(self, piece):
        tokens = [bytes([value]) for value in piece.encode()]
        while len(tokens) > 1:
            best = min(zip(tokens, tokens[1:], strict=False), key=lambda pair: self.rank.get(pair, len(self.rank)))
            if best not in self.rank:
                break
            tokens = naive_merge(tokens, best)
        return [self.id[token] for token in tokens]


# --- material ------------------------------------------------------------------------------------------------------

TEXT = """The fox's den wasn't far; they'll say we've been there 12 times, or 1234 times!  "You're late," said the owl.
\tIt rained.\r\n\n   The fox ran   and the owl flew over the old town hall at 7:30, where the other owls were.
그 여우는 숲에서 살았다. 여우는 배가 고팠다. Ein Fuchs läuft über die Straße. 狐は森に住んでいた。👩‍👩‍👧 owls 🦉🦉🦉
def fox(n): return [n ** 2 for n in range(n)]  # the old fox's code
"""
SYLLABLES = [
    "fo",
    "x'",
    "owl",
    "en",
    "ing",
    "tr",
    "a",
    "12",
    "ß",
    "여",
    "우",
    "狐",
    "e",
    "s",
    "th",
    ", ",
    " ",
    "\n",
    "🦉",
]
TEXT += " ".join("".join(random.Random(n).choices(SYLLABLES, k=2 + n % 4)) for n in range(400))
WHITESPACE = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NEW = regex.compile(r"[\p{L}\p{N}]")
SOME_TEXT = st.text(st.sampled_from("aab  \n'sre1.é여🦉\x1c\xa0"), max_size=40)
OVERLAPPING = ("<|a|>", "<|a|>b", "<|", "b<")
MIRROR = os.environ.get("FMNOTES_MIRROR")


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(TEXT, 600, SPECIAL_TOKENS)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "new" / "folder"
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def gpt2_files():
    files = [Path(MIRROR or "", "openai-community/gpt2", name) for name in ("vocab.json", "merges.txt")]
    if not MIRROR or not all(file.exists() for file in files):
        pytest.skip("GPT-2's vocab.json and merges.txt are needed: set FMNOTES_MIRROR to a folder that has them")
    return files


def random_character(rng):
    """Any code point but surrogates, and but letters newer than this Python: libraries know different versions."""
    while True:
        char = chr(rng.randrange(0x110000) if rng.random() < 0.5 else rng.randrange(0x3000))
        if unicodedata.category(char) != "Cs" and not (unicodedata.category(char) == "Cn" and NEW.match(char)):
            return char


@pytest.fixture(scope="module")
def fuzz():
    """More than 100,000 short strings: all planes of Unicode, runs of whitespace, contractions, digits, controls."""
    rng = random.Random(0)
    words = TEXT.split() + ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "’s", "''", "'r", "'v", "s'll", "'lll"]
    kinds = (
        lambda: random_character(rng),
        lambda: random_character(rng) + random_character(rng),
        lambda: rng.choice(WHITESPACE) * rng.randrange(1, 4) + rng.choice(WHITESPACE),
        lambda: " " * rng.randrange(1, 4),
        lambda: rng.choice(words),
        lambda: " " + rng.choice(words),
        lambda: "".join(rng.choices("0123456789٣५½Ⅷ²", k=rng.randrange(1, 5))),
        lambda: chr(rng.choice([*range(32), *range(127, 160)])),
        lambda: rng.choice(
            ["e\u0301", "\u0301", "👩‍👩‍👧", "🇰🇷", "각", "\u1100\u1161", "\ufeff", "\u200d", "!?", "--", "_a"]
        ),
    )
    texts = list({"".join(rng.choice(kinds)() for _ in range(rng.randrange(1, 6))) for _ in range(125_000)})
    assert len(texts) > 100_000 and {ord(char) >> 16 for text in texts for char in text} == set(range(17))
    return sorted(texts)


def assert_same_ids(texts, **results):
    (first, expected), *others = results.items()
    for name, ids in others:
        wrong = [n for n, (a, b) in enumerate(zip(expected, ids, strict=True)) if list(a) != list(b)]
        assert not wrong, f"{first} and {name} differ on {len(wrong)} texts, e.g. {[texts[n] for n in wrong[:5]]}"


def core(tokenizer):
    """tiktoken with the same ranks, and with the pattern as GPT-2's authors wrote it."""
    ranks = {token: id for id, token in enumerate(tokenizer.token_bytes[: 256 + len(tokenizer.merges)])}
    return tiktoken.Encoding(
        "oracle", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=tokenizer.special_tokens
    )


# --- training ------------------------------------------------------------------------------------------------------


def test_ids_are_bytes_then_merges_then_special_tokens(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer.token_bytes) == 600
    assert tokenizer.token_bytes[:256] == [bytes([value]) for value in range(256)]
    assert tokenizer.token_bytes[256:594] == [a + b for a, b in tokenizer.merges]
    assert tokenizer.special_tokens == {token: 594 + n for n, token in enumerate(SPECIAL_TOKENS)}
    assert tokenizer.merges == naive_train([TEXT], 338)


def test_ties_go_to_the_greater_pair_of_byte_strings():
    # Every pair occurs once or twice; "b" + "aa" is greater than "b" + "a", and "ba" than "b".
    assert train_bpe("ab cd", 257).merges == [(b"c", b"d")]
    assert train_bpe(["xa", "xab"], 258, pattern=None).merges == [(b"x", b"a"), (b"xa", b"b")]
    both = train_bpe(["pq", "pq", "pqz", "pz", "\xff"], 260, pattern=None).merges
    assert both == naive_train(["pq", "pq", "pqz", "pz", "\xff"], 4, pattern=None)
    assert both[1] == (b"\xc3", b"\xbf"), "0xc3 is a greater byte than 'p'; bytes are compared as unsigned"


@settings(max_examples=400)
@given(
    st.lists(SOME_TEXT, min_size=1, max_size=4),
    st.sampled_from([GPT2_PATTERN, None, r"\w+|\W", r"(a+)|[^a]"]),
    st.sampled_from([(), OVERLAPPING, ("a'",)]),
)
@pytest.mark.filterwarnings("ignore:no pair is left")
def test_the_incremental_trainer_learns_what_the_naive_one_learns(texts, pattern, special_tokens):
    if not any(isinstance(p, str) for text in texts for p in naive_pieces(text, special_tokens, r"(?s:.)")):
        return
    whole = pattern and pattern.replace("(a", "(?:a")  # findall gives groups, matches are meant
    expected = naive_train(texts, 30, special_tokens, whole)
    assert train_bpe(texts, 286 + len(special_tokens), special_tokens, pattern).merges == expected
    assert train_bpe(iter(texts), 286 + len(special_tokens), special_tokens, pattern).merges == expected


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab"), min_size=1, max_size=60))
@pytest.mark.filterwarnings("ignore:no pair is left")
def test_runs_of_overlapping_pairs_are_counted_and_merged_as_the_naive_trainer_does(text):
    assert train_bpe(text, 300, pattern=None).merges == naive_train([text], 44, pattern=None)


@settings(max_examples=1000)
@given(st.lists(st.text(st.sampled_from("aé1.' s\n\t\x1c\x85\xa0\u3000\u2028여🦉"), max_size=30), max_size=3))
def test_counting_chunks_first_gives_the_counts_of_the_pattern_itself(texts):
    expected = Counter(piece for text in texts for piece in regex.findall(GPT2_PATTERN, text))
    assert pieces.count_pieces(texts, GPT2_PATTERN) == expected


def test_whitespace_of_re_contains_that_of_the_pattern():
    every = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    assert set(regex.findall(r"\s", every)) < set(re.findall(r"\s", every))


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*OVERLAPPING, "a", "b", " ", "여", "'s", "🦉", "\r\n"]), min_size=1), st.integers(1, 9)
)
@pytest.mark.filterwarnings("ignore:no pair is left")
def test_a_text_a_file_and_an_iterable_give_the_same_vocabulary(tmp_path_factory, parts, block):
    text = "".join(["ab", *parts])
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "BLOCK", block)
        for pattern in (GPT2_PATTERN, None):
            expected = naive_train([text], 20, OVERLAPPING, pattern)
            for source in (text, path, [text]):
                assert train_bpe(source, 280, OVERLAPPING, pattern).merges == expected


def test_a_file_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", 1 << 12)
    monkeypatch.setattr(pieces, "BATCH", 1 << 14)
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT * 1000, encoding="utf-8")
    tracemalloc.start()
    found = train_bpe(path, 300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.merges == naive_train([TEXT * 3], 44)
    assert path.stat().st_size > 3e6 > 2 * peak


def test_several_processes_count_what_one_counts(monkeypatch, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT * 300 + "<|page|>" + TEXT, encoding="utf-8")
    expected = train_bpe(path, 400, SPECIAL_TOKENS).merges
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "BATCH", 50_000)
        patch.setattr(pieces, "LARGE", 50_000)
        patch.setattr(pieces, "BLOCK", 5_000)
        called = []
        in_processes = pieces._count_in_processes
        patch.setattr(pieces, "_count_in_processes", lambda *args: called.append(in_processes(*args)))
        patch.setattr(pieces.os, "cpu_count", lambda: 2)
        assert train_bpe(path, 400, SPECIAL_TOKENS).merges == expected
    assert called, "the corpus was meant to be large enough"


def test_a_script_without_a_main_guard_falls_back_to_one_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from fmnotes.bpe import train_bpe, pieces\n"
        "docs = [f'{n} owls' for n in range(1000)]\n"
        "pieces.os.cpu_count = lambda: 2\n"
        "pieces.BATCH = pieces.LARGE = 1000\n"
        "found = train_bpe(docs, 300).merges\n"
        "pieces.LARGE = 1 << 40\n"
        "assert found == train_bpe(docs, 300).merges\n"
    )
    path = os.pathsep.join(filter(None, [str(Path(bpe.__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=100, env=os.environ | {"PYTHONPATH": path}
    )
    assert run.returncode == 0, run.stderr
    assert "counting goes on in this one" in run.stderr


def test_special_tokens_take_no_part_in_merges():
    texts = ["<|page|>" * 50 + "pages<|page|>page", "an<|a|>bon"]
    found = train_bpe(texts, 265, ("<|page|>", "<|a|>", "<|a|>b"))
    learned = [a + b for a, b in found.merges]
    assert not any(set(token) & set(b"<|>") for token in learned) and b"anon" not in learned
    assert b"on" in learned and b"bon" not in learned, "the longest special token is cut out first"


def test_training_stops_when_no_pair_is_left_and_says_so():
    with pytest.warns(UserWarning, match=r"no pair is left to merge: the vocabulary has 259 tokens instead of 1000"):
        found = train_bpe("abc", 1000, ("<|page|>",))
    assert found.merges == [(b"b", b"c"), (b"a", b"bc")] and found.special_tokens == {"<|page|>": 258}


def test_training_refuses_bad_input(tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes("여우".encode() * 30_000 + b"fox\xe9 and owl")
    with pytest.raises(ValueError, match=rf"{re.escape(str(bad))} is not UTF-8: byte 0xe9 at offset 180003"):
        train_bpe(bad, 300)
    bad.write_bytes("여우".encode()[:-1])
    with pytest.raises(ValueError, match="byte 0xec at offset 3 .unexpected end"):
        train_bpe(bad, 300)
    with pytest.raises(FileNotFoundError):
        train_bpe(tmp_path / "none.txt", 300)
    for empty in ("", [], ["", ""], "<|page|><|page|>"):
        with pytest.raises(ValueError, match="the corpus is empty"):
            train_bpe(empty, 300, ("<|page|>",))
    with pytest.raises(
        ValueError, match="vocab_size is 257, but 256 byte values and 2 special tokens need at least 258"
    ):
        train_bpe(TEXT, 257, ("<|a|>", "<|b|>"))
    for size, shown in ((300.5, "300.5"), (300.0, "300.0"), ("300", "'300'"), (None, "None")):
        with pytest.raises(TypeError, match=f"vocab_size must be an integer, not {re.escape(shown)}"):
            train_bpe(TEXT, size)
    assert train_bpe(TEXT, np.int64(300)).vocab_size == 300
    with pytest.raises(ValueError, match="distinct and not empty"):
        train_bpe(TEXT, 300, ("<|a|>", "<|a|>"))
    with pytest.raises(ValueError, match="distinct and not empty"):
        train_bpe(TEXT, 300, ("",))
    with pytest.raises(TypeError, match="sequence of str"):
        train_bpe(TEXT, 300, "<|a|>")
    with pytest.raises(ValueError, match="'a' is an ordinary token"):
        train_bpe(TEXT, 300, ("a",))
    with pytest.raises(ValueError, match=r"text 1 of the source has a lone surrogate U\+D800 at position 2"):
        train_bpe(["fox", "ow\ud800l"], 300)
    with pytest.raises(ValueError, match=r"the text has a lone surrogate U\+DFFF at position 100000"):
        train_bpe("a" * 100_000 + "\udfff", 300)
    with pytest.raises(TypeError, match="text 0 of the source must be a str, not int"):
        train_bpe([1], 300)
    with pytest.raises(TypeError, match="not bytes"):
        train_bpe(b"fox", 300)
    with pytest.raises(ValueError, match="not a regular expression"):
        train_bpe(TEXT, 300, pattern="(")
    with pytest.raises(ValueError, match="leaves characters of the text out"):
        train_bpe(TEXT, 300, pattern=r"\w+")


# --- encoding ------------------------------------------------------------------------------------------------------


def test_five_implementations_agree_on_our_vocabulary(tokenizer, folder, fuzz):
    hf = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(folder)
    naive = NaiveEncoder(tokenizer)
    ids = tokenizer.encode_batch(fuzz)
    assert_same_ids(
        fuzz,
        fmnotes=ids,
        naive=map_all(naive.encode, fuzz),
        tiktoken=map_all(core(tokenizer).encode_ordinary, fuzz),
        tokenizers=[found.ids for found in hf.encode_batch_fast(fuzz)],
        transformers=auto(fuzz)["input_ids"],
    )
    assert map_all(tokenizer.decode, ids) == fuzz
    assert [auto.decode(tokenizer.encode(text)) for text in fuzz[::100]] == fuzz[::100]


def test_five_implementations_agree_on_gpt2s_vocabulary(gpt2_files, fuzz):
    tokenizer = Tokenizer.from_gpt2_files(*gpt2_files)
    assert tokenizer.special_tokens == {"<|endoftext|>": 50256} and tokenizer.encode("hello world") == [31373, 995]
    vocab, merges = map(str, gpt2_files)
    hf = tokenizers.ByteLevelBPETokenizer(vocab, merges)
    auto = transformers.GPT2TokenizerFast.from_pretrained(Path(vocab).parent)
    naive = NaiveEncoder(tokenizer)
    ids = tokenizer.encode_batch(fuzz)
    assert_same_ids(
        fuzz,
        fmnotes=ids,
        naive=map_all(naive.encode, fuzz),
        tiktoken=map_all(core(tokenizer).encode_ordinary, fuzz),
        tokenizers=[found.ids for found in hf.encode_batch(fuzz)],
        transformers=auto(fuzz)["input_ids"],
    )
    assert map_all(tokenizer.decode, ids) == fuzz


def map_all(function, texts):
    return [function(text) for text in texts]


def test_every_character_of_unicode_encodes_as_in_the_libraries(tokenizer, folder):
    hf = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    codes = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    texts = ["a".join(map(chr, codes[i : i + 4096])) for i in range(0, len(codes), 4096)]
    ids = tokenizer.encode_batch(texts)
    assert_same_ids(
        texts,
        fmnotes=ids,
        tiktoken=map_all(core(tokenizer).encode_ordinary, texts),
        tokenizers=[found.ids for found in hf.encode_batch_fast(texts)],
    )
    assert map_all(tokenizer.decode, ids) == texts


@given(st.text())
def test_any_text_round_trips(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, "ignore")) == text


@given(st.binary(), st.lists(st.integers(0, 599)))
def test_any_bytes_and_any_ids_decode(tokenizer, data, ids):
    assert tokenizer.decode_bytes(list(data)) == data
    assert tokenizer.decode(data) == data.decode("utf-8", errors="replace")
    assert tokenizer.decode_bytes(ids) == b"".join(tokenizer.token_bytes[id] for id in ids)


def test_decoding_replaces_what_is_not_utf8_and_refuses_unknown_ids(tokenizer):
    assert tokenizer.decode([0xEC, 0x97, ord("a")]) == "\ufffda"
    assert tokenizer.decode(np.array([104, 105])) == "hi"
    with pytest.raises(ValueError, match="unknown id 600 at position 1: the ids of this vocabulary are 0 to 599"):
        tokenizer.decode([5, 600])
    with pytest.raises(ValueError, match="unknown id -1 at position 0"):
        tokenizer.decode([-1])
    with pytest.raises(ValueError, match="unknown id 99999999999999999999 at position 0"):
        tokenizer.decode([99999999999999999999])
    with pytest.raises(TypeError, match="float"):
        tokenizer.decode([5.5])


def test_special_tokens_are_refused_allowed_or_ignored(tokenizer):
    text = "owls<|page|><|endoftext|>"
    page, end = tokenizer.special_tokens["<|page|>"], tokenizer.special_tokens["<|endoftext|>"]
    with pytest.raises(ValueError, match=r"contains the special token '<\|.+\|>': pass special_tokens="):
        tokenizer.encode(text)
    assert tokenizer.encode(text, "allow") == [*tokenizer.encode("owls"), page, end]
    ignored = tokenizer.encode(text, "ignore")
    assert page not in ignored and tokenizer.decode(ignored) == text
    assert tokenizer.encode_batch([text, "owls"], "allow") == [
        tokenizer.encode(text, "allow"),
        tokenizer.encode("owls"),
    ]
    for call in (tokenizer.encode, lambda *args: list(tokenizer.encode_iterable(*args))):
        with pytest.raises(ValueError, match="must be one of .*, not 'all'"):
            call("owls", "all")


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*OVERLAPPING, "a", "b", " ", "|>", "\n", "<"])).map("".join))
def test_the_longest_special_token_comes_first(text):
    tokenizer = overlapping_tokenizer()
    expected = []
    for piece in naive_pieces(text, OVERLAPPING):
        special = isinstance(piece, tuple)
        expected += [tokenizer.special_tokens[piece[0]]] if special else tokenizer.encode(piece, "ignore")
    assert tokenizer.encode(text, "allow") == expected


def overlapping_tokenizer(pattern=GPT2_PATTERN, cache={}):  # noqa: B006
    if pattern not in cache:
        cache[pattern] = train_bpe(TEXT + "ab <|a ||> |>b" * 9, 400, OVERLAPPING, pattern)
    return cache[pattern]


@settings(max_examples=1000)
@given(st.data(), st.sampled_from([GPT2_PATTERN, GPT2_PATTERN, None, r"\s?\w+|\W"]), st.integers(1, 12))
def test_a_stream_gives_the_ids_of_the_whole_text_however_it_is_cut(data, pattern, block):
    parts = [
        *OVERLAPPING,
        "a",
        " ",
        "  ",
        "\n",
        "'",
        "s",
        "re",
        "ll",
        "|>",
        "1",
        ".",
        "여우",
        "🦉",
        "fox",
        "。",
        "\xa0",
    ]
    text = "".join(data.draw(st.lists(st.sampled_from(parts), max_size=30)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    tokenizer = overlapping_tokenizer(pattern)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "BLOCK", block)
        for mode in ("allow", "ignore"):
            assert list(tokenizer.encode_iterable(chunks, mode)) == tokenizer.encode(text, mode)
        if any(token in text for token in OVERLAPPING):
            with pytest.raises(ValueError, match="special token"):
                list(tokenizer.encode_iterable(chunks))
        else:
            assert list(tokenizer.encode_iterable(chunks)) == tokenizer.encode(text)


def test_a_stream_of_fuzz_gives_the_ids_of_the_whole(tokenizer, fuzz, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", 64)
    assert list(tokenizer.encode_iterable(fuzz)) == tokenizer.encode("".join(fuzz))


@pytest.mark.parametrize(
    "text", [TEXT, "森の中に狐が住んでいた。", "a,b;c.d:" * 10], ids=["mixed", "no spaces", "no words"]
)
def test_a_stream_is_encoded_in_bounded_memory(tokenizer, text):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += len(text)
            yield text

    ids = tokenizer.encode_iterable(endless())
    next(ids)
    assert read < 2 * pieces.BLOCK, "ids come before the stream ends"
    tracemalloc.start()
    while read < 3_000_000:
        next(ids)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6, "3,000,000 characters went through; their ids alone would take 8 bytes each"


def test_encoding_refuses_what_is_not_text(tokenizer):
    with pytest.raises(ValueError, match=r"the text has a lone surrogate U\+DC80 at position 3"):
        tokenizer.encode("fox\udc80")
    with pytest.raises(ValueError, match=r"the stream has a lone surrogate U\+D83E at position 5"):
        list(tokenizer.encode_iterable(["fox", "  \ud83e"]))
    with pytest.raises(TypeError, match="several texts, not one str: pass .text., or use encode"):
        tokenizer.encode_batch("abc")
    with pytest.raises(TypeError, match="the text must be a str, not bytes"):
        tokenizer.encode(b"fox")
    with pytest.raises(ValueError, match="run of about a million whitespace characters"):
        tokenizer.encode("a" + " " * 1_500_000 + "b")
    assert tokenizer.encode("") == [] and list(tokenizer.encode_iterable([])) == [] and tokenizer.decode([]) == ""


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [GPT2_PATTERN, None, r"\s?\w+|\W"], ids=["gpt2", "none", "other"])
def test_saved_tokenizers_open_everywhere_with_the_same_ids(tmp_path, fuzz, pattern):
    tokenizer = overlapping_tokenizer(pattern)
    tokenizer.save_pretrained(tmp_path)
    ours = Tokenizer.from_pretrained(tmp_path)
    assert (ours.token_bytes, ours.merges, ours.special_tokens, ours.pattern) == (
        tokenizer.token_bytes,
        tokenizer.merges,
        tokenizer.special_tokens,
        pattern,
    )
    rng = random.Random(1)
    texts = ["".join(rng.choice([*OVERLAPPING, rng.choice(fuzz), "\n", " "]) for _ in range(6)) for _ in range(5000)]
    hf = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same_ids(
        texts,
        fmnotes=ours.encode_batch(texts, "allow"),
        tokenizers=[found.ids for found in hf.encode_batch_fast(texts)],
        transformers=auto(texts)["input_ids"],
    )
    assert [auto.decode(ours.encode(text, "allow")) for text in texts[:500]] == texts[:500]


def test_transformers_knows_the_names_of_the_special_tokens(tokenizer, folder):
    auto = transformers.AutoTokenizer.from_pretrained(folder)
    assert (auto.eos_token, auto.pad_token, len(auto)) == ("<|endoftext|>", "<|pad|>", 600)
    assert auto.eos_token_id == tokenizer.special_tokens["<|endoftext|>"]
    text = "owls , owls .<|page|> it 's<|endoftext|>"
    assert auto.decode(auto(text)["input_ids"]) == text, "decoding does not tidy spaces"
    assert auto.decode(auto(text)["input_ids"], skip_special_tokens=True) == "owls , owls . it 's"


def test_gpt2s_vocabulary_survives_saving(gpt2_files, tmp_path, fuzz):
    tokenizer = Tokenizer.from_gpt2_files(*gpt2_files)
    tokenizer.save_pretrained(tmp_path)
    again = Tokenizer.from_pretrained(tmp_path)
    assert again.token_bytes == tokenizer.token_bytes and again.special_tokens == tokenizer.special_tokens
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same_ids(fuzz[::20], fmnotes=again.encode_batch(fuzz[::20]), transformers=auto(fuzz[::20])["input_ids"])


def write_gpt2_files(tokenizer, folder, vocab=None, merges=None):
    """GPT-2's two files for a tokenizer, by way of the `tokenizers` library."""
    tokenizer.save_pretrained(folder)
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = data["model"]["vocab"] | {token["content"]: token["id"] for token in data["added_tokens"]}
    lines = ["#version: 0.2"] + [" ".join(merge) for merge in data["model"]["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocab(ids) if vocab else ids), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(merges(lines) if merges else lines) + "\n", encoding="utf-8")
    return folder / "vocab.json", folder / "merges.txt"


def test_gpt2s_files_are_read_and_checked(tokenizer, tmp_path):
    again = Tokenizer.from_gpt2_files(*write_gpt2_files(tokenizer, tmp_path))
    assert again.token_bytes == tokenizer.token_bytes and again.special_tokens == tokenizer.special_tokens
    with pytest.raises(ValueError, match="merges.txt: the tokenizer is damaged: token .* has id .* merges give None"):
        Tokenizer.from_gpt2_files(*write_gpt2_files(tokenizer, tmp_path, merges=lambda lines: lines[:-5]))
    with pytest.raises(ValueError, match="merge 3 is not a pair of tokens: .'ab'."):
        Tokenizer.from_gpt2_files(*write_gpt2_files(tokenizer, tmp_path, merges=lambda ls: [*ls[:4], "ab", *ls[5:]]))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("vocab.json", b"[]", "damaged or not a byte-level BPE vocabulary: AttributeError"),
        ("vocab.json", b'{"a": "b"}', "damaged or not a byte-level BPE vocabulary: TypeError"),
        ("vocab.json", b'{"a": 1, "b": null}', "damaged or not a byte-level BPE vocabulary: TypeError"),
        ("vocab.json", b'{"a": 1}', "the first 256 ids are not those of the 256 bytes"),
        ("vocab.json", b'{"a": \xff}', "damaged: 'utf-8' codec can't decode byte 0xff in position 6"),
        ("merges.txt", b"#version: 0.2\na \xff\n", "damaged: 'utf-8' codec can't decode byte 0xff in position 16"),
    ],
)
def test_a_damaged_gpt2_file_is_refused_by_name(tokenizer, tmp_path, file, content, message):
    files = write_gpt2_files(tokenizer, tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_gpt2_files(*files)
    assert str(tmp_path / file) in str(caught.value)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no tokenizer file .*{file}"):
        Tokenizer.from_gpt2_files(*files)


DAMAGE = {
    "tokenizer.json is damaged: .*line": lambda text: text[: len(text) // 2],
    "tokenizer.json is damaged: Expecting value": lambda text: "",
    "damaged or not a byte-level BPE tokenizer: KeyError..merges": lambda text: edited(
        text, lambda data: data["model"].pop("merges")
    ),
    "damaged or not a byte-level BPE tokenizer": lambda text: "[]",
    "damaged or not a byte-level BPE tokenizer: KeyError..added_tokens": lambda text: edited(
        text, lambda data: data.pop("added_tokens")
    ),
    "damaged or not a byte-level BPE tokenizer: .*prefix space": lambda text: edited(
        text, lambda data: data["pre_tokenizer"].update(add_prefix_space=True)
    ),
    "token .* has id 593, its merges give None": lambda text: edited(text, lambda data: data["model"]["merges"].pop()),
    "no merge before it makes": lambda text: edited(text, lambda data: data["model"]["merges"].pop(0)),
    "which is a token already": lambda text: edited(
        text, lambda data: data["model"]["merges"].append(data["model"]["merges"][0])
    ),
    "merge 2 is not a pair": lambda text: edited(text, lambda data: data["model"]["merges"][2].pop()),
    "token 'b' has id 97, its merges give": lambda text: edited(text, swap_ids("a", "b", 300)),
    "has merges but no id": lambda text: edited(text, lambda data: data["model"]["vocab"].popitem()),
    "the first 256 ids": lambda text: edited(text, lambda data: data["model"]["vocab"].pop("a")),
    r"token '<\|image\|>' has id 596, its merges give 595": lambda text: edited(
        text, lambda data: data["added_tokens"][1].update(id=700)
    ),
}


def edited(text, change):
    data = json.loads(text)
    change(data)
    return json.dumps(data)


def swap_ids(a, b, id):
    def change(data):
        vocab = data["model"]["vocab"]
        vocab[b] = vocab[a]

    return change


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_tokenizer_file_is_refused_by_name(folder, tmp_path, message):
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(DAMAGE[message](text), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_pretrained(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)


def test_a_missing_tokenizer_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no tokenizer file .*tokenizer\.json"):
        Tokenizer.from_pretrained(tmp_path)


def test_merges_must_build_on_each_other():
    with pytest.raises(ValueError, match="merge 0 joins b'a' and b'bc', but no merge before it makes b'bc'"):
        Tokenizer([(b"a", b"bc")])


def test_saving_leaves_nothing_half_written(tokenizer, tmp_path, monkeypatch):
    tokenizer.save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"tokenizer.json", "tokenizer_config.json"}
    write = Path.write_text

    def full_disk(path, text, **options):
        write(path, text[: len(text) // 2], **options)
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="no space left"):
        overlapping_tokenizer().save_pretrained(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_special_token_that_the_layout_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="special token 'é' cannot be saved"):
        train_bpe(TEXT, 300, ("é",)).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
