"""The training loop: one step after another, written down, checked, saved, and stopped without loss."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from fmnotes.training.checkpoint import (
    latest_checkpoint,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from fmnotes.training.log import Log
from fmnotes.training.recipe import PRECISIONS, TrainingConfig, adamw, schedule

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from fmnotes.training.batches import Batches


def train(
    model: torch.nn.Module,
    loss_fn: Callable[[torch.nn.Module, Any], Float[Tensor, ""] | tuple[Float[Tensor, ""], float | Tensor]],
    batches: Batches,
    config: TrainingConfig,
    folder: str | Path | None = None,
    *,
    evaluate: Callable[[torch.nn.Module], dict[str, float]] | None = None,
    optimizer: Callable[[torch.nn.Module, TrainingConfig], torch.optim.Optimizer] = adamw,
    tensorboard: bool = False,
) -> list[dict]:
    """Train a model in place, on the device where it lies.

    With a folder, the run can be stopped at any moment, and the same call goes on from its last checkpoint. On a CPU
    the losses are then the same to the bit as without the stop; with another number of threads, which add up in
    another order, they are the same but for rounding. Ctrl-C finishes the step, saves, and then interrupts.

    Args:
        model: what is trained and saved. What is frozen and not to be saved, loss_fn closes over.
        loss_fn: (model, batch) → the mean loss, a scalar; or (mean loss, the number of terms in the mean) where
            batches differ in that, so that accumulated batches weigh as they would in one.
        batches: `batches[i]` for i = 0, 1, …; see `Batches`.
        config: how to train.
        folder: for checkpoints and `metrics.jsonl`; None: nothing is written.
        evaluate: model → {"val_loss": …}, called in evaluation mode, without gradients; it may use random numbers.
        optimizer: (model, config) → the optimizer, whose learning rate the schedule sets.
        tensorboard: also write TensorBoard's files into the folder.

    Returns:
        the lines of `metrics.jsonl`: per step {"step", "loss", "grad_norm", "learning_rate"}, with speed and, in
        fp16, "loss_scale" ("grad_norm" is None where the step was skipped because gradients overflowed); evaluations
        have a line of their own.

    Raises:
        FloatingPointError: if a loss or gradient is not finite; it says where the step's batches were saved.
        ValueError: if the folder's checkpoint is damaged or of another configuration.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter to train: all of them are frozen")
    device = trained[0].device
    folder = None if folder is None else Path(folder)
    stepper = optimizer(model, config)
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
    facts = _facts(model, batches, config, stepper)
    _seed(config.seed)
    start, kept = _resume(folder, model, stepper, scaler, facts)
    log = Log(folder, kept, batches.unit, batches.size * config.accumulation, tensorboard)

    def flush() -> None:
        fault = log.flush()
        if fault:
            first = (fault[0] - 1) * config.accumulation
            raise _not_finite(folder, *fault, [batches[i] for i in range(first, first + config.accumulation)])

    model.train()
    bar = tqdm(total=config.steps, initial=start, unit="step")
    with closing(log), bar, _held_interrupt() as interrupted:
        for step in range(start, config.steps):
            rate, done = schedule(step, config), step + 1
            for group in stepper.param_groups:
                group["lr"] = rate
            indices = range(step * config.accumulation, done * config.accumulation)
            micro_batches = (_move(batches[i], device) for i in indices)
            stepper.zero_grad(set_to_none=True)
            loss = _accumulate(model, loss_fn, micro_batches, trained, config, scaler)
            scaler.unscale_(stepper)
            norm = torch.nn.utils.clip_grad_norm_(trained, config.max_norm or math.inf)
            log.add(done, loss, norm, rate, scaler.get_scale() if scaler.is_enabled() else None)
            if _due(done, config.log_every, config.steps):
                flush()  # before the update, so that a loss that is not finite leaves the parameters alone
                bar.set_postfix_str(f"loss {log.loss:.4f}, {log.rate:,.0f} {batches.unit}/s", refresh=False)
            scaler.step(stepper)
            scaler.update()
            bar.update()
            if evaluate and _due(done, config.eval_every, config.steps):
                flush()
                log.write({"step": done, **_evaluated(model, evaluate)})
                log.restart_clock()
            if folder and (interrupted.is_set() or _due(done, config.save_every, config.steps)):
                flush()
                save_checkpoint(folder, done, model, stepper, scaler, facts, log.sync())
                log.restart_clock()
            if interrupted.is_set():
                raise KeyboardInterrupt(f"interrupted after step {done}" + (f", saved in {folder}" if folder else ""))
    return log.lines


def _accumulate(
    model: torch.nn.Module,
    loss_fn: Callable,
    micro_batches: Iterable[Any],
    trained: list[Tensor],
    config: TrainingConfig,
    scaler: torch.amp.GradScaler,
) -> Float[Tensor, ""]:
    """Leave in `.grad` the (scaled) gradient of the loss over all micro-batches together, and return that loss.

    With n_j terms in micro-batch j, the mean over all of them is Σ n_j L_j / Σ n_j. The weights are counted in units
    of n_1, so that a single batch needs no scaling and fp16 sees gradients of the usual size.
    """
    total_loss, total, first = 0.0, 0.0, None
    for batch in micro_batches:
        with torch.autocast(trained[0].device.type, PRECISIONS[config.precision], config.precision != "float32"):
            result = loss_fn(model, batch)
        loss, terms = result if isinstance(result, tuple) else (result, 1)
        terms = terms.to(torch.promote_types(loss.dtype, torch.float32)) if isinstance(terms, torch.Tensor) else terms
        if loss.ndim:
            raise ValueError(f"loss_fn returned the shape {tuple(loss.shape)}, but must return a scalar: the mean")
        first = terms if first is None else first
        weight = terms / first
        scaler.scale(loss * weight).backward()
        total_loss, total = total_loss + loss.detach() * weight, total + weight
    if config.accumulation > 1:
        torch._foreach_div_([p.grad for p in trained if p.grad is not None], total)
    return total_loss / total


def _resume(
    folder: Path | None,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    facts: dict,
) -> tuple[int, int]:
    """Load the folder's last checkpoint, if there is one: the step to go on with, and the bytes of metrics to keep."""
    if folder is None:
        return 0, 0
    folder.mkdir(parents=True, exist_ok=True)
    path = latest_checkpoint(folder)
    if path is None:
        return 0, 0
    state = load_checkpoint(path, model, optimizer, scaler, facts)
    return state["step"], state["metrics_bytes"]


def _facts(
    model: torch.nn.Module, batches: Batches, config: TrainingConfig, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """What a run is: another run's checkpoint differs in some of it."""
    model_config = getattr(model, "config", None)
    facts = {
        "training": dataclasses.asdict(config),
        "optimizer": type(optimizer).__name__,
        "model": dataclasses.asdict(model_config) if dataclasses.is_dataclass(model_config) else {},
        "shapes": {name: list(value.shape) for name, value in model.state_dict().items()},
        "data": batches.facts,
    }
    return json.loads(json.dumps(facts, default=str))


def _evaluated(model: torch.nn.Module, evaluate: Callable[[torch.nn.Module], dict[str, float]]) -> dict[str, float]:
    """Evaluate without a trace: training goes on with the same random numbers as if it had not been."""
    before = random_state()
    model.eval()
    with torch.no_grad():
        scores = evaluate(model)
    model.train()
    set_random_state(before)
    return scores


def _not_finite(folder: Path | None, step: int, loss: float, norm: float, micro_batches: list) -> FloatingPointError:
    """The error for a loss or gradient that is not finite, with the step's batches saved for a look."""
    where = "give train a folder to have its batch saved"
    if folder:
        file = folder / f"not-finite-step-{step:08d}.safetensors"
        save_file({name: tensor.clone().contiguous() for name, tensor in _named(micro_batches)}, file)
        last = latest_checkpoint(folder)
        where = f"its batch is in {file}, and the last good checkpoint is {last or 'none yet'}"
    return FloatingPointError(f"step {step}: the loss is {loss:g} and the gradient's norm {norm:g}; {where}")


def _named(batch: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch with their places: "0.images", "0.ids"."""
    if isinstance(batch, torch.Tensor):
        yield name, batch
    elif isinstance(batch, (dict, list, tuple)):
        for key, part in batch.items() if isinstance(batch, dict) else enumerate(batch):
            yield from _named(part, f"{name}.{key}" if name else str(key))


def _move(batch: Any, device: torch.device) -> Any:
    """The same batch on a device; what is no tensor stays as it is."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _move(part, device) for key, part in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(_move(part, device) for part in batch)
    return batch


def _due(done: int, every: int, steps: int) -> bool:
    return done == steps or (every > 0 and done % every == 0)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def _held_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a flag to be read between two steps; the second one interrupts at once."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag  # only the main thread hears of Ctrl-C
        return
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler

    def hold(*_) -> None:
        flag.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, hold)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
