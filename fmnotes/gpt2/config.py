"""The shape of a GPT-2, and what can be counted from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2. Its MLPs are four times as wide as `d_model`; it has no dropout.

    Raises:
        ValueError: if a size is not a positive whole number, or `d_model` is no multiple of `n_head`.
    """

    vocab_size: int
    context_length: int
    d_model: int
    n_layer: int
    n_head: int

    def __post_init__(self):
        for name, size in asdict(self).items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a positive whole number, not {size!r}")
        if self.d_model % self.n_head:
            raise ValueError(f"d_model = {self.d_model} must be a multiple of n_head = {self.n_head}")

    @classmethod
    def mini(cls, vocab_size: int = 50_257, context_length: int = 1024) -> GPT2Config:
        """GPT-2 mini: 12 layers like the smallest published one, a third as wide; 22,605,568 parameters."""
        return cls(vocab_size, context_length, d_model=256, n_layer=12, n_head=8)

    @classmethod
    def nano(cls, vocab_size: int = 4096, context_length: int = 128) -> GPT2Config:
        """GPT-2 nano: learns the museum's stories on one core in a minute or two; 420,416 parameters."""
        return cls(vocab_size, context_length, d_model=64, n_layer=3, n_head=4)

    @property
    def n_parameters(self) -> int:
        """Parameters, the tied head counted once: V D + C D + L (12 D² + 13 D) + 2 D."""
        d = self.d_model
        block = 12 * d * d + 13 * d  # weights 3 + 1 + 4 + 4, their biases 3 + 1 + 4 + 1, two norms 2 + 2
        return (self.vocab_size + self.context_length) * d + self.n_layer * block + 2 * d

    def flops_per_token(self, length: int) -> int:
        """Floating-point operations of one forward pass per token, in sequences of `length` tokens.

        2 (12 L D² + D V) + 4 T D L: two a multiply-add, attention counted as the full square, norms and activations
        left out (Chowdhery et al. 2022, appendix B). A training step takes three times as many, and 2 T D L more where
        fused attention computes its scores anew in the backward pass.
        """
        d, layers = self.d_model, self.n_layer
        return 2 * (12 * layers * d * d + d * self.vocab_size) + 4 * length * d * layers

    def kv_cache_bytes(self, length: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> int:
        """Bytes of the keys and values of `length` tokens: 2 L B T D times the bytes of a number."""
        return 2 * self.n_layer * batch * length * self.d_model * dtype.itemsize
