"""Text to vectors: LangChain's `Embeddings`, by our tower or by any of sentence-transformers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from langchain_core.embeddings import Embeddings

from fmnotes import data
from fmnotes.retrieval.encoder import Encoder

if TYPE_CHECKING:
    from jaxtyping import Float

    from fmnotes.bpe import Tokenizer


REMEMBERED = 10_000  # pages, whose tokens take some 10 kB each


class Vectors(Embeddings):
    """What LangChain wants of an embedding, and late interaction, from the two ways to embed."""

    def __init__(self):
        self._tokens: dict[str, torch.Tensor] = {}  # of pages, for late interaction

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """A vector for each text, in float32."""

    @abstractmethod
    def embed_tokens(self, texts: Sequence[str]) -> list[Float[torch.Tensor, "tokens k"]]:
        """Unit vectors of each text's tokens, for late interaction."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As LangChain wants them."""
        return self.embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        """As LangChain wants it."""
        return self.embed([text])[0].tolist()

    def maxsim(self, question: str, pages: Sequence[str]) -> list[float]:
        """Late interaction of a question with some pages: what `PageRetriever` takes as `rerank`.

        The vectors of pages' tokens are remembered, of the last `REMEMBERED` pages.
        """
        new = [page for page in dict.fromkeys(pages) if page not in self._tokens]
        self._tokens.update(zip(new, self.embed_tokens(new) if new else (), strict=True))
        (asked,) = self.embed_tokens([question])
        scores = [float((asked @ self._tokens[page].T).amax(1).mean()) for page in pages]
        for page in list(self._tokens)[: max(0, len(self._tokens) - REMEMBERED)]:
            del self._tokens[page]
        return scores


class TowerEmbeddings(Vectors):
    """The vectors of an `Encoder`."""

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer, batch_size: int = 64):
        super().__init__()
        self.encoder, self.tokenizer, self.batch_size = encoder.eval(), tokenizer, batch_size

    def ids(self, text: str) -> list[int]:
        """A text's tokens and the end token, as many as the tower takes."""
        most = self.encoder.config.context_length - 1
        return [*self.tokenizer.encode(text)[:most], self.encoder.config.eos_token_id]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """Unit vectors, in float32. What a text has beyond the tower's context is not read: see `pieces.split`.

        Raises:
            ValueError: if a text is empty.
        """
        vectors = np.zeros((len(texts), self.encoder.config.embed_dim), np.float32)
        for rows, ids in self._batches(texts):
            vectors[rows] = self.encoder(ids)[0].numpy()
        return vectors

    @torch.inference_mode()
    def embed_tokens(self, texts: Sequence[str]) -> list[Float[torch.Tensor, "tokens k"]]:
        """Unit vectors of each text's tokens, for late interaction."""
        found = [torch.zeros(0)] * len(texts)
        for rows, ids in self._batches(texts):
            _, each, keep = self.encoder(ids)
            for row, vectors, kept in zip(rows, each, keep, strict=True):
                found[row] = vectors[kept].clone()
        return found

    def _batches(self, texts: Sequence[str]):
        """Numbers of texts of about one length, and their ids."""
        rows = [self.ids(text) for text in texts]
        if any(len(row) == 1 for row in rows):
            raise ValueError(f"text {next(n for n, row in enumerate(rows) if len(row) == 1)} is empty: leave it out")
        order = sorted(range(len(rows)), key=lambda n: len(rows[n]))
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            ids = torch.full((len(part), len(rows[part[-1]])), self.encoder.config.pad_token_id)
            for filled, n in zip(ids, part, strict=True):
                filled[: len(rows[n])] = torch.tensor(rows[n])
            yield part, ids


class SentenceEmbeddings(Vectors):
    """The vectors of a model of sentence-transformers (Reimers and Gurevych 2019), by hub id or folder.

    Raises:
        FileNotFoundError: if there is no such model; it names the ways to provide it.
    """

    def __init__(self, name: str, batch_size: int = 32):
        from sentence_transformers import SentenceTransformer

        super().__init__()
        folder = data.model_folder(name)
        self.name, self.batch_size = name, batch_size
        self.model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=False)

    def embed(self, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
        """Vectors in float32, as the model makes them; what a text has beyond its context is not read."""
        return self.model.encode(list(texts), batch_size=self.batch_size, show_progress_bar=False)

    def embed_tokens(self, texts: Sequence[str]) -> list[Float[torch.Tensor, "tokens k"]]:
        """Unit vectors of each text's tokens."""
        options = {"batch_size": self.batch_size, "show_progress_bar": False, "output_value": "token_embeddings"}
        return [F.normalize(tokens.float(), dim=-1) for tokens in self.model.encode(list(texts), **options)]
