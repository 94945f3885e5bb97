"""The exercises of guide lesson 19: which factor moves first, two bugs in a merge, and the code book of NF4."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import torch

from fmnotes.exercises import Exercise, Mistake

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# -------------------------------------------------------------------------------------------------- g19.first

STARTS = ("B = 0", "A = 0", "A = B = 0")


def _first(*answers: str) -> dict[str, str]:
    return dict(zip(STARTS, answers, strict=True))


FIRST = Exercise(
    id="g19.first",
    title="which factor moves in the first step?",
    reread="Why B starts at 0",
    solution=_first("B", "A", "neither"),
    verified="each factor's gradient has the other one in it, so one zero is harmless and two are a place from which "
    "gradient descent never gets away",
    mistakes=(
        Mistake(
            _first("A", "B", "neither"),
            "the other way round: B's gradient is s G Aᵀ. It has A in it, not B, so a B that is 0 moves and A waits.",
        ),
        Mistake(
            _first("both", "both", "both"),
            "look at the two gradients again: dB = s G Aᵀ, dA = s Bᵀ G. A factor that is 0 makes the gradient of the "
            "other one 0.",
        ),
        Mistake(
            _first("both", "both", "neither"),
            "the last one is right. In the first two one factor is 0, and it stands in the gradient of the *other* "
            "one, which therefore does not move yet.",
        ),
        Mistake(
            _first("B", "A", "both"),
            "the first two are right. If both are 0, both gradients hold a factor of 0.",
        ),
        Mistake(
            _first("A", "B", "both"),
            "all three: dB = s G Aᵀ and dA = s Bᵀ G. Put 0 in, once for B, once for A, once for both.",
        ),
        Mistake(
            _first("neither", "neither", "neither"),
            "one of the factors being 0 makes the *product* 0, and the gradient of one factor, but not that of both.",
        ),
        Mistake(
            _first("B", "B", "neither"),
            "with A = 0 it is A that moves: its gradient s Bᵀ G has B in it, which is random. The two starts are "
            "mirror images.",
        ),
    ),
)

# -------------------------------------------------------------------------------------------------- g19.merge


def merged(
    W: Float[Tensor, "out in"], A: Float[Tensor, "r in"], B: Float[Tensor, "out r"], alpha: float, rs: bool
) -> Float[Tensor, "out in"]:
    r = A.shape[0]
    return W + alpha / (math.sqrt(r) if rs else r) * B @ A


def _merge(rank=lambda A: A.shape[0], root=lambda rs: rs, scale=None, plus=True):
    def answer(W, A, B, alpha, rs):
        r = math.sqrt(rank(A)) if root(rs) else rank(A)
        update = (alpha / r if scale is None else scale(alpha, r)) * B @ A
        return W + update if plus else update

    return answer


def _case(out: int, into: int, r: int, alpha: float, rs: bool) -> tuple:
    g = torch.Generator().manual_seed(out + into + r)
    shapes = (out, into), (r, into), (out, r)
    return *(torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes), alpha, rs


MERGE = Exercise(
    id="g19.merge",
    title="two bugs in a merge",
    reread="Merged is unmerged",
    solution=merged,
    verified="tall and wide matrices, rank 1, a large alpha, and rsLoRA's root",
    cases=(
        _case(3, 4, 2, 4.0, False),
        _case(3, 4, 2, 4.0, True),
        _case(5, 2, 1, 8.0, False),
        _case(4, 9, 4, 1.0, True),
    ),
    alternatives=(lambda W, A, B, alpha, rs: torch.addmm(W, B, A, alpha=alpha / len(A) ** (0.5 if rs else 1.0)),),
    tolerance=1e-9,
    mistakes=(
        Mistake(
            _merge(rank=lambda A: A.shape[1], root=lambda rs: False),
            "this is the code as it was handed out, with both bugs in it. Begin with the shapes: A is (r, in). Which "
            "of its two sides is the rank?",
            given=True,
        ),
        Mistake(
            _merge(root=lambda rs: False),
            "the rank is right now. What is left: `rs` is never looked at, and rsLoRA divides by the root of r.",
        ),
        Mistake(
            _merge(rank=lambda A: A.shape[1]),
            "`rs` is looked at now. What is left: the rank is the number of A's *rows*, A.shape[0]; its columns are as "
            "many as the layer's inputs.",
        ),
        Mistake(
            _merge(root=lambda rs: True),
            "you divide by √r always. Only rsLoRA does; plain LoRA divides by r.",
        ),
        Mistake(
            _merge(root=lambda rs: not rs),
            "√r and r are swapped: the root is rsLoRA's.",
        ),
        Mistake(
            _merge(scale=lambda alpha, r: 1.0),
            "the scale is gone: with it the update is alpha/r times as large, which is what the layer computes.",
        ),
        Mistake(
            _merge(scale=lambda alpha, r: 1.0 / r),
            "alpha is missing in the scale.",
        ),
        Mistake(
            _merge(scale=lambda alpha, r: r / alpha),
            "the scale is upside down: alpha over r.",
        ),
        Mistake(_merge(plus=False), "that is the update alone: it has to be added to W."),
    ),
)

# ----------------------------------------------------------------------------------------------- g19.codebook


def normal_float(bits: int, offset: float) -> list[float]:
    up, down = _quantiles(2 ** (bits - 1), offset), _quantiles(2 ** (bits - 1) - 1, offset)
    return [-q / up[0] for q in down] + [0.0] + [q / up[0] for q in reversed(up)]


def _quantiles(n: int, offset: float) -> list[float]:
    """n quantiles of the positive half, from the outermost one inwards, evenly spaced in probability."""
    steps = [offset + (0.5 - offset) * i / n for i in range(n)]
    return [NormalDist().inv_cdf(p) for p in steps]


def normal_float_by_torch(bits: int, offset: float) -> Tensor:
    half = 2 ** (bits - 1)
    up, down = (torch.linspace(offset, 0.5, n + 1, dtype=torch.float64)[:-1] for n in (half, half - 1))
    code = torch.cat([torch.special.ndtri(up), -torch.special.ndtri(down), torch.zeros(1, dtype=torch.float64)])
    return code.sort().values / code.max()


def _whole(bits: int, offset: float) -> list[float]:
    """A wrong answer: all quantiles at once."""
    n = 2**bits
    points = [NormalDist().inv_cdf(1 - offset + (2 * offset - 1) * i / (n - 1)) for i in range(n)]
    return [p / points[-1] for p in points]


def _with_the_middle(bits: int, offset: float) -> list[float]:
    """A wrong answer: each half with its end at one half, which is 0, in it."""
    n = 2 ** (bits - 1)
    points = [NormalDist().inv_cdf(0.5 + (offset - 0.5) * i / (n - 1)) for i in range(n)]
    return sorted([-p / points[-1] for p in points] + [p / points[-1] for p in points])


CODEBOOK = Exercise(
    id="g19.codebook",
    title="the code book of NormalFloat",
    reread="Sixteen numbers for a bell",
    solution=normal_float,
    verified="two, three and four bits, and other offsets; with four bits and 0.9677083 it is the paper's table",
    cases=((4, 0.9677083), (3, 0.9677083), (2, 0.9), (4, 0.99)),
    alternatives=(normal_float_by_torch,),
    tolerance=1e-6,
    mistakes=(
        Mistake(
            lambda bits, offset: torch.linspace(-1, 1, 2**bits),
            "these are evenly spaced *numbers*. Weights crowd around 0, so let *probabilities* be evenly spaced and "
            "take their quantiles.",
        ),
        Mistake(
            _whole,
            "there is no 0 in it: evenly spaced quantiles of the whole bell straddle the middle. A weight of 0 must "
            "stay 0, so the two halves are made one by one, and 0 is added.",
        ),
        Mistake(
            _with_the_middle,
            "0 is in it twice: the quantile of one half is 0. Leave that end out of both halves and add a single 0; "
            "the code that this saves gives the positive half one quantile more.",
        ),
        Mistake(
            lambda bits, offset: [-q for q in reversed(normal_float(bits, offset))],
            "mirrored: it is the positive half that has the additional quantile, 2^(bits - 1) of them.",
        ),
        Mistake(
            lambda bits, offset: [q * NormalDist().inv_cdf(offset) for q in normal_float(bits, offset)],
            "the quantiles are right but not scaled: divide by the largest, so that the code ends at 1 where the "
            "block's largest weight is.",
        ),
        Mistake(
            lambda bits, offset: normal_float(bits, offset)[1:],
            "one number is missing: 2^(bits - 1) positive, 2^(bits - 1) - 1 negative, and 0 make 2^bits.",
        ),
        Mistake(
            lambda bits, offset: (
                [q / _quantiles(1, offset)[0] for q in _quantiles(2 ** (bits - 1), offset)]
                + [-q / _quantiles(1, offset)[0] for q in _quantiles(2 ** (bits - 1) - 1, offset)]
                + [0.0]
            ),
            "the right numbers in the wrong order: sort them from -1 to 1, for a code is a place in the list.",
        ),
        Mistake(
            lambda bits, offset: normal_float(bits, 0.9677083),
            "right for the paper's offset only, which you wrote into the function: use the argument.",
        ),
    ),
)

EXERCISES = [FIRST, MERGE, CODEBOOK]
