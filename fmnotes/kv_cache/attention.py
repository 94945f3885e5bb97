"""Attention over a paged cache: keys and values are gathered through the block tables, then all is as before."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.gpt2.model import linear
from fmnotes.kv_cache.int8 import quantize
from fmnotes.kv_cache.tables import BlockTables

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def paged_attention(
    q: Float[Tensor, "seq new head d"],
    keys: Float[Tensor, "seq all kv_head d"],
    values: Float[Tensor, "seq all kv_head d"],
    lengths: Int[Tensor, " seq"],
) -> Float[Tensor, "seq new head d"]:
    """softmax(q kᵀ / √d) v for sequences of different lengths (Kwon et al. 2023, equation 4).

    Args:
        q: queries of the last `new` tokens of each sequence. There may be a multiple of kv_head of them (GQA).
        keys, values: as gathered through the block tables; whatever lies behind a sequence's length is not looked at.
        lengths: of each sequence, the new tokens included.
    """
    new, total = q.shape[1], keys.shape[1]
    query = lengths[:, None] - new + torch.arange(new, device=q.device)  # (seq, new): the positions of the queries
    seen = torch.arange(total, device=q.device) <= query[:, :, None]
    q, keys, values = (x.transpose(1, 2) for x in (q, keys, values))
    gqa = q.shape[1] != keys.shape[1]
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=seen[:, None], enable_gqa=gqa).transpose(1, 2)


class PagedKVCache(BlockTables):
    """Keys and values of many sequences in one pool of blocks.

    `pools` holds one tensor (2, slots, n_head, d) a layer: keys, then values; slot s is place s % block_size of block
    s // block_size. With `int8`, numbers are stored as bytes, with a scale for each token and head.

    Args:
        config: the model's.
        n_blocks, block_size, prefix_caching: see `BlockTables`; the table ends with the model's context.
        like: a tensor of the type and device to compute in.
        int8: whether to store bytes.
    """

    def __init__(
        self,
        config: GPT2Config,
        n_blocks: int,
        block_size: int = 16,
        like: Tensor | None = None,
        prefix_caching: bool = False,
        int8: bool = False,
    ):
        super().__init__(n_blocks, block_size, config.context_length, prefix_caching)
        like = torch.empty(0) if like is None else like
        shape = (2, n_blocks * block_size, config.n_head, config.d_model // config.n_head)
        kind = torch.int8 if int8 else like.dtype
        self.pools = [like.new_zeros(shape, dtype=kind) for _ in range(config.n_layer)]
        self.scales = [like.new_zeros((*shape[:-1], 1)) for _ in range(config.n_layer)] if int8 else None

    @property
    def nbytes(self) -> int:
        """Bytes that the pool's tensors hold, filled or not."""
        return sum(tensor.nbytes for tensor in [*self.pools, *(self.scales or [])])

    def extend(self, name: Hashable, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Make room for more tokens, and copy what has to be copied; see `BlockTables.extend`."""
        copies, size = super().extend(name, tokens), self.block_size
        for source, target in copies:
            for tensor in [*self.pools, *(self.scales or [])]:
                tensor[:, target * size : (target + 1) * size] = tensor[:, source * size : (source + 1) * size]
        return copies

    def write(self, layer: int, slots: Int[Tensor, " tokens"], kv: Float[Tensor, "two tokens head d"]) -> None:
        """Store keys and values of tokens in their slots."""
        if self.scales is not None:
            kv, scale = quantize(kv)
            self.scales[layer][:, slots] = scale.to(self.scales[layer].dtype)
        self.pools[layer][:, slots] = kv

    def gather(self, layer: int, slots: Int[Tensor, "*shape"]) -> Float[Tensor, "two *shape head d"]:
        """The keys and values in those slots, as numbers to compute with."""
        kv = self._at(self.pools[layer], slots)
        return kv if self.scales is None else kv * self._at(self.scales[layer], slots)

    @staticmethod
    def _at(pool: Tensor, slots: Tensor) -> Tensor:
        return pool.index_select(1, slots.flatten()).view(2, *slots.shape, *pool.shape[2:])


class _Group(NamedTuple):
    """Sequences with equally many new tokens in this pass."""

    rows: Int[Tensor, "seq new"]  # where their new tokens stand in the flat batch
    slots: Int[Tensor, "seq all"]  # where all of their tokens stand in the pool; 0 behind the end
    lengths: Int[Tensor, " seq"]


@torch.inference_mode()
def forward(
    model: GPT2, cache: PagedKVCache, new: Mapping[Hashable, Sequence[int]]
) -> dict[Hashable, Float[Tensor, "new vocab"]]:
    """One pass of the model over new tokens of several sequences, prompts and single tokens alike.

    All tokens lie flat in one batch without padding, and only attention looks at which belong together.

    Args:
        model: a GPT2; its type and device are the cache's.
        cache: in which every sequence was begun; the tokens are added to it.
        new: the new tokens of each sequence, at least one.

    Returns:
        the logits at the new tokens, for each sequence.

    Raises:
        ValueError: an empty batch, no new tokens, or more than the context has room for.
        OutOfBlocks: if the pool has too few free blocks; as with the errors above, nothing was changed.
    """
    if not new:
        raise ValueError("the batch is empty: give at least one sequence with new tokens")
    if empty := [name for name, ids in new.items() if not len(ids)]:
        raise ValueError(f"sequence {empty[0]!r} has no new tokens: leave it out, or give it one")
    cache.check_room({name: len(ids) for name, ids in new.items()})
    starts = {name: cache.length(name) for name in new}
    for name, ids in new.items():
        cache.extend(name, ids)
    device = model.wte.weight.device
    ids = torch.tensor([i for part in new.values() for i in part], device=device)
    places = [p for name, part in new.items() for p in range(starts[name], starts[name] + len(part))]
    slots = torch.tensor([slot for name in new for slot in cache.slots(name, starts[name])], device=device)
    groups = _groups(cache, new, device)
    x = model.wte(ids) + model.wpe.weight[torch.tensor(places, device=device)]
    for layer, block in enumerate(model.h):
        qkv = block.attn.c_attn(block.ln_1(x)).view(len(ids), 3, block.attn.n_head, -1)
        cache.write(layer, slots, qkv[:, 1:].transpose(0, 1))
        mixed = torch.empty_like(qkv[:, 0])
        for group in groups:
            keys, values = cache.gather(layer, group.slots)
            mixed[group.rows] = paged_attention(qkv[:, 0][group.rows], keys, values, group.lengths)
        x = x + block.attn.c_proj(mixed.flatten(1))
        x = x + block.mlp(block.ln_2(x))
    logits = linear(model.ln_f(x), model.wte.weight)
    return dict(zip(new, logits.split([len(part) for part in new.values()]), strict=True))


def _groups(cache: PagedKVCache, new: Mapping[Hashable, Sequence[int]], device: torch.device) -> list[_Group]:
    """Sequences that can attend in one call; all single new tokens are one group."""
    members: dict[int, list] = {}
    row = 0
    for name, ids in new.items():
        members.setdefault(len(ids), []).append((row, cache.slots(name)))
        row += len(ids)
    groups = []
    for count, found in members.items():
        first, slots = zip(*found, strict=True)
        longest = max(map(len, slots))
        padded = torch.tensor([[*one, *[0] * (longest - len(one))] for one in slots], device=device)
        rows = torch.tensor(first, device=device)[:, None] + torch.arange(count, device=device)
        groups.append(_Group(rows, padded, torch.tensor([len(one) for one in slots], device=device)))
    return groups


def greedy(model: GPT2, cache: PagedKVCache, prompts: Mapping[Hashable, Sequence[int]], steps: int) -> dict:
    """The likeliest continuation of each prompt, all together, token by token; the sequences stay in the cache."""
    new = {name: list(ids)[cache.start(name, ids) :] for name, ids in prompts.items()}
    found = {name: [] for name in prompts}
    for _ in range(steps):
        logits = forward(model, cache, new)
        new = {name: [rows[-1].argmax().item()] for name, rows in logits.items()}
        for name, token in new.items():
            found[name] += token
    return found
