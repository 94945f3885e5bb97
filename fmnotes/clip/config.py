"""The shape of a CLIP, and what can be counted from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CLIPConfig:
    """Two towers and the space in which they meet. Their MLPs are four times as wide; there is no dropout.

    Raises:
        ValueError: if a size is not a positive whole number, or one of two does not divide the other.
    """

    vision_d_model: int = 192
    vision_n_layer: int = 12
    vision_n_head: int = 3
    text_d_model: int = 192
    text_n_layer: int = 4
    text_n_head: int = 3
    embed_dim: int = 128  # of the embeddings that are compared
    image_size: int = 64  # pixels, height and width
    patch_size: int = 8
    vocab_size: int = 4096
    context_length: int = 64  # tokens of a caption, its end token included
    eos_token_id: int = 4090  # those of the museum's tokenizer
    pad_token_id: int = 4091

    def __post_init__(self):
        for name, size in vars(self).items():
            least = 0 if name.endswith("_id") else 1
            if not isinstance(size, int) or size < least:
                raise ValueError(f"{name} must be a whole number from {least} up, not {size!r}")
        pairs = [(f"{tower}_d_model", f"{tower}_n_head") for tower in ("vision", "text")]
        for whole, part in [*pairs, ("image_size", "patch_size")]:
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} = {getattr(self, whole)} must be a multiple of {part} = {getattr(self, part)}"
                )

    @classmethod
    def tiny(cls) -> CLIPConfig:
        """ViT-tiny (Touvron et al. 2021, table 1) on pictures of 64 × 64, with a text tower of four layers."""
        return cls()

    @classmethod
    def quick(cls) -> CLIPConfig:
        """Towers that a notebook trains in a minute of one core: 64 wide, the picture's 4 layers deep, the text's 2."""
        return cls(64, 4, 2, 64, 2, 2, embed_dim=64)

    @property
    def n_patches(self) -> int:
        """Patches of a picture: (image size / patch size)²."""
        return (self.image_size // self.patch_size) ** 2

    def vision_flops(self, n_layer: int | None = None) -> int:
        """Floating-point operations of the picture tower for one picture, two a multiply-add; of its first blocks only.

        2 P 3S² D for patches of S × S pixels, and 24 T D² + 4 T² D for each block of T = P + 1 tokens; norms and
        activations are left out.
        """
        d, tokens = self.vision_d_model, self.n_patches + 1
        layers = self.vision_n_layer if n_layer is None else n_layer
        return 6 * self.n_patches * self.patch_size**2 * d + layers * (24 * tokens * d * d + 4 * tokens**2 * d)
