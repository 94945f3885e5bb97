"""What every device holds, what goes over the wire, and how long a step takes, on paper.

The schemes (Rajbhandari et al. 2020, ZeRO; Zhao et al. 2023, FSDP):

    ddp    every process holds everything; gradients are all-reduced
    zero1  the optimizer's state is dealt out, whole tensors to each; who has moved a tensor broadcasts it
    zero2  parameters, gradients and optimizer state are cut; parameters are gathered once a step
    zero3  the same, but let go after each use and gathered anew for the backward pass
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmnotes.gpt2 import GPT2Config

SCHEMES = ("ddp", "zero1", "zero2", "zero3")
Shapes = Sequence[tuple[int, ...]]


def held(scheme: str, shapes: Shapes, world: int, rank: int, *, bytes_each: tuple[int, int, int] = (4, 4, 8)) -> dict:
    """Bytes that a process holds between two steps, with Adam.

    Args:
        shapes: of the model's parameters, in their order.
        bytes_each: of a parameter, its gradient, and its optimizer state: 4, 4 and 8 in float32; 2, 2 and 12 where
            products are bf16 and the optimizer keeps a float32 copy.
    """
    everything = sum(map(math.prod, shapes))
    if scheme == "ddp":
        share = (everything, everything, everything)
    elif scheme == "zero1":
        share = (everything, everything, dealt(shapes, world)[rank])
    else:
        cut = sum(_rows(shape, world, rank) * math.prod(shape[1:]) for shape in shapes)
        share = (cut, cut, cut)
    names = ("parameters", "gradients", "optimizer")
    return {name: n * size for name, n, size in zip(names, share, bytes_each, strict=True)}


def dealt(shapes: Shapes, world: int) -> list[int]:
    """Numbers that each process gets of whole tensors: the largest first, each to whoever has least so far."""
    loads = [0] * world
    for size in sorted(map(math.prod, shapes), reverse=True):
        loads[loads.index(min(loads))] += size
    return loads


def _rows(shape: tuple[int, ...], world: int, rank: int) -> int:
    """Rows of a tensor that a process holds: equal parts, rounded up, so that the last ones may get less, or none."""
    part = -(-shape[0] // world)
    return max(0, min(part, shape[0] - rank * part))


def ring_bytes(operation: str, n_bytes: int, world: int) -> float:
    """What each process sends around a ring (Patarasuk and Yuan 2009), for an array of so many bytes.

    Reduce-scatter: each of `world` chunks is passed on world − 1 times, and adds up on its way. All-gather: the same
    without adding. All-reduce is the first and then the second.
    """
    once = (world - 1) / world * n_bytes
    return {"all_reduce": 2 * once, "reduce_scatter": once, "all_gather": once, "broadcast": once}[operation]


@dataclass(frozen=True)
class Traffic:
    """Bytes of the arrays that a step reduces, scatters, gathers and broadcasts."""

    all_reduce: int = 0
    reduce_scatter: int = 0
    all_gather: int = 0
    broadcast: int = 0

    def sent(self, world: int) -> float:
        """What each process sends, by rings."""
        return sum(ring_bytes(name, size, world) for name, size in vars(self).items())


def traffic(scheme: str, units: Sequence[Shapes], world: int, clipped: bool = False) -> Traffic:
    """The messages of one training step in float32, but for the loss's.

    Args:
        units: shapes of the parameters of each unit that is gathered as a whole: the blocks, and at the end the rest,
            which is gathered first and, with zero3, once more like all others.
        clipped: the gradient's norm is needed: those of a sharded model are reduced, one number for each parameter.
    """
    shapes = [shape for unit in units for shape in unit]
    everything = 4 * sum(map(math.prod, shapes))
    if scheme == "ddp":
        return Traffic(all_reduce=everything)
    if scheme == "zero1":
        return Traffic(all_reduce=everything, broadcast=everything)
    padded = 4 * sum(world * -(-shape[0] // world) * math.prod(shape[1:]) for shape in shapes)
    gathered = padded * (2 if scheme == "zero3" else 1)
    return Traffic(4 * len(shapes) if clipped else 0, padded, gathered)


def activation_bytes(config: GPT2Config, batch: int, length: int, *, checkpointed: bool = False) -> int:
    """What the blocks of our GPT-2 keep for the backward pass, in float32.

    A block keeps, for each token: what its two norms read and return (4 D, and two numbers each), queries, keys and
    values (3 D), what attention returns (D) and one number a head, what the MLP's GELU reads and returns (8 D).
    Checkpointed, it keeps what it reads (D), and computes the rest again when it is needed (Chen et al. 2016).
    """
    d, tokens = config.d_model, batch * length
    each = d if checkpointed else 16 * d + 4 + config.n_head
    return 4 * config.n_layer * tokens * each


@dataclass(frozen=True)
class Device:
    """What its maker publishes: bytes of memory; dense bf16 FLOP/s; bytes/s from its memory, within a node of eight
    (NVLink, one direction), and to other nodes (its share of the network)."""

    memory: float
    flops: float
    hbm: float
    nvlink: float
    network: float


DEVICES = {
    "A100 80 GB": Device(80e9, 312e12, 2.04e12, 300e9, 25e9),
    "H100 SXM": Device(80e9, 989e12, 3.35e12, 450e9, 50e9),
    "H200 SXM": Device(141e9, 989e12, 4.8e12, 450e9, 50e9),
}
NODE = 8  # devices that NVLink joins


def step_seconds(
    device: Device, scheme: str, n_parameters: float, tokens: float, world: int, efficiency: float = 0.5
) -> dict[str, float]:
    """How long a training step in bf16 takes, were each of three things all there is to do.

    Compute: 6 operations a parameter and token (Kaplan et al. 2020, section 2.1), at a share `efficiency` of what is
    published. Memory: parameters are read twice and gradients written once, 2 bytes each, and the optimizer's share of
    12 bytes is read and written; what activations take is left out. Network: the scheme's messages, 2 bytes a
    parameter, around rings, over NVLink within a node and over the network beyond it.

    Args:
        tokens: of each device.
        world: devices.
    """
    moved = n_parameters if scheme == "ddp" else n_parameters / world
    link = device.nvlink if world <= NODE else device.network
    rounds = {"ddp": 2, "zero1": 2, "zero2": 2, "zero3": 3}[scheme]  # zero1 as published: scattered, then gathered
    return {
        "compute": 6 * n_parameters * tokens / (device.flops * efficiency),
        "memory": (6 * n_parameters + 28 * moved) / device.hbm,
        "network": rounds * (world - 1) / world * 2 * n_parameters / link,
    }
