"""Questions with the pages that answer them, batch by batch: what the towers of notebook 05 learn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from fmnotes import clip
from fmnotes.museum import catalogue, knowledge
from fmnotes.museum.world import dice_for
from fmnotes.retrieval.encoder import Encoder, EncoderConfig, maxsim
from fmnotes.retrieval.pieces import further
from fmnotes.retrieval.reranker import CrossEncoder, paired
from fmnotes.studies.museum_rows import encoded, tokenizer

CONFIG = EncoderConfig()
GROUPS = 4  # of a batch, within each of which tokens meet tokens


class QuestionPages:
    """Batches of questions, each with the one page where its answer, or the first hop to it, stands.

    A batch holds questions about a few museums, many of each: so the wrong pages are those of other things in the same
    museum, and of things of the same name in others. Batch i is a function of i and the seed alone, and no museum comes
    twice.

    Args:
        museums: in a batch.
        each: questions about each museum, no two of which are answered by one page.
        others: pages beside the right one, for each question, which a reader of pairs has to tell from it; 0: none.
        second: three in ten questions stand before the page of their first step, and the page to be found is the next.
        seed: batches of different seeds share nothing.
        split: of the museums.
    """

    unit = "questions"

    def __init__(
        self, museums: int, each: int, others: int = 0, seed: int = 0, split: str = "train", second: bool = False
    ):
        self.museums, self.each, self.others, self.seed, self.split = museums, each, others, seed, split
        self.size, self.second = museums * each, second
        self.facts = {"museums": museums, "each": each, "others": others, "seed": seed, "split": split}
        self.facts |= {"second": second} if second else {}

    def __getitem__(self, i: int) -> tuple[torch.Tensor, ...]:
        """Batch i: ids of questions and of pages; or, with others, rows of pairs, (size · (1 + others), tokens).

        Of these each question's first row holds the right page.
        """
        dice = dice_for("question-pages", self.split, self.seed, i)
        asked, stores = [], []
        for number in range(self.museums):
            about = catalogue.museum(self.split, self.seed, i * self.museums + number)
            stores.append({page["id"]: page for page in about.pages()})
            asked.append(self._asked(about, stores[-1], dice))
        if not self.others:
            pairs = [pair for of_museum in asked for pair in of_museum]
            return tuple(ids(list(part)) for part in zip(*((q, page["text"]) for q, page in pairs)))
        questions, pages = [], []
        for number, of_museum in enumerate(asked):
            for question, page in of_museum:
                wrong = self._wrong(page, number, stores, dice)
                questions += [encoded(question)] * (1 + self.others)
                pages += [encoded(one["text"]) for one in (page, *wrong)]
        return (paired(CONFIG, questions, pages),)

    def _asked(self, about: catalogue.Museum, store: dict, dice) -> list[tuple[str, dict]]:
        """Questions that name the museum, and their pages; two in five, or three with `second`, lead on to another."""
        found, taken = [], set()
        for page in dice.shuffled(list(store.values())):
            two = page["kind"] in knowledge.SUBJECTS["two_hop"] and dice.below(5) < 2 + self.second
            row = knowledge.question_on(about, store, page, "two_hop" if two else "one_hop", dice)
            question = row["question"]
            if row["filter"] and page["kind"] != "museum":
                question = naming(question, about.name)
            elif row["filter"]:
                continue
            if two and self.second and dice.below(2):
                question, page = further(question, page["text"]), store[row["pages"][1]]
            if page["id"] in taken:
                continue
            taken.add(page["id"])
            found.append((question, page))
            if len(found) == self.each:
                return found
        return found

    def _wrong(self, page: dict, number: int, stores: list[dict], dice) -> list[dict]:
        """Wrong pages: of the same thing elsewhere, as far as there are, of the rest half from the same museum."""
        same = [
            one
            for place, store in enumerate(stores)
            for one in store.values()
            if place != number and (one["kind"], one["subject"]) == (page["kind"], page["subject"])
        ]
        mine = [one for one in stores[number].values() if one["id"] != page["id"]]
        near = [
            one
            for one in mine
            if one["kind"] == page["kind"] and set(one["subject"].split()) & set(page["subject"].split())
        ]
        chosen = dice.shuffled(same)[: self.others // 3] + dice.shuffled(near)[: self.others // 3]
        ids = {one["id"] for one in chosen}
        rest = [one for one in dice.shuffled(mine) if one["id"] not in ids]
        return (chosen + rest)[: self.others]


def naming(question: str, museum: str) -> str:
    """A question that leaves its museum to a filter, with the museum in its words."""
    return f"According to the {museum}, {question[0].lower()}{question[1:]}"


def ids(texts: Sequence[str]) -> torch.Tensor:
    return clip.token_ids(tokenizer(), texts, CONFIG.context_length)


def loss(model: Encoder, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`info_nce` of the texts' vectors, and of late interaction within groups."""
    questions, pages = (model(part) for part in batch)
    whole = clip.info_nce(questions[0], pages[0], model.scale)
    parts = []
    for group in range(GROUPS):
        (_, q, asked), (_, p, written) = ([x[group::GROUPS] for x in side] for side in (questions, pages))
        logits = model.scale * maxsim(q, p, asked, written)
        own = torch.arange(len(logits))
        parts.append((F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2)
    return whole + torch.stack(parts).mean()


def ranked_loss(others: int):
    """The loss of a reader of pairs: which of a question's 1 + `others` pages is the right one?"""

    def loss(model: CrossEncoder, batch: tuple[torch.Tensor]) -> torch.Tensor:
        scores = model(batch[0]).unflatten(0, (-1, 1 + others))
        return F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))

    return loss
