"""What a pass of a decoder costs: operations, bytes, their ratio, and what a machine makes of it.

Roofline: attainable operations a second = min(peak, intensity × bandwidth) (Williams et al. 2009, section 3).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from fmnotes.gpt2 import GPT2Config
from fmnotes.timing import side_by_side


def kv_bytes(
    n_layer: int, n_kv_head: int, head_dim: int, length: int, batch: int = 1, dtype: torch.dtype = torch.float32
) -> int:
    """Bytes of the keys and values of `length` tokens: 2 · layers · kv heads · head width · tokens · bytes a number."""
    return 2 * n_layer * n_kv_head * head_dim * length * batch * dtype.itemsize


class PassCost(NamedTuple):
    """Floating-point operations and bytes moved by one pass."""

    flops: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops / self.bytes


def pass_cost(config: GPT2Config, new: int, past: int = 0, batch: int = 1, itemsize: int = 4) -> PassCost:
    """One pass over `new` tokens behind `past` ones, for each of `batch` sequences.

    Operations: 2 (12 L D² + D V) a token, and 4 L D for each pair of a token and what it sees (the exact triangle).
    Bytes: all matrices once, keys and values of the past read, those of the new tokens written and read. Activations,
    which a fused kernel keeps in the processor, are left out.
    """
    if new < 1 or past < 0 or batch < 1:
        raise ValueError(f"a pass needs new tokens: new = {new}, past = {past}, batch = {batch}")
    d, layers, v = config.d_model, config.n_layer, config.vocab_size
    weights = 12 * layers * d * d + d * v
    pairs = new * past + new * (new + 1) // 2
    flops = batch * (2 * weights * new + 4 * layers * d * pairs)
    return PassCost(flops, itemsize * (weights + batch * 2 * layers * d * (past + 2 * new)))


class Machine(NamedTuple):
    """Operations and bytes a second."""

    flops: float
    bytes: float

    @property
    def ridge(self) -> float:
        """The intensity from which arithmetic, not memory, is the limit."""
        return self.flops / self.bytes

    def attainable(self, intensity: float) -> float:
        """Operations a second at an intensity."""
        return min(self.flops, intensity * self.bytes)

    def seconds(self, cost: PassCost) -> float:
        """The least time of a pass."""
        return max(cost.flops / self.flops, cost.bytes / self.bytes)


def measure(size: int = 768, megabytes: int = 256, rounds: int = 5) -> Machine:
    """This machine, at torch's current number of threads, in float32: a matrix product, and the sum of a large tensor.

    Args:
        size: of the square matrices.
        megabytes: of the tensor; it must be larger than the caches, or their speed is measured instead of memory's.
    """
    a, b = torch.randn(2, size, size)
    large = torch.ones(megabytes * 2**20 // 4)
    times = side_by_side({"product": lambda: a @ b, "read": lambda: large.sum()}, rounds)
    return Machine(2 * size**3 / times["product"], large.nbytes / times["read"])
