"""How does a search grow, from 1,000 pages to 100,000? Exactly, by HNSW, and by words.

    make study NAME=retrieval_growth

Museums of the test split fill stores of growing size; the same questions are asked in each of them, about the museums
of the smallest, so what grows is the number of wrong pages. Single questions, one thread, all ways side by side.
"""

from __future__ import annotations

import hashlib
import json
import time
from itertools import islice

import faiss
import numpy as np
import torch

from fmnotes import ROOT, metrics, timing
from fmnotes.museum import catalogue, knowledge
from fmnotes.retrieval import BM25, Encoder, terms
from fmnotes.retrieval.embeddings import TowerEmbeddings
from fmnotes.retrieval.index import new_index
from fmnotes.studies.museum_pages import naming
from fmnotes.studies.museum_rows import tokenizer
from fmnotes.studies.retrieval_museum import SHIPPED

STUDY = ROOT / "data" / "studies" / "retrieval_growth"
RUNS = ROOT / "runs" / "studies" / "retrieval_growth"
MUSEUMS = (11, 33, 104, 328, 1031)  # of 97 pages each: steps of half a power of ten
QUESTIONS = 200
BEAMS = (10, 16, 32, 64, 128, 256)
M, K, ENOUGH, ROUNDS = 16, 10, 0.99, 5


def vectors(tower: TowerEmbeddings, number: int) -> np.ndarray:
    """Of all pages of so many museums; what these weights have embedded before is read from the disk."""
    folder = RUNS / hashlib.sha256((SHIPPED / "model.safetensors").read_bytes()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, number, 50):
        end = min(start + 50, number)
        file = folder / f"{start}-{end}.npy"
        if not file.exists():
            museums = [catalogue.museum("test", 0, n) for n in range(start, end)]
            half = file.with_name("half-written.npy")
            np.save(half, tower.embed([page["text"] for museum in museums for page in museum.pages()]))
            half.replace(file)
        parts.append(np.load(file))
    return np.concatenate(parts)


def asked(number: int) -> tuple[list[str], list[str]]:
    """Questions that name their museum, among so many, and the ids of their pages."""
    rows = [row for n in range(number) for row in islice(knowledge.questions(catalogue.museum("test", 0, n)), 40)]
    rows = [row for row in rows if row["needs"] == "knowledge"]
    chosen = np.random.default_rng(0).permutation(len(rows))[:QUESTIONS]
    rows = [rows[n] for n in sorted(chosen)]
    texts = [naming(row["question"], row["filter"]) if row["filter"] else row["question"] for row in rows]
    return texts, [row["pages"][0] for row in rows]


def measured(pages: np.ndarray, queries: np.ndarray, right: np.ndarray, texts: list[str], words: list[str]) -> dict:
    """One size of a store.

    Args:
        pages, queries: unit vectors.
        right: the row of each question's page.
        texts, words: of the pages, and of the questions, for the search by words.
    """
    exact, graph = new_index(pages.shape[1], None), new_index(pages.shape[1], M)
    exact.add(pages)
    began = time.perf_counter()
    graph.add(pages)
    built = time.perf_counter() - began
    lexical, terms_ = BM25([terms(text) for text in texts]), [terms(text) for text in words]
    _, truth = exact.search(queries, K)
    found = {"pages": len(pages), "build_seconds": built, "bytes": {}, "beams": {}}
    found["bytes"] = {"vectors": pages.nbytes, "hnsw": len(faiss.serialize_index(graph))}
    for k in (1, 5):
        found[f"recall@{k}"] = float((truth[:, :k] == right[:, None]).any(1).mean())
    ways = {"exact": lambda: [exact.search(q[None], K) for q in queries]}
    for ef in BEAMS:
        parameters = faiss.SearchParametersHNSW(efSearch=ef)
        faiss.cvar.hnsw_stats.reset()
        _, near = graph.search(queries, K, params=parameters)
        same = [len(set(a) & set(b)) / K for a, b in zip(near, truth, strict=True)]
        compared = faiss.cvar.hnsw_stats.ndis / len(queries)
        found["beams"][ef] = {"recall": float(np.mean(same)), "compared": compared}
        ways[ef] = lambda p=parameters: [graph.search(q[None], K, params=p) for q in queries]
    scores = [lexical.scores(query) for query in terms_]
    found["words, recall@5"] = float(np.mean([(s > s[n]).sum() < 5 for s, n in zip(scores, right, strict=True)]))
    ways["words"] = lambda: [lexical.scores(query) for query in terms_]
    for name, seconds in timing.side_by_side(ways, ROUNDS).items():
        if name in found["beams"]:
            found["beams"][name]["ms"] = 1e3 * seconds / len(queries)
        else:
            found[f"{name}, ms"] = 1e3 * seconds / len(queries)
    return found


def main() -> None:
    """Measure every size, and fit how they grow."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    tower = TowerEmbeddings(Encoder.from_pretrained(SHIPPED), tokenizer())
    every = vectors(tower, MUSEUMS[-1])
    pages = [page for n in range(MUSEUMS[-1]) for page in catalogue.museum("test", 0, n).pages()]
    place = {page["id"]: n for n, page in enumerate(pages)}
    words, names = asked(MUSEUMS[0])
    queries, right = tower.embed(words), np.array([place[name] for name in names])
    per_museum = len(pages) // MUSEUMS[-1]
    sizes = []
    for number in MUSEUMS:
        n = number * per_museum
        sizes.append(measured(every[:n], queries, right, [page["text"] for page in pages[:n]], words))
    ends = [next(beam for beam in size["beams"].values() if beam["recall"] >= ENOUGH) for size in sizes]
    x = [size["pages"] for size in sizes]
    grown = {"exact, ms": [size["exact, ms"] for size in sizes], "words, ms": [size["words, ms"] for size in sizes]}
    grown |= {f"hnsw, {what}": [beam[what] for beam in ends] for what in ("ms", "compared")}
    fits = {name: metrics.power_law_fit(x, values)[0]._asdict() for name, values in grown.items()}
    found = {"questions": len(words), "m": M, "k": K, "enough": ENOUGH, "sizes": sizes, "exponents": fits}
    found["times as fast at the end"] = sizes[-1]["exact, ms"] / ends[-1]["ms"]
    found = json.loads(json.dumps(found), parse_float=lambda x: float(f"{float(x):.4g}"))
    STUDY.mkdir(parents=True, exist_ok=True)
    (STUDY / "curves.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
