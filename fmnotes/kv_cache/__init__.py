"""Inference (guide 22): what a token costs, and what servers do about it.

Read `roofline.py` (operations and bytes of a pass), `tables.py` (block tables: the bookkeeping of PagedAttention),
`attention.py` (keys and values behind them, and a pass over many sequences), `allocation.py` (fragmentation, by formula
and by simulation), `batching.py` (static and continuous batching), `speculative.py` (drafts that change nothing but the
time), `int8.py` (weights and caches in bytes).
"""

from fmnotes.kv_cache.attention import PagedKVCache, forward, greedy, paged_attention
from fmnotes.kv_cache.batching import Request, StepCost, serve
from fmnotes.kv_cache.int8 import quantize, with_int8_weights
from fmnotes.kv_cache.roofline import Machine, kv_bytes, pass_cost
from fmnotes.kv_cache.speculative import LookupDraft, ModelDraft, speculate
from fmnotes.kv_cache.tables import BlockAllocator, BlockTables, OutOfBlocks

__all__ = [
    "BlockAllocator", "BlockTables", "LookupDraft", "Machine", "ModelDraft", "OutOfBlocks", "PagedKVCache", "Request",
    "StepCost", "forward", "greedy", "kv_bytes", "paged_attention", "pass_cost", "quantize", "serve", "speculate",
    "with_int8_weights",
]  # fmt: skip
