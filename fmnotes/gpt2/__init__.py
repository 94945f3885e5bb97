"""GPT-2 (Radford et al. 2019), as notebook 02 derives it.

A decoder-only transformer with learned positions, LayerNorm before each sublayer and a tied output head. Read
`model.py` (the network), `attention.py` (its core, and the key-value cache), `loss.py` (the softmax over the
vocabulary), `evaluation.py` (a text's loss, token by token), `heads.py` (what attention looks at), `checkpoints.py`
(to and from `transformers`).
"""

from fmnotes.gpt2.attention import KVCache, causal_attention
from fmnotes.gpt2.config import GPT2Config
from fmnotes.gpt2.evaluation import token_losses
from fmnotes.gpt2.heads import attention_weights, copying
from fmnotes.gpt2.loss import IGNORE, linear_cross_entropy
from fmnotes.gpt2.model import GPT2

__all__ = [
    "GPT2", "IGNORE", "GPT2Config", "KVCache", "attention_weights", "causal_attention", "copying",
    "linear_cross_entropy", "token_losses",
]  # fmt: skip
