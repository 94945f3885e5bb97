"""Serving the museum: which batching, how much memory, how long a draft?

    make study NAME=serving

Half of the visitors ask a question with pages in the prompt (long prompt, short answer), half want a story told (short
prompt, long answer). Batching runs in virtual time, with the cost of a step fitted on one thread of the machine on
which the project is developed; speculation runs the models.
"""

from __future__ import annotations

import json
import time

import numpy as np
import torch

from fmnotes import ROOT, bpe, data, generation, gpt2, museum
from fmnotes.kv_cache import BlockTables, LookupDraft, ModelDraft, Request, StepCost, serve, speculate, speculative
from fmnotes.museum import contexts, prompt

STUDY = ROOT / "data" / "studies" / "serving"
CONTEXT, BLOCK = 1024, 16
MEMORY = 4 * CONTEXT  # token slots: four sequences if each reserves its whole context
COST = StepCost(fixed=6e-3, per_token=3.5e-4, per_past=1e-5)  # seconds: fitted on one core, scaled to a quiet one
ARMS = {  # continuous?, block size
    "static, contiguous": (False, CONTEXT),
    "continuous, contiguous": (True, CONTEXT),
    "continuous, paged": (True, BLOCK),
}
RATES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # requests a second
SEEDS, REQUESTS, SLOTS = (0, 1, 2, 3, 4), 100, 16
DRAFTS, LENGTHS, TEMPERATURES = ("small model", "lookup"), (1, 2, 4, 8), (0.0, 1.0)
TEXTS, NEW = 3, 60


def tokenizer() -> bpe.Tokenizer:
    return bpe.Tokenizer.from_pretrained(data.checkpoint("gpt2-museum"))


def asked(words: bpe.Tokenizer, n: int, seed: int) -> list[tuple[list[int], int]]:
    """n visitors: the ids of each prompt, and how many tokens the answer has (with its end token)."""
    end = [words.special_tokens[prompt.END]]
    items = contexts.exam("test", -(-n // 6), seed=seed)
    found = []
    for item in items:
        text = prompt.END + prompt.build(item.question, item.pages)
        found.append((words.encode(text, special_tokens="allow"), len(words.encode(item.answer)) + 1))
    for _, row in zip(range(n - n // 2), museum.stream("stories", "test", seed), strict=False):
        ids = words.encode(row["text"])
        opening = 12 + len(ids) % 9
        found.append((end + ids[:opening], len(ids) - opening + 1))
    half = len(items)
    dice = np.random.default_rng(seed)
    readers, tales = dice.permutation(half)[: n // 2], half + np.arange(n - n // 2)
    return [found[i] for i in dice.permutation([*readers, *tales])]


def arrivals(n: int, rate: float, seed: int) -> np.ndarray:
    """Times of a Poisson process, seconds."""
    return np.random.default_rng(seed).exponential(1 / rate, n).cumsum()


def batched(arm: str, lengths: list[tuple[list[int], int]], rate: float, seed: int, cost: StepCost = COST) -> dict:
    """One arm with one seed at one rate."""
    continuous, block = ARMS[arm]
    times = arrivals(len(lengths), rate, seed)
    requests = [Request(i, t, ids, new) for i, (t, (ids, new)) in enumerate(zip(times, lengths, strict=True))]
    tables = BlockTables(MEMORY // block, block, CONTEXT)
    served = serve(requests, cost, tables, continuous=continuous, slots=SLOTS)
    first = np.array([served.first[i] - t for i, t in enumerate(times)])
    found = {"throughput": served.throughput, "wasted": served.wasted, "preempted": served.preempted}
    found |= {f"p{q}": float(np.quantile(served.latencies, q / 100)) for q in (50, 95)}
    found |= {"p50 of the first token": float(np.median(first)), "rows": float(np.mean([r for r, _ in served.rows]))}
    return found


def drafted(name: str, small: gpt2.GPT2) -> speculative.Draft:
    return ModelDraft(small) if name == "small model" else LookupDraft(small.config.vocab_size)


def speculated(target: gpt2.GPT2, small: gpt2.GPT2, prompts: list[list[int]], name: str, k: int, temperature: float,
               seed: int) -> dict:  # fmt: skip
    """One arm of speculation with one seed, beside plain decoding of the same prompts."""
    end = [4090]
    passes, new, guessed, right, seconds, plain = 0, 0, 0, 0, 0.0, 0.0
    for n, ids in enumerate(prompts):
        began = time.perf_counter()
        out = speculate(
            target, drafted(name, small), ids, NEW, k, temperature=temperature, stop=end, seed=seed + 100 * n
        )
        middle = time.perf_counter()
        alone = generation.generate(target, ids, NEW, temperature=temperature, stop=end, seed=seed + 100 * n)
        plain += (time.perf_counter() - middle) / (len(alone) - len(ids))
        seconds += (middle - began) / len(out.ids)
        passes, new = passes + out.passes, new + len(out.ids)
        guessed, right = guessed + sum(out.drafted), right + sum(out.accepted)
    return {"tokens per pass": new / passes, "accepted": right / max(guessed, 1), "guessed": guessed / passes,
            "speed-up": plain / seconds}  # fmt: skip


def main() -> None:
    """Both parts, about ten minutes of one core."""
    torch.set_num_threads(1)
    words, found = tokenizer(), {"batching": {}, "speculation": {}}
    settings = {"rates": RATES, "requests": REQUESTS, "slots": SLOTS, "memory": MEMORY, "block": BLOCK, "cost": COST}
    for seed in SEEDS:
        lengths = asked(words, REQUESTS, seed)
        for arm in ARMS:
            for rate in RATES:
                found["batching"].setdefault(arm, {}).setdefault(str(rate), []).append(
                    batched(arm, lengths, rate, seed)
                )
        print("batching, seed", seed, flush=True)
    target, small = (gpt2.GPT2.from_pretrained(data.checkpoint(f"gpt2-museum{s}")).eval() for s in ("", "-small"))
    for seed in SEEDS[:3]:
        visitors = [ids for ids, _ in asked(words, 6 * TEXTS, seed)]
        tasks = {"stories": [ids for ids in visitors if len(ids) < 30], "reading": [i for i in visitors if len(i) > 30]}
        for task, prompts in tasks.items():
            for name in DRAFTS:
                for temperature in TEMPERATURES:
                    for k in LENGTHS:
                        arm = f"{task}, {name}, temperature {temperature:g}"
                        result = speculated(target, small, prompts[:TEXTS], name, k, temperature, seed)
                        found["speculation"].setdefault(arm, {}).setdefault(str(k), []).append(result)
        print("speculation, seed", seed, flush=True)
    found = json.loads(json.dumps(settings | found), parse_float=lambda x: float(f"{float(x):.4g}"))
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "curves.json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
