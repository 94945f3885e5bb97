"""How well a model predicts a text, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from fmnotes.gpt2.model import GPT2

WINDOWS = 8  # computed at once; their logits are the most memory that is needed


@torch.no_grad()
def token_losses(model: GPT2, ids: Int[Tensor, " n"], stride: int | None = None) -> Float[Tensor, " n_minus_1"]:
    """-log p of each token but the first, in nats, in windows that slide over the text.

    A window is as long as the model's context and starts `stride` tokens after the one before it; it scores the tokens
    that no window before it has scored. So a token sees at least context_length - stride tokens before it, if there
    are so many. A shorter stride is a better look at the model, for context_length / stride times the work.

    Args:
        model: a GPT2; it is not changed.
        ids: the text, n tokens, at least 2; the first is only context: put an end token there.
        stride: from 1 to the context's length, which is what it is if not given: then windows do not overlap.

    Returns:
        n - 1 losses, on the CPU, in float32 at least.

    Raises:
        ValueError: fewer than two tokens; a stride outside its range; ids outside the vocabulary.
    """
    length = model.config.context_length
    stride = length if stride is None else stride
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(f"a text is one row of at least 2 tokens, to predict the later ones, not {tuple(ids.shape)}")
    if not 1 <= stride <= length:
        raise ValueError(f"stride must lie between 1 and the context_length of {length:,}, not at {stride:,}")
    inputs, targets = (part.to(model.wte.weight.device) for part in (ids[:-1], ids[1:]))

    def losses(starts: list[int], size: int) -> Float[Tensor, "windows size"]:
        x, y = (torch.stack([part[s : s + size] for s in starts]) for part in (inputs, targets))
        logits = model(x)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits.transpose(1, 2), y, reduction="none")

    n = len(inputs)
    starts = list(range(0, max(0, n - length) + stride, stride))
    full = [s for s in starts if s + length <= n]  # all of them, or all but the last
    rows = [row for i in range(0, len(full), WINDOWS) for row in losses(full[i : i + WINDOWS], length)]
    rows += [row for s in starts[len(full) :] for row in losses([s], n - s)]
    return torch.cat([rows[0], *(row[length - stride :] for row in rows[1:])]).cpu()
