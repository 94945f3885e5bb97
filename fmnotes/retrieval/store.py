"""Pages with their vectors: LangChain's `VectorStore`, on faiss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from fmnotes.retrieval.fusion import mmr
from fmnotes.retrieval.index import new_index, unit_rows
from fmnotes.retrieval.lexical import BM25, terms

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, Int

Filter = Mapping[str, Any]  # {"museum": "Velmovian Museum"}: what a page's metadata must say, all of it
Found = list[tuple[str, float]]  # ids and cosines, the best first


class PageStore(VectorStore):
    """Pages that are found by their vectors, exactly or by HNSW, or by their words.

    A page may have several vectors: `split` cuts it into pieces that are embedded one by one, and whoever finds a piece
    gets the whole page, once. A filter is applied *before* the search, which is then exact, over what it admits.

    Args:
        embedding: LangChain's `Embeddings`; vectors are compared by their cosine.
        m: neighbours of a vector in each layer of HNSW (Malkov and Yashunin 2018); None: every search is exact.
        ef: so many candidates HNSW keeps; more find more, and take longer.
        split: text → the pieces that are embedded; None: the text itself.
        terms: text → the words that a search by words compares; `lexical.english` for pages in plain English.
    """

    def __init__(
        self,
        embedding: Embeddings,
        m: int | None = None,
        ef: int = 64,
        split: Callable[[str], list[str]] | None = None,
        terms: Callable[[str], list[str]] = terms,
    ):
        if (m is not None and m < 2) or ef < 1:
            raise ValueError(f"m must be 2 or more and ef 1 or more; got {m} and {ef}")
        self.embedding, self.m, self.ef, self.split, self.terms = embedding, m, ef, split, terms
        self.pages: dict[str, Document] = {}
        self._owners: list[str | None] = []  # of each vector; None where its page is gone
        self._vectors = np.zeros((0, 0), np.float32)
        self._index = None

    @property
    def embeddings(self) -> Embeddings:
        """As LangChain calls it."""
        return self.embedding

    def __len__(self) -> int:
        return len(self.pages)

    # ------------------------------------------------------------------------------------------------------- changing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        vectors: Float[np.ndarray, "n e"] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add pages; one whose id is there already takes the old one's place. All are embedded before any is added.

        Args:
            ids: None, or None for one of them: the next free "page-…".
            vectors: of the texts, where the embedding has made them before; one each, so not in pieces.

        Returns:
            the ids.

        Raises:
            ValueError: if texts, metadatas and ids differ in number, an id comes twice, or a page is empty.
        """
        texts = list(texts)
        metadatas = [{} for _ in texts] if metadatas is None else list(metadatas)
        names = self._names([None] * len(texts) if ids is None else list(ids))
        if not len(texts) == len(metadatas) == len(names):
            raise ValueError(
                f"{len(texts)} texts, {len(metadatas)} metadatas and {len(names)} ids do not belong together"
            )
        pieces, owners = [], []
        for name, text in zip(names, texts, strict=True):
            cut = [text] if self.split is None else self.split(text)
            if not any(piece.strip() for piece in cut):
                raise ValueError(f"page {name!r} is empty: leave it out")
            pieces.extend(cut)
            owners.extend([name] * len(cut))
        if not pieces:
            return []
        if vectors is not None and len(vectors) != len(pieces):
            raise ValueError(f"{len(vectors)} vectors do not belong to {len(pieces)} pieces of text: one each, please")
        vectors = unit_rows(self.embedding.embed_documents(pieces) if vectors is None else vectors)
        if self._index is not None and vectors.shape[1] != self._vectors.shape[1]:
            raise ValueError(
                f"these vectors have {vectors.shape[1]} numbers, those of the store {self._vectors.shape[1]}: the "
                "embedding has changed, so every page must be embedded anew, in a new store"
            )
        self.delete([name for name in names if name in self.pages])
        for name, text, metadata in zip(names, texts, metadatas, strict=True):
            self.pages[name] = Document(page_content=text, metadata=dict(metadata), id=name)
        self._grow(vectors, owners)
        return names

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> bool:
        """Remove pages, or all of them if no ids are given; ids that are not there are passed over.

        Returns:
            whether all of them were there.
        """
        gone = set(self.pages if ids is None else ids)
        there = gone & set(self.pages)
        if there:
            for name in there:
                del self.pages[name]
            self._owners = [None if owner in there else owner for owner in self._owners]
            self._forget()
            alive = [row for row, owner in enumerate(self._owners) if owner is not None]
            if 2 * len(alive) < len(self._owners):  # mostly graves: HNSW cannot remove, so it is made anew
                vectors, owners = self._vectors[alive], [self._owners[row] for row in alive]
                self._vectors, self._owners, self._index = np.zeros((0, 0), np.float32), [], None
                self._grow(vectors, owners)
        return there == gone

    def _names(self, ids: Sequence[str | None]) -> list[str]:
        names, number = [], len(self.pages)
        given = [name for name in ids if name is not None]
        if len(set(given)) < len(given):
            twice = next(name for name in given if given.count(name) > 1)
            raise ValueError(f"the id {twice!r} comes twice: each page needs its own")
        for name in ids:
            while name is None and (f"page-{number}" in self.pages or f"page-{number}" in given):
                number += 1
            names.append(f"page-{number}" if name is None else name)
            number += name is None
        return names

    def _grow(self, vectors: Float[np.ndarray, "n e"], owners: list[str]) -> None:
        if not len(vectors):
            return
        if self._index is None:
            self._index = new_index(vectors.shape[1], self.m)
            self._vectors = np.zeros((0, vectors.shape[1]), np.float32)
        self._index.add(vectors)
        self._vectors = np.concatenate([self._vectors, vectors])
        self._owners += owners
        self._forget()

    def _forget(self) -> None:
        for name in ("words", "_rows", "_alive", "_places", "_holders"):
            self.__dict__.pop(name, None)

    # ------------------------------------------------------------------------------------------------------ searching

    @cached_property
    def words(self) -> BM25:
        """The pages' words, in the order of `pages`."""
        return BM25([self.terms(page.page_content) for page in self.pages.values()])

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        """The rows of each page's vectors."""
        rows = {name: [] for name in self.pages}
        for row, owner in enumerate(self._owners):
            if owner is not None:
                rows[owner].append(row)
        return rows

    @cached_property
    def _alive(self) -> faiss.IDSelector | None:
        """The rows whose page is there; None if all are."""
        rows = [row for row, owner in enumerate(self._owners) if owner is not None]
        return None if len(rows) == len(self._owners) else faiss.IDSelectorBatch(np.array(rows))

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where each page stands in the order of `pages`."""
        return {name: place for place, name in enumerate(self.pages)}

    @cached_property
    def _holders(self) -> dict[str, dict[Any, list[str]]]:
        """For each field that was filtered by, the pages that hold each value."""
        return {}

    def admitted(self, filter: Filter) -> list[str]:
        """Ids of the pages whose metadata say what the filter says."""
        field, value = next(iter(filter.items()))
        if not isinstance(value, Hashable):
            first = self.pages
        else:
            if field not in self._holders:
                holders = self._holders[field] = defaultdict(list)
                for name, page in self.pages.items():
                    held = page.metadata.get(field)
                    holders[held if isinstance(held, Hashable) else None].append(name)
            first = self._holders[field].get(value, [])
        return [name for name in first if all(self.pages[name].metadata.get(f) == v for f, v in filter.items())]

    def nearest(
        self, vector: Sequence[float], k: int, filter: Filter | None = None, among: Sequence[str] | None = None
    ) -> Found:
        """The k pages with the largest cosines; fewer if there are not so many.

        Args:
            among: ids of the only pages that are looked at, in the place of a filter.

        Raises:
            ValueError: if k is not positive, or the vector is of another length.
            KeyError: if one of `among` is not there.
        """
        if k < 1:
            raise ValueError(f"k must be 1 or more, not {k}")
        if not self.pages:
            return []
        vector = unit_rows([vector])
        if vector.shape[1] != self._vectors.shape[1]:
            raise ValueError(f"the vector has {vector.shape[1]} numbers, those of the store {self._vectors.shape[1]}")
        if filter and among is None:
            among = self.admitted(filter)
        if among is not None:
            return self._among(vector[0], [row for name in among for row in self._rows[name]], k)
        wanted = k
        while True:
            rows, cosines = self._search(vector, min(wanted, len(self._owners)))
            found = self._by_page(rows, cosines, k)
            if len(found) == min(k, len(self.pages)) or wanted >= len(self._owners):
                return found
            wanted *= 2  # several pieces of one page are among the nearest

    def _search(self, vector: Float[np.ndarray, "1 e"], k: int) -> tuple[np.ndarray, np.ndarray]:
        if self.m is None:
            parameters = faiss.SearchParameters(sel=self._alive)
        else:
            parameters = faiss.SearchParametersHNSW(efSearch=max(self.ef, k), sel=self._alive)
        cosines, rows = self._index.search(vector, k, params=parameters)
        return rows[0][rows[0] >= 0], cosines[0][rows[0] >= 0]

    def _among(self, vector: Float[np.ndarray, " e"], rows: list[int], k: int) -> Found:
        cosines = self._vectors[rows] @ vector
        order = np.argsort(-cosines, kind="stable")
        return self._by_page(np.array(rows, int)[order], cosines[order], k)

    def _by_page(self, rows: Int[np.ndarray, " n"], cosines: Float[np.ndarray, " n"], k: int) -> Found:
        found = {}
        for row, cosine in zip(rows, cosines, strict=True):
            found.setdefault(self._owners[row], float(cosine))
        return list(found.items())[:k]

    def by_words(self, query: str, k: int, filter: Filter | None = None) -> Found:
        """The k pages with the largest BM25 scores; pages that share no word with the query are left out."""
        if not self.pages:
            return []
        scores = self.words.scores(self.terms(query))
        if filter:
            allowed = np.array([self._places[name] for name in self.admitted(filter)], int)
            scores, everywhere = np.zeros_like(scores), scores
            scores[allowed] = everywhere[allowed]
        least = np.partition(scores, -k)[-k] if k < len(scores) else 0.0
        places = np.flatnonzero((scores >= least) & (scores > 0))
        best = places[np.argsort(-scores[places], kind="stable")][:k]
        names = list(self.pages)
        return [(names[n], float(scores[n])) for n in best]

    # ------------------------------------------------------------------------------------------- as LangChain wants it

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Those of the pages that are there, as copies."""
        return [self.pages[name].model_copy(deep=True) for name in ids if name in self.pages]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The k pages nearest to a text, with their cosines. ValueError if it is empty."""
        if not query.strip():
            raise ValueError("the query is empty: ask something")
        if not self.pages:
            return []
        found = self.nearest(self.embedding.embed_query(query), k, filter)
        return [(self.get_by_ids([name])[0], cosine) for name, cosine in found]

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """The k pages nearest to a text."""
        return [page for page, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, filter: Filter | None = None, **kwargs: Any
    ) -> list[Document]:
        """The k pages nearest to a vector."""
        return self.get_by_ids([name for name, _ in self.nearest(embedding, k, filter)])

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **_: Any,
    ) -> list[Document]:
        """k of the `fetch_k` nearest pages that say different things: `fusion.mmr`."""
        vector = self.embedding.embed_query(query)
        names = [name for name, _ in self.nearest(vector, fetch_k, filter)]
        if not names:
            return []
        firsts = self._vectors[[self._rows[name][0] for name in names]]
        return self.get_by_ids([names[n] for n in mmr(np.array(vector), firsts, k, lambda_mult)])

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda cosine: (1 + cosine) / 2

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> PageStore:
        """A store of these pages; `kwargs` as in `PageStore`."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def save(self, folder: str | Path) -> None:
        """See `saving.save`."""
        from fmnotes.retrieval.saving import save

        save(self, folder)

    @classmethod
    def load(cls, folder: str | Path, embedding: Embeddings, **functions: Callable) -> PageStore:
        """See `saving.load`; `split` and `terms`, which no file holds, as in `PageStore`."""
        from fmnotes.retrieval.saving import load

        return load(folder, embedding, **functions)
