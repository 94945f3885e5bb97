"""From a question to its pages: LangChain's `BaseRetriever`, with each stage to be switched on or off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from fmnotes.retrieval.fusion import rrf
from fmnotes.retrieval.store import PageStore

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun


class PageRetriever(BaseRetriever):
    """Candidates by vectors, by words or both, their rankings fused, and the best of them ranked anew.

    Raises:
        ValueError: of pydantic's kind if neither way of searching is on, or a number is not positive; when asked, if
            the question is empty.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: PageStore
    k: int = Field(default=5, ge=1)  # pages that are returned; `invoke(question, k=3)` has its own
    candidates: int = Field(default=50, ge=1)  # of each search
    dense: bool = True  # search by vectors
    lexical: bool = True  # search by words
    rewrite: Callable[[str], str] | None = None  # question → what is embedded in its place: HyDE
    rerank: Callable[[str, list[str]], Sequence[float]] | None = None  # question, pages → scores, the higher the better

    def model_post_init(self, context: Any) -> None:
        """Refuse to search in no way."""
        if not (self.dense or self.lexical):
            raise ValueError("dense and lexical are both off: one of the searches is needed")

    def ranked(self, question: str, k: int, filter: dict | None = None) -> list[str]:
        """Ids of pages, the best first: as `invoke`, for measuring."""
        if not question.strip():
            raise ValueError("the question is empty: ask something")
        number, rankings = max(k, self.candidates), []
        if self.dense and len(self.store):
            asked = question if self.rewrite is None else self.rewrite(question)
            rankings.append(self.store.nearest(self.store.embedding.embed_query(asked), number, filter))
        if self.lexical:
            rankings.append(self.store.by_words(question, number, filter))
        rankings = [[name for name, _ in ranking] for ranking in rankings]
        names = list(rrf(rankings)) if len(rankings) > 1 else rankings[0] if rankings else []
        if self.rerank is None or not names:
            return names[:k]
        names = names[:number]
        scores = self.rerank(question, [self.store.pages[name].page_content for name in names])
        order = sorted(range(len(names)), key=lambda n: -scores[n])
        return [names[n] for n in order][:k]

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: dict | None = None,
    ) -> list[Document]:
        return self.store.get_by_ids(self.ranked(query, self.k if k is None else k, filter))
