"""One expert a token, two, or a plain layer? Small Mixtrals on the museum's stories, three seeds each.

The plain arms match the experts' active operations (one is as wide as what a token visits) and their parameters (one
is as wide as all experts together). Top-1 has 8 experts, top-2 has 16 of half the width. Three arms lack a loss, and
one starts its experts louder.

    make study NAME=moe_kinds
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

import numpy as np
import torch

from fmnotes import ROOT, data, gpt2, metrics, moe
from fmnotes.bpe import Tokenizer
from fmnotes.museum import stories
from fmnotes.studies import nano
from fmnotes.training import TokenBatches, TrainingConfig, train

STUDY = ROOT / "data" / "studies" / "moe_kinds"
RUNS = ROOT / "runs" / "studies" / "moe_kinds"
SEEDS = (0, 1, 2)
STEPS, BATCH_SIZE, WARMUP, LEARNING_RATE = 400, 2, 50, 5e-3
HELD_OUT, POINTS, SHOWN = 100, 20, 220
BALANCE, Z = 0.01, 0.001
TOP_1 = moe.MistralConfig(
    4096, 256, d_model=64, n_layer=3, n_head=4, n_kv_head=2, window=128, d_ff=192, n_expert=8, renormalise=False
)
TOP_2 = replace(TOP_1, d_ff=96, n_expert=16, top_k=2, renormalise=True)
ACTIVE = replace(TOP_1, d_ff=200, n_expert=1)  # 8 wider than an expert: what top-2's router costs, and a little more
TOTAL = replace(TOP_1, d_ff=8 * 192, n_expert=1)


@dataclass(frozen=True)
class Arm:
    """A model, how much its two losses for the router count, and how it starts."""

    config: moe.MistralConfig
    balance: float = BALANCE
    z: float = Z
    loud: bool = False  # the experts' outputs start E times as large, so that p = 1/E of them is an ordinary layer's


ARMS = {
    "dense, same FLOPs": Arm(ACTIVE),
    "dense, same parameters": Arm(TOTAL),
    "top-1": Arm(TOP_1),
    "top-2": Arm(TOP_2),
    "top-1, no balancing": Arm(TOP_1, balance=0.0),
    "top-1, louder start": Arm(TOP_1, loud=True),
    "top-1, no z loss": Arm(TOP_1, z=0.0),
    "top-2, no balancing": Arm(TOP_2, balance=0.0),
}


@lru_cache(maxsize=1)
def types() -> np.ndarray:
    """The type of each token of the vocabulary, as a place in `moe.TYPES`."""
    tokenizer = Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))
    return np.array([moe.token_type(tokenizer.decode([i])) for i in range(tokenizer.vocab_size)])


def fit(arm: Arm, ids: np.ndarray, recipe: TrainingConfig) -> tuple[moe.Mistral, dict]:
    """Train a model; returns it with what its routers did meanwhile.

    Returns:
        the model, and {"loss": one a step, "load": (steps, layers, experts), "logits": the mean of log Σ exp z},
        the last two empty for a dense model.
    """
    torch.manual_seed(recipe.seed)
    model, seen = moe.Mistral(arm.config), {"loss": [], "load": [], "logits": []}
    if arm.loud:
        with torch.no_grad():
            for block in model.layers:
                block.mlp.experts.down_proj.mul_(arm.config.n_expert)
    batches = TokenBatches(ids, arm.config.context_length, BATCH_SIZE, arm.config.vocab_size, recipe.seed)
    sparse = arm.config.n_expert > 1

    def loss_of(model: moe.Mistral, batch) -> torch.Tensor:
        routings: list[moe.Routing] = []
        losses = {"balance": arm.balance, "z": arm.z} if sparse else {}
        loss = model.loss(*batch, routings=routings, **losses)
        if sparse:
            seen["load"].append([moe.load(r).tolist() for r in routings])
            seen["logits"].append(torch.stack([r.logits.logsumexp(-1).mean() for r in routings]).mean().item())
        return loss

    lines = train(model, loss_of, batches, recipe)
    return model, seen | {"loss": [line["loss"] for line in lines]}


@torch.no_grad()
def routed(model: moe.Mistral, ids: torch.Tensor) -> list[moe.Routing]:
    """Where a model sends the tokens of a text, layer by layer, read in windows of its context end to end."""
    length, found = model.config.context_length, []
    for start in range(0, len(ids), length):
        routings: list[moe.Routing] = []
        model.hidden_states(ids[None, start : start + length], routings=routings)
        found.append(routings)
    return [
        moe.Routing(*(torch.cat(parts) for parts in list(zip(*layer, strict=True))[:3]))
        for layer in zip(*found, strict=True)
    ]


def judged(model: moe.Mistral, ids: torch.Tensor, seed: int) -> dict:
    """What the routers of a trained model do with held-out text: loads, what would be dropped, what experts are for."""
    found: dict[str, list] = {"load": [], "dropped": [], "test": [], "types": []}
    config, kinds = model.config, types()
    for routing in routed(model, ids):
        full = moe.limited(routing, moe.capacity_of(len(ids), config.n_expert, config.top_k))
        first = routing.experts[:, 0].numpy()
        counts = np.zeros((len(moe.TYPES), config.n_expert), int)
        np.add.at(counts, (kinds[ids.numpy()], first), 1)
        found["load"].append(moe.load(routing).tolist())
        found["dropped"].append(1 - full.kept.float().mean().item())
        found["test"].append(moe.permutation_test(ids.numpy(), first, kinds, seed)._asdict())
        found["types"].append(counts.tolist())
    return found | {"shown": [r.experts[:SHOWN, 0].tolist() for r in routed(model, ids[:SHOWN])]}


def run(name: str, seed: int) -> dict:
    """One arm with one seed, or what an earlier run of it found."""
    file = RUNS / f"{name.replace(',', '').replace(' ', '-')}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text())
    arm = ARMS[name]
    ids, held_out, n_bytes = nano.rows(STEPS * BATCH_SIZE * arm.config.context_length, HELD_OUT)
    model, seen = fit(arm, ids, TrainingConfig(STEPS, LEARNING_RATE, warmup_steps=WARMUP, seed=seed, log_every=50))
    model.eval()
    bits = metrics.bits_per_byte(gpt2.token_losses(model, held_out).sum().item(), n_bytes)
    result = {"bits": bits, "loss": _parts(seen["loss"])}
    if arm.config.n_expert > 1:
        result |= {"load_by_step": _parts(seen["load"]), "logits": _parts(seen["logits"])}
        result |= judged(model, held_out, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(_rounded(result)))
    return _rounded(result)


def _parts(values: list) -> list:
    """Means over POINTS equal parts of a run."""
    return [part.mean(0).tolist() for part in np.array_split(np.array(values), POINTS)]


def _rounded(content: dict) -> dict:
    return json.loads(json.dumps(content), parse_float=lambda number: round(float(number), 4))


def write(found: dict[str, dict]) -> None:
    """What has been found so far, with the sizes of the arms and the floor of the stories."""
    held_out = [row["text"] for row in islice(stories.stream("validation"), HELD_OUT)]
    n_bytes = sum(len(text.encode()) for text in held_out)
    length = TOP_1.context_length
    content = {
        "tokens": STEPS * BATCH_SIZE * length,
        "floor": metrics.bits_per_byte(-sum(map(stories.logprob, held_out)), n_bytes),
        "sizes": {name: [arm.config.n_parameters, arm.config.n_active] for name, arm in ARMS.items()},
        "flops": {name: arm.config.flops_per_token(length) for name, arm in ARMS.items()},
        "arms": found,
    }
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "results.json").write_text(json.dumps(_rounded(content)) + "\n")


def main() -> None:
    found: dict[str, dict] = {}
    names = list(ARMS)
    for part in (names[:5], names[5:]):  # a study that is stopped early has something to say
        for seed in SEEDS:
            for name in part:
                result = run(name, seed)
                found.setdefault(name, {})[str(seed)] = result
                print(f"{name:24s} seed {seed}  bits {result['bits']:.4f}", flush=True)
                write(found)


if __name__ == "__main__":
    main()
