"""Mistral and Mixtral in the layout of Hugging Face: our parameters have their names, behind "model."."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fmnotes.moe.config import MistralConfig

EPS = 1e-5
NAMES = {  # ours: theirs
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_kv_head": "num_key_value_heads",
    "d_ff": "intermediate_size",
    "window": "sliding_window",
}
EXPERTS = {"n_expert": "num_local_experts", "top_k": "num_experts_per_tok"}
FIXED = {"hidden_act": "silu", "tie_word_embeddings": True, "rms_norm_eps": EPS}


def to_hf_config(config: MistralConfig) -> dict[str, Any]:
    """The `config.json` of a model: model_type mistral, or mixtral if it has experts.

    Raises:
        ValueError: if the experts' weights are not made to sum to 1, which a Mixtral's are.
    """
    sparse = config.n_expert > 1
    if sparse and not config.renormalise:
        raise ValueError("a Mixtral's expert weights sum to 1: only a model with renormalise=True can be one")
    names = NAMES | (EXPERTS if sparse else {})
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    kind = "mixtral" if sparse else "mistral"
    sizes = {theirs: getattr(config, ours) for ours, theirs in names.items()}
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return {"model_type": kind} | sizes | FIXED | {"rope_parameters": rope} | ends


def from_hf_config(content: dict[str, Any]) -> MistralConfig:
    """The config that a `config.json` describes.

    Raises:
        ValueError: if it is of another kind of model, or has something that this one does not compute.
    """
    kind = content.get("model_type")
    if kind not in ("mistral", "mixtral"):
        raise ValueError(f"the checkpoint is of model_type {kind!r}: a mistral or a mixtral is needed")
    for name, value in FIXED.items():
        if content.get(name, value) != value:
            raise ValueError(f"this Mistral has {name} = {value!r} only, the checkpoint has {content[name]!r}")
    rope = content.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"this Mistral turns plainly (rope_type default), the checkpoint has {rope['rope_type']!r}")
    names = NAMES | (EXPERTS if kind == "mixtral" else {})
    if missing := [theirs for theirs in names.values() if theirs not in content]:
        raise ValueError(f"the checkpoint's config has no {missing[0]}")
    sizes = {ours: content[theirs] for ours, theirs in names.items()}
    return MistralConfig(**sizes, rope_theta=rope.get("rope_theta", 10_000.0))


def to_transformers(config: MistralConfig, state: dict[str, Tensor]) -> torch.nn.Module:
    """The same model of `transformers`, with the same weights in the same precision; experts one by one."""
    import transformers

    content = to_hf_config(config)
    kind = "Mixtral" if content.pop("model_type") == "mixtral" else "Mistral"
    settings = getattr(transformers, f"{kind}Config")(**content)
    settings._experts_implementation = "eager"  # their grouped product knows no float64
    model = getattr(transformers, f"{kind}ForCausalLM")(settings).to(state["embed_tokens.weight"])
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    model.load_state_dict(named | {"lm_head.weight": state["embed_tokens.weight"]})
    return model.eval()


def save(config: MistralConfig, state: dict[str, Tensor], folder: str | Path, dtype: torch.dtype | None) -> None:
    """Write both files. Each expert's matrices lie apart in a Mixtral's file, as published: w1, w3 (up) and w2."""
    from fmnotes import weights

    content = to_hf_config(config)
    named = {}
    for name, tensor in state.items():
        block = name.removesuffix(".mlp.experts.gate_up_proj").removesuffix(".mlp.experts.down_proj")
        name = name.replace(".mlp.gate.", ".block_sparse_moe.gate.")
        if ".experts." not in name:
            named[f"model.{name}"] = tensor
            continue
        for i, matrix in enumerate(tensor):
            place = f"model.{block}.block_sparse_moe.experts.{i}"
            if name.endswith("gate_up_proj"):
                named[f"{place}.w1.weight"], named[f"{place}.w3.weight"] = matrix.chunk(2)
            else:
                named[f"{place}.w2.weight"] = matrix
    dtype = dtype or state["embed_tokens.weight"].dtype
    kind = content.pop("model_type")
    content |= {"architectures": [f"{kind.title()}ForCausalLM"], "dtype": str(dtype).removeprefix("torch.")}
    weights.write(folder, kind, content, named, dtype)


def load(folder: str | Path) -> tuple[MistralConfig, dict[str, Tensor]]:
    """Read a folder of ours or of `transformers`.

    Raises:
        FileNotFoundError: if `config.json` or `model.safetensors` is missing.
        ValueError: if it is of another kind; see `from_hf_config`.
    """
    from safetensors.torch import load_file

    for file in ("config.json", "model.safetensors"):
        if not (Path(folder) / file).is_file():
            raise FileNotFoundError(f"{folder} has no {file}: it is no folder of a model in safetensors")
    config = from_hf_config(json.loads((Path(folder) / "config.json").read_text()))
    found = load_file(Path(folder) / "model.safetensors")
    found = {name.removeprefix("model."): tensor for name, tensor in found.items() if name != "lm_head.weight"}
    state = {name.replace(".block_sparse_moe.", ".mlp."): t for name, t in found.items() if ".experts." not in name}
    for layer in range(config.n_layer if config.n_expert > 1 else 0):
        place = f"layers.{layer}.block_sparse_moe.experts"
        if f"{place}.0.w1.weight" not in found:
            raise ValueError(f"the checkpoint lacks {place}.0.w1.weight: its config describes another model")
        pick = {w: [found[f"{place}.{i}.{w}.weight"] for i in range(config.n_expert)] for w in ("w1", "w2", "w3")}
        pairs = [torch.cat(pair) for pair in zip(pick["w1"], pick["w3"], strict=True)]
        state[f"layers.{layer}.mlp.experts.gate_up_proj"] = torch.stack(pairs)
        state[f"layers.{layer}.mlp.experts.down_proj"] = torch.stack(pick["w2"])
    return config, state
