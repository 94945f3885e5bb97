"""Cross-entropy straight from hidden states, without ever holding the logits of all tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from jaxtyping import Float, Int

IGNORE = -100  # a target that does not count, as everywhere in the field


def linear_cross_entropy(
    hidden: Float[Tensor, "tokens d_model"],
    weight: Float[Tensor, "vocab d_model"],
    targets: Int[Tensor, " tokens"],
    token_weights: Float[Tensor, " tokens"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of softmax(hidden weightᵀ) against the targets.

    Logits are made for some hundreds of tokens at a time, and turned into their gradient, softmax - onehot, at once:
    with 50,257 tokens in the vocabulary they would need more memory than the rest of the model. Products are computed
    in the precision of autocast, softmax and sums at least in float32.

    Args:
        targets: ids, or IGNORE where nothing is to be learned.
        token_weights: what each token's loss counts; the mean is divided by their sum over the targets that count.

    Raises:
        ValueError: if no target counts, for the mean of nothing is not a number.
    """
    counts = (targets != IGNORE).to(torch.promote_types(hidden.dtype, torch.float32))
    if token_weights is not None:
        counts = counts * token_weights
    if not counts.any():
        raise ValueError(f"no target counts: all {targets.numel()} are {IGNORE} (IGNORE) or have weight 0")
    if not counts.all():  # no logits are made of what does not count
        kept = counts.nonzero().squeeze(1)
        hidden, targets, counts = hidden[kept], targets[kept], counts[kept]
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        hidden, weight = (x.to(torch.get_autocast_dtype(device)) for x in (hidden, weight))
    with torch.autocast(device, enabled=False):
        need_gradient = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
        need_weights = need_gradient and weight.requires_grad  # not where the head is frozen
        total = _LinearCrossEntropy.apply(hidden, weight, targets, counts, need_gradient, need_weights)
    return total / counts.sum()


class _LinearCrossEntropy(torch.autograd.Function):
    """The weighted sum of the tokens' losses; its gradient is computed on the way."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, counts, need_gradient, need_weights):
        total = counts.new_zeros(())
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=counts.dtype) if need_weights else None
        rows = max(256, (1 << 21 if hidden.device.type == "cpu" else 1 << 25) // len(weight))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            h, count = hidden[part], counts[part, None]
            target = targets[part, None].clamp(min=0)
            logits = (h @ weight.T).to(counts.dtype)
            log_z = logits.logsumexp(-1, keepdim=True)
            total += ((log_z - logits.gather(1, target)) * count).sum()
            if need_gradient:
                d_logits = logits.sub_(log_z).exp_().mul_(count).scatter_add_(1, target, -count).to(h.dtype)
                d_hidden[part] = d_logits @ weight
                if need_weights:
                    d_weight += d_logits.T @ h
        if need_gradient:
            ctx.save_for_backward(d_hidden, d_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, d_total):
        d_hidden, d_weight = ctx.saved_tensors
        dtype = d_hidden.dtype  # of both inputs
        d_weight = None if d_weight is None else (d_weight * d_total).to(dtype)
        return (d_hidden * d_total).to(dtype), d_weight, None, None, None, None
