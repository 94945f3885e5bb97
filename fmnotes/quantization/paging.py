"""An optimizer whose state may leave the fast memory while activations need the room (QLoRA's paged optimizers)."""

from __future__ import annotations

import ctypes
import mmap
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MIB = 1 << 20


class Step(NamedTuple):
    """What a training step moved, in bytes: out of the fast memory, and back in; and the most that lay there."""

    out: int
    back: int
    peak: int


def simulate(capacity: int, fixed: int, state: int, activations: Sequence[int], page: int = 2 * MIB) -> list[Step]:
    """Steps of training on a device whose optimizer state is paged: least recently used pages leave first.

    In each step the activations come, for which pages make room; then they go, and the optimizer touches its whole
    state in order, which brings the missing pages back.

    Args:
        capacity: bytes of the fast memory.
        fixed: bytes that never leave: weights, gradients.
        state: bytes of the optimizer's state.
        activations: bytes that each step needs on top.
        page: bytes of a page, moved as a whole; 2 MiB is usual on a GPU.

    Raises:
        ValueError: if a step does not fit even when the whole state has left, naming it.
    """
    pages = -(-state // page)
    resident: OrderedDict[int, None] = OrderedDict()
    found = []
    for number, need in enumerate(activations):
        if fixed + need > capacity:
            raise ValueError(
                f"step {number} needs {fixed + need:,} bytes without any optimizer state, of {capacity:,}: paging "
                "moves state, not activations; take shorter sequences, a smaller batch, or checkpointing"
            )
        room = (capacity - fixed - need) // page
        out = max(0, len(resident) - room)
        for _ in range(out):
            resident.popitem(last=False)
        peak, back = fixed + need + len(resident) * page, 0
        for which in range(pages):
            if which in resident:
                resident.move_to_end(which)
                continue
            back += 1
            if fixed + (len(resident) + 1) * page > capacity:
                resident.popitem(last=False)
                out += 1
            resident[which] = None
        found.append(Step(out * page, back * page, max(peak, fixed + len(resident) * page)))
    return found


class PagedAdamW:
    """AdamW whose means lie in a mapped file, which the system may take out of memory and bring back, page by page.

    On a GPU unified memory does the same between the device and the host. Only the place differs from torch's AdamW,
    not a bit of the result.

    Args:
        parameters: what is trained, float32 on the CPU.
        lr, betas, eps, weight_decay: as of torch.optim.AdamW.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, **options):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("there are no parameters to train")
        n = sum(p.numel() for p in self.parameters)
        self.nbytes = 8 * n
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the state)
        self._file.truncate(self.nbytes)
        self._map = mmap.mmap(self._file.fileno(), self.nbytes)
        state = torch.from_numpy(np.frombuffer(self._map, np.float32)).view(2, n)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, **options)
        start = 0
        for p in self.parameters:
            mean, square = (half[start : start + p.numel()].view_as(p) for half in state)
            start += p.numel()
            self.optimizer.state[p] = {"step": torch.tensor(0.0), "exp_avg": mean, "exp_avg_sq": square}

    def step(self) -> None:
        """One update; what has left comes back as it is touched."""
        self.optimizer.step()

    def evict(self) -> None:
        """Write the means to the file and give their memory back."""
        self._map.flush()
        self._map.madvise(mmap.MADV_DONTNEED)

    def resident(self) -> int:
        """Bytes of the state that this process holds in memory now (Linux)."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        with open("/proc/self/smaps") as lines:
            inside = False
            for line in lines:
                head = line.split(" ", 1)[0]
                if "-" in head and not head.endswith(":"):
                    low, high = (int(end, 16) for end in head.split("-"))
                    inside = low <= address < high
                elif inside and line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        raise OSError("this system does not tell which pages are resident")
