"""Low-rank updates of the language model, in the files that `peft` writes and reads."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fmnotes.gpt2 import GPT2

if TYPE_CHECKING:
    from fmnotes.connector.pretrained import CausalLM

    Language = GPT2 | CausalLM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft opens it, and it warns of kernels nobody asks for


def adapted(language: Language, rank: int) -> Language:
    """A copy whose linear maps W are W + 2 B A, A of so many rows (LoRA, Hu et al. 2022); only A and B are trained.

    B is zero at first, so that the copy says what the model says. Embeddings and output head stay as they are.

    Raises:
        ValueError: if the model has such updates already.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    if updated(language):
        raise ValueError("the language model has low-rank updates already: adapt one that has none")
    maps = _maps(language)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=sorted({name.rpartition(".")[2] for name in maps}),
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(m, Conv1D) for m in maps.values()),
    )
    return inject_adapter_in_model(config, copy.deepcopy(language).requires_grad_(False))


def write(language: Language, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which `peft.PeftModel.from_pretrained` opens too."""
    from safetensors.torch import save_file

    folder = Path(folder)
    if hasattr(language, "updates"):  # those that it was read with
        settings, tensors = language.updates
        (folder / CONFIG).write_text(settings)
    else:
        config = language.peft_config["default"]
        if isinstance(language, GPT2):
            config = replace(config, fan_in_fan_out=True)  # as transformers' GPT-2 has its maps
        config.save_pretrained(str(folder))
        state = {name: tensor for name, tensor in language.state_dict().items() if ".lora_" in name}
        tensors = {_prefix(language) + name.replace(".default", ""): t for name, t in state.items()}
    tensors = {name: t.detach().to("cpu", dtype or t.dtype).contiguous() for name, t in tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def read(language: Language, folder: str | Path) -> Language:
    """A copy of the model with the updates of a folder, added to its weights: it is as fast as the model itself.

    Nothing here needs `peft`, which takes seconds to open.

    Raises:
        FileNotFoundError: if the updates' weights are missing.
        ValueError: if they are those of another model.
    """
    from safetensors.torch import load_file
    from transformers.pytorch_utils import Conv1D

    file = Path(folder) / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has an {CONFIG} but no {file.name}")
    settings, tensors = (Path(folder) / CONFIG).read_text(), load_file(file)
    config = json.loads(settings)
    model = copy.deepcopy(language).requires_grad_(False)
    expected, scale = {}, config["lora_alpha"] / config["r"] ** (0.5 if config.get("use_rslora") else 1)
    for name, layer in _maps(model).items():
        out, into = reversed(layer.weight.shape) if isinstance(layer, Conv1D) else layer.weight.shape
        expected |= {f"{_prefix(model)}{name}.lora_{side}.weight": shape for side, shape in
                     (("A", (config["r"], into)), ("B", (out, config["r"])))}  # fmt: skip
    if {name: tuple(t.shape) for name, t in tensors.items()} != expected:
        raise ValueError(f"the low-rank updates in {folder} are not those of this language model: their maps differ")
    for name, layer in _maps(model).items():
        b, a = (tensors[f"{_prefix(model)}{name}.lora_{side}.weight"].to(layer.weight) for side in "BA")
        change = (b @ a).T if isinstance(layer, Conv1D) else b @ a
        layer.weight.data += scale * change
    model.updates = settings, tensors
    return model


def updated(language: Language) -> bool:
    """Whether the model has low-rank updates, learned here or read."""
    return hasattr(language, "peft_config") or hasattr(language, "updates")


def _maps(language: Language) -> dict[str, nn.Module]:
    """The linear maps by name, but for the output head."""
    from transformers.pytorch_utils import Conv1D

    head = None if isinstance(language, GPT2) else language.model.get_output_embeddings()
    return {name: m for name, m in language.named_modules() if isinstance(m, nn.Linear | Conv1D) and m is not head}


def _prefix(language: Language) -> str:
    """What peft puts before our names: it looks for the maps in a model of transformers."""
    return "base_model.model.transformer." if isinstance(language, GPT2) else "base_model."
