"""Towers that others have trained: a vision transformer of timm and a BERT of transformers, in ours."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from fmnotes import data
from fmnotes.clip.config import CLIPConfig
from fmnotes.clip.model import CLIP
from fmnotes.museum import prompt


class WordPieces:
    """A tokenizer of transformers, as `token_ids` asks of one."""

    def __init__(self, folder: Path):
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.special_tokens = {prompt.END: self.tokenizer.sep_token_id, prompt.PAD: self.tokenizer.pad_token_id}

    def encode(self, text: str) -> list[int]:
        """[CLS] and the text; `token_ids` puts the end token, BERT's [SEP], behind them."""
        return self.tokenizer.encode(text)[:-1]


def from_towers(vision: str | Path, text: str | Path, embed_dim: int = 128) -> tuple[CLIP, WordPieces]:
    """A CLIP of two pretrained towers, whose projections are new, and the tokenizer of the text tower.

    Args:
        vision: a vision transformer of timm, like "timm/vit_tiny_patch16_224.augreg_in21k": a hub id or a folder.
        text: a BERT of transformers, like "google/bert_uncased_L-4_H-256_A-4": a hub id or a folder.

    Raises:
        FileNotFoundError: if one is not to be had, or has no safetensors.
        ValueError: if one of them is of another kind than our towers.
    """
    import timm
    import transformers

    folder = data.model_folder(str(vision))
    seeing = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    reading = data.load_model(str(text), transformers.BertModel, add_pooling_layer=False)
    tokenizer, bert = WordPieces(data.model_folder(str(text))), reading.config
    try:
        config = CLIPConfig(
            seeing.embed_dim,
            len(seeing.blocks),
            seeing.blocks[0].attn.num_heads,
            bert.hidden_size,
            bert.num_hidden_layers,
            bert.num_attention_heads,
            embed_dim,
            seeing.patch_embed.img_size[0],
            seeing.patch_embed.patch_size[0],
            bert.vocab_size,
            bert.max_position_embeddings,
            tokenizer.special_tokens[prompt.END],
            tokenizer.special_tokens[prompt.PAD],
        )
        model = CLIP(config)
        model.visual.load_state_dict(seeing.state_dict())
        model.text.load_state_dict(reading.state_dict())
    except (AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{vision} or {text} is built in another way than our towers: wanted are a plain vision transformer with a "
            f"class token and a BERT. {error}"
        ) from error
    _take_our_pixels(model.visual.patch_embed["proj"], seeing.pretrained_cfg["mean"], seeing.pretrained_cfg["std"])
    return model, tokenizer


@torch.no_grad()
def _take_our_pixels(patches: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Patches that were learned on (p − mean) / std, with p from 0 to 1, get x = 2p − 1: a linear map, taken in."""
    mean, std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    patches.bias += (patches.weight * ((0.5 - mean) / std)).sum((1, 2, 3))
    patches.weight /= 2 * std
