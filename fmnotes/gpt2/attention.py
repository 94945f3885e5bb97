"""Causal attention, and the cache of keys and values that saves a generation from computing the past again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnotes.gpt2.config import GPT2Config

if TYPE_CHECKING:  # shapes are for the reader: models also train where jaxtyping is not installed
    from jaxtyping import Float


def causal_attention(
    q: Float[Tensor, "batch head new d"], k: Float[Tensor, "batch head all d"], v: Float[Tensor, "batch head all d"]
) -> Float[Tensor, "batch head new d"]:
    """softmax(q kᵀ / √d) v, where each of the last `new` positions sees itself and all before it."""
    new, total = q.shape[2], k.shape[2]
    if torch.is_grad_enabled() and q.device.type == "cpu" and q.dtype == torch.bfloat16 and new == total <= 1024:
        return _attention_in_blocks(q, k, v)
    mask = None
    if 1 < new < total:  # is_causal would align the triangle with the first key, not the last
        mask = torch.ones(new, total, dtype=torch.bool, device=q.device).tril(total - new)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=1 < new == total)


def _attention_in_blocks(q: Tensor, k: Tensor, v: Tensor, block: int = 128) -> Tensor:
    """The same by matrix products, to train on short sequences: in bfloat16 a CPU's fused backward pass is slow.

    Queries come in blocks, and a block's products leave out the keys after it, which no query of it sees.
    """
    batch, head, time, d = q.shape
    q, k, v = (x.reshape(batch * head, time, d) for x in (q, k, v))
    mask = torch.full((time, time), -math.inf, device=q.device, dtype=q.dtype).triu(1)
    out = []
    for start in range(0, time, block):
        end = min(start + block, time)
        seen = mask[start:end, :end].expand(batch * head, -1, -1)
        scores = torch.baddbmm(seen, q[:, start:end], k[:, :end].transpose(1, 2), alpha=d**-0.5)
        out.append(scores.softmax(-1) @ v[:, :end])
    return torch.cat(out, dim=1).view(batch, head, time, d)


class KVCache:
    """Keys and values of the tokens seen so far, in memory allocated once.

    `layers` holds one tensor (2, batch, n_head, room, d_model / n_head) a layer, keys and then values, of which the
    first `length` places are filled. Give the same cache to successive calls of the model.
    """

    def __init__(self, config: GPT2Config, room: int | None = None, batch: int = 1, like: Tensor | None = None):
        """Make an empty cache for `room` tokens (the whole context if not given), of the type and device of `like`."""
        room = config.context_length if room is None else room
        shape = (2, batch, config.n_head, room, config.d_model // config.n_head)
        like = torch.empty(0) if like is None else like
        self.layers = [like.new_zeros(shape) for _ in range(config.n_layer)]
        self.room, self.batch, self.length = room, batch, 0

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors hold; `GPT2Config.kv_cache_bytes(room, batch)` by formula."""
        return sum(layer.nbytes for layer in self.layers)

    def extend(self, layer: int, kv: Float[Tensor, "two batch head new d"]) -> Float[Tensor, "two batch head all d"]:
        """Write a layer's new keys and values behind the `length` old ones; return all of them, as a view."""
        start, new = self.length, kv.shape[3]
        self.layers[layer].narrow(3, start, new).copy_(kv)
        return self.layers[layer].narrow(3, 0, start + new)
