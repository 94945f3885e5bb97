"""A language model that is shown a picture: the picture's tokens stand where its prompt has image tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fmnotes import generation, weights
from fmnotes.connector import adapter
from fmnotes.connector.config import ConnectorConfig
from fmnotes.connector.connectors import CLASSES
from fmnotes.gpt2 import GPT2, KVCache

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from fmnotes.clip import VisionTransformer

MODEL_TYPE = "fmnotes-connector"


class VisionLanguageModel(nn.Module):
    """A picture tower, a connector, and a language model (Liu et al. 2023, section 4.1). Only the connector is new.

    Both towers are frozen; to train one, turn its `requires_grad_` on again.

    Args:
        visual: its blocks but the last one are used, without the class token: the last serves that token alone. Ours,
            or the `Eyes` of others.
        language: ours, or a `CausalLM` of others.
        image_token_id: the token in whose place a picture's tokens are put, one for each.

    Raises:
        ValueError: if the connector's widths are not those of the towers, or a picture leaves no room in the context.
    """

    def __init__(self, visual: VisionTransformer, config: ConnectorConfig, language: GPT2, image_token_id: int):
        super().__init__()
        vision, text = visual.config, language.config
        found = {
            "vision_d_model": vision.vision_d_model,
            "text_d_model": text.d_model,
            "n_patches": vision.n_patches,
        }
        for name, size in found.items():
            if getattr(config, name) != size:
                raise ValueError(
                    f"the connector was made for other towers: its {name} is {getattr(config, name)}, theirs is {size}"
                )
        if config.n_tokens >= text.context_length:
            raise ValueError(
                f"{config.n_tokens} visual tokens leave no room for text in a context of {text.context_length:,}"
            )
        self.config, self.image_token_id = config, image_token_id
        self.visual, self.language = visual.requires_grad_(False), language.requires_grad_(False)
        self.connector = CLASSES[config.kind](config)
        self.towers = {"vision": fingerprint(visual), "language": fingerprint(language)}  # before anything is adapted

    def adapt(self, rank: int) -> None:
        """Let the language model learn, too, by low-rank updates of its own copy; see `adapter.adapted`."""
        self.language = adapter.adapted(self.language, rank)

    def patches(self, pixels: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n patches d_vision"]:
        """What the connector is given of pictures that `clip.pixel_values` has prepared."""
        return self.visual.patches(pixels)

    def inputs_embeds(
        self, ids: Int[Tensor, "n time"], patches: Float[Tensor, "n patches d_vision"] | None = None
    ) -> Float[Tensor, "n time d_text"]:
        """The prompts' token vectors, with the pictures' where they have image tokens.

        Raises:
            ValueError: if prompts and pictures do not match, in whatever way; it says which.
        """
        places = ids == self.image_token_id
        self._check(places, patches)
        x = self.language.wte(ids.masked_fill(places, 0))  # the image token need not be of the vocabulary
        if patches is None:
            return x
        tokens = self.connector(patches).to(x.dtype)
        return x.masked_scatter(places[..., None], tokens)

    def _check(self, places: Tensor, patches: Tensor | None) -> None:
        counts, n = places.sum(1), self.config.n_tokens
        if patches is None:
            if counts.any():
                raise ValueError(f"prompt {int(counts.argmax())} has image tokens, but there is no picture")
            return
        if len(patches) != len(places):
            raise ValueError(f"{len(places)} prompts came with {len(patches)} pictures: each takes one of its own")
        for row, count in enumerate(counts.tolist()):
            if count == n:
                continue
            if count == 0:
                raise ValueError(f"prompt {row} came with a picture, but has no image tokens: it takes {n} of them")
            if count % n == 0:
                raise ValueError(f"prompt {row} has room for {count // n} pictures, {count} image tokens; one is read")
            raise ValueError(f"prompt {row} has {count} image tokens; a picture of this connector takes {n}")

    def loss(
        self,
        ids: Int[Tensor, "n time"],
        targets: Int[Tensor, "n time"],
        patches: Float[Tensor, "n patches d_vision"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats; targets as for `GPT2.loss`: IGNORE wherever the answer is not."""
        return self.language.loss(None, targets, inputs_embeds=self.inputs_embeds(ids, patches))

    @torch.inference_mode()
    def prefilled(
        self, ids: Int[Tensor, "n time"], patches: Float[Tensor, "n patches d_vision"] | None, room: int
    ) -> tuple[Int[Tensor, "n 1"], KVCache]:
        """The last token of each prompt, and a cache that holds what comes before, with room for so many tokens more.

        Raises:
            ValueError: if prompt and new tokens do not fit the context.
        """
        length, limit = ids.shape[1], self.language.config.context_length
        if length + room > limit:
            left = limit - self.config.n_tokens
            raise ValueError(
                f"a prompt of {length:,} tokens and {room:,} new ones do not fit a context of {limit:,}; a picture "
                f"takes {self.config.n_tokens} and leaves {left:,}: shorten the prompt"
            )
        weight = self.language.wte.weight
        cache = KVCache(self.language.config, length + room, len(ids), weight)
        if length > 1:
            self.language.hidden_states(inputs_embeds=self.inputs_embeds(ids, patches)[:, :-1], cache=cache)
        return ids[:, -1:], cache

    def generate(
        self,
        ids: Int[Tensor, "n time"],
        patches: Float[Tensor, "n patches d_vision"] | None = None,
        max_new_tokens: int = 16,
        *,
        stop: Sequence[int] = (),
        beams: int = 1,
    ) -> list[list[int]]:
        """What follows each prompt, up to a stop token and without it: the likeliest token each time, or beam search.

        Prompts of a batch are equally long. Beam search takes one at a time.
        """
        if not isinstance(self.language, GPT2):
            rows = self.language.answers(self.inputs_embeds(ids, patches), max_new_tokens, stop, beams)
            return self._up_to(stop, rows)
        last, cache = self.prefilled(ids, patches, max_new_tokens)
        if beams > 1:
            found = generation.beam_search(self.language, last, max_new_tokens, beams, stop=stop, cache=cache)
            rows = [found[0][0]]
        else:
            options = {"temperature": 0.0, "stop": stop, "cache": cache}
            rows = generation.generate(self.language, last, max_new_tokens, **options)[:, 1:].tolist()
        return self._up_to(stop, rows)

    @staticmethod
    def _up_to(stop: Sequence[int], rows: list[list[int]]) -> list[list[int]]:
        ends = [next((i for i, token in enumerate(row) if token in stop), len(row)) for row in rows]
        return [row[:end] for row, end in zip(rows, ends, strict=True)]

    def flops(self, prompt: int, answer: int) -> dict[str, int]:
        """Floating-point operations of one greedy answer with the picture cached, for each of the three parts.

        Args:
            prompt: tokens of it, with the picture's.
            answer: tokens that are said.
        """
        vision, text = self.visual.config, self.language.config
        read, width = prompt - 1, text.d_model * text.n_layer  # the last token of the prompt is the first step
        steps = sum(text.flops_per_token(read + said) for said in range(1, answer + 1))
        return {
            "vision": vision.vision_flops(vision.vision_n_layer - 1),
            "connector": self.config.flops,
            "language": read * (24 * width * text.d_model + 4 * read * width) + steps,
        }

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype | None = None) -> None:
        """Write the connector: `config.json`, with a fingerprint of both towers, and `model.safetensors`.

        And if the language model was adapted, its low-rank updates; see `adapter.write`.
        """
        content = {"image_token_id": self.image_token_id, "towers": self.towers} | asdict(self.config)
        weights.write(folder, MODEL_TYPE, content, self.connector.state_dict(), dtype)
        if adapter.updated(self.language):
            adapter.write(self.language, folder, dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path, visual: VisionTransformer, language: GPT2) -> VisionLanguageModel:
        """Read what `save_pretrained` wrote, and put it between the same two towers; low-rank updates are added.

        Raises:
            FileNotFoundError: if one of the two files is missing.
            ValueError: if it is another kind of model, or was trained for other towers.
        """
        content, state = weights.read(folder, MODEL_TYPE)
        image, towers = content.pop("image_token_id"), content.pop("towers")
        model = cls(visual, ConnectorConfig(**content), language, image)
        for name, mark in model.towers.items():
            if mark != towers[name]:
                raise ValueError(
                    f"{folder} was trained for another {name} tower of the same shape ({towers[name]}, this one is "
                    f"{mark}): load the one that its card names, or train a connector for this one"
                )
        model.connector.load_state_dict(state)
        if (Path(folder) / "adapter_config.json").is_file():
            model.language = adapter.read(language, folder)
        return model.eval()


def fingerprint(module: nn.Module) -> str:
    """A hash of a model's weights in half precision: the same before it is shipped so, and after."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().to("cpu", torch.float16).numpy().tobytes())
    return digest.hexdigest()[:16]
