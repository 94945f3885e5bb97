"""Collections with judgements, in the layout of BEIR (Thakur et al. 2021)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from fmnotes import data


def collection(name: str) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Pages, questions, and for each question of the test split its right pages with their grades, all by ids.

    A page's title is its first line; pages without a word are left out, and judgements of 0.

    Args:
        name: a hub id or a folder with the configurations "corpus" and "queries", which its README.md names, beside
            a folder "qrels" with "test.tsv". On the hub the judgements have an id of their own, "<name>-qrels".

    Raises:
        FileNotFoundError: if it is not to be had.
    """
    folder = data.resolve(name)
    judged = data.load(str(folder / "qrels") if isinstance(folder, Path) else f"{name}-qrels", None, "test")
    relevant = defaultdict(dict)
    for row in judged:
        if row["score"] > 0:
            relevant[str(row["query-id"])][str(row["corpus-id"])] = row["score"]
    pages = {row["_id"]: f"{row['title']}\n{row['text']}".strip() for row in data.load(name, "corpus", "corpus")}
    questions = {row["_id"]: row["text"] for row in data.load(name, "queries", "queries")}
    return {key: text for key, text in pages.items() if text}, questions, dict(relevant)
