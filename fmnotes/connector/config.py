"""The shape of a connector."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("linear", "mlp", "resampler", "qformer")


@dataclass(frozen=True)
class ConnectorConfig:
    """What stands between a picture tower and a language model. Widths must be those of the two.

    Raises:
        ValueError: if the kind is unknown, or a size is not a positive whole number or does not divide another.
    """

    kind: str = "mlp"
    vision_d_model: int = 192
    text_d_model: int = 256
    n_patches: int = 64
    n_queries: int = 16  # tokens that a resampler or Q-Former makes of the patches
    n_layer: int = 2  # of these two
    n_head: int = 3

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"there is no connector {self.kind!r}; there are {', '.join(KINDS)}")
        for name, size in list(vars(self).items())[1:]:
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a whole number from 1 up, not {size!r}")
        if self.vision_d_model % self.n_head:
            raise ValueError(f"vision_d_model = {self.vision_d_model} must be a multiple of n_head = {self.n_head}")

    @property
    def n_tokens(self) -> int:
        """Visual tokens: what a picture takes of the language model's context."""
        return self.n_patches if self.kind in ("linear", "mlp") else self.n_queries

    @property
    def flops(self) -> int:
        """Floating-point operations for one picture, two a multiply-add; norms and activations are left out."""
        d, e, p, q = self.vision_d_model, self.text_d_model, self.n_patches, self.n_queries
        if self.kind == "linear":
            return 2 * p * d * e
        if self.kind == "mlp":
            return 2 * p * e * (d + e)
        inner = 2 * q * 8 * d * d  # the two maps behind the attention
        if self.kind == "resampler":
            looking = 2 * (2 * q + 2 * (p + q)) * d * d + 4 * q * (p + q) * d
        else:
            looking = 2 * (4 * q + 2 * q + 2 * p) * d * d + 4 * q * (q + p) * d  # at each other, then at the patches
        return self.n_layer * (looking + inner) + 2 * q * d * e
