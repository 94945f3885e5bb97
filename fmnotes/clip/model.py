"""CLIP (Radford et al. 2021): a picture tower and a text tower whose embeddings are compared."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fmnotes import weights
from fmnotes.clip.config import CLIPConfig
from fmnotes.clip.loss import info_nce
from fmnotes.clip.text import TextEncoder
from fmnotes.clip.vision import VisionTransformer

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

MOST = 100.0  # the largest logit scale: Radford et al. 2021, section 2.5
MODEL_TYPE = "fmnotes-clip"


class CLIP(nn.Module):
    """Two towers, a linear map from each into one space, and the scale of the cosines there."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        self.visual, self.text = VisionTransformer(config), TextEncoder(config)
        self.visual_projection = nn.Linear(config.vision_d_model, config.embed_dim, bias=False)
        self.text_projection = nn.Linear(config.text_d_model, config.embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # its logarithm, as in CLIP
        self.apply(start)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """1/τ, by which cosines are multiplied; at most 100, where its gradient ends."""
        return self.logit_scale.clamp(max=math.log(MOST)).exp()

    def encode_image(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n e"]:
        """Unit vectors, from the class tokens of pictures that `pixel_values` has prepared."""
        return unit(self.visual_projection(self.visual(pixels)[:, 0]))

    def encode_text(self, ids: Int[Tensor, "n tokens"]) -> Float[Tensor, "n e"]:
        """Unit vectors, from the end tokens of captions, padded as by `token_ids`.

        Raises:
            ValueError: if a row has no end token.
        """
        ends = ids == self.config.eos_token_id
        if not ends.any(dim=1).all():
            row = int((~ends.any(dim=1)).nonzero()[0])
            raise ValueError(f"caption {row} has no end token ({self.config.eos_token_id}): token_ids puts one there")
        hidden = self.text(ids, ids != self.config.pad_token_id)
        first = ends.int().argmax(dim=1)
        return unit(self.text_projection(hidden[torch.arange(len(ids), device=ids.device), first]))

    def forward(self, pixels, ids) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e"], Float[Tensor, ""]]:
        """The embeddings of pictures and captions, and the scale: what the losses take, as in `open_clip`."""
        return self.encode_image(pixels), self.encode_text(ids), self.scale

    def loss(self, pixels: Float[Tensor, "n 3 height width"], ids: Int[Tensor, "n tokens"]) -> Float[Tensor, ""]:
        """`info_nce` of a batch of pairs."""
        return info_nce(*self(pixels, ids))

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write `config.json` and `model.safetensors`; the towers' parameters are named as in timm and transformers."""
        weights.write(folder, MODEL_TYPE, asdict(self.config), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> CLIP:
        """Read what `save_pretrained` wrote, in float32 whatever the precision of the file.

        Raises:
            FileNotFoundError: if one of the two files is missing.
            ValueError: if it is another kind of model.
        """
        content, state = weights.read(folder, MODEL_TYPE)
        model = cls(CLIPConfig(**content))
        model.load_state_dict(state)
        return model


def unit(x: Float[Tensor, "n e"]) -> Float[Tensor, "n e"]:
    """Each row divided by its length.

    Raises:
        ValueError: if a row is zero, for it points nowhere.
    """
    length = x.norm(dim=-1, keepdim=True)
    if not length.all():
        row = int((length == 0).flatten().nonzero()[0])
        raise ValueError(f"embedding {row} is zero and has no direction: are its tower's weights or inputs all zero?")
    return x / length


def start(module: nn.Module) -> None:
    """Tables normal with a standard deviation of 0.02; linear maps such that they keep the size of what they read.

    BERT and timm draw the maps with 0.02, too. In towers as narrow as these all pictures then start at nearly the same
    point of the sphere, and a long time passes before the loss leaves ln N.
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
