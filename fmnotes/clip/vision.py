"""The picture tower: a vision transformer (Dosovitskiy et al. 2021), its parameters named as in `timm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy import ndarray
    from torch import Tensor

    from fmnotes.clip.config import CLIPConfig

EPSILON = 1e-6  # of the norms, as in timm


def pixel_values(images: UInt8[ndarray | Tensor, "n height width 3"]) -> Float[Tensor, "n 3 height width"]:
    """Pictures as the tower wants them: channels first, and −1 to 1 in the place of 0 to 255.

    Raises:
        ValueError: if they are not whole numbers of 8 bits, red, green and blue last.
    """
    images = torch.as_tensor(images)
    if images.dtype != torch.uint8:
        raise ValueError(f"pictures hold uint8 numbers, 0 to 255; these are {images.dtype}")
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"pictures have the shape (n, height, width, 3); got {tuple(images.shape)}: one picture is images[None], "
            "and channels that come first are moved by permute(0, 2, 3, 1)"
        )
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def grid_positions(side: int, d: int) -> Float[Tensor, "patches d"]:
    """Where each patch of a square picture lies, in sines and cosines of its row and its column.

    What positions start from (as in He et al. 2022, section 3, without its class token's): a table of small random
    numbers would have to grow for long before a tower could tell above from below.
    """
    rates = 10000 ** -(torch.arange(d // 4) / (d // 4))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [wave(at.flatten()[:, None] * rates) for at in (row, column) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1)


def attention(q, k, v: Float[Tensor, "n h tokens e"], keep: Tensor | None = None) -> Float[Tensor, "n h tokens e"]:
    """softmax(q kᵀ / √e) v, over the keys that `keep` keeps.

    Written out: for rows as short as a picture's or a caption's, a fused kernel has no memory to save, and PyTorch's
    for CPUs takes several times as long in bfloat16.
    """
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    return (scores if keep is None else scores.masked_fill(~keep, -torch.inf)).softmax(-1) @ v


class VisionTransformer(nn.Module):
    """Patches of a picture, and a class token before them, through blocks of attention without a mask."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        d, patch = config.vision_d_model, config.patch_size
        self.cls_token = nn.Parameter(torch.randn(1, 1, d) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + config.n_patches, d) * 0.02)
        self.pos_embed.data[0, 1:] += grid_positions(config.image_size // patch, d) / 2
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, d, patch, stride=patch)})
        self.blocks = nn.Sequential(*(Block(d, config.vision_n_head) for _ in range(config.vision_n_layer)))
        self.norm = nn.LayerNorm(d, EPSILON)

    def forward(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n tokens d"]:
        """The class token's vector, then one for each patch, row by row.

        Raises:
            ValueError: if the pictures have another size, or are not prepared by `pixel_values`.
        """
        return self.norm(self.blocks(self.embedded(pixels)))

    def patches(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n patches d"]:
        """The patches' vectors before the last block, which serves the class token alone (Liu et al. 2023)."""
        return self.blocks[:-1](self.embedded(pixels))[:, 1:]

    def embedded(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n tokens d"]:
        """What the first block reads: the class token and the patches, each with its place."""
        size = self.config.image_size
        if pixels.shape[1:] != (3, size, size) or not pixels.is_floating_point():
            raise ValueError(
                f"the tower takes floating-point pixels of the shape (n, 3, {size}, {size}); got {tuple(pixels.shape)} "
                f"of {pixels.dtype}: pixel_values prepares pictures, and those of another size are to be resized before"
            )
        x = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed


class Block(nn.Module):
    """Attention and an MLP, each of which reads a normalised copy and adds to the stream."""

    def __init__(self, d: int, n_head: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d, EPSILON), nn.LayerNorm(d, EPSILON)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(d, 3 * d), "proj": nn.Linear(d, d)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(d, 4 * d), "fc2": nn.Linear(4 * d, d)})
        self.n_head = n_head

    def forward(self, x: Float[Tensor, "n tokens d"]) -> Float[Tensor, "n tokens d"]:
        q, k, v = self.attn["qkv"](self.norm1(x)).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        looked = attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.attn["proj"](looked)
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
