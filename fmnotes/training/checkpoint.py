"""Checkpoints without pickle: a folder of safetensors and JSON that is complete or not there at all.

`step-00000100/` holds the model, the optimizer's state, the state of every random generator, and `state.json`; the
schedule and the position in the data are functions of the step. `manifest.json` holds the SHA-256 of all of them. The
folder is written under another name and renamed when it is complete, which a file system does wholly or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, load_model, save_file, save_model

MANIFEST = "manifest.json"


def save_checkpoint(
    folder: str | Path,
    step: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    facts: dict,
    metrics_bytes: int,
) -> Path:
    """Write `folder/step-…`, and keep the one before it; older ones go.

    Args:
        folder: of the run.
        step: updates that the model has seen.
        model, optimizer, scaler: what training has changed.
        facts: what the run is (its configuration), in JSON's types; `load_checkpoint` compares it.
        metrics_bytes: length of `metrics.jsonl` at this step.

    Returns:
        the checkpoint's folder.
    """
    final = Path(folder) / f"step-{step:08d}"
    unfinished = Path(folder) / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # a kill may have left one
    unfinished.mkdir()
    save_model(model, str(unfinished / "model.safetensors"))
    save_file(_optimizer_tensors(optimizer, model), unfinished / "optimizer.safetensors")
    _write_json(unfinished / "random.json", random_state())
    state = {"step": step, "metrics_bytes": metrics_bytes, "scaler": scaler.state_dict(), "facts": facts}
    _write_json(unfinished / "state.json", state)
    _write_json(unfinished / MANIFEST, {file.name: _sha256(file) for file in sorted(unfinished.iterdir())})
    for path in (*unfinished.iterdir(), unfinished):
        _sync(path)
    os.rename(unfinished, final)
    _sync(final.parent)
    for old in _checkpoints(folder)[:-2]:
        shutil.rmtree(old)
    return final


def latest_checkpoint(folder: str | Path) -> Path | None:
    """The newest complete checkpoint of a run's folder, or None."""
    return (_checkpoints(folder) or [None])[-1]


def load_checkpoint(
    path: str | Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    facts: dict,
) -> dict[str, Any]:
    """Put everything back as it was, the random generators too. Nothing is touched unless all of it is sound.

    Args:
        path: one checkpoint's folder, as `latest_checkpoint` returns it.
        model, optimizer, scaler: made as for the run that saved it; their state is replaced.
        facts: of this run; they must be those of the run that saved it.

    Returns:
        `state.json`: its "step" and "metrics_bytes".

    Raises:
        ValueError: if a file is missing or damaged (it is named), or the checkpoint is of another configuration.
    """
    path = Path(path)
    _verify(path)
    state = json.loads((path / "state.json").read_bytes())
    _compare(path, state["facts"], facts)
    load_model(model, path / "model.safetensors")
    optimizer.load_state_dict(_optimizer_state(optimizer, model, load_file(path / "optimizer.safetensors")))
    scaler.load_state_dict(state["scaler"])
    set_random_state(json.loads((path / "random.json").read_bytes()))
    return state


def random_state() -> dict[str, Any]:
    """The state of the random generators of torch (and its GPUs), NumPy and Python, in JSON's types."""
    kind, keys, *numpy_rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "cuda": [gpu.numpy().tobytes().hex() for gpu in _gpu_states()],
        "numpy": [kind, keys.tolist(), *numpy_rest],
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put the generators back to what `random_state` returned. On a machine with other GPUs, theirs are left alone."""
    torch.set_rng_state(_bytes(state["torch"]))
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_bytes(gpu) for gpu in state["cuda"]])
    np.random.set_state(tuple(state["numpy"]))
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))


def _gpu_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # asking would start an idle GPU


def _bytes(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def _checkpoints(folder: str | Path) -> list[Path]:
    """The complete ones, oldest first: a folder gets this name when it is complete."""
    return sorted(Path(folder).glob("step-" + "[0-9]" * 8))


def _names(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> list[str]:
    """The names of the optimizer's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_tensors(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Its state as {"<parameter's name>.exp_avg": tensor}; learning rates and the like come from the configuration."""
    names = _names(optimizer, model)
    return {
        f"{names[i]}.{key}": value.contiguous()
        for i, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
        if value is not None
    }


def _optimizer_state(optimizer: torch.optim.Optimizer, model: torch.nn.Module, tensors: dict) -> dict:
    """The inverse: what `optimizer.load_state_dict` wants. Tensors are copied out of the mapped file."""
    index = {name: i for i, name in enumerate(_names(optimizer, model))}
    state: dict[int, dict] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit(".", 1)
        state.setdefault(index[parameter], {})[key] = tensor.clone()
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _verify(path: Path) -> None:
    """Compare every file with the manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(path / MANIFEST) from error
    for name, digest in manifest.items():
        if not (path / name).is_file() or _sha256(path / name) != digest:
            raise _damaged(path / name)


def _damaged(file: Path) -> ValueError:
    return ValueError(
        f"{file} is damaged or missing: delete the folder {file.parent} to go on from the checkpoint before it"
    )


def _compare(path: Path, saved: dict, here: dict) -> None:
    """Refuse a checkpoint of another run, and say in what it differs."""
    a, b = _flat(saved), _flat(here)
    parts = [
        f"{key} is {a.get(key, 'missing')} there and {b.get(key, 'missing')} here"
        for key in {**a, **b}
        if a.get(key) != b.get(key)
    ]
    if parts:
        more = f", and {len(parts) - 3} more" if len(parts) > 3 else ""
        raise ValueError(
            f"the checkpoint {path} is of another configuration: {'; '.join(parts[:3])}{more}. Choose another folder, "
            "or delete this one to start anew"
        )


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write_json(file: Path, content: dict) -> None:
    file.write_text(json.dumps(content))


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
