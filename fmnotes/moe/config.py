"""The shape of a Mistral or a Mixtral, and what can be counted from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class MistralConfig:
    """The shape of a model. Its head is tied to the embedding, and it has no biases and no dropout.

    Args:
        n_kv_head: heads of keys and values; each serves n_head / n_kv_head queries (grouped-query attention).
        d_ff: width of the feed-forward layer, or of each expert.
        window: how many positions a query sees, itself among them; None: all that came before.
        n_expert: 1 for a plain feed-forward layer without a router (Mistral), else experts (Mixtral).
        top_k: experts that each token goes to.
        renormalise: the weights of the chosen experts sum to 1 (Mixtral); else they are their probabilities among all
            experts (Switch), which with one expert a token is the only way for the router to learn from the text.

    Raises:
        ValueError: naming the field.
    """

    vocab_size: int
    context_length: int
    d_model: int
    n_layer: int
    n_head: int
    n_kv_head: int
    d_ff: int
    window: int | None = None
    n_expert: int = 1
    top_k: int = 1
    renormalise: bool = True
    rope_theta: float = 10_000.0

    def __post_init__(self):
        sizes = ("vocab_size", "context_length", "d_model", "n_layer", "n_head", "n_kv_head", "d_ff", "n_expert")
        for name in (*sizes, "top_k", *(("window",) if self.window is not None else ())):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a positive whole number, not {size!r}")
        for whole, part in (("d_model", "n_head"), ("n_head", "n_kv_head")):
            if getattr(self, whole) % getattr(self, part):
                values = getattr(self, whole), getattr(self, part)
                raise ValueError(f"{whole} = {values[0]} must be a multiple of {part} = {values[1]}")
        if self.d_model // self.n_head % 2:
            raise ValueError(
                f"a head is {self.d_model // self.n_head} wide, but rotary positions turn pairs: make it even"
            )
        if self.top_k > self.n_expert:
            raise ValueError(f"top_k = {self.top_k} experts for each token, but there are only {self.n_expert}")

    @property
    def d_kv(self) -> int:
        """Width of all keys of a position, and of all values."""
        return self.d_model // self.n_head * self.n_kv_head

    def _parameters(self, experts: int) -> int:
        d = self.d_model
        router = self.n_expert * d if self.n_expert > 1 else 0
        block = 2 * d * (d + self.d_kv) + experts * 3 * d * self.d_ff + router + 2 * d
        return self.vocab_size * d + self.n_layer * block + d

    @property
    def n_parameters(self) -> int:
        """Parameters, the tied head counted once: V D + L (2 D (D + D_kv) + 3 E D F + E D + 2 D) + D."""
        return self._parameters(self.n_expert)

    @property
    def n_active(self) -> int:
        """Parameters that one token meets: the same with top_k in the place of E experts (their router stays whole)."""
        return self._parameters(self.top_k)

    def flops_per_token(self, length: int) -> int:
        """Floating-point operations of one forward pass per token, in sequences of `length` tokens.

        Two for each active weight of a matrix product, and 4 T D a layer for attention, counted as the full square as
        in `GPT2Config.flops_per_token`; norms, rotations and activations are left out. The table of tokens counts
        once, as the head.
        """
        norms = (2 * self.n_layer + 1) * self.d_model
        return 2 * (self.n_active - norms) + 4 * length * self.d_model * self.n_layer

    def cache_bytes(self, length: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> int:
        """Bytes of the keys and values of `length` tokens: 2 L B min(T, W) D_kv times the bytes of a number."""
        kept = length if self.window is None else min(length, self.window)
        return 2 * self.n_layer * batch * kept * self.d_kv * dtype.itemsize

    def reach(self, layers: int | None = None) -> int:
        """How many positions, itself among them, can change the output of one: 1 + layers (W - 1), or all."""
        layers = self.n_layer if layers is None else layers
        return self.context_length if self.window is None else min(self.context_length, 1 + layers * (self.window - 1))
