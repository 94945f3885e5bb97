"""Which way of adapting a model? gpt2-museum-small learns the catalogue's pages, which it never saw, and is asked for
stories again.

    make study NAME=peft_methods

Every arm has its learning rate chosen by the same protocol, on a seed that is not counted, and then runs with three
seeds. Rank and alpha are swept with fewer steps. Stopped at any moment, the same command goes on where it was.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fmnotes import ROOT, data, evaluation, lora, metrics, museum, quantization
from fmnotes.gpt2 import GPT2
from fmnotes.studies.museum_rows import held_out as stories_held_out
from fmnotes.studies.museum_rows import tokenizer
from fmnotes.timing import peak_bytes
from fmnotes.training import TokenBatches, TrainingConfig, adamw, row_of_ids, train

STUDY = ROOT / "data" / "studies" / "peft_methods"
RUNS = ROOT / "runs" / "studies" / "peft_methods"
SEEDS, CHOOSING = (0, 1, 2), 100  # the last is the seed on which rates are chosen
STEPS, SHORT, SWEPT, BATCH_SIZE, LENGTH = 150, 100, 40, 4, 128  # of an arm; to choose its rate; in the sweep
RANK, ALPHA, WIDTH, GALORE_RANK = 8, 16.0, 31, 16
HELD_OUT, STORIES, PER_MUSEUM, MUSEUMS = 64, 24, 97, 20
RATIO = math.sqrt(10)
START = {"all weights": 1e-3, "IA3": 3e-2, "GaLore": 3e-3}  # where the search for a rate begins; else:
ELSE = 3e-3


def arms() -> dict[str, Callable[[GPT2], nn.Module]]:
    """Name → what it does to the model. Rank 8 has 65,536 parameters; the others are matched to it where they can be.

    DoRA has rank 7 and its 1,152 lengths a block: 61,952. Bottlenecks 31 wide: 64,760. IA3 has 3,584 and cannot have
    more. GaLore and the first train all weights.
    """
    return {
        "all weights": lambda model: model,
        "LoRA": lambda model: lora.lora(model, RANK, ALPHA),
        "rsLoRA": lambda model: lora.lora(model, RANK, ALPHA, rs=True),
        "DoRA": lambda model: lora.lora(model, RANK - 1, ALPHA, dora=True),
        "bottlenecks": lambda model: lora.bottlenecks(model, WIDTH),
        "IA3": lora.ia3,
        "GaLore": lambda model: model,
        "QLoRA": lambda model: lora.lora(quantization.quantise_model(model, lora.GPT2_MAPS), RANK, ALPHA),
    }


def optimizer_of(name: str) -> Callable[[nn.Module, TrainingConfig], torch.optim.Optimizer]:
    """AdamW without decay, or GaLore; both with the recipe's betas."""
    if name != "GaLore":
        return adamw
    return lambda model, recipe: lora.GaLoreAdamW(
        model.parameters(), recipe.learning_rate, GALORE_RANK, every=50, scale=1.0, betas=recipe.betas
    )


def base() -> GPT2:
    """The model that all arms begin with."""
    return GPT2.from_pretrained(data.checkpoint("gpt2-museum-small"))


@lru_cache(maxsize=4)
def batches(seed: int) -> TokenBatches:
    """Pages of twenty museums of the training split, shuffled, in windows."""
    rows = islice(museum.stream("pages", "train", seed), MUSEUMS * PER_MUSEUM)
    pages = [row["text"] for row in rows]
    order = np.random.default_rng(seed).permutation(len(pages))
    ids = row_of_ids([pages[i] for i in order], tokenizer())
    return TokenBatches(torch.from_numpy(ids), LENGTH, BATCH_SIZE, tokenizer().vocab_size, seed)


@lru_cache(maxsize=1)
def pages_held_out() -> list[str]:
    """One page from each of 64 museums of the validation split: a museum's pages would help with each other."""
    rows = islice(museum.stream("pages", "validation", 0), HELD_OUT * PER_MUSEUM)
    wanted = {n * PER_MUSEUM + n * 31 % PER_MUSEUM for n in range(HELD_OUT)}
    return [row["text"] for number, row in enumerate(rows) if number in wanted]


def bits(model: nn.Module, texts: list[str]) -> float:
    """Bits per byte of texts, each read alone."""
    scores = [evaluation.score(model, tokenizer(), [text]) for text in texts]
    nats, n_bytes = (sum(getattr(score, what).sum() for score in scores) for what in ("nats", "bytes"))
    return metrics.bits_per_byte(float(nats), int(n_bytes))


def exam(model: nn.Module) -> dict[str, float]:
    """Bits per byte of the new task and of the old one."""
    return {"pages": bits(model, pages_held_out()), "stories": bits(model, stories_held_out(STORIES))}


def floors() -> dict[str, float]:
    """What nobody can go below: the entropy of the grammars, on the same texts."""
    texts = {"pages": pages_held_out(), "stories": stories_held_out(STORIES)}
    logprob = partial(museum.logprob, split="validation")
    return {
        name: metrics.bits_per_byte(-sum(map(logprob, told)), sum(len(text.encode()) for text in told))
        for name, told in texts.items()
    }


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return model.loss(*batch)


def run(
    name: str, rate: float, seed: int, steps: int = STEPS, adapt: Callable[[GPT2], nn.Module] | None = None
) -> tuple[nn.Module, list[float]]:
    """One arm: the adapted model and the loss of every step, in nats a token."""
    torch.manual_seed(seed)
    model = (adapt or arms()[name])(base())
    recipe = TrainingConfig(steps, rate, warmup_steps=min(20, steps // 4), weight_decay=0.0, seed=seed, log_every=50)
    lines = train(model, loss, batches(seed), recipe, optimizer=optimizer_of(name))
    return model, [line["loss"] for line in lines]


def memory(name: str) -> dict[str, int]:
    """Bytes of one training step: what is kept, as it lies in memory, and the most that comes on top of it."""
    torch.manual_seed(0)
    model = arms()[name](base())
    optimizer = optimizer_of(name)(model, TrainingConfig(1, weight_decay=0.0))
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        loss(model, batches(0)[0]).backward()
        optimizer.step()
    state = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if torch.is_tensor(v) and v.ndim)
    parts = {
        "weights": quantization.weight_bytes(model),
        "gradients": sum(p.grad.nbytes for p in model.parameters() if p.grad is not None),
        "optimizer": state,
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    optimizer.zero_grad(set_to_none=True)
    return parts | {"forward": peak_bytes(lambda: loss(model, batches(0)[0]))}


def result(key: str, make: Callable[[], dict]) -> dict:
    """What an earlier run of this key found, or a new run's result, kept."""
    file = RUNS / f"{key.replace(' ', '-')}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        found = json.loads(json.dumps(make()), parse_float=lambda number: round(float(number), 5))
        file.write_text(json.dumps(found))
        print(key, {name: value for name, value in found.items() if isinstance(value, float)}, flush=True)
    return json.loads(file.read_text())


def _arm(name: str, rate: float, seed: int) -> dict:
    try:
        model, losses = run(name, rate, seed, SHORT if seed == CHOOSING else STEPS)
    except FloatingPointError:
        return {"pages": None, "stories": None}
    found = exam(model) | {"curve": [float(part.mean()) for part in np.array_split(losses, 20)]}
    if name == "all weights" and seed in SEEDS:
        found |= truncated(model)
    return found


def truncated(model: GPT2) -> dict:
    """Pages' bits per byte if only the largest directions of each matrix' change are kept; the rest as trained."""
    start, ranks = base(), (0, 1, 2, 4, 8, 16, 32, 64, 128)
    names = [name for name, p in model.named_parameters() if p.ndim == 2 and name.startswith("h.")]
    change = {name: model.get_parameter(name).detach() - start.get_parameter(name).detach() for name in names}
    sigma = {name: torch.linalg.svdvals(c) for name, c in change.items()}
    energy = torch.stack([(s**2).cumsum(0) / (s**2).sum() for s in sigma.values()]).mean(0)
    found = []
    for rank in ranks:
        cut = copy.deepcopy(model)
        with torch.no_grad():
            for name in names:
                B, A = lora.low_rank(change[name], max(rank, 1))
                cut.get_parameter(name).copy_(start.get_parameter(name) + (B @ A if rank else 0))
        found.append([rank, bits(cut, pages_held_out())])
    return {"truncated": found, "energy": energy.tolist()}


def chosen_rate(name: str) -> tuple[float, list]:
    """The best of three rates, √10 apart, on a seed of its own; at an end of them the search goes on, up to five.

    Returns:
        the rate; and of each that was tried the rate, the pages' and the stories' bits per byte.
    """
    if name == "QLoRA":
        return chosen_rate("LoRA")
    middle, tried = START.get(name, ELSE), {}
    powers = [-1, 0, 1]
    while True:
        for power in powers:
            key = f"choosing {name} {power}"
            rate = middle * RATIO**power
            found = result(key, lambda rate=rate: _arm(name, rate, CHOOSING))
            tried[power] = [rate, found["pages"], found["stories"]]
        best = min(tried, key=lambda power: tried[power][1] if tried[power][1] is not None else math.inf)
        if min(tried) < best < max(tried) or len(tried) == 5:
            return middle * RATIO**best, [tried[power] for power in sorted(tried)]
        powers = [best - 1 if best == min(tried) else best + 1]


def _swept(rate: float, rank: int, alpha: float, rs: bool, seed: int) -> dict:
    adapt = partial(lora.lora, rank=rank, alpha=alpha, rs=rs)
    try:
        model, _ = run("LoRA", rate, seed, SWEPT, adapt)
    except FloatingPointError:
        return {"pages": None}
    return {"pages": bits(model, pages_held_out())}


def sweep(rate: float) -> dict[str, list]:
    """[rank, alpha, bits of each seed] for LoRA and rsLoRA at one rate."""
    points = {"LoRA": [(r, ALPHA) for r in (1, 8, 64)], "rsLoRA": [(r, ALPHA) for r in (8, 64)]}
    points["alpha"] = [(RANK, alpha) for alpha in (4.0, 64.0)]
    found = {kind: [] for kind in points}
    for kind, pairs in points.items():
        for rank, alpha in pairs:
            each = []
            for seed in SEEDS:
                make = partial(_swept, rate, rank, alpha, kind == "rsLoRA", seed)
                each.append(result(f"sweep {kind} {rank} {alpha:g} {seed}", make)["pages"])
            found[kind].append([rank, alpha, each])
    return found


def main() -> None:
    torch.set_num_threads(1)
    start = result("start", lambda: exam(base()) | {f"floor {name}": floor for name, floor in floors().items()})
    found = {}
    for name in arms():
        rate, tried = chosen_rate(name)
        found[name] = {"rate": rate, "tried": tried, "seeds": []}
    for seed in SEEDS:
        for name, arm in found.items():
            arm["seeds"].append(result(f"{name} {seed}", partial(_arm, name, arm["rate"], seed)))
    for name, arm in found.items():
        arm["memory"] = result(f"memory {name}", partial(memory, name))
    swept = sweep(found["LoRA"]["rate"])
    write(STUDY / "curves.json", {"start": start, "steps": STEPS, "arms": found, "sweep": swept})


def write(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(json.dumps(content), parse_float=lambda number: round(float(number), 5))
    file.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
