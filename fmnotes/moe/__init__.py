"""Mistral (Jiang et al. 2023) and Mixtral (Jiang et al. 2024), as guide lesson 09 derives them.

Read `attention.py` (a window that slides, and the cache that rolls with it), `routing.py` (which experts a token goes
to, and which have room), `layer.py` (the experts, and tokens sorted by them), `losses.py` (what keeps a router in
balance), `model.py` (the whole network), `checkpoints.py` (to and from `transformers`), `specialisation.py` (what the
experts are for, tested against chance).
"""

from fmnotes.moe.attention import RollingCache, sliding_window_mask, windowed_attention
from fmnotes.moe.config import MistralConfig
from fmnotes.moe.layer import MoE, dispatch, swiglu
from fmnotes.moe.losses import balancing_loss, z_loss
from fmnotes.moe.model import Mistral
from fmnotes.moe.routing import Routing, capacity_of, limited, load, route
from fmnotes.moe.specialisation import TYPES, mutual_information, permutation_test, token_type

__all__ = [
    "MistralConfig", "Mistral", "MoE", "RollingCache", "Routing", "TYPES", "balancing_loss", "capacity_of", "dispatch",
    "limited", "load", "mutual_information", "permutation_test", "route", "sliding_window_mask", "swiglu",
    "token_type", "windowed_attention", "z_loss",
]  # fmt: skip
