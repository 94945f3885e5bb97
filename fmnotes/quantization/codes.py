"""Code books: the numbers, between -1 and 1, that a few bits can name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

OFFSET = 0.9677083  # 1 - (1/32 + 1/30) / 2: how far into the tails of the bell the outermost numbers stand


def nf4() -> Float[Tensor, " codes"]:
    """NormalFloat of 4 bits: quantiles of a normal distribution, and 0 (Dettmers et al. 2023, section 3, appendix E).

    Eight quantiles, evenly spaced in probability, for the positive half and seven for the negative one, scaled so that
    the largest is 1. The paper's table, to the last bit of float32.
    """
    up = torch.linspace(OFFSET, 0.5, 9)[:-1].double()
    down = torch.linspace(OFFSET, 0.5, 8)[:-1].double()
    quantiles = torch.cat([torch.special.ndtri(up), -torch.special.ndtri(down), torch.zeros(1)]).float().sort().values
    return quantiles / quantiles.max()


def fp4() -> Float[Tensor, " codes"]:
    """Floating point of 4 bits, in the order of its bits: sign, two of exponent, one of mantissa; -0 is 0.

    As in `bitsandbytes`: its exponents count 0, 3, 2, 1 rather than upwards, and its smallest number is 1/192.
    """
    half = torch.tensor([0, 0.0625, 8, 12, 4, 6, 2, 3])
    return torch.cat([half, -half]) / 12


def integer(bits: int) -> Float[Tensor, " codes"]:
    """Evenly spaced from -1 to 1: 2^bits - 1 numbers, symmetric around 0."""
    if not 2 <= bits <= 8:
        raise ValueError(f"integer codes have 2 to 8 bits, not {bits}")
    top = 2 ** (bits - 1) - 1
    return torch.arange(-top, top + 1) / top


def dynamic() -> Float[Tensor, " codes"]:
    """Eight bits with a moving boundary between exponent and fraction (Dettmers 2016, section 2.1).

    A leading run of i zeros says 10^-i, the bits after it a fraction between 0.1 and 1: fine steps for large numbers,
    a range of seven powers of ten for small ones. Here it holds the block maxima of double quantisation.
    """
    numbers = [0.0, 1.0]
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**i + 1)
        middles = 10.0 ** (i - 6) * ((edges[:-1] + edges[1:]) / 2)
        numbers += middles.tolist() + (-middles).tolist()
    return torch.tensor(sorted(numbers))


CODES = {"nf4": nf4, "fp4": fp4, "int4": lambda: integer(4), "int8": lambda: integer(8), "dynamic": dynamic}
