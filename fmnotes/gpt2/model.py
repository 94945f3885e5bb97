"""The network. Its modules bear the names of `transformers`, so that a checkpoint of either opens in the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmnotes.gpt2 import checkpoints
from fmnotes.gpt2.attention import KVCache, causal_attention
from fmnotes.gpt2.config import GPT2Config
from fmnotes.gpt2.loss import IGNORE, linear_cross_entropy

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from transformers import GPT2LMHeadModel


def linear(x: Float[Tensor, "*batch n"], weight: Float[Tensor, "m n"], bias: Tensor | None = None) -> Tensor:
    """F.linear, which takes the vector of a single token as fast as memory gives the weights.

    A matrix library multiplies one row by a matrix on one core. As a batch of four products, each with a quarter of
    the weights' rows, it is shared among the cores; nothing is copied.
    """
    m, n = weight.shape
    one_row = x.numel() == n and not torch.is_grad_enabled() and x.dtype == weight.dtype == torch.float32
    if not one_row or m % 4 or x.device.type != "cpu" or torch.get_num_threads() == 1:
        return F.linear(x, weight, bias)
    row, quarters = x.view(1, 1, n).expand(4, 1, n), weight.view(4, m // 4, n).transpose(1, 2)
    y = torch.bmm(row, quarters) if bias is None else torch.baddbmm(bias.view(4, 1, m // 4), row, quarters)
    return y.view(*x.shape[:-1], m)


class Linear(nn.Linear):
    """nn.Linear by way of `linear`."""

    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        return linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Causal self-attention with several heads (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.n_head = config.n_head
        self.c_attn = Linear(config.d_model, 3 * config.d_model)  # queries, keys and values in one product
        self.c_proj = Linear(config.d_model, config.d_model)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], cache: KVCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time d_model"]:
        batch, time, d_model = x.shape
        qkv = self.c_attn(x).view(batch, time, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if cache is not None:
            k, v = cache.extend(layer, qkv[1:]).unbind(0)
        return self.c_proj(causal_attention(q, k, v).transpose(1, 2).reshape(batch, time, d_model))


class MLP(nn.Module):
    """Two linear maps with the tanh form of GELU between them (Hendrycks and Gimpel 2016)."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.c_fc = Linear(config.d_model, 4 * config.d_model)
        self.c_proj = Linear(4 * config.d_model, config.d_model)

    def forward(self, x: Float[Tensor, "batch time d_model"]) -> Float[Tensor, "batch time d_model"]:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Two sublayers, each of which reads the normed residual stream and adds to it."""

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model)
        self.mlp = MLP(config)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], cache: KVCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time d_model"]:
        x = x + self.attn(self.ln_1(x), cache, layer)
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """A GPT-2 with its language-model head, initialised as in the paper.

    Weights are normal with standard deviation 0.02; those that write into the residual stream are divided by
    √(2 n_layer), for so many of them add up in it (Radford et al. 2019, section 2.3).
    """

    def __init__(self, config: GPT2Config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.d_model)  # the output head, too
        self.wpe = nn.Embedding(config.context_length, config.d_model)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.d_model)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                writes = name.endswith("c_proj.weight")
                nn.init.normal_(parameter, std=0.02 / (2 * config.n_layer) ** 0.5 if writes else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(
        self,
        input_ids: Int[Tensor, "batch time"] | None = None,
        inputs_embeds: Float[Tensor, "batch time d_model"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch time vocab"]:
        """Logits of the next token at every position; arguments as for `hidden_states`."""
        return linear(self.hidden_states(input_ids, inputs_embeds, cache), self.wte.weight)

    def loss(
        self,
        input_ids: Int[Tensor, "batch time"] | None,
        targets: Int[Tensor, "batch time"],
        token_weights: Float[Tensor, "batch time"] | None = None,
        inputs_embeds: Float[Tensor, "batch time d_model"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats; see `linear_cross_entropy`.

        Args:
            targets: the tokens that follow, already shifted by one; IGNORE (-100) where nothing is to be learned.
            token_weights: what each target counts; all the same without them.
        """
        hidden = self.hidden_states(input_ids, inputs_embeds)
        if targets.shape != hidden.shape[:2]:
            raise ValueError(f"targets have the shape {tuple(targets.shape)}, the input {tuple(hidden.shape[:2])}")
        _check_ids(targets.where(targets != IGNORE, 0), self.config.vocab_size, "targets")
        weights = None if token_weights is None else token_weights.flatten()
        return linear_cross_entropy(hidden.flatten(0, 1), self.wte.weight, targets.flatten(), weights)

    def hidden_states(
        self,
        input_ids: Int[Tensor, "batch time"] | None = None,
        inputs_embeds: Float[Tensor, "batch time d_model"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        """The residual stream after the last block and the final norm: what the output head reads.

        Args:
            input_ids: token ids; or else
            inputs_embeds: vectors in the place of token embeddings, such as pictures' (positions are added here).
            cache: keys and values of the tokens before these; these are added to it.

        Raises:
            ValueError: neither or both inputs; ids outside the vocabulary; more tokens, with those in the cache, than
                the context or the cache has room for.
            TypeError: if ids are not whole numbers.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give input_ids or inputs_embeds, one of the two")
        past = 0 if cache is None else cache.length
        if inputs_embeds is None:
            _check_ids(input_ids, self.config.vocab_size, "input_ids")
            inputs_embeds = self.wte(input_ids)
        time = inputs_embeds.shape[1]
        self._check_room(len(inputs_embeds), past + time, cache)
        x = inputs_embeds + self.wpe.weight[past : past + time]
        for layer, block in enumerate(self.h):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += time
        return self.ln_f(x)

    def _check_room(self, batch: int, length: int, cache: KVCache | None) -> None:
        limit = self.config.context_length
        if length > limit:
            raise ValueError(
                f"{length:,} tokens do not fit a context_length of {limit:,}: cut the text, or read it in windows"
            )
        if cache is not None and length > cache.room:
            raise ValueError(f"{length:,} tokens do not fit a cache with room for {cache.room:,}: make a larger one")
        if cache is not None and batch != cache.batch:
            raise ValueError(f"the cache was made for {cache.batch} sequences at a time, not {batch}")

    @classmethod
    def from_pretrained(cls, name: str | Path) -> GPT2:
        """Open a checkpoint of `save_pretrained` or of `transformers`; see `checkpoints.load`."""
        config, state = checkpoints.load(name)
        return cls._from_state(config, state)

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype | None = None, end_token_id: int | None = None
    ) -> None:
        """Write `config.json` and `model.safetensors`, which `transformers.AutoModelForCausalLM` opens.

        Args:
            dtype: the precision of the file, such as torch.float16; the model's own if not given.
            end_token_id: written down for `transformers.generate`, which stops at it.
        """
        checkpoints.save(self.config, self.state_dict(), folder, dtype, end_token_id)

    @classmethod
    def from_transformers(cls, model: GPT2LMHeadModel) -> GPT2:
        """A copy of a model of `transformers`, in its precision. Dropout, if it has any, is not taken over."""
        config = checkpoints.from_hf_config(model.config.to_dict())
        state = checkpoints.from_hf_state(model.state_dict())
        return cls._from_state(config, state)

    def to_transformers(self) -> GPT2LMHeadModel:
        """A copy as a model of `transformers`, in evaluation mode."""
        import transformers

        hf = transformers.GPT2LMHeadModel(transformers.GPT2Config(**checkpoints.to_hf_config(self.config)))
        hf = hf.to(self.wte.weight)
        state = checkpoints.to_hf_state(self.state_dict())
        hf.load_state_dict(state | {"lm_head.weight": state["transformer.wte.weight"]})
        return hf.eval()

    @classmethod
    def _from_state(cls, config: GPT2Config, state: dict[str, Tensor]) -> GPT2:
        with torch.random.fork_rng(devices=[]):  # the initialisation is overwritten: it leaves no trace
            model = cls(config)
        checkpoints.check_state(model.state_dict(), state)
        model.to(state["wte.weight"].dtype).load_state_dict(state)
        return model


def _check_ids(ids: Tensor, vocab_size: int, name: str) -> None:
    """Raise unless ids are whole numbers of the vocabulary: on a GPU a wrong one would end the process."""
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise TypeError(f"{name} must be whole numbers, not {ids.dtype}")
    if ids.numel() == 0:
        raise ValueError(f"{name} are empty, of shape {tuple(ids.shape)}: at least one token is needed")
    low, high = (int(x) for x in ids.aminmax())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        raise ValueError(f"{name} hold {wrong}, outside the vocabulary of {vocab_size:,} tokens: another tokenizer?")
