"""A model's folder: `config.json`, which says what it is, beside `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def write(
    folder: str | Path, kind: str, content: dict[str, Any], state: Mapping[str, Tensor], dtype: torch.dtype | None
) -> None:
    """Write both files.

    Args:
        kind: the `model_type` that `config.json` names.
        content: what else it says.
        state: the parameters by name.
        dtype: the precision of the file, such as torch.float16; the parameters' own if None.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to("cpu", dtype or t.dtype).contiguous() for name, t in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    content = {"model_type": kind} | content
    (folder / "config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def read(folder: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `config.json` says, without its `model_type`, and the parameters.

    Raises:
        FileNotFoundError: if one of the two files is missing.
        ValueError: if the folder holds another kind of model.
    """
    from safetensors.torch import load_file

    for file in ("config.json", "model.safetensors"):
        if not (Path(folder) / file).is_file():
            raise FileNotFoundError(f"{folder} has no {file}: it is no folder of a model in safetensors")
    content = json.loads((Path(folder) / "config.json").read_text())
    found = content.pop("model_type", None)
    if found != kind:
        raise ValueError(f"{folder} holds another kind of model: its config.json says {found!r}, not {kind!r}")
    return content, load_file(Path(folder) / "model.safetensors")
