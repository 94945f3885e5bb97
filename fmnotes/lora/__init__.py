"""Efficient adaptation: train a hundredth of a model, or all of it with a small memory.

Read `layers.py` (LoRA, rsLoRA, DoRA, IA3, bottleneck adapters), `model.py` (into a model and out of it, and files),
`galore.py` (an optimizer whose state is small). Quantised weights are in `fmnotes.quantization`.
"""

from fmnotes.lora.galore import GaLoreAdamW, subspace
from fmnotes.lora.layers import Bottleneck, DoRALinear, IA3Linear, LoRALinear
from fmnotes.lora.model import GPT2_MAPS, bottlenecks, ia3, inject, load, lora, low_rank, merge, save, trained

__all__ = [
    "GPT2_MAPS", "Bottleneck", "DoRALinear", "GaLoreAdamW", "IA3Linear", "LoRALinear", "bottlenecks", "ia3", "inject",
    "load", "lora", "low_rank", "merge", "save", "subspace", "trained",
]  # fmt: skip
