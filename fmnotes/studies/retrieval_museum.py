"""retrieval-museum: the tower that finds pages, and the reader of pairs that ranks them anew, of notebook 05.

    make study NAME=retrieval_museum

The tower learns from questions and the pages that answer them, by 03's loss, once for the vectors of whole texts and
once for late interaction. The reader of pairs starts from the tower's blocks and learns to choose the right page among
eight: things of the same name in other museums, things of one colour or shape in the same one, and others. Museums
never come twice. At last the tower also learns to take the second step of a question, from the page that the first one
found. Stopped at any moment, the same command goes on where it was.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

import numpy as np
import torch

from fmnotes import ROOT
from fmnotes.museum import catalogue, knowledge
from fmnotes.retrieval import CrossEncoder, Encoder, further, maxsim
from fmnotes.studies.museum_pages import CONFIG, QuestionPages, ids, loss, naming, ranked_loss
from fmnotes.studies.museum_rows import tokenizer
from fmnotes.training import Muon, TrainingConfig, quick_precision, train

RUNS = ROOT / "runs" / "studies" / "retrieval_museum"
SHIPPED = ROOT / "data" / "checkpoints" / "retrieval-museum"
MUSEUMS, EACH = 4, 32  # of a batch of questions
PAIRS, OTHERS = (4, 4), 7  # of a batch of the reader of pairs: museums, questions of each; wrong pages
STEPS = {"tower": 600, "reranker": 300, "second": 300}
RATE = 3e-3  # at the tower's peak; a half of it for the reader of pairs, a third for the second step
LOOKED_AT = 6  # museums of the validation split in which a look at the training searches


@lru_cache(maxsize=2)
def exam(split: str, number: int) -> tuple[list[dict], list[dict]]:
    """Pages of so many museums, and questions about them that name their museum; those about pictures are left out."""
    museums = [catalogue.museum(split, 0, index) for index in range(number)]
    pages = [page for museum in museums for page in museum.pages()]
    rows = [row for museum in museums for row in islice(knowledge.questions(museum), 40) if row["type"] != "picture"]
    for row in rows:
        if row["filter"]:
            row["question"] = naming(row["question"], row["museum"])
    return pages, rows


@torch.inference_mode()
def found(model: Encoder, split: str = "validation", number: int = LOOKED_AT) -> dict[str, float]:
    """How often the first page of the evidence is the nearest, or among five, by whole vectors and late interaction.

    And how often the second one is, for a question of two hops that stands before the first.
    """
    pages, rows = exam(split, number)
    of_pages = _vectors(model, [page["text"] for page in pages])
    of_questions = _vectors(model, [row["question"] for row in rows])
    place = {page["id"]: n for n, page in enumerate(pages)}
    own = torch.tensor([place[row["pages"][0]] for row in rows])
    cosines = torch.cat([one[0] for one in of_questions]) @ torch.cat([one[0] for one in of_pages]).T
    late = torch.cat([torch.cat([maxsim(q, p, a, w) for _, p, w in of_pages], 1) for _, q, a in of_questions])
    result = {}
    for name, scores in (("whole", cosines), ("late", late)):
        rank = (scores > scores.gather(1, own[:, None])).sum(1)
        phrasings = np.array([row["phrasing"] for row in rows])
        for k in (1, 5):
            hits = (rank < k).numpy()
            result |= {f"{name}, {p}, recall@{k}": float(hits[phrasings == p].mean()) for p in sorted(set(phrasings))}
            result[f"{name}, recall@{k}"] = float(hits.mean())
    rows = [row for row in rows if len(row["pages"]) > 1]
    asked = [further(row["question"], pages[place[row["pages"][0]]]["text"]) for row in rows]
    cosines = torch.cat([one[0] for one in _vectors(model, asked)]) @ torch.cat([one[0] for one in of_pages]).T
    cosines[torch.arange(len(rows)), [place[row["pages"][0]] for row in rows]] = -1.0  # found already
    rank = (cosines > cosines.gather(1, torch.tensor([[place[row["pages"][1]]] for row in rows]))).sum(1)
    return result | {f"second, recall@{k}": float((rank < k).float().mean()) for k in (1, 5)}


def _vectors(model: Encoder, texts: list[str], size: int = 64) -> list[tuple]:
    return [model(ids(texts[start : start + size])) for start in range(0, len(texts), size)]


@torch.inference_mode()
def chosen(model: CrossEncoder, others: int = OTHERS) -> dict[str, float]:
    """How often the reader of pairs puts the right page first, among those that it is trained with."""
    batches = QuestionPages(*PAIRS, others, seed=99, split="validation")
    scores = torch.cat([model(batches[i][0]).unflatten(0, (-1, 1 + others)) for i in range(12)])
    return {"right": (scores.argmax(1) == 0).float().mean().item()}


def recipe(steps: int, rate: float) -> TrainingConfig:
    """A schedule for either."""
    return TrainingConfig(
        steps,
        rate,
        min_learning_rate=rate / 50,
        warmup_steps=max(1, steps // 20),
        precision=quick_precision(),
        log_every=10,
        eval_every=max(1, steps // 3),
        save_every=max(1, steps // 10),
    )


def main() -> None:
    """Train both and ship them."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tower = Encoder(CONFIG)
    batches = QuestionPages(MUSEUMS, EACH)
    train(tower, loss, batches, recipe(STEPS["tower"], RATE), RUNS / "tower", evaluate=found, optimizer=Muon)
    torch.manual_seed(0)
    reranker = CrossEncoder(CONFIG)
    reranker.text.load_state_dict(tower.text.state_dict())
    batches = QuestionPages(*PAIRS, OTHERS, seed=1)
    config = recipe(STEPS["reranker"], RATE / 2)
    train(reranker, ranked_loss(OTHERS), batches, config, RUNS / "reranker", evaluate=chosen, optimizer=Muon)
    reranker.save_pretrained(SHIPPED / "reranker", torch.float16)
    batches = QuestionPages(MUSEUMS, EACH // 2, seed=2, second=True)  # long rows: each takes four times as long
    config = recipe(STEPS["second"], RATE / 3)
    train(tower, loss, batches, config, RUNS / "second", evaluate=found, optimizer=Muon)
    tower.save_pretrained(SHIPPED, torch.float16)
    tokenizer().save_pretrained(SHIPPED)


if __name__ == "__main__":
    main()
