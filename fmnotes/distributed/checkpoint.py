"""Checkpoints of a sharded model, in safetensors: written by some processes, read by any number of others.

Each process writes the parts that it holds, and later reads the parts that it needs (`torch.distributed.checkpoint`,
with the storage that the Hugging Face hub uses, so that nothing is pickled). A checkpoint gets its name when all of it
is there: whoever dies while it is written leaves the one before it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

OPTIONS = StateDictOptions(flatten_optimizer_state_dict=True)


def save(folder: str | Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write `folder/step-…` together, and keep the one before it."""
    final, unfinished = Path(folder) / f"step-{step:08d}", Path(folder) / "unfinished"
    first = not dist.is_initialized() or dist.get_rank() == 0
    if first:
        shutil.rmtree(unfinished, ignore_errors=True)  # a kill may have left one
        unfinished.mkdir(parents=True)
        (unfinished / "state.json").write_text(json.dumps({"step": step}))
    _wait()
    tensors, _ = _state(model, optimizer)
    with _quiet():
        dcp.save(tensors, storage_writer=HuggingFaceStorageWriter(str(unfinished), save_distributed=True))
    _wait()
    if first:
        os.rename(unfinished, final)
        for old in complete(folder)[:-2]:
            shutil.rmtree(old)
    _wait()


def load(folder: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put model and optimizer back to the last complete checkpoint; the number of its steps, or 0 if there is none."""
    found = complete(folder)
    if not found:
        return 0
    path = found[-1]
    learning_rates = [group["lr"] for group in optimizer.param_groups]
    for p in model.parameters():  # a step that moves nothing makes the state that is to be filled
        p.grad = torch.zeros_like(p)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    tensors, (names, moments) = _state(model, optimizer)
    with _quiet():
        dcp.load(tensors, storage_reader=HuggingFaceStorageReader(str(path)))
    parameters = {name: tensors[f"model.{name}"] for name in names}
    moments |= {name: tensors[f"optimizer.{name}"] for name in moments if f"optimizer.{name}" in tensors}
    step = json.loads((path / "state.json").read_text())["step"]
    moments |= {name: torch.tensor(float(step)) for name in moments if name.endswith(".step")}
    set_state_dict(model, optimizer, model_state_dict=parameters, optim_state_dict=moments, options=OPTIONS)
    for group, rate in zip(optimizer.param_groups, learning_rates, strict=True):
        group["lr"] = rate
    return step


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict, tuple[list[str], dict]]:
    """The tensors to be written, by name; and the names of the parameters, and all of the optimizer's state."""
    parameters, moments = get_state_dict(model, optimizer, options=OPTIONS)
    tensors = {f"model.{name}": x for name, x in parameters.items()}
    tensors |= {f"optimizer.{name}": x for name, x in moments.items() if isinstance(x, torch.Tensor) and x.ndim}
    return tensors, (list(parameters), moments)


def complete(folder: str | Path) -> list[Path]:
    """Checkpoints that are whole, oldest first."""
    return sorted(Path(folder).glob("step-" + "[0-9]" * 8))


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _quiet() -> warnings.catch_warnings:
    """Without the note that there is no process group, where there is one process alone."""
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.ERROR)
    return warnings.catch_warnings(action="ignore")
