"""What becomes of a question, as plain values for the page: the answer, where it stands, and what each stage found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fmnotes.museum import prompt
from fmnotes.museum.pages import sentences

if TYPE_CHECKING:
    from fmnotes.retrieval.store import PageStore
    from fmnotes.system import Trace

NAMES = {
    "route": "Route",
    "look": "Look at the picture",
    "search": "Search the pages",
    "rank": "Rank them anew",
    "second search": "Follow the first page",
    "read": "Read and answer",
}
NEEDS = {
    "sight": "the picture alone",
    "one hop": "one page",
    "two hops": "two pages, the first of which leads to the second",
}


def told(trace: Trace, store: PageStore, expected: str = "") -> dict:
    """All that the page shows of an answered question.

    Args:
        expected: the right answer, where it is known.
    """
    return {
        "question": trace.question,
        "answer": prompt.cited(trace.text.strip())[0],
        "unknown": trace.unknown,
        "sight": trace.kind == "sight",
        "citation": citation(trace, store),
        "expected": expected,
        "right": trace.right(expected) if expected else None,
        "attention": looked(trace),
        "stages": stages(trace, store),
    }


def citation(trace: Trace, store: PageStore) -> dict | None:
    """The cited page, cut around the sentence that the answer takes from it; None if the answer names no page.

    `exact` is false, and no sentence marked, where the page does not hold the answer word for word.
    """
    if trace.cited is None:
        return None
    page, sentence = store.pages[trace.cited], prompt.cited(trace.text)[1]
    body = page.page_content.partition("\n")[2]
    said = prompt.cited(trace.text)[0].strip()
    exact = said in sentences(page.page_content)
    before, marked, after = body.partition(said) if exact else (body, "", "")
    parts = {"before": before, "marked": marked, "after": after}
    return {"number": sentence, "title": page.metadata["title"], "exact": exact, **parts}


def looked(trace: Trace) -> dict | None:
    """Where the picture was looked at, from 0 to 1, and for which question; None if it was not."""
    if trace.attention is None:
        return None
    least, most = trace.attention.min(), trace.attention.max()
    weights = (trace.attention - least) / max(most - least, 1e-9)
    question, said = list(trace.seen.items())[-1]
    row, column = divmod(int(trace.attention.argmax()), trace.attention.shape[1])
    rows, columns = trace.attention.shape
    return {
        "map": weights.round(3).tolist(),
        "question": question,
        "said": said,
        "where": f"most of all at row {row + 1} of {rows}, column {column + 1} of {columns}",
    }


def stages(trace: Trace, store: PageStore, failed: str = "") -> list[dict]:
    """The stages in their order: name, milliseconds, what each found (term, value), and pages that it listed.

    Args:
        failed: the stage that could do no more.
    """
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in trace.seconds}
    lists: dict[str, list[str]] = {}
    title = {name: store.pages[name].metadata["title"] for name in (*trace.found, *trace.pages)}
    if trace.kind:
        found["route"].append(("Needs", NEEDS[trace.kind]))
    if "look" in found:
        found["look"] += [("Pointed at", trace.pointed)] if trace.pointed else []
        found["look"] += [("Asked", f"{question} → {said}") for question, said in trace.seen.items()]
    if "search" in found:
        found["search"].append(("Searched for", trace.searched))
        if trace.found:
            found["search"].append(("Found", title[trace.found[0]]))
            lists["search"] = [title[name] for name in trace.found]
    if "rank" in found and trace.ranked:
        found["rank"].append(("First now", title[trace.ranked[0]] + _moved(trace.found, trace.ranked[0])))
        lists["rank"] = [title[name] + _moved(trace.found, name) for name in trace.ranked]
    if "second search" in found:
        found["second search"] += [("Led to", title[name]) for name in trace.pages[1:]] or [("Led to", "no page")]
    if "read" in found:
        found["read"] += [(f"Page {number}", title[name]) for number, name in enumerate(trace.pages, start=1)]
        found["read"] += [("Wrote", trace.text)] if trace.text else []
    if failed:
        found[failed].append(("Stopped", "here"))
    return [
        {
            "name": NAMES.get(name, name),
            "ms": round(trace.seconds[name] * 1e3, 1),
            "found": found[name],
            "pages": lists.get(name, []),
            "failed": name == failed,
        }
        for name in trace.seconds
    ]


def _moved(before: Sequence[str], name: str) -> str:
    return f" (was number {before.index(name) + 1})"
