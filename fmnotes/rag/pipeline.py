"""Ask the store, read, answer, cite: the whole, with what each stage found and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fmnotes.museum import prompt
from fmnotes.rag.reader import Reader
from fmnotes.retrieval.lexical import BM25, terms
from fmnotes.retrieval.pieces import further
from fmnotes.retrieval.retriever import PageRetriever
from fmnotes.retrieval.store import PageStore

LINKS = 4  # pages that are followed from one


@dataclass(frozen=True)
class Answer:
    """What came of a question."""

    text: str  # as the model wrote it: "The red star was made by Talo Brenik. [2]"
    pages: tuple[str, ...]  # ids of what stood in the prompt, in this order
    seconds: dict[str, float]  # of each stage

    @property
    def cited(self) -> str | None:
        """The id of the page that the answer names; None if it names none that was there."""
        number = prompt.cited(self.text)[1]
        return self.pages[number - 1] if number and number <= len(self.pages) else None

    @property
    def unknown(self) -> bool:
        """Whether the model says that the pages do not tell."""
        return self.text.strip() == prompt.UNKNOWN


@dataclass(frozen=True)
class Rag:
    """A retriever and a reader.

    Args:
        pages: so many in a prompt, five at most.
        hops: 2: behind the best page come those that it names by their titles, in the order of a second search, for
            the question and that page together; and then what the first search found.
    """

    retriever: PageRetriever
    reader: Reader
    pages: int = 5
    hops: int = 1

    def __post_init__(self):
        if not 1 <= self.pages <= prompt.MOST_PAGES or self.hops not in (1, 2):
            raise ValueError(
                f"a prompt has 1 to {prompt.MOST_PAGES} pages and there are 1 or 2 hops; got {self.pages}, {self.hops}"
            )

    def found(self, question: str, filter: dict | None = None) -> list[str]:
        """Ids of the pages for a prompt."""
        first = self.retriever.ranked(question, self.pages, filter)
        if self.hops == 1 or not first:
            return first
        store, linked = self.retriever.store, follow(self.retriever.store, first[0], LINKS)
        asked = store.embedding.embed_query(further(question, store.pages[first[0]].page_content))
        second = [name for name, _ in store.nearest(asked, LINKS, among=linked)]
        return list(dict.fromkeys([first[0], *second, *first]))[: self.pages]

    def ask(self, question: str, filter: dict | None = None) -> Answer:
        """Search, read and answer.

        Raises:
            ValueError: if the question is empty or too long.
        """
        seconds = {}
        with _timed(seconds, "search"):
            names = self.found(question, filter)
            texts = [self.retriever.store.pages[name].page_content for name in names]
        with _timed(seconds, "answer"):
            said = self.reader.answer(question, texts)
        return Answer(said, tuple(names), seconds)


def follow(store: PageStore, name: str, k: int) -> list[str]:
    """Ids of the k pages whose titles say best what stands on a page: those about the things that it names.

    The titles of its museum are searched by BM25, with each word of the page once. Pages without a title are left out.
    """
    page = store.pages[name]
    same = store.admitted({"museum": page.metadata.get("museum")})
    titled = [other for other in same if other != name and store.pages[other].metadata.get("title")]
    if not titled:
        return []
    titles = [store.pages[other].metadata["title"].rpartition(": ")[2] for other in titled]
    scores = BM25([terms(title) for title in titles]).scores(list(dict.fromkeys(terms(page.page_content))))
    order = sorted(range(len(titled)), key=lambda n: -scores[n])
    return [titled[n] for n in order[:k] if scores[n] > 0]


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began
