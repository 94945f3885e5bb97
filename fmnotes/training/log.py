"""What a run writes down: `metrics.jsonl`, a line a step, and TensorBoard's files where they are wanted."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

METRICS = "metrics.jsonl"


class Log:
    """The metrics of a run, in memory (`lines`) and, if there is a folder, in `metrics.jsonl`.

    Losses stay on their device until `flush`, so that a GPU need not wait for the processor at every step.

    Args:
        folder: where to write, or None to write nothing.
        kept: bytes of an earlier part's `metrics.jsonl` that its checkpoint covers; what follows them is cut off, so
            that no step stands there twice.
        unit: what speed is counted in, "tokens".
        size: how many of them a step takes.
        tensorboard: also write `folder/tensorboard`.

    Raises:
        ImportError: if TensorBoard is wanted and not installed.
        ValueError: if TensorBoard is wanted without a folder, or `metrics.jsonl` is shorter than `kept`.
    """

    def __init__(self, folder: Path | None, kept: int, unit: str, size: int, tensorboard: bool):
        self.rate_name, self.size = f"{unit}_per_second", size
        self.rate, self.loss = 0.0, math.nan
        self.lines: list[dict] = []
        self._pending: list[tuple] = []
        self._file = self._writer = None
        if folder is not None:
            path = folder / METRICS
            _cut(path, kept)
            self.lines = read_metrics(path)
            self._file = path.open("ab")
        if tensorboard:
            self._writer = _tensorboard(folder, self.lines[-1]["step"] if self.lines else 0)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Count speed from now on: evaluating and saving is no training."""
        self._since = time.perf_counter()

    def add(self, step: int, loss: Float[Tensor, ""], norm: Float[Tensor, ""], rate: float, scale: float | None):
        """Note a step's loss, gradient norm, learning rate and, in fp16, loss scale."""
        self._pending.append((step, loss, norm, rate, scale))

    def flush(self) -> tuple[int, float, float] | None:
        """Write what was noted since the last time.

        Returns:
            None, or the first step whose loss or gradient is not finite, with both; nothing of it is written. A
            gradient that overflows in fp16 is no fault while the loss scale can still be lowered.
        """
        if not self._pending:
            return None
        values = torch.stack([torch.stack([loss, norm]).double() for _, loss, norm, _, _ in self._pending]).tolist()
        now = time.perf_counter()
        self.rate = self.size * len(self._pending) / (now - self._since)
        pending, self._pending, self._since = self._pending, [], now
        for (step, _, _, rate, scale), (loss, norm) in zip(pending, values, strict=True):
            overflow = not math.isfinite(norm)
            if not math.isfinite(loss) or (overflow and (scale is None or scale < 1)):
                return step, loss, norm
            line = {"step": step, "loss": loss, "grad_norm": None if overflow else norm, "learning_rate": rate}
            line |= {} if scale is None else {"loss_scale": scale}
            line |= {self.rate_name: round(self.rate, 1)} if step == pending[-1][0] else {}
            self.write(line)
            self.loss = loss
        return None

    def write(self, line: dict) -> None:
        """Write one line; its values are finite numbers or None."""
        for name, value in line.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"step {line['step']}: {name} is {value}, which is no result")
        self.lines.append(line)
        if self._file:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
        if self._writer:
            for name, value in line.items():
                if name != "step" and value is not None:
                    self._writer.add_scalar(name, value, line["step"])

    def sync(self) -> int:
        """Make sure that what was written is on the disk. Returns the length of `metrics.jsonl` in bytes."""
        if self._writer:
            self._writer.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        for target in filter(None, (self._file, self._writer)):
            target.close()


def read_metrics(path: str | Path) -> list[dict]:
    """The lines of a `metrics.jsonl` that are complete, in order: `{"step": 1, "loss": 8.3, …}`.

    Raises:
        ValueError: naming the file and the line that is no JSON.
    """
    lines = []
    for number, line in enumerate(Path(path).read_bytes().split(b"\n")[:-1], start=1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: line {number} is no JSON") from error
    return lines


def _cut(path: Path, kept: int) -> None:
    """Cut the file after its first `kept` bytes; make it if there is none."""
    path.touch()
    if path.stat().st_size < kept:
        raise ValueError(f"{path} is damaged: the checkpoint knows {kept} bytes of it, {path.stat().st_size} are left")
    os.truncate(path, kept)


def _tensorboard(folder: Path | None, done: int):
    """A writer in whose files the steps after `done`, which a kill may have left there, no longer count."""
    if folder is None:
        raise ValueError("tensorboard=True needs a folder to write to")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("tensorboard=True needs the package tensorboard: pip install tensorboard") from error
    return SummaryWriter(folder / "tensorboard", purge_step=done + 1)
