"""What gpt2-museum is trained on, row by row: each a function of its number alone, drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from fmnotes import data, evaluation, metrics
from fmnotes.bpe import Tokenizer
from fmnotes.museum import captions, catalogue, contexts, knowledge, prompt, questions, scenes, stories
from fmnotes.museum.dice import Dice
from fmnotes.museum.world import dice_for

PER_MUSEUM = 32  # rows of pages drawn from a museum before the next one
QUESTIONS = 24  # at most, of one row of pages; its length sets the limit
HEADS_ON = 16  # items of the exam on which the heads are looked at
Row = tuple[list[int], list[float]]  # ids and what each counts as a target


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """The vocabulary of notebook 01, which all notebooks share."""
    return Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))


@lru_cache(maxsize=8)
def known(split: str, seed: int, index: int) -> tuple[catalogue.Museum, dict[str, dict]]:
    """A museum, and its pages by id."""
    about = catalogue.museum(split, seed, index)
    return about, {page["id"]: page for page in about.pages()}


@lru_cache(maxsize=4096)
def encoded(text: str) -> tuple[int, ...]:
    """Ids of a text in which special tokens stand for themselves."""
    return tuple(tokenizer().encode(text, special_tokens="allow"))


class MuseumRows:
    """Batches of rows of several kinds, always in the same proportion.

    Args:
        length: tokens in a row; what does not fit is cut off, what is left is padding that does not count.
        shares: rows of each kind in a batch: "reading", "stories", "others".
        pages: the fewest and the most pages of a row of reading.
        answers: what a token of an answer counts, where a token of a story counts 1.
        first: how many times as much its first token counts: with it the model decides whether there is an answer.
        abroad: of a hundred rows of reading, in how many pages of another museum stand among the museum's own.
        rest: what a token of the pages and questions around it counts.
        balanced: see `contexts.draw`.
        seed: rows of different seeds have nothing in common but the worlds they are about.
    """

    unit = "tokens"

    def __init__(
        self,
        length: int,
        shares: dict[str, int],
        pages: tuple[int, int] = (1, 5),
        answers: float = 3.0,
        first: float = 1.0,
        *,
        abroad: int = 0,
        rest: float = 0.1,
        balanced: bool = False,
        seed: int = 0,
    ):
        self.length, self.pages, self.seed = length, pages, seed
        self.answers, self.first, self.abroad, self.rest, self.balanced = answers, first, abroad, rest, balanced
        self.kinds = [kind for kind, share in shares.items() for _ in range(share)]
        self.size = length * len(self.kinds)
        self.facts = {"length": length, "shares": shares, "pages": list(pages), "seed": seed}
        self.facts |= {"answers": answers, "first": first, "rest": rest}
        self.facts |= {"abroad": abroad} if abroad else {}
        self.facts |= {"balanced": True} if balanced else {}

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Batch i: inputs, targets (both int64) and what each target counts, of shape (rows, length)."""
        shape = len(self.kinds), self.length + 1
        ids, weights = np.full(shape, encoded(prompt.PAD)[0]), np.zeros(shape, dtype=np.float32)
        for r, kind in enumerate(self.kinds):
            n = i * len(self.kinds) + r
            row, counts = getattr(self, kind)(n, dice_for(f"rows-{kind}", "train", self.seed, n))
            size = min(len(row), shape[1])
            ids[r, :size], weights[r, :size] = row[:size], counts[:size]
        tokens, weights = torch.from_numpy(ids), torch.from_numpy(weights)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), weights[:, 1:].contiguous()

    def reading(self, n: int, dice: Dice) -> Row:
        """Pages, and as many questions about them as fit, each answered."""
        about, store = known("train", self.seed, n // PER_MUSEUM)
        low, high = self.pages
        size = low + dice.below(high + 1 - low)
        foreign = None
        if self.abroad and size > 1 and dice.below(100) < self.abroad:
            foreign = known("train", self.seed, n // PER_MUSEUM + 1)[1]
        context = contexts.draw(about, store, dice, size, QUESTIONS, foreign, self.balanced)
        return self.laid_out(context)

    def laid_out(self, context: contexts.Context) -> Row:
        """The pages, then one question after another, each with its answer; what does not fit is left out."""
        first = prompt.build("", [page["text"] for page in context.pages]).partition(prompt.QUESTION)[0]
        ids = [*encoded(prompt.END), *tokenizer().encode(first, special_tokens="allow")]
        weights = [self.rest] * len(ids)
        for one in context.asked:
            asked, answered = encoded(prompt.build(one.question)), encoded(one.answer + prompt.END)
            if len(ids) + len(asked) + len(answered) > self.length + 1:
                break
            ids += asked + answered
            weights += [self.rest] * len(asked)
            weights += [self.first * self.answers] + [self.answers] * (len(answered) - 1)
        return ids, weights

    def stories(self, n: int, dice: Dice) -> Row:
        """Stories, one after another; the last is cut."""
        return self._joined(stories.sample(dice) for _ in iter(int, 1))

    def others(self, n: int, dice: Dice) -> Row:
        """Pages and captions, pages that answer a question (for HyDE), and questions about pictures put into words."""
        return self._joined(self._other(n, dice))

    def _other(self, n: int, dice: Dice) -> Iterator[str]:
        about, store = known("train", self.seed, n // PER_MUSEUM)
        pages = list(store.values())
        while True:
            match dice.below(8):
                case 0:
                    yield dice.choice(pages)["text"]
                case 1 | 2:
                    row = knowledge.question_on(about, store, dice.choice(pages), "one_hop", dice)
                    yield prompt.build_hypothesis(row["question"], store[row["pages"][-1]]["text"])
                case 3 | 4:
                    scene = scenes.sample(dice)
                    yield prompt.describe(scene) + captions.sample(scene, dice)
                case _:
                    question, answer, _, scene = questions.draw(dice, "train")
                    yield prompt.describe(scene) + prompt.build(question, answer=answer).removesuffix(prompt.END)

    def _joined(self, texts: Iterator[str]) -> Row:
        ids = list(encoded(prompt.END))
        while len(ids) <= self.length:
            ids += [*tokenizer().encode(next(texts), special_tokens="allow"), *encoded(prompt.END)]
        return ids, [1.0] * len(ids)


def examined(model: torch.nn.Module, sizes: tuple[int, ...], number: int = 32) -> dict[str, float]:
    """A look at a model in training: nats of the right answer, and how often it is given, on museums held out."""
    items = exam(number, sizes)
    found = evaluation.judged(model, tokenizer(), items)
    scores = {}
    for kind in dict.fromkeys(item.kind for item in items):
        mine = [result for result, item in zip(found, items, strict=True) if item.kind == kind]
        scores[f"{kind}, verbatim"] = sum(agrees for agrees, _ in mine) / len(mine)
        scores[f"{kind}, nats"] = sum(nats for _, nats in mine) / len(mine)
    heads = evaluation.reading_heads(model, tokenizer(), items[:HEADS_ON])
    scores |= {f"head {layer}.{head}": x for layer, row in enumerate(heads.tolist()) for head, x in enumerate(row)}
    scores["stories, bits per byte"] = stories_bits(model, number)
    return scores


def stories_bits(model: torch.nn.Module, number: int = 32) -> float:
    """What held-out stories cost a model, in bits per byte; each is read from the first position on."""
    alone = [evaluation.score(model, tokenizer(), [story]) for story in held_out(number)]
    nats, n_bytes = (sum(getattr(score, name).sum() for score in alone) for name in ("nats", "bytes"))
    return metrics.bits_per_byte(float(nats), int(n_bytes))


@lru_cache(maxsize=4)
def exam(number: int, sizes: tuple[int, ...]) -> list[contexts.Item]:
    """The same exam for every look: museums of the validation split."""
    return contexts.exam("validation", number, sizes)


@lru_cache(maxsize=1)
def held_out(number: int) -> list[str]:
    """Stories of the validation split."""
    return [row["text"] for row, _ in zip(stories.stream("validation"), range(number), strict=False)]
