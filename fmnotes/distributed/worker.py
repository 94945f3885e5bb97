"""What each process does: train its part of the batch, and measure what it holds and sends.

    torchrun --nproc-per-node 2 -m fmnotes.distributed.worker jobs.json

With GPUs there are as many processes as GPUs, and they talk by nccl; without, they talk by gloo.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from fmnotes.distributed import checkpoint
from fmnotes.distributed.arithmetic import SCHEMES
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.training import TokenBatches, TrainingConfig, adamw, schedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Job:
    """A model to train, and how it is spread.

    Args:
        scheme: one of SCHEMES.
        ids: a file of token ids, as `numpy.save` writes it.
        steps: updates.
        batch_size: rows of a step, of all processes together: a multiple of their number.
        config: of the model.
        learning_rate, max_norm, seed: as in `TrainingConfig`.
        folder: for checkpoints, from whose last one it goes on; None: none are written. Not for "zero1" and "ddp".
        save_every: steps between two checkpoints.
        parts: the mean over the batch is computed as that of so many parts, each of which is a mean itself; with one
            process and as many parts as others have processes, additions come in the order of theirs.
        measure: count the last step's messages.
        killed: (rank, step): this process dies when that step begins, to see what becomes of the others.

    Raises:
        ValueError: naming the field.
    """

    scheme: str
    ids: str
    steps: int
    batch_size: int = 12
    config: GPT2Config = field(default_factory=GPT2Config.nano)
    learning_rate: float = 3e-3
    max_norm: float | None = 1.0
    seed: int = 0
    folder: str | None = None
    save_every: int = 0
    parts: int = 1
    measure: bool = False
    killed: tuple[int, int] | None = None

    def __post_init__(self):
        if self.scheme not in SCHEMES:
            raise ValueError(f"there is no scheme {self.scheme!r}; there are {', '.join(SCHEMES)}")
        if self.folder and self.scheme in ("ddp", "zero1"):
            raise ValueError(f"checkpoints are written of models that are sharded, with zero2 or zero3: {self.scheme}")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, but must be at least 1")

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        """The inverse of `dataclasses.asdict`."""
        killed = content["killed"]
        return cls(**content | {"config": GPT2Config(**content["config"]), "killed": killed and tuple(killed)})


def told(line: dict[str, Any]) -> None:
    """Write a line of JSON, for whoever has started this process."""
    print(json.dumps(line), flush=True)


def run(
    job: Job,
    rank: int = 0,
    world: int = 1,
    device: str = "cpu",
    told: Callable[[dict[str, Any]], None] = lambda line: None,
) -> dict[str, Any]:
    """Train, as one of `world` processes.

    Args:
        told: called after each step by the first process, with {"scheme", "step", "steps", "loss"}.

    Returns:
        "losses": of each step, the mean over all processes; "held": bytes of parameters, gradients and optimizer state
        that this process held after the last step's backward pass; "messages": of the last step; "start": the step
        that it went on from; "seconds" of the steps.

    Raises:
        ValueError: if the batch cannot be dealt out evenly.
    """
    if job.batch_size % (world * job.parts):
        shares = f"{world} processes" + (f" and {job.parts} parts in each" if job.parts > 1 else "")
        raise ValueError(f"{job.batch_size} rows cannot be dealt evenly to {shares}: choose a multiple")
    torch.manual_seed(job.seed)
    model = GPT2(job.config).to(device)
    network, optimizer = spread(model, job, world, device)
    batches = TokenBatches(np.load(job.ids), job.config.context_length, job.batch_size, job.config.vocab_size, job.seed)
    start = checkpoint.load(job.folder, model, optimizer) if job.folder else 0
    result = {"losses": [], "start": start, "messages": {}}
    began = time.perf_counter()
    for step in range(start, job.steps):
        if job.killed == (rank, step):
            os.kill(os.getpid(), signal.SIGKILL)
        counted = job.measure and step == job.steps - 1
        with messages(result["messages"]) if counted else nullcontext():
            loss = update(network, model, optimizer, batches[step], job, step, rank, world)
        if world > 1:
            dist.all_reduce(loss)
        loss = float(loss) / world
        result["losses"].append(loss)
        if rank == 0:
            told({"scheme": job.scheme, "step": step + 1, "steps": job.steps, "loss": loss})
        if job.folder and (step + 1 == job.steps or (job.save_every and (step + 1) % job.save_every == 0)):
            checkpoint.save(job.folder, step + 1, model, optimizer)
    return result | {"seconds": time.perf_counter() - began, "held": held_by(model, optimizer)}


def spread(model: GPT2, job: Job, world: int, device: str) -> tuple[nn.Module, torch.optim.Optimizer]:
    """What computes the loss, and what moves the parameters, as the scheme has them."""
    recipe = TrainingConfig(job.steps, job.learning_rate)
    if job.scheme in ("zero2", "zero3") and dist.is_initialized():
        mesh, reshard = init_device_mesh(torch.device(device).type, (world,)), job.scheme == "zero3"
        for module in (*model.h, model):  # each block is a unit that is gathered and let go; the rest is the last one
            fully_shard(module, mesh=mesh, reshard_after_forward=reshard)
    if not dist.is_initialized() or job.scheme in ("zero2", "zero3"):
        return model, adamw(model, recipe)
    network = DistributedDataParallel(model)
    if job.scheme == "ddp":
        return network, adamw(model, recipe)
    plain = adamw(model, recipe)
    groups = [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in plain.param_groups]
    options = {"lr": recipe.learning_rate, "betas": recipe.betas, "fused": True}
    return network, ZeroRedundancyOptimizer(groups, torch.optim.AdamW, **options)


def units(model: GPT2) -> list[list[tuple[int, ...]]]:
    """Shapes of the parameters that zero2 and zero3 gather together: of each block, and at the end of the rest."""
    blocks = [[tuple(p.shape) for p in block.parameters()] for block in model.h]
    return [*blocks, [tuple(p.shape) for name, p in model.named_parameters() if not name.startswith("h.")]]


def update(
    network: nn.Module,
    model: GPT2,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    job: Job,
    step: int,
    rank: int,
    world: int,
) -> Tensor:
    """One step on this process's rows, and their mean loss."""
    recipe = TrainingConfig(job.steps, job.learning_rate, warmup_steps=min(5, job.steps))
    for group in optimizer.param_groups:
        group["lr"] = schedule(step, recipe)
    optimizer.zero_grad(set_to_none=True)
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)
    for part in range(job.parts):
        inputs, targets = (x[rank + world * part :: world * job.parts] for x in batch)
        logits = network(inputs.to(device))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.to(device).flatten())
        loss.backward()
        total = total + loss.detach()
    if job.parts > 1:
        torch._foreach_div_([p.grad for p in model.parameters()], job.parts)
        total = total / job.parts
    if job.max_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), job.max_norm)
    optimizer.step()
    return total


def held_by(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes in this process, by what they are; the counters of steps are left out."""

    def size(tensors: Iterator[Tensor]) -> int:
        local = (x.to_local() if isinstance(x, DTensor) else x for x in tensors)
        return sum(x.numel() * x.element_size() for x in local)

    inner = optimizer.optim if isinstance(optimizer, ZeroRedundancyOptimizer) else optimizer
    moments = (x for state in inner.state.values() for name, x in state.items() if name != "step")
    return {
        "parameters": size(model.parameters()),
        "gradients": size(p.grad for p in model.parameters() if p.grad is not None),
        "optimizer": size(moments),
    }


@contextmanager
def messages(found: dict) -> Iterator[None]:
    """Bytes of the arrays that are reduced, scattered or gathered meanwhile, as torch's profiler sees them.

    gloo has no reduce-scatter: it reduces everything everywhere, and each process keeps its part. The profiler shows
    both; counted is what was asked for.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        yield
    asked = {"all_gather": ("c10d::_allgather_base_", 0), "reduce_scatter": ("c10d::_reduce_scatter_base_", 1)}
    asked["broadcast"] = (f"{dist.get_backend()}:broadcast", 0)
    asked["all_reduce"] = (f"{dist.get_backend()}:all_reduce", 0)
    for name, (title, place) in asked.items():
        shapes = [event.input_shapes[place] for event in profiler.events() if event.name == title]
        found[name] = sum(4 * int(np.prod(shape)) for shape in shapes)
    if dist.get_backend() == "gloo":
        found["all_reduce"] -= found["reduce_scatter"]


def main() -> None:
    """Run the jobs of a file, one after another, and leave this process's results beside it."""
    file, rank, world = Path(sys.argv[1]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    threading.Thread(target=_die_with_parent, args=(os.getppid(),), daemon=True).start()
    gpu = torch.cuda.is_available()
    device = f"cuda:{os.environ['LOCAL_RANK']}" if gpu else "cpu"
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        found = [run(Job.from_json(job), rank, world, device, told) for job in json.loads(file.read_text())]
        file.with_name(f"rank-{rank}.json").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


def _die_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, however it ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
