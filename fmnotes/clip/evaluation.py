"""How good an embedding of pictures and captions is: retrieval, zero-shot, and the shape of the two clouds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from fmnotes.bpe import Tokenizer
    from fmnotes.clip.model import CLIP


@torch.inference_mode()
def embed(
    model: CLIP, tokenizer: Tokenizer, images, texts: Sequence[str], batch_size: int = 100
) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
    """Unit vectors of pictures (uint8, as `pixel_values` takes them) and of captions."""
    from fmnotes.clip.text import token_ids
    from fmnotes.clip.vision import pixel_values

    starts = range(0, len(images), batch_size), range(0, len(texts), batch_size)
    length = model.config.context_length
    seen = [model.encode_image(pixel_values(images[i : i + batch_size])) for i in starts[0]]
    read = [model.encode_text(token_ids(tokenizer, texts[i : i + batch_size], length)) for i in starts[1]]
    return torch.cat(seen), torch.cat(read)


def recall(similarity: Float[Tensor, "n n"], ks: Sequence[int] = (1, 5, 10)) -> dict[int, Float[Tensor, " n"]]:
    """For each query, a row, whether its own item, of the same number, is among the k most similar.

    Among equals the order is a matter of luck, so it counts as the chance that it is: the mean is an expectation.
    """
    own = similarity.diagonal()[:, None]
    better, tied = (similarity > own).sum(1), (similarity == own).sum(1)
    return {k: ((k - better) / tied).clamp(0, 1) for k in ks}


def alignment(images: Float[Tensor, "n e"], texts: Float[Tensor, "n e"]) -> float:
    """The mean squared distance within pairs of unit vectors (Wang and Isola 2020, equation 1 at α = 2): 0 at best."""
    return (images - texts).pow(2).sum(1).mean().item()


def uniformity(x: Float[Tensor, "n e"]) -> float:
    """log of the mean of exp(−2 ‖x − y‖²) over pairs of unit vectors (Wang and Isola 2020, equation 2 at t = 2).

    0 if all are the same, and towards −4 for points spread evenly over a sphere of many dimensions.
    """
    return torch.pdist(x).pow(2).mul(-2).exp().mean().log().item()
