"""The whole system, and what takes the place of its parts in `system_ablations`.

A quick part has learned as long as a notebook's quick profile, but for the reader: no minute teaches that, so it has
had a part of its first stage. Each learns once, under `runs/studies/system_ablations`, or goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache

import torch
from torch import nn

from fmnotes import ROOT, clip, retrieval, system
from fmnotes.connector import VisionLanguageModel
from fmnotes.gpt2 import GPT2
from fmnotes.museum import catalogue
from fmnotes.rag import Reader
from fmnotes.retrieval.embeddings import TowerEmbeddings
from fmnotes.retrieval.store import PageStore
from fmnotes.studies import connector_museum, gpt2_museum, museum_pages, museum_pairs
from fmnotes.studies.connector_museum import Recipe
from fmnotes.studies.museum_looks import seen
from fmnotes.studies.museum_rows import MuseumRows
from fmnotes.training import Muon, TrainingConfig, quick_precision, train

RUNS = ROOT / "runs" / "studies" / "system_ablations"
MUSEUMS = 104  # in the store
CONNECTOR = Recipe(50, 120, rank=8)  # as in notebook 04
SEARCH, PICTURES, READER = 40, 250, 1000  # updates: about as in 05, as in 03, and half of gpt2-museum's first stage


class Remembering(Reader):
    """A reader that answers the same question from the same pages only once."""

    def answer(self, question: str, pages: Sequence[str] = ()) -> str:
        """As the reader."""
        return _answered(self.model, self.tokenizer, question, tuple(pages))


@cache
def _answered(model, tokenizer, question: str, pages: tuple[str, ...]) -> str:
    return Reader(model, tokenizer).answer(question, pages)


@lru_cache(maxsize=1)
def whole(museums: int = MUSEUMS) -> system.System:
    """The shipped system, with a reader that remembers."""
    return with_reader(system.load(catalogue.museum("test", 0, n) for n in range(museums)))


def changed(part: str) -> system.System:
    """The whole with other parts in the place of its own."""
    found = whole()
    for change in filter(None, part.split(", ")):
        found = CHANGES[change](found)
    return found


def with_reader(one: system.System, model: GPT2 | None = None) -> system.System:
    """The system with a language model to read, or with its own, and a memory for what has been read."""
    return replace(one, reader=Remembering(model or one.reader.model, one.reader.tokenizer))


def with_eyes(one: system.System, kind: str) -> system.System:
    """The system with another one of the shipped connectors."""
    visual, language = connector_museum.towers()
    return replace(one, eyes=VisionLanguageModel.from_pretrained(connector_museum.SHIPPED / kind, visual, language))


def _not_adapted(one: system.System) -> system.System:
    eyes = with_eyes(one, "mlp").eyes
    eyes.language = connector_museum.towers()[1]
    return replace(one, eyes=eyes)


def _with_search(one: system.System) -> system.System:
    tower = TowerEmbeddings(quick_search(), one.reader.tokenizer)
    store, pages = PageStore(tower), one.store.pages
    texts, metadata = zip(*((page.page_content, page.metadata) for page in pages.values()), strict=True)
    store.add_texts(texts, metadata, ids=list(pages))
    return replace(one, store=store, rerank=tower.maxsim)


def _learned(model: nn.Module, loss: Callable, batches: object, steps: int, rate: float, name: str) -> nn.Module:
    warmup, every = max(1, steps // 20), max(1, steps // 4)
    precision = quick_precision()
    config = TrainingConfig(steps, rate, rate / 50, warmup, precision=precision, log_every=10, save_every=every)
    train(model, loss, batches, config, RUNS / name, optimizer=Muon)
    return model.eval()


@lru_cache(maxsize=1)
def quick_eyes() -> VisionLanguageModel:
    """A connector behind the shipped picture tower, after as many updates as in notebook 04."""
    torch.manual_seed(0)
    model = connector_museum.between("mlp", *connector_museum.towers())
    connector_museum.taught(model, CONNECTOR, 0, RUNS / "quick-connector", connector_museum.patches())
    return model.eval()


@lru_cache(maxsize=1)
def quick_pictures() -> VisionLanguageModel:
    """As `quick_eyes`, behind a picture tower that has learned with as many updates as in notebook 03."""
    torch.manual_seed(0)
    towers, pairs = clip.CLIP(clip.CLIPConfig.quick()), museum_pairs.MuseumPairs(128)
    visual = _learned(towers, museum_pairs.loss, pairs, PICTURES, 1e-2, "quick-pictures").visual
    model = connector_museum.between("mlp", visual, connector_museum.towers()[1])
    patches = seen(visual, connector_museum.PICTURES)
    connector_museum.taught(model, CONNECTOR, 0, RUNS / "quick-pictures-connector", patches)
    return model.eval()


@lru_cache(maxsize=1)
def quick_search() -> retrieval.Encoder:
    """A tower that embeds pages, after as many updates as in notebook 05."""
    torch.manual_seed(0)
    learner, steps = retrieval.Encoder(retrieval.EncoderConfig()), SEARCH
    config = TrainingConfig(steps, 3e-3, 3e-4, steps // 10, log_every=10, save_every=steps)
    train(learner, museum_pages.loss, museum_pages.QuestionPages(4, 8), config, RUNS / "quick-tower", optimizer=Muon)
    return learner.eval()


@lru_cache(maxsize=1)
def quick_reader() -> GPT2:
    """A model that reads one or two pages a little: four blocks, after a part of gpt2-museum's first stage."""
    torch.manual_seed(0)
    stage = gpt2_museum.STAGES["short"]
    rows = MuseumRows(stage.length, stage.shares, stage.pages, first=stage.first)
    learner = GPT2(gpt2_museum.config(stage.n_layer))
    return _learned(learner, gpt2_museum.loss, rows, READER, stage.rate, "quick-reader")


CHANGES: dict[str, Callable[[system.System], system.System]] = {
    "no reranker": lambda one: replace(one, rerank=None),
    "eyes: qformer": lambda one: with_eyes(one, "qformer"),
    "eyes: resampler": lambda one: with_eyes(one, "resampler"),
    "eyes: not adapted": _not_adapted,
    "eyes: quick": lambda one: replace(one, eyes=quick_eyes()),
    "eyes: quick pictures": lambda one: replace(one, eyes=quick_pictures()),
    "reader: small": lambda one: with_reader(one, connector_museum.towers()[1]),
    "reader: quick": lambda one: with_reader(one, quick_reader()),
    "search: quick": _with_search,
}
