"""Put small layers into a model, take them out again, and keep them in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fmnotes.lora.layers import Bottleneck, DoRALinear, IA3Linear, LoRALinear, check_rank

GPT2_MAPS = ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")  # every matrix of a block
WRAPPERS = (LoRALinear, IA3Linear, Bottleneck)


def inject(model: nn.Module, targets: Sequence[str], wrap: Callable[[nn.Module], nn.Module]) -> list[str]:
    """Freeze a model, and put `wrap(layer)` in the place of every layer whose name ends in one of the targets.

    Args:
        model: changed in place.
        targets: ends of names, whole parts: "c_attn", "mlp.c_proj".
        wrap: from the frozen layer to the one in its place, like `lambda base: LoRALinear(base, 8, 16)`.

    Returns:
        the names of what was replaced.

    Raises:
        ValueError: if the model has small layers already, or a target fits no layer.
    """
    if any(isinstance(module, WRAPPERS) for module in model.modules()):
        raise ValueError("the model has small layers already: merge them first, or begin with a fresh copy")
    linear = {name: m for name, m in model.named_modules() if hasattr(m, "in_features") and hasattr(m, "weight")}
    ends = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in targets}
    if missing := [target for target, names in ends.items() if not names]:
        last = sorted({re.sub(r".*\d+\.", "", name) for name in linear})
        raise ValueError(f"no linear layer is called {missing[0]!r}; there are {', '.join(last)}")
    model.requires_grad_(False)
    chosen = [name for name in linear if any(name in names for names in ends.values())]
    for name in chosen:
        model.set_submodule(name, wrap(linear[name]))
    return chosen


def lora(
    model: nn.Module, rank: int, alpha: float, rs: bool = False, dora: bool = False, targets: Sequence[str] = GPT2_MAPS
) -> nn.Module:
    """The model with a low-rank update of every target, the only thing that is trained; changed in place."""
    layer = DoRALinear if dora else LoRALinear
    inject(model, targets, lambda base: layer(base, rank, alpha, rs))
    return model


def ia3(model: nn.Module, outputs: Sequence[str] = ("c_attn",), inputs: Sequence[str] = ("mlp.c_proj",)) -> nn.Module:
    """The model with IA3's scales; by default at the places where `peft` puts them in a GPT-2. Changed in place.

    `c_attn` makes queries, keys and values: three vectors where the paper has two. Scaling queries is the same as
    scaling keys.
    """
    last = {id(module) for name, module in model.named_modules() if f".{name}".endswith(tuple(f".{n}" for n in inputs))}
    inject(model, (*outputs, *inputs), lambda base: IA3Linear(base, inputs=id(base) in last))
    return model


def bottlenecks(model: nn.Module, width: int, targets: Sequence[str] = ("attn.c_proj", "mlp.c_proj")) -> nn.Module:
    """The model with an adapter behind both sublayers of every block, before the residual sum. Changed in place."""
    inject(model, targets, lambda base: Bottleneck(base, width))
    return model


def merge(model: nn.Module) -> nn.Module:
    """Compute every update into its matrix: a plain model again, as fast as before. Changed in place.

    Raises:
        ValueError: if there is nothing to merge, or a bottleneck, which is not linear.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, WRAPPERS)}
    if not found:
        raise ValueError("the model has no small layers to merge")
    if bent := [name for name, module in found.items() if isinstance(module, Bottleneck)]:
        raise ValueError(f"{bent[0]} is a bottleneck, which bends: no single matrix does the same, so it has to stay")
    for name, module in found.items():
        model.set_submodule(name, module.merged())
    return model


def trained(model: nn.Module) -> dict[str, Tensor]:
    """What is trained, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save(model: nn.Module, file: str | Path) -> None:
    """Write what is trained as safetensors: all that tells the adapted model from the one it came from."""
    from safetensors.torch import save_file

    if not (tensors := {name: p.detach().contiguous() for name, p in trained(model).items()}):
        raise ValueError("nothing in the model is trained: there is nothing to write")
    save_file(tensors, file)


@torch.no_grad()
def load(model: nn.Module, file: str | Path) -> nn.Module:
    """Read what `save` wrote into a model that was adapted in the same way.

    Raises:
        ValueError: naming the first tensor that is missing, superfluous or of another shape.
    """
    from safetensors.torch import load_file

    found, expected = load_file(file), trained(model)
    for name in sorted(found.keys() | expected.keys()):
        if name not in found or name not in expected:
            has = "lacks" if name not in found else "has"
            raise ValueError(f"the file {has} {name}: it was written by a model adapted in another way")
        if found[name].shape != expected[name].shape:
            shapes = tuple(found[name].shape), tuple(expected[name].shape)
            raise ValueError(
                f"{name} has the shape {shapes[0]} in the file and {shapes[1]} in the model: another rank?"
            )
        expected[name].copy_(found[name])
    return model


def low_rank(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """B and A of a rank whose product is nearest to a matrix (Eckart and Young 1936), the roots of σ in both."""
    check_rank(rank, nn.Linear(*change.T.shape, bias=False, device="meta"))
    u, sigma, v = torch.linalg.svd(change, full_matrices=False)
    root = sigma[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * v[:rank]
