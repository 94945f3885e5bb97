"""One run of a small GPT-2 on the museum's stories, as the studies of training share it.

Every run reads the same stories, is scored on the same held-out ones, and leaves its result in its folder: a study that
was stopped goes on where it was, and one that is done is read back.
"""

import json
import shutil
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from fmnotes import data, metrics
from fmnotes.bpe import Tokenizer
from fmnotes.gpt2 import GPT2, GPT2Config, token_losses
from fmnotes.museum import stories
from fmnotes.training import TokenBatches, TrainingConfig, adamw, row_of_ids, train

BATCH_SIZE, HELD_OUT, POINTS = 4, 200, 20


@lru_cache(maxsize=1)
def rows(n_train: int, n_held_out: int) -> tuple[np.ndarray, torch.Tensor, int]:
    """The ids of the first n_train tokens' worth of stories, of n_held_out others, and the bytes of these."""
    tokenizer = Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))

    def told(split: str, n: int) -> list[str]:
        return [row["text"] for row in islice(stories.stream(split), n)]

    held_out = told("validation", n_held_out)
    ids = row_of_ids(told("train", n_train // 250 + 1), tokenizer)  # a story has 280 tokens or so
    return ids, torch.from_numpy(row_of_ids(held_out, tokenizer)), sum(len(text.encode()) for text in held_out)


def run(
    folder: Path,
    recipe: TrainingConfig,
    model: Callable[[], GPT2] = lambda: GPT2(GPT2Config.nano()),
    optimizer: Callable[[torch.nn.Module, TrainingConfig], torch.optim.Optimizer] = adamw,
) -> dict:
    """Train from scratch, or read what an earlier run of this folder found.

    Returns:
        "bits": per byte of the held-out stories, None where training ended in numbers that are not finite; "curve":
        the mean training loss in nats, in POINTS equal parts of the run; "grad_norm": the gradient's, likewise;
        "rms": of the matrices' entries at the end; "gain": the mean size of the norms' gains.
    """
    file = folder / "result.json"
    if file.exists():
        return json.loads(file.read_text())
    torch.manual_seed(recipe.seed)
    network = model()
    config = network.config
    ids, held_out, n_bytes = rows(recipe.steps * BATCH_SIZE * config.context_length, HELD_OUT)
    batches = TokenBatches(ids, config.context_length, BATCH_SIZE, config.vocab_size, recipe.seed)
    try:
        lines = train(network, lambda model, batch: model.loss(*batch), batches, recipe, folder, optimizer=optimizer)
        bits = metrics.bits_per_byte(token_losses(network, held_out).sum().item(), n_bytes)
    except FloatingPointError:
        lines, bits = [], None
    result = {
        "bits": bits if bits is not None and np.isfinite(bits) else None,
        "curve": _parts([line["loss"] for line in lines]),
        "grad_norm": _parts([line["grad_norm"] for line in lines]),
        "rms": torch.cat([p.detach().flatten() for p in network.parameters() if p.ndim > 1]).float().std().item(),
        "gain": torch.cat([p.detach() for name, p in network.named_parameters() if _is_gain(name)]).abs().mean().item(),
    }
    result = json.loads(json.dumps(result), parse_float=lambda number: round(float(number), 5))
    file.write_text(json.dumps(result))
    for checkpoint in folder.glob("step-*"):
        shutil.rmtree(checkpoint)
    return result


def _is_gain(name: str) -> bool:
    return name.endswith("weight") and "ln_" in name


def _parts(values: list[float]) -> list[float]:
    return [float(part.mean()) for part in np.array_split(values, POINTS) if len(part)]
