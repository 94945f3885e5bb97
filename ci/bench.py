"""Measure fmnotes beside the libraries on the same text, print the ratios and record them (`make bench`)."""

import sys

import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers

from fmnotes.bpe import Tokenizer, train_bpe
from fmnotes.museum import SPECIAL_TOKENS

STORIES = "roneneldan/TinyStories"
STORIES_READ = 11_272  # of two million, so that everybody measures on the same
VOCAB_SIZE = 10_000
ROUNDS = {"training": 7, "encoding": 15, "gpt2": 7}
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


def bench_museum(record) -> None:
    """How long a hundred thousand pages of about a thousand museums take, on one core."""
    import time
    from itertools import islice

    from fmnotes import museum

    start = time.perf_counter()
    pages = sum(1 for _ in islice(museum.stream("pages", "train", seed=1), 100_000))
    seconds = time.perf_counter() - start
    print(f"\n{pages:,} pages of the museum took {seconds:.1f} s")
    record("bench.museum_seconds_for_100k_pages", seconds, unit="s", tolerance=0.7 * seconds, better="lower")
    print(f"goal: under a minute – {'met' if seconds < 60 else 'MISSED'}")


# GPT-2


def bench_gpt2_training(record) -> None:
    """A training step of 12 layers, width 256, on 16 sequences of 256 tokens, in bfloat16 autocast."""
    import torch

    from fmnotes.gpt2 import GPT2, GPT2Config
    from fmnotes.timing import side_by_side, speed_table

    torch.manual_seed(0)
    ours = GPT2(GPT2Config.mini(vocab_size=4096))
    theirs = ours.to_transformers().train()
    ids = torch.randint(4096, (16, 257))

    def stepper(model, loss):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

        def step():
            with torch.autocast("cpu", torch.bfloat16):
                value = loss()
            value.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    print("\nTraining GPT-2 (12 layers, width 256, vocabulary 4,096, 16 × 256 tokens, bfloat16)")
    times = side_by_side(
        {
            "fmnotes": stepper(ours, lambda: ours.loss(ids[:, :-1], ids[:, 1:])),
            "transformers": stepper(theirs, lambda: theirs(ids[:, :-1], labels=ids[:, :-1]).loss),
        },
        rounds=ROUNDS["gpt2"],
    )
    speed_table(times, baseline="transformers")
    ratio = float(times["transformers"] / times["fmnotes"])
    record("bench.gpt2_train_vs_transformers", ratio, unit="throughput ratio", tolerance=0.3, better="higher")
    print(f"goal: at least 1.5 times the throughput of transformers – {'met' if ratio >= 1.5 else 'MISSED'}")


def bench_gpt2_generation(record) -> None:
    """100 greedy tokens after 16, one sequence, both with their key-value cache, in float32."""
    import torch

    from fmnotes.generation import generate
    from fmnotes.gpt2 import GPT2, GPT2Config
    from fmnotes.timing import side_by_side, speed_table

    torch.manual_seed(0)
    ours = GPT2(GPT2Config.mini(vocab_size=4096))
    theirs = ours.to_transformers()
    prompt = torch.randint(4096, (1, 16))
    options = {"max_new_tokens": 100, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    assert torch.equal(generate(ours, prompt, 100, temperature=0), theirs.generate(prompt, **options))
    print("\nGenerating 100 tokens with the same model, one sequence")
    times = side_by_side(
        {
            "fmnotes": lambda: generate(ours, prompt, 100, temperature=0),
            "transformers": lambda: theirs.generate(prompt, **options),
        },
        rounds=ROUNDS["gpt2"],
    )
    speed_table(times, baseline="transformers")
    ratio = float(times["transformers"] / times["fmnotes"])
    record("bench.gpt2_generate_vs_transformers", ratio, unit="throughput ratio", tolerance=0.5, better="higher")
    print(f"goal: at least 3 times the throughput of transformers – {'met' if ratio >= 3 else 'MISSED'}")


def main() -> None:
    from fmnotes.data import data_hash, load
    from fmnotes.records import Run

    try:
        texts = list(load(STORIES, split=f"train[:{STORIES_READ}]", columns=["text"])["text"])
    except (OSError, ValueError) as error:
        sys.exit(f"make bench measures on {STORIES}, which is not to be had:\n{error}")
    record = Run("bench", profile="bench")
    data = data_hash(texts)
    bench_training(texts, data, record)
    bench_encoding(texts, data, record)
    bench_museum(record)
    bench_gpt2_training(record)
    bench_gpt2_generation(record)


if __name__ == "__main__":
    main()
