"""Measure fmnotes beside the libraries on the same text, print the ratios and record them (`make bench`)."""

import hashlib
import sys

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers

from fmnotes.bpe import Tokenizer, train_bpe
from fmnotes.museum import SPECIAL_TOKENS

STORIES = "roneneldan/TinyStories"
VOCAB_SIZE = 10_000
ROUNDS = {"training": 7, "encoding": 15}
DOCUMENTS = 2_000  # of these each encoder encodes one after the other


def train_hugging_face(texts: list[str]) -> HuggingFaceTokenizer:
    """Train the library's byte-level BPE on the same texts; it uses all cores."""
    tokenizer = HuggingFaceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    return tokenizer


def tiktoken_with_ranks_of(tokenizer: Tokenizer) -> tiktoken.Encoding:
    """The library with the same vocabulary and its own fastest form of the same pattern."""
    n_ordinary = tokenizer.vocab_size - len(tokenizer.special_tokens)
    ranks = {token: id for id, token in enumerate(tokenizer.token_bytes[:n_ordinary])}
    return tiktoken.Encoding(
        "bench", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=tokenizer.special_tokens
    )


def bench_training(texts: list[str], data: str, record) -> None:
    from fmnotes.timing import side_by_side, speed_table

    print(f"\nTraining a vocabulary of {VOCAB_SIZE:,} on {len(texts):,} stories")
    times = side_by_side(
        {
            "fmnotes": lambda: train_bpe(texts, VOCAB_SIZE, SPECIAL_TOKENS),
            "tokenizers": lambda: train_hugging_face(texts),
        },
        rounds=ROUNDS["training"],
    )
    speed_table(times, baseline="tokenizers")
    ratio = times["fmnotes"] / times["tokenizers"]
    record("bench.bpe_train_vs_tokenizers", float(ratio), unit="time ratio", tolerance=0.3, better="lower", data=data)
    print(f"goal: at most 1.0 of the time of tokenizers – {'met' if ratio <= 1 else 'MISSED'}")


def bench_encoding(texts: list[str], data: str, record) -> None:
    from fmnotes.timing import side_by_side, speed_table

    tokenizer = train_bpe(texts, VOCAB_SIZE, SPECIAL_TOKENS)
    documents = texts[:DOCUMENTS]
    size = sum(len(text.encode()) for text in documents) / 1e6
    core = tiktoken_with_ranks_of(tokenizer)
    library = HuggingFaceTokenizer.from_str(tokenizer.to_json())
    assert [core.encode_ordinary(text) for text in documents] == tokenizer.encode_batch(documents)
    print(f"\nEncoding {len(documents):,} stories one at a time with that vocabulary")
    times = side_by_side(
        {
            "fmnotes": lambda: [tokenizer.encode(text) for text in documents],
            "tiktoken": lambda: [core.encode_ordinary(text) for text in documents],
            "tokenizers": lambda: [library.encode(text).ids for text in documents],
        },
        rounds=ROUNDS["encoding"],
    )
    speed_table(times, baseline="tiktoken")
    print("MB/s: " + ", ".join(f"{name} {size / seconds:.1f}" for name, seconds in times.items()))
    ratio = times["tiktoken"] / times["fmnotes"]
    record(
        "bench.bpe_encode_vs_tiktoken", float(ratio), unit="throughput ratio", tolerance=0.1, better="higher", data=data
    )
    print(f"goal: at least 0.9 of the throughput of tiktoken – {'met' if ratio >= 0.9 else 'MISSED'}")


def main() -> None:
    from fmnotes.data import load
    from fmnotes.records import Run

    try:
        texts = list(load(STORIES, split="train", columns=["text"])["text"])
    except (OSError, ValueError) as error:
        sys.exit(f"make bench measures on {STORIES}, which is not to be had:\n{error}")
    record = Run("bench", profile="bench")
    data = "sha256:" + hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
    bench_training(texts, data, record)
    bench_encoding(texts, data, record)


if __name__ == "__main__":
    main()
