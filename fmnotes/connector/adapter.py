"""Low-rank updates of the language model, in the files that `peft` writes and reads."""

from __future__ import annotations

import copy
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

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft opens it, and it warns of kernels nobody asks for


def adapted(language: Language, rank: int) -> Language:
    """A copy whose linear maps W are W + 2 B A, A of so many rows (LoRA, Hu et al. 2022); only A and B are trained.

    B is zero at first, so that the copy says what the model says. Embeddings and output head stay as they are.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    head = None if isinstance(language, GPT2) else language.model.get_output_embeddings()
    kinds = {name: type(m) for name, m in language.named_modules() if isinstance(m, nn.Linear | Conv1D) and m != head}
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=sorted({name.rpartition(".")[2] for name in kinds}),
        task_type="CAUSAL_LM",
        fan_in_fan_out=Conv1D in kinds.values(),
    )
    return inject_adapter_in_model(config, copy.deepcopy(language).requires_grad_(False))


def write(language: Language, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which `peft.PeftModel.from_pretrained` opens too."""
    from safetensors.torch import save_file

    config = language.peft_config["default"]
    if isinstance(language, GPT2):
        config = replace(config, fan_in_fan_out=True)  # as transformers' GPT-2 has its maps
    config.save_pretrained(str(folder))
    tensors = {
        _prefix(language) + name.replace(".default", ""): t.detach().to("cpu", dtype or t.dtype).contiguous()
        for name, t in language.state_dict().items()
        if ".lora_" in name
    }
    save_file(tensors, Path(folder) / "adapter_model.safetensors", metadata={"format": "pt"})


def read(language: Language, folder: str | Path) -> Language:
    """A copy of the model with the updates of a folder, added to its weights: it is as fast as the model itself.

    Raises:
        FileNotFoundError: if the updates' weights are missing.
        ValueError: if they are those of another model.
    """
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors.torch import load_file

    file = Path(folder) / "adapter_model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has an adapter_config.json but no {file.name}")
    model = adapted(language, LoraConfig.from_pretrained(str(folder)).r)
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items() if ".lora_" in name}
    state = {
        name.removeprefix(_prefix(language)).replace(".weight", ".default.weight"): tensor
        for name, tensor in load_file(file).items()
    }
    if {name: tuple(t.shape) for name, t in state.items()} != expected:
        raise ValueError(f"the low-rank updates in {folder} are not those of this language model: their maps differ")
    model.load_state_dict(state, strict=False)
    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
    return model


def _prefix(language: Language) -> str:
    """What peft puts before our names: it looks for the maps in a model of transformers."""
    return "base_model.model.transformer." if isinstance(language, GPT2) else "base_model."
