"""Attention through a window that slides along the text, and the cache of keys and values that rolls with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnotes.moe.config import MistralConfig

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def sliding_window_mask(new: int, total: int, window: int | None = None) -> Bool[Tensor, "new total"]:
    """True where one of the last `new` of `total` positions may look: at itself and the window - 1 before it.

    Position t sees s where t - W < s <= t (Beltagy et al. 2020, section 3.1; Jiang et al. 2023, section 2).

    Raises:
        ValueError: more new positions than there are, or a window that shows nothing.
    """
    if not 0 <= new <= total:
        raise ValueError(f"{new} new positions among {total} in all: there cannot be more new ones than there are")
    if window is not None and window < 1:
        raise ValueError(f"a window of {window} shows nothing: a position sees at least itself, window = 1")
    query, key = torch.arange(total - new, total)[:, None], torch.arange(total)
    seen = key <= query
    return seen if window is None else seen & (key > query - window)


def windowed_attention(
    q: Float[Tensor, "batch head new d"],
    k: Float[Tensor, "batch kv_head all d"],
    v: Float[Tensor, "batch kv_head all d"],
    window: int | None = None,
) -> Float[Tensor, "batch head new d"]:
    """softmax(q kᵀ / √d) v, where each of the last `new` positions sees the `window` positions that end in itself.

    Each head of keys serves head / kv_head queries in a row. Sequences of more than two windows are cut into blocks of
    one window, each of which needs its own keys and those of the block before: T·2W scores instead of T².
    """
    new, total = q.shape[2], k.shape[2]
    grouped = {"enable_gqa": q.shape[1] != k.shape[1]}
    if window is None or total <= window:
        if new in (1, total):
            return F.scaled_dot_product_attention(q, k, v, is_causal=new > 1, **grouped)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=sliding_window_mask(new, total).to(q.device), **grouped
        )
    if new == total > 2 * window:
        return _attention_in_blocks(q, k, v, window, grouped)
    mask = sliding_window_mask(new, total, window).to(q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **grouped)


def _attention_in_blocks(q: Tensor, k: Tensor, v: Tensor, window: int, grouped: dict) -> Tensor:
    """All positions at once, in blocks of `window` queries, each with the keys of its block and of the one before."""
    batch, head, time, d = q.shape
    n = -(-time // window)
    q, k, v = (F.pad(x, (0, 0, 0, n * window - time)) for x in (q, k, v))

    def blocks(x: Tensor) -> Tensor:  # (batch, heads, n · rows, d) → (batch · n, heads, rows, d)
        return x.unflatten(2, (n, window)).transpose(1, 2)

    def with_previous(x: Tensor) -> Tensor:
        x = blocks(x)
        return torch.cat([F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))[:, :n], x], dim=3).flatten(0, 1)

    mask = sliding_window_mask(window, 2 * window, window).to(q.device).repeat(n, 1, 1)
    mask[0, :, :window] = False  # nothing comes before the first block
    mask = mask.repeat(batch, 1, 1)[:, None]
    y = F.scaled_dot_product_attention(blocks(q).flatten(0, 1), with_previous(k), with_previous(v), mask, **grouped)
    return y.unflatten(0, (batch, n)).transpose(1, 2).flatten(2, 3)[:, :, :time]


class RollingCache:
    """Keys and values of the last `window` tokens, in memory allocated once: token t has place t mod W.

    Keys come with their rotation, which knows their position, so that the order of the places does not matter
    (Jiang et al. 2023, section 2, rolling buffer cache). Give the same cache to successive calls of the model.
    """

    def __init__(self, config: MistralConfig, batch: int = 1, like: Tensor | None = None):
        """Make an empty cache, of the type and device of `like`; without a window it has room for the context."""
        self.room = config.context_length if config.window is None else min(config.window, config.context_length)
        self.window, self.batch, self.length = config.window, batch, 0
        shape = (2, batch, config.n_kv_head, self.room, config.d_model // config.n_head)
        like = torch.empty(0) if like is None else like
        self.layers = [like.new_zeros(shape) for _ in range(config.n_layer)]

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors hold; `MistralConfig.cache_bytes(context_length, batch)` by formula."""
        return sum(layer.nbytes for layer in self.layers)

    def extend(self, layer: int, kv: Float[Tensor, "two batch head new d"]) -> Float[Tensor, "two batch head seen d"]:
        """Write a layer's new keys and values over the oldest ones; return all that the new positions may see.

        One new token sees the places as they are; several get the old ones in their order, then themselves.
        """
        ring, past, new = self.layers[layer], self.length, kv.shape[3]
        kept = min(past, self.room)
        seen = kv
        if new > 1 and kept:
            old = torch.arange(past - kept, past, device=kv.device) % self.room
            seen = torch.cat([ring[:, :, :, old], kv], dim=3)
        last = torch.arange(max(past, past + new - self.room), past + new, device=kv.device)
        ring[:, :, :, last % self.room] = kv[:, :, :, len(last) * -1 :]
        return ring[:, :, :, : min(past + 1, self.room)] if new == 1 else seen
