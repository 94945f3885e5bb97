"""One system of all parts: a picture and a question in, an answer with its source out, and every stage open to view.

A question takes one of three routes. What asks of the picture alone is answered by the model that sees (notebook 04).
What asks of a museum is searched for among its pages, and read (05). And where the words point at something in the
picture without saying what it is, the picture is asked first, and the question then names what was seen: "Who made the
object left of the blue star?" becomes "Who made the red circle?".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmnotes import bpe, clip, data, gpt2, retrieval
from fmnotes.connector import VisionLanguageModel
from fmnotes.museum import prompt
from fmnotes.rag import Answer, Reader, follow
from fmnotes.rag.reader import harmless
from fmnotes.retrieval.embeddings import TowerEmbeddings
from fmnotes.retrieval.pieces import further
from fmnotes.retrieval.store import PageStore
from fmnotes.system.routing import FIELDS, SIGHT, TWO_HOPS, pointed_at, router, said

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from fmnotes.museum.catalogue import Museum

    Picture = UInt8[np.ndarray, "height width 3"]

CANDIDATES = 10  # pages that are ranked anew
LINKS = 4  # pages that are followed from one, as in `rag`
LONGEST = 12  # tokens of an answer about the picture


class StageError(ValueError):
    """What a stage could not do. `stage` is its name, `trace` what the stages before it found."""

    def __init__(self, stage: str, message: str, trace: Trace):
        super().__init__(f"{stage}: {message}")
        self.stage, self.trace = stage, trace


@dataclass
class Trace:
    """What became of a question, stage by stage."""

    question: str
    kind: str = ""  # one of KINDS
    pointed: str = ""  # the words that point into the picture, such as "the object left of the blue star"
    seen: dict[str, str] = field(default_factory=dict)  # what the picture was asked, and what it said
    attention: Float[np.ndarray, "rows columns"] | None = None  # where it was looked at for the last of these
    searched: str = ""  # what the pages were asked
    found: tuple[str, ...] = ()  # ids of pages, as the search ranked them
    ranked: tuple[str, ...] = ()  # the same, after a second look
    pages: tuple[str, ...] = ()  # those in the prompt, in its order
    text: str = ""  # the answer as the model wrote it
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage

    @property
    def answer(self) -> Answer:
        """What was read from the pages, as `rag` has it."""
        return Answer(self.text, self.pages, self.seconds)

    @property
    def cited(self) -> str | None:
        """The id of the page that the answer names; None if it names none that was there."""
        return self.answer.cited

    @property
    def unknown(self) -> bool:
        """Whether the model says that the pages do not tell."""
        return self.answer.unknown

    def right(self, value: str) -> bool:
        """Whether the answer ends in this value, or is it."""
        return self.text == value if self.kind == SIGHT else prompt.says(self.text, value)


@dataclass(frozen=True)
class System:
    """The stages, one after another: route, look, search, rank, read.

    Args:
        eyes: answers questions about a picture.
        store: the pages of all museums.
        reader: answers questions from pages.
        route: what a question needs.
        rerank: question, pages → scores; None: the search's order is kept.
    """

    eyes: VisionLanguageModel
    store: PageStore
    reader: Reader
    route: Callable[[str], str]
    rerank: Callable[[str, list[str]], Sequence[float]] | None = None

    def ask(
        self, question: str, picture: Picture | None = None, museum: str = "", known: Mapping[str, object] | None = None
    ) -> Trace:
        """Answer a question.

        Args:
            picture: of any size; it is read at 64 × 64.
            museum: whose pages are searched, if the question does not say it itself; "": everybody's.
            known: results of stages that are not to run, by their names: "route" a kind, "look" what was pointed at
                ("the red star"), "search" ids of the pages to read. For finding out what a stage costs.

        Raises:
            StageError: if a stage cannot do its part; it says which, and what is to be done.
        """
        known, trace = known or {}, Trace(question)
        with _stage(trace, "route"):
            if not question.strip():
                raise ValueError("the question is empty: ask something")
            trace.kind = known.get("route") or self.route(question)
        if trace.kind == SIGHT:
            with _stage(trace, "look"):
                trace.text = self._look(trace, question, picture)
            return trace
        trace.searched, trace.pointed = question, pointed_at(question)
        if trace.pointed:
            with _stage(trace, "look"):
                name = known.get("look") or self.name(trace, picture)
                trace.searched = question.replace(trace.pointed, name)
        if "search" in known:
            trace.found = trace.ranked = trace.pages = tuple(known["search"])
        else:
            self._find(trace, {"museum": museum} if museum else None)
        with _stage(trace, "read"):
            texts = [self.store.pages[name].page_content for name in trace.pages]
            trace.text = self.reader.answer(trace.searched, texts)
        return trace

    def name(self, trace: Trace, picture: Picture | None) -> str:
        """What is pointed at, by its colour and shape, as exhibits are named; what the words say is not asked."""
        known = said(trace.pointed)
        for field_, words in FIELDS.items():
            if not known[field_]:
                known[field_] = self._look(trace, words.format(it=trace.pointed), picture)
        return f"the {known['colour']} {known['shape']}"

    def _look(self, trace: Trace, question: str, picture: Picture | None) -> str:
        if picture is None:
            raise ValueError("the question is about a picture, and there is none: choose, draw or upload one")
        words, eyes = self.reader.tokenizer, self.eyes
        text = prompt.END + prompt.build(harmless(question), image_tokens=eyes.config.n_tokens)
        ids = torch.tensor([words.encode(text, special_tokens="allow")])
        end = words.special_tokens[prompt.END]
        with torch.inference_mode():
            patches = eyes.patches(clip.pixel_values(resized(picture)[None]))
            said = words.decode(eyes.generate(ids, patches, LONGEST, stop=[end])[0])
        trace.seen[question], trace.attention = said, attention(eyes, ids, patches)
        return said

    def _find(self, trace: Trace, where: dict | None) -> None:
        """Candidates by their vectors, a second look at them; and for two hops the page that the first leads to."""
        store, question = self.store, trace.searched
        with _stage(trace, "search"):
            asked = store.embedding.embed_query(question)
            trace.found = tuple(name for name, _ in store.nearest(asked, CANDIDATES, where))
            if not trace.found:
                raise ValueError("there are no pages to search" + (f" of {where}" if where else "") + ": add some")
        with _stage(trace, "rank"):
            scores = [-n for n in range(len(trace.found))]
            if self.rerank is not None:
                scores = self.rerank(question, [store.pages[name].page_content for name in trace.found])
            order = sorted(range(len(scores)), key=lambda n: -scores[n])
            trace.ranked = tuple(trace.found[n] for n in order)
        trace.pages = trace.ranked[:1]
        if trace.kind == TWO_HOPS:
            with _stage(trace, "second search"):
                first = trace.ranked[0]
                asked = store.embedding.embed_query(further(question, store.pages[first].page_content))
                second = store.nearest(asked, 1, among=follow(store, first, LINKS))
                trace.pages = (first, *(name for name, _ in second))


@contextmanager
def _stage(trace: Trace, name: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    except ValueError as error:
        raise StageError(name, str(error), trace) from error
    finally:
        trace.seconds[name] = time.perf_counter() - began


def resized(picture: Picture) -> UInt8[np.ndarray, "64 64 3"]:
    """A picture as the tower sees it.

    Raises:
        ValueError: if it is no picture of three colours.
    """
    from PIL import Image

    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(
            f"a picture is (height, width, 3) of bytes, this is {picture.shape} of {picture.dtype}: convert it to RGB"
        )
    return np.array(Image.fromarray(picture).resize((64, 64), Image.Resampling.LANCZOS))


@torch.inference_mode()
def attention(eyes: VisionLanguageModel, ids: torch.Tensor, patches: torch.Tensor) -> Float[np.ndarray, "rows columns"]:
    """How much the prompt's last place looks at each patch, the mean over layers and heads.

    For connectors that make one token of each patch; those with queries give a row of their tokens.
    """
    language, kept = eyes.language, []
    hooks = [block.attn.c_attn.register_forward_hook(lambda *call: kept.append(call[-1])) for block in language.h]
    try:
        language.hidden_states(inputs_embeds=eyes.inputs_embeds(ids, patches))
    finally:
        for hook in hooks:
            hook.remove()
    places, total = ids[0] == eyes.image_token_id, 0
    for qkv in kept:
        q, k, _ = qkv[0].view(len(places), 3, language.config.n_head, -1).permute(1, 2, 0, 3)
        total += (q[:, -1:] @ k.mT / q.shape[-1] ** 0.5).softmax(-1)[:, 0, places].mean(0) / len(kept)
    side = math.isqrt(len(total))
    return total.view(side, side).numpy() if eyes.config.n_tokens == eyes.config.n_patches else total[None].numpy()


def load(museums: Iterable[Museum], connector: str = "mlp") -> System:
    """The shipped checkpoints, and a store of these museums' pages."""
    words = bpe.Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))
    visual = clip.CLIP.from_pretrained(data.checkpoint("clip-museum")).visual.eval()
    small = gpt2.GPT2.from_pretrained(data.checkpoint("gpt2-museum-small")).eval()
    eyes = VisionLanguageModel.from_pretrained(data.checkpoint("connector-museum") / connector, visual, small)
    tower = TowerEmbeddings(retrieval.Encoder.from_pretrained(data.checkpoint("retrieval-museum")), words)
    store, pages = PageStore(tower), [page for museum in museums for page in museum.pages()]
    metadata = [{name: page[name] for name in ("museum", "title", "kind")} for page in pages]
    store.add_texts([page["text"] for page in pages], metadata, ids=[page["id"] for page in pages])
    reader = Reader(gpt2.GPT2.from_pretrained(data.checkpoint("gpt2-museum")).eval(), words)
    return System(eyes, store, reader, router(), tower.maxsim)
