"""Measure fmnotes beside the libraries on the same text, print the ratios and record them (`make bench`)."""

import math
import statistics
import sys
from functools import partial
from itertools import islice

import numpy as np
import tiktoken
from tiktoken_ext.openai_public import r50k_pat_str
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers import models, pre_tokenizers, trainers

from fmnotes.bpe import Tokenizer, train_bpe
from fmnotes.museum import SPECIAL_TOKENS, stream
from fmnotes.museum.prompt import END

STORIES = "roneneldan/TinyStories"
STORIES_READ = 11_272  # of two million, so that everybody measures on the same
VOCAB_SIZE = 10_000
ROUNDS = {"training": 7, "encoding": 15, "gpt2": 7}
DOCUMENTS = 2_000  # of these each encoder encodes one after the other
PEAKS = {  # what makers publish for dense bfloat16, in FLOP/s, by the names that torch gives the cards
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
}


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

    start = time.perf_counter()
    pages = sum(1 for _ in islice(stream("pages", "train", seed=1), 100_000))
    seconds = time.perf_counter() - start
    print(f"\n{pages:,} pages of the museum took {seconds:.1f} s")
    record("bench.museum_seconds_for_100k_pages", seconds, unit="s", tolerance=round(0.7 * seconds, 1), better="lower")
    print(f"goal: under a minute – {'met' if seconds < 60 else 'MISSED'}")


# GPT-2


def stepper(model, loss):
    """A training step with fused AdamW, in bfloat16 autocast where that is quick, as a function without arguments."""
    import torch

    from fmnotes.training.recipe import PRECISIONS, quick_precision

    precision = quick_precision()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        with torch.autocast("cpu", PRECISIONS[precision], precision != "float32"):
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def bench_gpt2_training(record) -> None:
    """A training step of 12 layers, width 256, on 16 sequences of 256 tokens, in bfloat16 autocast."""
    import torch

    from fmnotes.gpt2 import GPT2, GPT2Config
    from fmnotes.timing import side_by_side, speed_table

    torch.manual_seed(0)
    ours = GPT2(GPT2Config.mini(vocab_size=4096))
    theirs = ours.to_transformers().train()
    ids = torch.randint(4096, (16, 257))

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


def museum_ids(tokenizer: Tokenizer, split: str, n: int) -> np.ndarray:
    """The first n ids of a split's stories, each of which an end token follows."""
    ids = (id for row in stream("stories", split) for id in tokenizer.encode(row["text"] + END, "allow"))
    return np.fromiter(islice(ids, n), np.int64, n)


def bench_gpt2_loss(record, steps: int = 600, warmup_steps: int = 50, seeds: int = 4, held_out: int = 24) -> None:
    """Loss on unseen stories after the same batches of 8 × 128 tokens, each model initialised by its own code.

    What is recorded is the ratio of the mean losses, for a difference near zero could not be told from nothing; its
    tolerance is the half width of the difference's interval.
    """
    import torch
    import torch.nn.functional as F
    import transformers

    from fmnotes.data import checkpoint, data_hash
    from fmnotes.gpt2 import GPT2, GPT2Config
    from fmnotes.gpt2.checkpoints import to_hf_config
    from fmnotes.metrics import difference_interval, seed_interval
    from fmnotes.training import TokenBatches, TrainingConfig, quick_precision, train

    tokenizer, config = Tokenizer.from_pretrained(checkpoint("tokenizer-museum")), GPT2Config.nano()
    shape = {"context_length": config.context_length, "batch_size": 8, "vocab_size": config.vocab_size}
    # a window more than is trained on, so that windows fit wherever an epoch starts: no token is seen twice
    seen = museum_ids(tokenizer, "train", (8 * steps + 1) * config.context_length)
    unseen = TokenBatches(museum_ids(tokenizer, "validation", (8 * held_out + 1) * config.context_length), **shape)

    def fresh(name):
        if name == "fmnotes":
            return GPT2(config), lambda model, batch: model.loss(*batch)
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**to_hf_config(config)))
        return model, lambda model, batch: F.cross_entropy(model(batch[0]).logits.flatten(0, 1), batch[1].flatten())

    def loss_after_training(name, seed):
        torch.manual_seed(seed)
        model, loss = fresh(name)
        recipe = TrainingConfig(steps, 5e-3, warmup_steps=warmup_steps, precision=quick_precision(), seed=seed)
        train(model, loss, TokenBatches(seen, **shape, seed=seed), recipe)
        model.eval()
        with torch.no_grad():
            return sum(loss(model, unseen[i]).item() for i in range(held_out)) / held_out

    print(f"\nLoss of GPT-2 nano on unseen stories after {steps * unseen.size:,} tokens, {seeds} seeds")
    names = ("fmnotes", "transformers")
    ours, theirs = zip(*([loss_after_training(name, seed) for name in names] for seed in range(seeds)), strict=True)
    difference = difference_interval(ours, theirs)
    half, reference = difference.high - difference.value, sum(theirs) / seeds
    print(f"fmnotes {seed_interval(ours):.3f}, transformers {seed_interval(theirs):.3f} nats a token")
    print(f"difference, paired by seed: {difference:+.4f} nats a token")
    record(
        "bench.gpt2_loss_vs_transformers",
        1 + difference.value / reference,
        unit="loss ratio",
        tolerance=round(half / reference, 4),
        better="lower",
        chance=math.log(config.vocab_size) / reference,
        data=data_hash([seen, unseen.ids]),
    )
    print(f"goal: no worse by more than the half width {half:.4f} – {'met' if difference.value <= half else 'MISSED'}")


def bench_gpt2_gpu(steps: int = 60) -> None:
    """The loop that trains the 22.6 M model, in bfloat16 autocast on 16 × 1024 tokens, where there is a GPU.

    Its records are of the profile `gpu`: `make bench` without a GPU leaves them as they are.
    """
    import torch

    from fmnotes.gpt2 import GPT2, GPT2Config
    from fmnotes.records import Run
    from fmnotes.training import TokenBatches, TrainingConfig, train

    if not torch.cuda.is_available():
        print("\nGPU: not measured")
        return
    config, card = GPT2Config.mini(), torch.cuda.get_device_name()
    ids = np.random.default_rng(0).integers(config.vocab_size, size=1_000_000)
    batches = TokenBatches(ids, config.context_length, 16, config.vocab_size)
    torch.manual_seed(0)
    torch.cuda.reset_peak_memory_stats()
    recipe = TrainingConfig(steps, precision="bf16", log_every=10)
    lines = train(GPT2(config).cuda(), lambda model, batch: model.loss(*batch), batches, recipe)
    speed = statistics.median([line["tokens_per_second"] for line in lines if "tokens_per_second" in line][1:])
    memory = torch.cuda.max_memory_allocated() / 2**30
    print(f"\nGPU: {card}, GPT-2 mini in bfloat16: {speed:,.0f} tokens/s with {memory:.1f} GiB")
    record = Run("bench", profile="gpu")
    record("bench.gpt2_gpu_speed", speed, unit="tokens/s", tolerance=round(0.3 * speed))
    record("bench.gpt2_gpu_memory", memory, unit="GiB", tolerance=round(0.1 * memory, 2), better="lower")
    if card not in PEAKS:
        print("MFU: not measured, for this card's peak is not in our list")
        return
    mfu = 3 * config.flops_per_token(config.context_length) * speed / PEAKS[card]
    print(f"MFU: {mfu:.3f} of {PEAKS[card] / 1e12:,.0f} TFLOP/s")
    record("bench.gpt2_gpu_mfu", mfu, unit="share of the peak", tolerance=round(0.3 * mfu, 3), limit=1.0)


def bench_clip(record) -> None:
    """A step of both towers at equal sizes, on 64 pictures with captions of 32 tokens, in bfloat16 autocast."""
    from dataclasses import replace

    import open_clip
    import torch

    from fmnotes.clip import CLIP, CLIPConfig
    from fmnotes.timing import side_by_side, speed_table

    torch.manual_seed(0)
    config = replace(CLIPConfig.tiny(), context_length=32)
    ours = CLIP(config)
    sizes = {"layers": config.vision_n_layer, "width": config.vision_d_model, "patch_size": 8, "image_size": 64}
    vision = open_clip.CLIPVisionCfg(**sizes, head_width=config.vision_d_model // config.vision_n_head)
    sizes = {"layers": config.text_n_layer, "width": config.text_d_model, "heads": config.text_n_head}
    text = open_clip.CLIPTextCfg(**sizes, context_length=32, vocab_size=config.vocab_size)
    theirs, their_loss = open_clip.CLIP(config.embed_dim, vision, text), open_clip.ClipLoss()
    pixels, ids = torch.randn(64, 3, 64, 64), torch.randint(config.eos_token_id, (64, 32))
    ids[:, -1] = config.eos_token_id  # the largest: where open_clip looks for the end

    print("\nTraining CLIP (ViT-tiny and 4 layers of text, 64 pairs, bfloat16)")
    times = side_by_side(
        {
            "fmnotes": stepper(ours, lambda: ours.loss(pixels, ids)),
            "open_clip": stepper(theirs, lambda: their_loss(*theirs(pixels, ids))),
        },
        rounds=ROUNDS["gpt2"],
    )
    speed_table(times, baseline="open_clip")
    ratio = float(times["open_clip"] / times["fmnotes"])
    record("bench.clip_train_vs_open_clip", ratio, unit="throughput ratio", tolerance=0.3, better="higher")
    print(f"goal: at least the throughput of open_clip – {'met' if ratio >= 1 else 'MISSED'}")


def bench_connectors(record) -> None:
    """The four connectors between the shipped towers: a step of their second stage, one answer, and memory."""
    import torch

    from fmnotes.studies.connector_museum import between, towers
    from fmnotes.studies.museum_looks import MuseumLooks, answers, exam, loss
    from fmnotes.timing import peak_bytes, side_by_side, speed_table

    torch.manual_seed(0)
    images, rows = exam("validation", 1)
    steps, replies, memory = {}, {}, {}
    for kind in ("mlp", "linear", "resampler", "qformer"):
        model = between(kind, *towers()).eval()
        model.adapt(8)
        batch = MuseumLooks(model.config.n_tokens, 16, turns=4)[0]
        steps[kind] = stepper(model, partial(loss, model, batch))
        replies[kind] = partial(answers, model, images, [rows[0]["question"]], longest=4)
        memory[kind] = peak_bytes(steps[kind])
    print("\nConnectors: a training step on 16 pictures with 4 questions each, and an answer of 4 tokens")
    measured = {"train": steps, "answer": replies}
    for name, functions in measured.items():
        times = side_by_side(functions, rounds=ROUNDS["gpt2"])
        speed_table(times, baseline="mlp")
        for kind in ("linear", "resampler", "qformer"):
            ratio = float(times[kind] / times["mlp"])
            record(f"bench.connector_{name}_{kind}_vs_mlp", ratio, unit="time ratio", tolerance=0.2, better="lower")
    for kind in ("linear", "resampler", "qformer"):
        ratio = memory[kind] / memory["mlp"]
        record(f"bench.connector_memory_{kind}_vs_mlp", ratio, unit="memory ratio", tolerance=0.05, better="lower")
        print(f"{kind}: {ratio:.2f} of the memory of a training step with an MLP")


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
    bench_gpt2_loss(record)
    bench_clip(record)
    bench_connectors(record)
    bench_gpt2_gpu()


if __name__ == "__main__":
    main()
