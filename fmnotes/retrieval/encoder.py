"""A tower that reads: 03's text encoder, one vector for a text and one for each of its tokens."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from torch import nn

from fmnotes import weights
from fmnotes.clip.model import MOST, start, unit
from fmnotes.clip.text import TextEncoder

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder; `text_…` as in `CLIPConfig`.

    Raises:
        ValueError: if a size is not a positive whole number, or the heads do not divide the width.
    """

    text_d_model: int = 128
    text_n_layer: int = 2
    text_n_head: int = 4
    embed_dim: int = 128  # of the vector of a whole text
    token_dim: int = 32  # of the vectors of its tokens
    vocab_size: int = 4096
    context_length: int = 192
    eos_token_id: int = 4090  # those of the museum's tokenizer
    pad_token_id: int = 4091

    def __post_init__(self):
        for name, size in vars(self).items():
            if not isinstance(size, int) or size < (0 if name.endswith("_id") else 1):
                raise ValueError(f"{name} is {size!r}, but must be a positive whole number")
        if self.text_d_model % self.text_n_head:
            raise ValueError(f"{self.text_n_head} heads do not divide a width of {self.text_d_model}")


class Saved(nn.Module):
    """A model of an `EncoderConfig` with a folder: `config.json` beside `model.safetensors`."""

    model_type: str  # what `config.json` says that it is
    config: EncoderConfig

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write both files; the tower's parameters are named as those of transformers' BERT."""
        weights.write(folder, self.model_type, asdict(self.config), self.state_dict(), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read what `save_pretrained` wrote, in float32.

        Raises:
            FileNotFoundError: if one of the two files is missing.
            ValueError: if it is another kind of model.
        """
        content, state = weights.read(folder, cls.model_type)
        model = cls(EncoderConfig(**content))
        model.load_state_dict(state)
        return model


class Encoder(Saved):
    """Texts as vectors: one each, the mean over the tokens, for a search; one a token for late interaction."""

    model_type = "fmnotes-retrieval"

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.text = TextEncoder(config)
        self.pooled = nn.Linear(config.text_d_model, config.embed_dim, bias=False)
        self.each = nn.Linear(config.text_d_model, config.token_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.apply(start)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """1/τ, by which cosines are multiplied; at most 100."""
        return self.logit_scale.clamp(max=math.log(MOST)).exp()

    def forward(
        self, ids: Int[Tensor, "n tokens"]
    ) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n tokens k"], Bool[Tensor, "n tokens"]]:
        """Unit vectors of the texts, unit vectors of their tokens, and which of these are no padding."""
        keep = ids != self.config.pad_token_id
        hidden = self.text(ids, keep)
        mean = (hidden * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)
        return unit(self.pooled(mean)), F.normalize(self.each(hidden), dim=-1) * keep[..., None], keep


def maxsim(
    questions: Float[Tensor, "n q k"],
    pages: Float[Tensor, "m p k"],
    asked: Bool[Tensor, "n q"],
    written: Bool[Tensor, "m p"],
) -> Float[Tensor, "n m"]:
    """Late interaction (Khattab and Zaharia 2020, equation 3): Σ over a question's tokens of the best match in a page.

    The mean over the tokens in the place of the sum, so that questions of different lengths are on one scale.

    Args:
        asked, written: which tokens are no padding.
    """
    cosines = torch.einsum("nqk,mpk->nmqp", questions, pages)
    best = cosines.masked_fill(~written[None, :, None], -1.0).amax(-1)
    return (best * asked[:, None]).sum(-1) / asked.sum(-1)[:, None]
