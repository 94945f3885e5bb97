"""From the patches of a picture to tokens that a language model reads: four ways, one interface.

Each is a module that takes the vectors of the patches, (n, patches, width of the tower), and gives visual tokens,
(n, tokens, width of the language model). Their parameters are named as in transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from fmnotes.clip.vision import attention

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from fmnotes.connector.config import ConnectorConfig

    Patches = Float[Tensor, "n patches d_vision"]
    Tokens = Float[Tensor, "n tokens d_text"]


def heads(x: Float[Tensor, "n tokens d"], n_head: int) -> Float[Tensor, "n heads tokens e"]:
    return x.unflatten(-1, (n_head, -1)).transpose(1, 2)


class Linear(nn.Module):
    """One linear map of each patch: the first LLaVA's (Liu et al. 2023, equation 1)."""

    def __init__(self, config: ConnectorConfig):
        super().__init__()
        self.linear = nn.Linear(config.vision_d_model, config.text_d_model)

    def forward(self, patches: Patches) -> Tokens:
        return self.linear(patches)


class MLP(nn.Module):
    """Two linear maps with a GELU between them (LLaVA-1.5, Liu et al. 2024, section 3.2)."""

    def __init__(self, config: ConnectorConfig):
        super().__init__()
        self.linear_1 = nn.Linear(config.vision_d_model, config.text_d_model)
        self.linear_2 = nn.Linear(config.text_d_model, config.text_d_model)

    def forward(self, patches: Patches) -> Tokens:
        return self.linear_2(F.gelu(self.linear_1(patches)))


class Resampler(nn.Module):
    """A few learned vectors that ask the patches, and each other, again and again (Flamingo, Alayrac et al. 2022)."""

    def __init__(self, config: ConnectorConfig):
        super().__init__()
        self.perceiver = Perceiver(config)
        self.proj = nn.Linear(config.vision_d_model, config.text_d_model)

    def forward(self, patches: Patches) -> Tokens:
        return self.proj(self.perceiver(patches))


class Perceiver(nn.Module):
    """Latents through blocks of attention to patches and latents together; named as in `IdeficsPerceiverResampler`."""

    def __init__(self, config: ConnectorConfig):
        super().__init__()
        d = config.vision_d_model
        self.latents = nn.Parameter(torch.randn(config.n_queries, d) * d**-0.5)
        blocks = [nn.ModuleList([PerceiverAttention(d, config.n_head), Forward(d)]) for _ in range(config.n_layer)]
        self.blocks = nn.ModuleList(blocks)
        self.layer_norm = nn.LayerNorm(d)

    def forward(self, patches: Patches) -> Float[Tensor, "n queries d_vision"]:
        x = self.latents.expand(len(patches), -1, -1)
        for attend, forward in self.blocks:
            x = x + attend(patches, x)
            x = x + forward(x)
        return self.layer_norm(x)


class PerceiverAttention(nn.Module):
    """Keys and values are those of the patches and of the latents themselves (Alayrac et al. 2022, appendix A.1.1)."""

    def __init__(self, d: int, n_head: int):
        super().__init__()
        self.context_layer_norm, self.latents_layer_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q_proj, self.k_proj, self.v_proj, self.output_proj = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.n_head = n_head

    def forward(self, patches: Patches, latents: Float[Tensor, "n queries d"]) -> Float[Tensor, "n queries d"]:
        latents = self.latents_layer_norm(latents)
        both = torch.cat([self.context_layer_norm(patches), latents], dim=1)
        q, k, v = (
            heads(proj(x), self.n_head)
            for proj, x in ((self.q_proj, latents), (self.k_proj, both), (self.v_proj, both))
        )
        return self.output_proj(attention(q, k, v).transpose(1, 2).flatten(2))


class Forward(nn.Module):
    """A norm and two linear maps, without biases, with a ReLU between them."""

    def __init__(self, d: int):
        super().__init__()
        self.ln = nn.LayerNorm(d)
        self.fc, self.c_proj = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x: Float[Tensor, "n queries d"]) -> Float[Tensor, "n queries d"]:
        return self.c_proj(F.relu(self.fc(self.ln(x))))


class QFormer(nn.Module):
    """Learned queries through a BERT whose layers also look at the patches (BLIP-2, Li et al. 2023, section 3.1)."""

    def __init__(self, config: ConnectorConfig):
        super().__init__()
        d = config.vision_d_model
        self.query_tokens = nn.Parameter(torch.randn(1, config.n_queries, d) * 0.02)
        self.qformer = Querying(config)
        self.language_projection = nn.Linear(d, config.text_d_model)

    def forward(self, patches: Patches) -> Tokens:
        return self.language_projection(self.qformer(self.query_tokens.expand(len(patches), -1, -1), patches))


class Querying(nn.Module):
    """Named as in `Blip2QFormerModel`, with cross-attention in every layer."""

    def __init__(self, config: ConnectorConfig):
        super().__init__()
        self.layernorm = nn.LayerNorm(config.vision_d_model, 1e-12)
        layers = [QueryLayer(config.vision_d_model, config.n_head) for _ in range(config.n_layer)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, queries: Float[Tensor, "n queries d"], patches: Patches) -> Float[Tensor, "n queries d"]:
        x = self.layernorm(queries)
        for layer in self.encoder["layer"]:
            x = layer(x, patches)
        return x


class QueryLayer(nn.Module):
    """Queries look at each other, then at the patches; norms stand behind the additions, as in BERT."""

    def __init__(self, d: int, n_head: int):
        super().__init__()
        self.attention, self.crossattention = BertAttention(d, n_head), BertAttention(d, n_head)
        self.intermediate_query = nn.ModuleDict({"dense": nn.Linear(d, 4 * d)})
        self.output_query = _dense(4 * d, d)

    def forward(self, x: Float[Tensor, "n queries d"], patches: Patches) -> Float[Tensor, "n queries d"]:
        x = self.crossattention(self.attention(x, x), patches)
        inner = F.gelu(self.intermediate_query["dense"](x))
        return self.output_query["LayerNorm"](x + self.output_query["dense"](inner))


class BertAttention(nn.Module):
    """x asks, y answers; what comes of it is added to x and normalised."""

    def __init__(self, d: int, n_head: int):
        super().__init__()
        self.attention = nn.ModuleDict({name: nn.Linear(d, d) for name in ("query", "key", "value")})
        self.output, self.n_head = _dense(d, d), n_head

    def forward(self, x: Float[Tensor, "n tokens d"], y: Float[Tensor, "n others d"]) -> Float[Tensor, "n tokens d"]:
        maps = self.attention
        q, k, v = (heads(maps[name](z), self.n_head) for name, z in (("query", x), ("key", y), ("value", y)))
        looked = attention(q, k, v).transpose(1, 2).flatten(2)
        return self.output["LayerNorm"](x + self.output["dense"](looked))


def _dense(d_in: int, d_out: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(d_in, d_out), "LayerNorm": nn.LayerNorm(d_out, 1e-12)})


CLASSES = {"linear": Linear, "mlp": MLP, "resampler": Resampler, "qformer": QFormer}
