"""A tensor as codes: each block of neighbours divided by its largest, each number replaced by the nearest of a code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fmnotes.quantization.codes import CODES

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

NESTED_BLOCK = 256  # block maxima that share one maximum of their own


@dataclass(frozen=True)
class Quantised:
    """A tensor in a code.

    Attributes:
        codes: (n,) uint8, one number of the code book each; two to a byte, the first in the high half, if `packed`.
        absmax: (blocks,) float32, or with double quantisation another `Quantised`, of the maxima less `offset`.
        offset: their mean; 0 without double quantisation.
        name: of the code book.
        block: numbers that share a maximum.
        shape: of the tensor.
        packed: whether two codes share a byte.
    """

    codes: UInt8[Tensor, " bytes"]
    absmax: Tensor | Quantised
    offset: Tensor
    name: str
    block: int
    shape: tuple[int, ...]
    packed: bool

    @property
    def nbytes(self) -> int:
        """Bytes of codes, maxima and offset."""
        nested = isinstance(self.absmax, Quantised)
        return self.codes.nbytes + self.absmax.nbytes + (self.offset.nbytes if nested else 0)

    def maxima(self) -> Float[Tensor, " blocks"]:
        """What each block is multiplied by."""
        return dequantise(self.absmax) + self.offset if isinstance(self.absmax, Quantised) else self.absmax


def quantise(w: Tensor, name: str = "nf4", block: int = 64, double: bool = False) -> Quantised:
    """Codes of a tensor (Dettmers et al. 2023, equations 1 to 4); as `bitsandbytes` computes them, to the bit.

    Args:
        w: any shape; computed in float32.
        name: "nf4", "fp4", "int4" (packed, two codes to a byte), "int8" or "dynamic".
        block: neighbours, in the order of memory, that share one maximum; the last block may be shorter.
        double: whether the maxima are quantised too: less their mean, in blocks of 256, to eight bits.

    Raises:
        ValueError: for an unknown code, a block below 1, an empty tensor, or numbers that are not finite.
    """
    if name not in CODES:
        raise ValueError(f"there is no code {name!r}, but {', '.join(CODES)}")
    if block < 1:
        raise ValueError(f"a block of {block} holds nothing: 64 is usual")
    if w.numel() == 0:
        raise ValueError(f"a tensor of shape {tuple(w.shape)} has nothing to quantise")
    flat = w.detach().flatten().float()
    if bad := int((~torch.isfinite(flat)).sum()):
        raise ValueError(
            f"{bad:,} of {flat.numel():,} numbers are NaN or infinite, and would spoil their whole block: look for "
            "the step at which training diverged, or for a broken file"
        )
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % block)).view(-1, block)
    absmax = padded.abs().amax(1)
    share = (padded * (1 / absmax.clamp(min=1e-38))[:, None]).clamp(-1, 1).flatten()[: len(flat)]
    packed = name not in ("int8", "dynamic")
    if name == "dynamic":  # bitsandbytes looks its code up in a table of 65,536 places, the nearest of them
        share = ((share + 1) * 0.5 * 65535 + 0.5).floor() / 65535 * 2 - 1
    elif packed:
        share = torch.nn.functional.pad(share, (0, len(share) % 2))  # a 0 fills the last byte
    codes = nearest(share, CODES[name]().to(w.device))
    offset = torch.zeros((), device=w.device)
    if double:
        offset = absmax.mean()
        absmax = quantise(absmax - offset, "dynamic", NESTED_BLOCK)
    return Quantised(pack(codes) if packed else codes, absmax, offset, name, block, tuple(w.shape), packed)


def nearest(share: Float[Tensor, " n"], code: Float[Tensor, " codes"]) -> UInt8[Tensor, " n"]:
    """The place in the code book of the number nearest to each; half-way between two it is the smaller."""
    values, order = code.sort()
    return order[torch.bucketize(share, (values[:-1] + values[1:]) / 2)].to(torch.uint8)


def dequantise(q: Quantised) -> Float[Tensor, "*shape"]:
    """The tensor that the codes stand for, in float32."""
    n = torch.Size(q.shape).numel()
    book = CODES[q.name]().to(q.codes.device)
    if q.packed:  # a byte names a pair: one look into a table of 256 pairs
        book = torch.nn.functional.pad(book, (0, 16 - len(book)))  # int4 has fifteen numbers
        book = torch.stack([book.repeat_interleave(16), book.repeat(16)], 1)
    values = book.index_select(0, q.codes.int()).flatten()[:n]
    padded = torch.nn.functional.pad(values, (0, -n % q.block)).view(-1, q.block)
    return (padded * q.maxima()[:, None]).flatten()[:n].view(q.shape)


def pack(codes: UInt8[Tensor, " even"]) -> UInt8[Tensor, " half"]:
    """Two codes of four bits to a byte, the first in the high half."""
    return codes[0::2] << 4 | codes[1::2]


def unpack(packed: UInt8[Tensor, " half"], n: int) -> UInt8[Tensor, " n"]:
    """The first n codes of packed ones."""
    return torch.stack([packed >> 4, packed & 15], 1).flatten()[:n]


def bits_per_number(block: int = 64, double: bool = False, bits: int = 4) -> float:
    """What a number takes in a large tensor: its code, and its share of the block's maximum (and of the maxima's)."""
    return bits + (8 / block + 32 / (block * NESTED_BLOCK) if double else 32 / block)
