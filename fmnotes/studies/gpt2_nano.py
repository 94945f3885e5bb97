"""When does a small transformer overtake counting? GPT-2 nano and a 5-gram model read the same stories.

The recipe is that of notebook 02, for more steps and three seeds; the n-gram model counts the same stories, as many at
each point as the transformer has read by then.

    make study NAME=gpt2_nano
"""

import json
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch

from fmnotes import ROOT, data, metrics
from fmnotes.bpe import Tokenizer
from fmnotes.gpt2 import GPT2, GPT2Config, token_losses
from fmnotes.museum import stories
from fmnotes.museum.ngram import NGram, words
from fmnotes.training import TokenBatches, TrainingConfig, row_of_ids, train

STUDY = ROOT / "data" / "studies" / "gpt2_nano"
RUNS = ROOT / "runs" / "studies" / "gpt2_nano"
SEEDS = (0, 1, 2)
STEPS, BATCH_SIZE, EVERY = 24_000, 4, 1_000
LEARNING_RATE, WARMUP = 5e-3, 50
HELD_OUT = 200


def told(split: str, seed: int = 0) -> Iterator[str]:
    """Stories without end."""
    return (row["text"] for row in stories.stream(split, seed))


def train_nano(seed: int, ids: np.ndarray, test_ids: torch.Tensor, n_bytes: int) -> list[float]:
    """Bits per byte of the held-out stories after every EVERY steps."""
    config = GPT2Config.nano()
    torch.manual_seed(seed)
    model = GPT2(config)
    batches = TokenBatches(ids, config.context_length, BATCH_SIZE, config.vocab_size, seed)
    recipe = TrainingConfig(
        STEPS, LEARNING_RATE, warmup_steps=WARMUP, seed=seed, log_every=50, eval_every=EVERY, save_every=EVERY
    )

    def evaluate(model: GPT2) -> dict[str, float]:
        return {"bits": metrics.bits_per_byte(token_losses(model, test_ids).sum().item(), n_bytes)}

    folder = RUNS / f"seed-{seed}"
    lines = train(model, lambda model, batch: model.loss(*batch), batches, recipe, folder, evaluate=evaluate)
    model.save_pretrained(folder / "model")
    return [line["bits"] for line in lines if "bits" in line]


def count_words(texts: list[str], n_tokens: list[int], held_out: list[str], per_story: float) -> list[float]:
    """Bits per byte of 5-gram models of the first stories, as many as hold so many tokens."""
    n_bytes = sum(len(text.encode()) for text in held_out)
    bits = []
    for n in n_tokens:
        model = NGram(5).fit([words(text) for text in texts[: round(n / per_story)]])
        bits.append(metrics.bits_per_byte(-sum(model.logprob(words(text)) for text in held_out), n_bytes))
    return bits


def main() -> None:
    tokenizer = Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))
    held_out = list(islice(told("validation"), HELD_OUT))
    n_bytes = sum(len(text.encode()) for text in held_out)
    tokens_a_step = BATCH_SIZE * GPT2Config.nano().context_length
    texts = list(islice(told("train"), STEPS * tokens_a_step // 280))  # a little more than one reading
    ids, test_ids = row_of_ids(texts, tokenizer), torch.from_numpy(row_of_ids(held_out, tokenizer))
    n_tokens = [step * tokens_a_step for step in range(EVERY, STEPS + 1, EVERY)]
    curves = {
        "tokens": n_tokens,
        "floor": metrics.bits_per_byte(-sum(map(stories.logprob, held_out)), n_bytes),
        "ngram": count_words(texts, n_tokens, held_out, len(ids) / len(texts)),
        "gpt2": {str(seed): train_nano(seed, ids, test_ids, n_bytes) for seed in SEEDS},
        "data": data.data_hash([*texts, *held_out]),
    }
    STUDY.mkdir(parents=True, exist_ok=True)
    rounded = json.loads(json.dumps(curves), parse_float=lambda number: round(float(number), 4))
    (STUDY / "curves.json").write_text(json.dumps(rounded, indent=1) + "\n")
    for name, bits in {"floor": [curves["floor"]], "5-gram": curves["ngram"], **curves["gpt2"]}.items():
        print(f"{name:8s} {bits[-1]:.3f} bits per byte")


if __name__ == "__main__":
    main()
