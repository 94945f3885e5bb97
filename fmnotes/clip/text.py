"""The text tower: a BERT encoder (Devlin et al. 2019), its parameters named as in `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from fmnotes.clip.vision import attention
from fmnotes.museum import prompt

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from fmnotes.bpe import Tokenizer
    from fmnotes.clip.config import CLIPConfig

EPSILON = 1e-12  # of the norms, as in BERT


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], context_length: int) -> Int[Tensor, "n tokens"]:
    """Captions as ids, each with an end token behind it, and filled up with pad tokens to the longest.

    Raises:
        ValueError: if there are none, one is empty, or one is too long; it says which.
    """
    if isinstance(texts, str):
        raise TypeError("captions are several texts, not one str: pass [text]")
    end, pad = tokenizer.special_tokens[prompt.END], tokenizer.special_tokens[prompt.PAD]
    rows = [[*tokenizer.encode(text), end] for text in texts]
    if not rows:
        raise ValueError("there are no captions")
    for text, row in zip(texts, rows, strict=True):
        if len(row) == 1:
            raise ValueError(f"caption {rows.index(row)} is empty: leave such pairs out")
        if len(row) > context_length:
            raise ValueError(
                f"a caption has {len(row)} tokens with its end, the text tower takes {context_length}: shorten it, or "
                f"give the tower a longer context_length: {text!r:.60}"
            )
    ids = torch.full((len(rows), max(map(len, rows))), pad)
    for filled, row in zip(ids, rows, strict=True):
        filled[: len(row)] = torch.tensor(row)
    return ids


class TextEncoder(nn.Module):
    """Tokens through blocks of attention without a causal mask: each sees all others, but no padding.

    Unlike GPT-2's, the norms stand *behind* the additions. `token_type_embeddings` tell BERT's two segments apart;
    captions have one.
    """

    def __init__(self, config: CLIPConfig):
        super().__init__()
        d = config.text_d_model
        self.config = config
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config.vocab_size, d),
                "position_embeddings": nn.Embedding(config.context_length, d),
                "token_type_embeddings": nn.Embedding(2, d),
                "LayerNorm": nn.LayerNorm(d, EPSILON),
            }
        )
        layers = [Layer(d, config.text_n_head) for _ in range(config.text_n_layer)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, ids: Int[Tensor, "n tokens"], keep: Bool[Tensor, "n tokens"]) -> Float[Tensor, "n tokens d"]:
        """A vector for each token. `keep` is False at padding, whose vectors mean nothing.

        Raises:
            ValueError: if the rows are longer than the context.
        """
        if ids.shape[1] > self.config.context_length:
            raise ValueError(
                f"the text tower takes {self.config.context_length} tokens, these rows have {ids.shape[1]}"
            )
        tables = self.embeddings
        x = tables["word_embeddings"](ids) + tables["position_embeddings"].weight[: ids.shape[1]]
        x = tables["LayerNorm"](x + tables["token_type_embeddings"].weight[0])
        for layer in self.encoder["layer"]:
            x = layer(x, keep[:, None, None])
        return x


class Layer(nn.Module):
    """Attention and an MLP; what comes out of each is added and then normalised."""

    def __init__(self, d: int, n_head: int):
        super().__init__()
        heads = nn.ModuleDict({name: nn.Linear(d, d) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": heads, "output": _dense(d, d)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(d, 4 * d)})
        self.output = _dense(4 * d, d)
        self.n_head = n_head

    def forward(
        self, x: Float[Tensor, "n tokens d"], keep: Bool[Tensor, "n 1 1 tokens"]
    ) -> Float[Tensor, "n tokens d"]:
        heads, after = self.attention["self"], self.attention["output"]
        q, k, v = (
            heads[name](x).unflatten(-1, (self.n_head, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        looked = attention(q, k, v, keep).transpose(1, 2).flatten(2)
        x = after["LayerNorm"](x + after["dense"](looked))
        inner = F.gelu(self.intermediate["dense"](x))
        return self.output["LayerNorm"](x + self.output["dense"](inner))


def _dense(d_in: int, d_out: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(d_in, d_out), "LayerNorm": nn.LayerNorm(d_out, EPSILON)})
