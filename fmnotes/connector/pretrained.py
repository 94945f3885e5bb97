"""Towers of others, by hub id or folder: a vision transformer of timm or CLIP's, any causal model of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from fmnotes import data
from fmnotes.connector.config import ConnectorConfig
from fmnotes.connector.model import VisionLanguageModel
from fmnotes.gpt2.loss import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Eyes(nn.Module):
    """A picture tower of others, with what a connector asks of a `clip.VisionTransformer`."""

    def __init__(self, model: nn.Module, d_model: int, n_patches: int, image_size: int, mean: Tensor, std: Tensor):
        super().__init__()
        self.model = model
        self.config = SimpleNamespace(vision_d_model=d_model, n_patches=n_patches, image_size=image_size)
        self.register_buffer("mean", mean[:, None, None], persistent=False)
        self.register_buffer("std", std[:, None, None], persistent=False)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Eyes:
        """Open a vision transformer of timm, or the picture tower of a CLIP of transformers.

        Raises:
            FileNotFoundError: if it is not to be had, or has no safetensors.
            ValueError: if it is neither.
        """
        folder = data.model_folder(str(name))
        config = json.loads((folder / "config.json").read_text())
        if "pretrained_cfg" in config:
            return cls._of_timm(folder)
        if config.get("model_type") in ("clip", "clip_vision_model"):
            return cls._of_clip(folder)
        raise ValueError(
            f"{name} is a {config.get('model_type', 'model of unknown kind')!r}; a picture tower is a vision "
            "transformer of timm, or a CLIP of transformers"
        )

    @classmethod
    def _of_timm(cls, folder: Path) -> Eyes:
        import timm

        model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
        if not isinstance(model, timm.models.vision_transformer.VisionTransformer):
            raise ValueError(f"{folder} is a {type(model).__name__}: wanted is a vision transformer, which has patches")
        patches, pixels = model.patch_embed, model.pretrained_cfg
        mean, std = torch.tensor(pixels["mean"]), torch.tensor(pixels["std"])
        return cls(model, model.embed_dim, patches.num_patches, patches.img_size[0], mean, std)

    @classmethod
    def _of_clip(cls, folder: Path) -> Eyes:
        import transformers

        model = data.load_model(str(folder), transformers.CLIPVisionModel)
        shape = model.config
        mean, std = torch.tensor(transformers.image_utils.OPENAI_CLIP_MEAN), transformers.image_utils.OPENAI_CLIP_STD
        n_patches = (shape.image_size // shape.patch_size) ** 2
        return cls(model, shape.hidden_size, n_patches, shape.image_size, mean, torch.tensor(std))

    def patches(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n patches d"]:
        """The patches' vectors before the last block, of pictures that `clip.pixel_values` has prepared."""
        pixels = (pixels / 2 + 0.5 - self.mean) / self.std
        if hasattr(self.model, "forward_intermediates"):
            last = [len(self.model.blocks) - 2]
            return self.model.forward_intermediates(pixels, last, output_fmt="NLC", intermediates_only=True)[0]
        return self.model(pixels, output_hidden_states=True).hidden_states[-2][:, -self.config.n_patches :]


class CausalLM(nn.Module):
    """A language model of transformers, with what a connector asks of a `GPT2`."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model
        shape = model.config
        self.config = SimpleNamespace(d_model=shape.hidden_size, context_length=shape.max_position_embeddings)

    @property
    def wte(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def loss(
        self, input_ids: None, targets: Int[Tensor, "n time"], *, inputs_embeds: Float[Tensor, "n time d"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats, as `GPT2.loss` on vectors."""
        logits = self.model(inputs_embeds=inputs_embeds).logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)

    def answers(
        self, inputs_embeds: Float[Tensor, "n time d"], max_new_tokens: int, stop: Sequence[int], beams: int
    ) -> list[list[int]]:
        """What follows, greedily or by beam search, by the model's own `generate`."""
        options = {"do_sample": False, "num_beams": beams}
        options |= {"length_penalty": 0.0, "early_stopping": False} if beams > 1 else {}
        ends = {"eos_token_id": list(stop) or None, "pad_token_id": stop[0] if stop else 0}
        return self.model.generate(
            inputs_embeds=inputs_embeds,
            attention_mask=torch.ones(inputs_embeds.shape[:2], dtype=torch.long),
            max_new_tokens=max_new_tokens,
            **options,
            **ends,
        ).tolist()


def from_towers(
    vision: str | Path, language: str | Path, kind: str = "mlp", n_head: int = 1
) -> tuple[VisionLanguageModel, PreTrainedTokenizerBase]:
    """A new connector between two pretrained towers, and the tokenizer of the second.

    Its image token is a number behind the vocabulary's: no text has it.

    Args:
        vision: a vision transformer of timm or a CLIP, like "openai/clip-vit-base-patch32": a hub id or a folder.
        language: a causal language model of transformers, like "HuggingFaceTB/SmolLM2-135M": a hub id or a folder.
        kind, n_head: see `ConnectorConfig`.

    Raises:
        FileNotFoundError: if one is not to be had, or has no safetensors.
        ValueError: if one is of another kind, or its sizes do not fit.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    seeing, speaking = Eyes.from_pretrained(vision), CausalLM(data.load_model(str(language), AutoModelForCausalLM))
    tokenizer = AutoTokenizer.from_pretrained(data.model_folder(str(language)), trust_remote_code=False)
    sizes = seeing.config.vision_d_model, speaking.config.d_model, seeing.config.n_patches
    config = ConnectorConfig(kind, *sizes, n_head=n_head)
    return VisionLanguageModel(seeing, config, speaking, len(tokenizer)), tokenizer
