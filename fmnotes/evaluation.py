"""The yardsticks of the GPT-2 paper (Radford et al. 2019, section 3): perplexities, a cloze test, and what samples say.

`score` measures how well a model predicts whole texts, `cloze_items` and `cloze` whether it finds a word for which it
has to look far back, `distinct` and `repetition` how varied generated texts are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from fmnotes.gpt2 import GPT2, token_losses
from fmnotes.metrics import bits_per_byte
from fmnotes.training import row_of_ids

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from fmnotes.bpe import Tokenizer


@dataclass(frozen=True)
class Scores:
    """What each text cost and how long it is. The properties pool: all nats over all units (Radford, section 3.1).

    A mean of the texts' perplexities would depend on how words are cut into texts; a single short one could rule it.
    """

    nats: Float[np.ndarray, " texts"]  # -log p of the text and its end token, float64
    tokens: Int[np.ndarray, " texts"]  # predicted, end token included
    words: Int[np.ndarray, " texts"]  # stretches between whitespace
    bytes: Int[np.ndarray, " texts"]  # length in UTF-8

    @property
    def token_perplexity(self) -> float:
        """exp(nats a token): only models with the same tokenizer can be compared by it."""
        return float(np.exp(self.nats.sum() / self.tokens.sum()))

    @property
    def word_perplexity(self) -> float:
        """exp(nats a word), whatever the tokens: what papers report on corpora of words, like WikiText."""
        return float(np.exp(self.nats.sum() / self.words.sum()))

    @property
    def bits_per_byte(self) -> float:
        """As `metrics.bits_per_byte`: models of any tokenizer can be compared by it."""
        return bits_per_byte(float(self.nats.sum()), int(self.bytes.sum()))


def score(model: GPT2, tokenizer: Tokenizer, texts: Iterable[str], stride: int | None = None) -> Scores:
    """How well the model predicts texts, which stand in one row with end tokens between.

    The end token after a text counts as a token of it: to say that a text is over is part of predicting it.

    Args:
        tokenizer: with `<|endoftext|>` among its special tokens.
        texts: each has at least one word.
        stride: of the windows, see `gpt2.token_losses`; a window goes over the end of a text into the next one.

    Raises:
        ValueError: no texts; one without a word; ids outside the model's vocabulary.
    """
    texts = _several(texts)
    if not texts:
        raise ValueError("there are no texts to score")
    words = np.array([len(text.split()) for text in texts])
    if not words.all():
        empty = int(np.argmin(words))
        raise ValueError(f"text {empty} has no words, {texts[empty]!r:.40}: leave such texts out")
    ids = row_of_ids(texts, tokenizer)
    losses = token_losses(model, torch.from_numpy(ids), stride).double().numpy()
    ends = np.flatnonzero(ids == tokenizer.special_tokens["<|endoftext|>"])  # loss i is that of token i + 1
    sizes = np.array([len(text.encode()) for text in texts])
    return Scores(np.add.reduceat(losses, ends[:-1]), np.diff(ends), words, sizes)


class Cloze(NamedTuple):
    """A passage without its last word; between the two stands one space."""

    context: str
    word: str


_SENTENCE_END = re.compile(r"(?<!\bMr|\bMs|\bDr)(?<!\bMrs)[.!?]+[\"'”’)]*(?=\s|$)(?!\s+[a-z])")
_LAST_WORD = re.compile(r" ([^\W\d_]{4,})[.!?]+[\"'”’)]*$")


def cloze_items(texts: Iterable[str], least_words: int = 30) -> list[Cloze]:
    """Passages whose last word stands further back, but not in the last sentence: at most one a text, its last.

    After LAMBADA (Paperno et al. 2016, section 3), where people guessed the word from the passage, but not from its
    last sentence. Here a rule stands in for the people: a word of four letters or more, and nothing else, that is right
    before the end of a sentence, occurs in an earlier sentence of the same text, nowhere else in its own, and has
    `least_words` words before it. Some can be guessed from the sentence alone after all, and some not at all.

    A sentence ends at ``.``, ``!`` or ``?`` and the quotes that close there, unless it goes on in lower case or the
    point is that of Mr., Mrs., Ms. or Dr. The earlier word has the same case; in "Anna's" there is an "Anna".
    """
    items = (_last_item(text, least_words) for text in _several(texts))
    return [item for item in items if item]


def _last_item(text: str, least_words: int) -> Cloze | None:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    for start, end in reversed(list(zip([0, *ends], ends))):
        if not (last := _LAST_WORD.search(text[start:end])):
            continue
        context, word = text[: start + last.start()], last[1]
        places = [match.start() for match in re.finditer(rf"\b{word}\b", context)]
        if places and places[-1] < start and not context[-1].isspace() and len(context.split()) >= least_words:
            return Cloze(context, word)
    return None


@dataclass(frozen=True)
class ClozeScores:
    """How each item went."""

    right: Bool[np.ndarray, " items"]  # whether greedy decoding would write the whole word
    nats: Float[np.ndarray, " items"]  # -log p of the word, all its tokens together, float64

    @property
    def accuracy(self) -> float:
        """The share of words that are right."""
        return float(self.right.mean())

    @property
    def perplexity(self) -> float:
        """exp(nats a word), as Radford et al. 2019 report for LAMBADA (table 3)."""
        return float(np.exp(self.nats.mean()))


@torch.no_grad()
def cloze(model: GPT2, tokenizer: Tokenizer, items: Iterable[Cloze]) -> ClozeScores:
    """The model on passages without their last word, all of its tokens given up to the one that is asked for.

    That is how lm-evaluation-harness scores LAMBADA: the word is right if each of its tokens is the most likely one
    after the context and the tokens before it. There is no filter for stop words.

    Args:
        tokenizer: with `<|endoftext|>` among its special tokens; that comes before the context.
        items: a context that is too long for the model loses its beginning, end token first.

    Raises:
        ValueError: no items; a word with more tokens than the model sees at once; ids outside its vocabulary.
    """
    end, length = tokenizer.special_tokens["<|endoftext|>"], model.config.context_length
    right, nats = [], []
    for context, word in items:
        target = tokenizer.encode(" " + word)
        if len(target) > length:
            raise ValueError(f"the word {word!r:.40} has {len(target)} tokens, the model's context_length is {length}")
        ids = torch.tensor([end, *tokenizer.encode(context), *target][-length - 1 :], device=model.wte.weight.device)
        logits, target = model(ids[None, :-1])[0, -len(target) :], ids[-len(target) :]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        right.append(bool((logits.argmax(-1) == target).all()))
        nats.append(F.cross_entropy(logits, target, reduction="sum").item())
    if not right:
        raise ValueError("there are no cloze items: give longer texts to cloze_items, or ask for fewer words before")
    return ClozeScores(np.array(right), np.array(nats))


def distinct(texts: Iterable[str], n: int) -> float:
    """distinct-n: how many different n-grams of words there are in all texts, over how many n-grams there are.

    After Li et al. 2016, who divide by the number of words instead. It falls as texts get longer or more, so compare it
    at the same number of words only. Raises ValueError where no text has n words.
    """
    grams = [gram for text in _several(texts) for gram in _ngrams(text, n)]
    if not grams:
        raise ValueError(f"no text has {n} words: there are no {n}-grams to count")
    return len(set(grams)) / len(grams)


def repetition(text: str, n: int = 4) -> float:
    """The share of a text's n-grams of words that have occurred in it before; 0 for a text shorter than n words.

    It is 1 - different / all, seq-rep-n (Welleck et al. 2020), of words in the place of tokens.
    """
    grams = _ngrams(text, n)
    return (len(grams) - len(set(grams))) / len(grams) if grams else 0.0


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise ValueError(f"n-grams have 1 word or more, not {n}")
    words = text.split()
    return list(zip(*(words[i:] for i in range(n))))


def _several(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise TypeError("texts must be several texts, not one str: pass [text]")
    return list(texts)
