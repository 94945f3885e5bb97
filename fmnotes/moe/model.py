"""The network: Mistral, and Mixtral where its config names experts. Its modules bear the names of `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnotes.gpt2 import IGNORE, linear_cross_entropy
from fmnotes.moe import checkpoints
from fmnotes.moe.attention import RollingCache, windowed_attention
from fmnotes.moe.config import MistralConfig
from fmnotes.moe.layer import MoE
from fmnotes.moe.losses import balancing_loss, z_loss
from fmnotes.moe.routing import Routing

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class RMSNorm(nn.Module):
    """x / √(mean x² + ε), times a gain (Zhang and Sennrich 2019, equation 4)."""

    def __init__(self, d_model: int, eps: float = checkpoints.EPS):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotated(
    x: Float[Tensor, "batch head time d"], cos: Float[Tensor, "time d"], sin: Float[Tensor, "time d"]
) -> Float[Tensor, "batch head time d"]:
    """Turn each pair (i, i + d/2) of a query or key by its position's angles (Su et al. 2021, section 3.2.2)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def angles(positions: Int[Tensor, " time"], d: int, theta: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of position · theta^(-2i/d), twice side by side; computed in float32 at least."""
    precise = torch.promote_types(like.dtype, torch.float32)
    frequencies = 1.0 / theta ** (torch.arange(0, d, 2, dtype=precise, device=like.device) / d)
    angle = torch.cat([positions[:, None].to(precise) * frequencies] * 2, dim=-1)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class Attention(nn.Module):
    """Causal self-attention through a window, with fewer heads of keys than of queries (Ainslie et al. 2023)."""

    def __init__(self, config: MistralConfig):
        super().__init__()
        d, kv = config.d_model, config.d_kv
        self.window, self.d_head = config.window, d // config.n_head
        self.q_proj, self.o_proj = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.k_proj, self.v_proj = nn.Linear(d, kv, bias=False), nn.Linear(d, kv, bias=False)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], cache: RollingCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time d_model"]:
        parts = (map_(x).unflatten(-1, (-1, self.d_head)) for map_ in (self.q_proj, self.k_proj, self.v_proj))
        q, k, v = (part.transpose(1, 2) for part in parts)
        q, k = rotated(q, *turn), rotated(k, *turn)
        if cache is not None:
            k, v = cache.extend(layer, torch.stack([k, v.to(k.dtype)])).unbind(0)
        y = windowed_attention(q.to(v.dtype), k.to(v.dtype), v, self.window)
        return self.o_proj(y.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """One feed-forward layer for all tokens; `routings` and the like are for those that have experts."""

    def __init__(self, config: MistralConfig):
        super().__init__()
        d, f = config.d_model, config.d_ff
        self.gate_proj, self.up_proj = nn.Linear(d, f, bias=False), nn.Linear(d, f, bias=False)
        self.down_proj = nn.Linear(f, d, bias=False)

    def forward(self, x: Tensor, routings: list[Routing] | None = None) -> Float[Tensor, "*batch d_model"]:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention and a feed-forward layer, or experts; each reads the normed residual stream and adds to it."""

    def __init__(self, config: MistralConfig):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(config.d_model), RMSNorm(config.d_model)
        self.self_attn = Attention(config)
        shape = config.d_model, config.d_ff, config.n_expert, config.top_k, config.renormalise
        self.mlp = SwiGLU(config) if config.n_expert == 1 else MoE(*shape)

    def forward(self, x: Tensor, turn, cache=None, layer: int = 0, routings: list[Routing] | None = None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn, cache, layer)
        return x + self.mlp(self.post_attention_layernorm(x), routings)


class Mistral(nn.Module):
    """A Mistral or Mixtral with its tied head. Weights start normal, 0.02, those that write to the stream / √(2L)."""

    def __init__(self, config: MistralConfig):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.norm = RMSNorm(config.d_model)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                writes = name.endswith(("o_proj.weight", "down_proj.weight", "down_proj"))
                nn.init.normal_(parameter, std=0.02 / (2 * config.n_layer) ** 0.5 if writes else 0.02)

    @property
    def wte(self) -> nn.Embedding:
        """The table of tokens under GPT-2's name, by which `fmnotes.generation` finds the head."""
        return self.embed_tokens

    def forward(
        self, input_ids: Int[Tensor, "batch time"], cache: RollingCache | None = None
    ) -> Float[Tensor, "batch time vocab"]:
        """Logits of the next token at every position; arguments as for `hidden_states`."""
        return F.linear(self.hidden_states(input_ids, cache), self.embed_tokens.weight)

    def hidden_states(
        self,
        input_ids: Int[Tensor, "batch time"],
        cache: RollingCache | None = None,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        """The residual stream after the last block and the final norm: what the head reads.

        Args:
            cache: keys and values of the tokens before these; these are added to it.
            routings: a list, to which every layer with experts adds where the tokens went.

        Raises:
            ValueError: no ids, ids outside the vocabulary, or a cache made for another number of sequences.
        """
        self._check(input_ids, cache)
        past, x = 0 if cache is None else cache.length, self.embed_tokens(input_ids)
        positions = torch.arange(past, past + input_ids.shape[1], device=x.device)
        turn = angles(positions, self.config.d_model // self.config.n_head, self.config.rope_theta, x)
        for layer, block in enumerate(self.layers):
            x = block(x, turn, cache, layer, routings)
        if cache is not None:
            cache.length += input_ids.shape[1]
        return self.norm(x)

    def loss(
        self,
        input_ids: Int[Tensor, "batch time"],
        targets: Int[Tensor, "batch time"],
        balance: float = 0.0,
        z: float = 0.0,
        routings: list[Routing] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats, plus `balance` times the balancing loss and `z` times the z loss."""
        routings = [] if routings is None else routings
        hidden = self.hidden_states(input_ids, routings=routings).flatten(0, 1)
        if targets.shape != input_ids.shape:
            raise ValueError(f"targets have the shape {tuple(targets.shape)}, the input {tuple(input_ids.shape)}")
        self._check(targets.where(targets != IGNORE, 0), None)
        loss = linear_cross_entropy(hidden, self.embed_tokens.weight, targets.flatten())
        if balance:
            loss = loss + balance * balancing_loss(routings)
        return loss + z * z_loss(routings) if z else loss

    def _check(self, ids: Tensor, cache: RollingCache | None) -> None:
        if ids.ndim != 2 or ids.numel() == 0:
            raise ValueError(f"ids have the shape {tuple(ids.shape)}: (batch, time) with at least one token is needed")
        low, high = (int(x) for x in ids.aminmax())
        if low < 0 or high >= self.config.vocab_size:
            raise ValueError(f"id {low if low < 0 else high} is outside the vocabulary of {self.config.vocab_size:,}")
        length = ids.shape[1] + (0 if cache is None else cache.length)
        if cache is not None and len(ids) != cache.batch:
            raise ValueError(f"the cache was made for {cache.batch} sequences at a time, not {len(ids)}")
        if length > self.config.context_length:
            limit = self.config.context_length
            raise ValueError(f"{length:,} tokens do not fit a context_length of {limit:,}: cut the text")

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write `config.json` and `model.safetensors`, which `transformers.AutoModelForCausalLM` opens."""
        checkpoints.save(self.config, self.state_dict(), folder, dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Mistral:
        """Open a folder of `save_pretrained`; see `checkpoints.load`."""
        config, state = checkpoints.load(folder)
        with torch.random.fork_rng(devices=[]):  # the initialisation is overwritten: it leaves no trace
            model = cls(config)
        model.to(state["embed_tokens.weight"].dtype).load_state_dict(state)
        return model

    def to_transformers(self) -> nn.Module:
        """A copy as MistralForCausalLM or MixtralForCausalLM, in evaluation mode."""
        return checkpoints.to_transformers(self.config, self.state_dict())
