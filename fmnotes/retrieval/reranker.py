"""A reader of pairs: question and page in one row, so that every token of one sees every token of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from fmnotes.clip.model import start
from fmnotes.clip.text import TextEncoder
from fmnotes.retrieval.encoder import EncoderConfig, Saved

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class CrossEncoder(Saved):
    """How well a page answers a question: one number, from the vector of the row's first token (Nogueira and Cho 2019).

    Its rows are [end] question [end] page.
    """

    model_type = "fmnotes-reranker"

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        self.text = TextEncoder(config)
        self.score = nn.Linear(config.text_d_model, 1)
        self.apply(start)

    def forward(self, ids: Int[Tensor, "n tokens"]) -> Float[Tensor, " n"]:
        """Scores of rows that `paired` has laid out; differences between pages of one question are what counts."""
        return self.score(self.text(ids, ids != self.config.pad_token_id)[:, 0])[:, 0]


def paired(
    config: EncoderConfig, questions: Sequence[Sequence[int]], pages: Sequence[Sequence[int]]
) -> Int[Tensor, "n tokens"]:
    """Rows of token ids for a `CrossEncoder`, filled up with padding; a page that is too long is cut off.

    Raises:
        ValueError: if a question alone fills the row.
    """
    rows = []
    for question, page in zip(questions, pages, strict=True):
        row = [config.eos_token_id, *question, config.eos_token_id]
        if len(row) >= config.context_length:
            raise ValueError(f"a question of {len(question)} tokens leaves no room for a page: shorten it")
        rows.append([*row, *page][: config.context_length])
    ids = torch.full((len(rows), max(map(len, rows))), config.pad_token_id)
    for filled, row in zip(ids, rows, strict=True):
        filled[: len(row)] = torch.tensor(row)
    return ids
