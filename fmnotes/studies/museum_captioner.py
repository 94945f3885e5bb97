"""A second teacher for the picture tower: a small decoder that must tell the caption from the patches.

Contrastive towers learn what tells a batch apart; whoever must write the caption word by word needs all of it (CoCa, Yu
et al. 2022, section 3.2; Tschannen et al. 2023). The decoder is thrown away in the end: what stays is in the tower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from fmnotes import clip
from fmnotes.clip.model import start
from fmnotes.clip.vision import attention
from fmnotes.gpt2.loss import IGNORE
from fmnotes.studies.museum_pairs import encoded

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class Layer(nn.Module):
    """What has been said looks back, then at the patches; norms stand before each part, as in GPT-2."""

    def __init__(self, d: int, n_head: int):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(d) for _ in range(3))
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.q, self.kv, self.cross_proj = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.n_head = n_head

    def forward(self, x: Float[Tensor, "m time d"], patches: Float[Tensor, "n patches d"]) -> Float[Tensor, "m time d"]:
        time, n = x.shape[1], len(patches)
        before = torch.ones(time, time, dtype=torch.bool, device=x.device).tril()
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(attention(q, k, v, before).transpose(1, 2).flatten(2))
        q = self.q(self.norm2(x)).view(n, -1, self.n_head, q.shape[-1]).transpose(1, 2)  # a picture's captions together
        k, v = self.kv(patches).unflatten(-1, (2, self.n_head, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.cross_proj(attention(q, k, v).transpose(1, 2).reshape(x.shape))
        return x + self.fc2(F.gelu(self.fc1(self.norm3(x))))


class Captioner(nn.Module):
    """A decoder of two layers, as wide as the picture tower."""

    def __init__(self, config: clip.CLIPConfig):
        super().__init__()
        d = config.vision_d_model
        self.config = config
        self.wte, self.wpe = nn.Embedding(config.vocab_size, d), nn.Embedding(config.context_length, d)
        self.layers = nn.ModuleList(Layer(d, config.vision_n_head) for _ in range(2))
        self.patch_norm, self.norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.apply(start)

    def forward(
        self, ids: Int[Tensor, "n captions time"], patches: Float[Tensor, "n patches d"]
    ) -> Float[Tensor, "m time vocabulary"]:
        """The logits of each caption's next tokens, from an end token on; m counts all captions of all pictures."""
        ids = ids.flatten(0, 1)
        ids = torch.cat([torch.full_like(ids[:, :1], self.config.eos_token_id), ids[:, :-1]], dim=1)
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        patches = self.patch_norm(patches)
        for layer in self.layers:
            x = layer(x, patches)
        return self.norm(x) @ self.wte.weight.T

    def loss(self, ids: Int[Tensor, "n captions time"], patches: Float[Tensor, "n patches d"]) -> Float[Tensor, ""]:
        """Mean cross-entropy of the captions' tokens and their end tokens, in nats."""
        targets = ids.flatten().masked_fill(ids.flatten() == self.config.pad_token_id, IGNORE)
        return F.cross_entropy(self(ids, patches).flatten(0, 1), targets, ignore_index=IGNORE)


class Told(nn.Module):
    """Towers with a captioner, which reads the patches that a connector will read."""

    def __init__(self, towers: clip.CLIP):
        super().__init__()
        self.towers, self.captioner = towers, Captioner(towers.config)

    @property
    def config(self) -> clip.CLIPConfig:
        return self.towers.config


def loss(model: Told, batch: tuple[Tensor, Tensor]) -> Float[Tensor, ""]:
    """`info_nce`, the mean over the captions, plus the loss of the captioner; one pass through the tower."""
    pixels, ids = batch
    towers, visual = model.towers, model.towers.visual
    stream = visual.blocks[:-1](visual.embedded(pixels))
    images = clip.unit(towers.visual_projection(visual.norm(visual.blocks[-1](stream))[:, 0]))
    texts = encoded(towers, ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
    contrast = torch.stack([clip.info_nce(images, of_each, towers.scale) for of_each in texts.unbind(1)]).mean()
    return contrast + model.captioner.loss(ids, stream[:, 1:])
