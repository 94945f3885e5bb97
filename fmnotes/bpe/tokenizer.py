"""Text to ids and back with a trained vocabulary, on tiktoken's core; read and written in Hugging Face's layout."""

import json
import operator
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str

from fmnotes.bpe.pieces import GPT2_PATTERN, check_text, segments, special_regex

_CORE_PATTERNS = {
    GPT2_PATTERN: r50k_pat_str,
    None: r"(?s:.+)",
}  # tiktoken's own spelling of GPT-2's: same pieces, faster
_CONFIG_NAMES = {"<|endoftext|>": "eos_token", "<|pad|>": "pad_token"}
_MODES = ("allow", "refuse", "ignore")

# GPT-2 writes each byte as a printable character: itself where it is one, else the next from U+0100 on.
_PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
_BYTE_TO_CHAR = {value: chr(value) for value in _PRINTABLE}
_BYTE_TO_CHAR |= {value: chr(256 + n) for n, value in enumerate(v for v in range(256) if v not in _BYTE_TO_CHAR)}
_CHAR_TO_BYTE = {char: value for value, char in _BYTE_TO_CHAR.items()}


class Tokenizer:
    """A byte-level BPE vocabulary: ids are the 256 bytes, then the merges in order, then the special tokens.

    Args:
        merges: pairs of byte strings, in the order in which they apply.
        special_tokens: texts with an id of their own, in the order of their ids.
        pattern: a regular expression that cuts text into pieces (None: no cut).
        byte_order: the byte values in the order of their ids.
    Raises:
        ValueError: merges that do not build on each other; special tokens that are empty, repeated or ordinary tokens.
    """

    def __init__(
        self,
        merges: Iterable[tuple[bytes, bytes]],
        special_tokens: Sequence[str] = (),
        pattern: str | None = GPT2_PATTERN,
        byte_order: Iterable[int] = range(256),
    ):
        check_special_tokens(special_tokens)
        self.merges = list(merges)
        self.pattern = pattern
        ranks = {bytes([value]): id for id, value in enumerate(byte_order)}
        for number, (a, b) in enumerate(self.merges):
            if a not in ranks or b not in ranks:
                part = a if a not in ranks else b
                raise ValueError(f"merge {number} joins {a!r} and {b!r}, but no merge before it makes {part!r}")
            if a + b in ranks:
                raise ValueError(f"merge {number} makes {a + b!r}, which is a token already")
            ranks[a + b] = len(ranks)
        self.special_tokens = {token: len(ranks) + n for n, token in enumerate(special_tokens)}
        if taken := [token for token in special_tokens if token.encode() in ranks]:
            raise ValueError(f"special token {taken[0]!r} is an ordinary token already")
        self.token_bytes = [*ranks, *(token.encode() for token in special_tokens)]
        self._special = special_regex(special_tokens)
        self._core = tiktoken.Encoding(
            "fmnotes",
            pat_str=_CORE_PATTERNS.get(pattern, pattern),
            mergeable_ranks=ranks,
            special_tokens=self.special_tokens,
        )

    @property
    def vocab_size(self) -> int:
        """Number of tokens: bytes, merges and special tokens."""
        return len(self.token_bytes)

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, special_tokens={list(self.special_tokens)})"

    def encode(self, text: str, special_tokens: str = "refuse") -> list[int]:
        """Ids of a text.

        Args:
            special_tokens: what to do where the text spells one: "allow" gives its id (the longest first), "refuse"
                raises, "ignore" encodes it as ordinary text. Refuse or ignore them in text that others wrote.
        Raises:
            ValueError: a special token that is refused, a lone surrogate. TypeError: not a str.
        """
        check_text(text)
        if self._none_special(text, special_tokens):
            return self._encode_ordinary(text)
        ids = []
        for part in self._special.split(text):
            ids += [self.special_tokens[part]] if part in self.special_tokens else self._encode_ordinary(part)
        return ids

    def encode_batch(self, texts: Iterable[str], special_tokens: str = "refuse") -> list[list[int]]:
        """Ids of each text; see `encode`. Raises TypeError on one str, whose characters would count as texts."""
        if isinstance(texts, str):
            raise TypeError("texts must be several texts, not one str: pass [text], or use encode")
        return [self.encode(text, special_tokens) for text in texts]

    def encode_iterable(self, chunks: Iterable[str], special_tokens: str = "refuse") -> Iterator[int]:
        """Ids of a text that comes in chunks: the same as those of the whole text, however it is cut.

        With GPT2_PATTERN memory stays bounded: by some 100,000 characters, or the longest stretch without whitespace or
        punctuation. With another pattern (or none) the ids are the same too, but where a piece ends is known only at
        the end: the text up to the next special token is held in memory.

        Raises:
            As `encode`, when the place is reached.
        """
        known = () if special_tokens == "ignore" else self.special_tokens
        for part in segments(_checked(chunks), known, self.pattern):
            if self._none_special(part, special_tokens):
                yield from self._encode_ordinary(part)
            else:
                yield self.special_tokens[part]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids; bytes that are not valid UTF-8 become U+FFFD. See `decode_bytes`."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of ids, exactly. Raises ValueError on an unknown id, TypeError on what is no integer."""
        ids = [operator.index(id) for id in ids]
        try:
            return self._core.decode_bytes(ids)
        except (KeyError, OverflowError):
            place, unknown = next((n, id) for n, id in enumerate(ids) if not 0 <= id < self.vocab_size)
            raise ValueError(
                f"unknown id {unknown} at position {place}: the ids of this vocabulary are 0 to {self.vocab_size - 1}"
            ) from None

    def _none_special(self, text: str, mode: str) -> bool:
        """Whether the whole text is ordinary; raises if it is not and must be."""
        if mode not in _MODES:
            raise ValueError(f"special_tokens must be one of {_MODES}, not {mode!r}")
        found = self._special.search(text) if self.special_tokens and mode != "ignore" else None
        if found and mode == "refuse":
            raise ValueError(
                f'the text contains the special token {found[0]!r}: pass special_tokens="allow" to encode it as one, '
                'or "ignore" as ordinary text'
            )
        return not found

    def _encode_ordinary(self, text: str) -> list[int]:
        try:
            return self._core.encode_ordinary(text)
        except BaseException as error:  # a Rust panic is no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise ValueError(
                "tiktoken's core cannot split this text: a run of about a million whitespace characters overflows its "
                "stack; shorten such runs"
            ) from None

    @classmethod
    def from_gpt2_files(cls, vocab_json: str | Path, merges_txt: str | Path) -> "Tokenizer":
        """Read `vocab.json` and `merges.txt`. Raises FileNotFoundError, or ValueError on a damaged file."""
        vocab, lines = _read_json(Path(vocab_json)), _read_text(Path(merges_txt)).splitlines()
        merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        try:  # These files do not say which tokens are special; but such tokens look like <|endoftext|>.
            special_tokens = [
                token for token, id in vocab.items() if id >= 256 + len(merges) and re.fullmatch("<.+>", token)
            ]
            return cls._from_symbols(vocab, merges, special_tokens, GPT2_PATTERN, f"{vocab_json} with {merges_txt}")
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{vocab_json} is damaged or not a byte-level BPE vocabulary: {error!r}") from None

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Tokenizer":
        """Read what `save_pretrained` wrote. Raises FileNotFoundError, or ValueError on a damaged file."""
        path = Path(folder) / "tokenizer.json"
        data = _read_json(path)
        try:
            added = {token["content"]: token["id"] for token in data["added_tokens"]}
            vocab, merges, pattern = data["model"]["vocab"], data["model"]["merges"], _pattern_of(data["pre_tokenizer"])
            return cls._from_symbols(vocab | added, merges, list(added), pattern, str(path))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged or not a byte-level BPE tokenizer: {error!r}") from None

    @classmethod
    def _from_symbols(
        cls, vocab: dict[str, int], merges: list, special_tokens: list[str], pattern: str | None, where: str
    ) -> "Tokenizer":
        """Build from tokens written in printable characters, and check that the ids are those that the file gives."""
        by_id = sorted(vocab, key=vocab.__getitem__)
        try:
            if set(by_id[:256]) != set(_CHAR_TO_BYTE):
                raise ValueError("the first 256 ids are not those of the 256 bytes")
            byte_order = [_CHAR_TO_BYTE[char] for char in by_id[:256]]
            pairs = [_to_pair(number, merge) for number, merge in enumerate(merges)]
            tokenizer = cls(pairs, sorted(special_tokens, key=vocab.__getitem__), pattern, byte_order)
            expected = tokenizer._symbols() | tokenizer.special_tokens
            for token in by_id:
                if vocab[token] != expected.get(token):
                    raise ValueError(f"token {token!r} has id {vocab[token]}, its merges give {expected.get(token)}")
            if missing := expected.keys() - vocab.keys():
                raise ValueError(f"token {min(missing)!r} has merges but no id")
        except ValueError as error:
            raise ValueError(f"{where}: the tokenizer is damaged: {error}") from None
        return tokenizer

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `transformers` and `tokenizers` open as well.

        `<|endoftext|>` becomes the eos token and `<|pad|>` the pad token. Both files are complete before either appears
        under its name.
        """
        folder = Path(folder)
        names = {_CONFIG_NAMES[token]: token for token in self.special_tokens if token in _CONFIG_NAMES}
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            **names,
            "extra_special_tokens": [token for token in self.special_tokens if token not in _CONFIG_NAMES],
        }
        files = {"tokenizer.json": self.to_json(), "tokenizer_config.json": json.dumps(config, indent=2) + "\n"}
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as half_written:
            for name, content in files.items():
                (Path(half_written) / name).write_text(content, encoding="utf-8")
            for name in files:
                os.replace(Path(half_written) / name, folder / name)

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        import tokenizers
        from tokenizers import AddedToken, decoders, models, pre_tokenizers

        merges = [(_to_chars(a), _to_chars(b)) for a, b in self.merges]
        tokenizer = tokenizers.Tokenizer(models.BPE(vocab=self._symbols(), merges=merges))
        by_gpt2 = self.pattern == GPT2_PATTERN
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_gpt2)
        if by_gpt2 or self.pattern is None:
            tokenizer.pre_tokenizer = byte_level
        else:
            split = pre_tokenizers.Split(tokenizers.Regex(self.pattern), "isolated")
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in self.special_tokens])
        for token, id in self.special_tokens.items():
            if tokenizer.token_to_id(token) != id:
                raise ValueError(f"special token {token!r} cannot be saved: the layout writes another token like this")
        return tokenizer.to_str(pretty=True)

    def _symbols(self) -> dict[str, int]:
        """The ordinary tokens in printable characters, with their ids."""
        ordinary = self.token_bytes[: 256 + len(self.merges)]
        return {_to_chars(token): id for id, token in enumerate(ordinary)}


def check_special_tokens(special_tokens: Sequence[str]) -> None:
    """Raise TypeError unless these are several strings, ValueError if one is empty, repeated or not text."""
    if isinstance(special_tokens, str) or not all(isinstance(token, str) for token in special_tokens):
        raise TypeError(f"special_tokens must be a sequence of str, not {special_tokens!r}")
    for token in special_tokens:
        check_text(token, "a special token")
    if "" in special_tokens or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"special tokens must be distinct and not empty: {list(special_tokens)}")


def _checked(chunks: Iterable[str]) -> Iterator[str]:
    offset = 0
    for chunk in chunks:
        check_text(chunk, "the stream", offset)
        yield chunk
        offset += len(chunk)


def _to_chars(token: bytes) -> str:
    return "".join(_BYTE_TO_CHAR[value] for value in token)


def _to_pair(number: int, merge: list[str]) -> tuple[bytes, bytes]:
    if len(merge) != 2 or not set(merge[0] + merge[1]) <= _CHAR_TO_BYTE.keys():
        raise ValueError(f"merge {number} is not a pair of tokens: {merge!r}")
    a, b = (bytes(_CHAR_TO_BYTE[char] for char in symbol) for symbol in merge)
    return a, b


def _read_text(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"there is no tokenizer file {path}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _read_json(path: Path) -> dict:
    text = _read_text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _pattern_of(pre_tokenizer: dict) -> str | None:
    """The pattern that the pre-tokenizer part of a tokenizer.json stands for."""
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    if steps[-1]["type"] != "ByteLevel" or steps[-1]["add_prefix_space"]:
        raise KeyError("ByteLevel without prefix space")
    if len(steps) == 2:
        return steps[0]["pattern"]["Regex"]
    return GPT2_PATTERN if steps[-1]["use_regex"] else None
