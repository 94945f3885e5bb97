"""Which caption belongs to which picture? The losses of CLIP and SigLIP, and large batches on small memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from fmnotes.training import with_gradients

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from fmnotes.clip.model import CLIP


def info_nce(
    images: Float[Tensor, "n e"], texts: Float[Tensor, "n e"], logit_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """The symmetric contrastive loss in nats (Radford et al. 2021, figure 3): a choice among n, twice.

    Args:
        images, texts: unit vectors; row i of one belongs to row i of the other, and to no other row.
        logit_scale: 1/τ, by which the cosines are multiplied.

    Raises:
        ValueError: for a single pair, or rows that do not pair up.
    """
    logits = logit_scale * images @ _paired(images, texts).T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def siglip(
    images: Float[Tensor, "n e"],
    texts: Float[Tensor, "n e"],
    logit_scale: Float[Tensor, ""],
    logit_bias: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """The sigmoid loss (Zhai et al. 2023, equation 1): n² independent questions, "do these two belong together?".

    Their sum over n. Args and errors as for `info_nce`, and a bias, for most pairs do not belong together.
    """
    logits = logit_scale * images @ _paired(images, texts).T + logit_bias
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


def _paired(images: Tensor, texts: Tensor) -> Tensor:
    if images.shape != texts.shape or images.ndim != 2:
        raise ValueError(
            f"row i belongs to row i: two shapes (n, e) alike; got {(*images.shape,)} and {(*texts.shape,)}"
        )
    if len(images) < 2:
        raise ValueError(
            "a batch of one pair teaches nothing: with no other to choose from, the loss is 0 for any towers"
        )
    return texts


def in_chunks(size: int, loss: Callable[..., Tensor] = info_nce) -> Callable[[CLIP, tuple[Tensor, Tensor]], Tensor]:
    """A loss function for `training.train` that keeps the activations of `size` pairs at a time.

    The loss needs the embeddings of all pairs, but a tower's gradient needs from the loss only the gradient of its own
    outputs. So: embed everything, remembering nothing; take the loss and its gradient for the embeddings; embed again,
    chunk by chunk, and go back from there (GradCache, Gao et al. 2021). One forward pass more, the same gradient.

    Args:
        loss: (images, texts, logit_scale) → scalar.
    """
    if size < 1:
        raise ValueError(f"a chunk holds 1 pair or more, not {size}")

    def chunked(model: CLIP, batch: tuple[Tensor, Tensor]) -> Tensor:
        trained = [p for p in model.parameters() if p.requires_grad]
        return with_gradients(lambda: [_chunked(model, batch, size, loss, trained)], trained)[0]

    return chunked


def _chunked(model: CLIP, batch: tuple[Tensor, Tensor], size: int, loss: Callable, trained: list) -> tuple:
    """The loss, and its gradient for each trained parameter."""
    parts = list(zip(*(x.split(size) for x in batch), strict=True))
    with torch.no_grad():
        embedded = [model(*part)[:2] for part in parts]
    leaves = [torch.cat(both).requires_grad_() for both in zip(*embedded, strict=True)]
    with torch.enable_grad():
        value = loss(*leaves, model.scale)
        of_images, of_texts, *sums = torch.autograd.grad(value, [*leaves, *trained], allow_unused=True)
        sums = [torch.zeros_like(p) if grad is None else grad for p, grad in zip(trained, sums, strict=True)]
        for part, *grads in zip(parts, of_images.split(size), of_texts.split(size), strict=True):
            more = torch.autograd.grad(model(*part)[:2], trained, grads, allow_unused=True)
            for total, grad in zip(sums, more, strict=True):
                if grad is not None:
                    total += grad
    return value.detach(), torch.tensor(1.0), sums
