"""Checkpoints in the layout of Hugging Face: `config.json` and `model.safetensors`, named as in `transformers`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from fmnotes.gpt2.config import GPT2Config

State = dict[str, Tensor]

# What `transformers` can vary in a GPT-2 and we do not, with the only value that we compute.
FIXED = {
    "model_type": "gpt2",
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
NAMES = {  # ours: theirs
    "vocab_size": "vocab_size",
    "context_length": "n_positions",
    "d_model": "n_embd",
    "n_layer": "n_layer",
    "n_head": "n_head",
}
_TRANSPOSED = re.compile(r"c_(attn|proj|fc)\.weight$")  # their Conv1D holds (in, out), nn.Linear (out, in)
_NO_PARAMETER = re.compile(r"\.attn\.(masked_)?bias$|^lm_head\.weight$")  # old files store masks, some the tied head


def to_hf_config(config: GPT2Config, end_token_id: int | None = None) -> dict:
    """The `config.json` of a model. There is no dropout in it."""
    sizes = {theirs: getattr(config, ours) for ours, theirs in NAMES.items()}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return FIXED | sizes | dropout | {"bos_token_id": end_token_id, "eos_token_id": end_token_id}


def from_hf_config(content: dict) -> GPT2Config:
    """The config that a `config.json` describes.

    Raises:
        ValueError: if it is another kind of model, or a GPT-2 with something that this one does not compute.
    """
    for name, value in FIXED.items():
        other = content.get(name, value)
        inner = name == "n_inner" and other == 4 * content.get("n_embd", 0)
        if other != value and not inner:
            raise ValueError(f"this GPT2 has {name} = {value!r} only, the checkpoint has {other!r}")
    if missing := [theirs for theirs in NAMES.values() if theirs not in content]:
        raise ValueError(f"the checkpoint's config has no {missing[0]}: it is no GPT-2's")
    return GPT2Config(**{ours: content[theirs] for ours, theirs in NAMES.items()})


def to_hf_state(state: State) -> State:
    """Their names and layouts for our parameters; the tied head is left out, as in their files."""
    return {f"transformer.{name}": _transpose(name, tensor) for name, tensor in state.items()}


def from_hf_state(state: State) -> State:
    """Our names and layouts for their parameters, with or without their prefix."""
    state = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    return {name: _transpose(name, tensor) for name, tensor in state.items() if not _NO_PARAMETER.search(name)}


def save(
    config: GPT2Config, state: State, folder: str | Path, dtype: torch.dtype | None, end_token_id: int | None
) -> None:
    """Write a checkpoint; the folder is made if need be."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = dtype or state["wte.weight"].dtype
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in to_hf_state(state).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    content = {"architectures": ["GPT2LMHeadModel"], "dtype": str(dtype).removeprefix("torch.")}
    content |= to_hf_config(config, end_token_id)
    (folder / "config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def load(name: str | Path) -> tuple[GPT2Config, State]:
    """Read a checkpoint: a folder, or a hub id, which is looked for in $FMNOTES_MIRROR first.

    Returns:
        the config, and the parameters in our layout, in float32 whatever the precision of the file.

    Raises:
        FileNotFoundError: if the checkpoint, or one of its two files, is not to be had.
        ValueError: if it is of another kind; see `from_hf_config`.
    """
    from fmnotes import data

    folder = data.resolve(str(name))
    if not isinstance(folder, Path):
        import transformers

        model = data.load_model(folder, transformers.GPT2LMHeadModel)
        return from_hf_config(model.config.to_dict()), from_hf_state(model.float().state_dict())
    from safetensors.torch import load_file

    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{name} has no {file}: it is no checkpoint of a model in safetensors")
    config = from_hf_config(json.loads((folder / "config.json").read_text()))
    state = load_file(folder / "model.safetensors")
    return config, {name: tensor.float() for name, tensor in from_hf_state(state).items()}


def check_state(expected: State, found: State) -> None:
    """Raise ValueError, naming the first difference, unless a checkpoint has the parameters of the model."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise ValueError(f"the checkpoint lacks {name}: its config describes another model")
        if name not in expected:
            raise ValueError(f"the checkpoint has {name}, which its config does not call for")
        if expected[name].shape != found[name].shape:
            shapes = tuple(found[name].shape), tuple(expected[name].shape)
            raise ValueError(f"the checkpoint's {name} has the shape {shapes[0]}, its config calls for {shapes[1]}")


def _transpose(name: str, tensor: Tensor) -> Tensor:
    return tensor.T.contiguous() if _TRANSPOSED.search(name) else tensor
