"""The yardsticks of the GPT-2 paper (Radford et al. 2019, section 3): perplexities, a cloze test, and what samples say.

`score` measures how well a model predicts whole texts, `cloze_items` and `cloze` whether it finds a word for which it
has to look far back, `distinct` and `repetition` how varied generated texts are. `read` asks questions about pages in
the prompt, and scores the answers: the value, the citation, and knowing what the pages do not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from fmnotes import generation
from fmnotes.gpt2 import GPT2, copying, token_losses
from fmnotes.metrics import bits_per_byte
from fmnotes.museum import prompt
from fmnotes.training import row_of_ids

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from fmnotes.bpe import Tokenizer
    from fmnotes.museum.contexts import Item


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


@dataclass(frozen=True)
class ReadingScores:
    """What became of the questions of an exam, one entry for each."""

    kinds: tuple[str, ...]  # "one hop", "two hops", "withheld"
    answers: tuple[str, ...]  # the model's, greedily
    right: Bool[np.ndarray, " items"]  # the value, or "unknown" where it is withheld
    cited: Bool[np.ndarray, " items"]  # the right page; False where there is none
    unknown: Bool[np.ndarray, " items"]  # the model said so

    def of(self, *kinds: str) -> Bool[np.ndarray, " items"]:
        """Which questions are of these kinds."""
        return np.isin(self.kinds, kinds)

    def exact_match(self, kind: str) -> float:
        """The share of questions of a kind whose answer is right."""
        return float(self.right[self.of(kind)].mean())

    @property
    def citation(self) -> float:
        """How often the right page is cited, where the value is right."""
        found = self.right & self.of("one hop", "two hops")
        return float(self.cited[found].mean()) if found.any() else 0.0

    @property
    def wrongly_unknown(self) -> float:
        """How often "unknown" is said though the pages say it."""
        return float(self.unknown[self.of("one hop", "two hops")].mean())


def read(model: GPT2, tokenizer: Tokenizer, items: Sequence[Item], batch_size: int = 8) -> ReadingScores:
    """Let the model answer questions about pages in its prompt, greedily.

    The right answers go through the model first, some at a time: where it would have chosen every one of their tokens,
    that is its answer. Only the others are written out, token by token, from where they leave the right one.

    Args:
        items: of `museum.contexts.exam`.
    """
    rows = _rows(tokenizer, items)
    followed = _followed(model, rows, batch_size)
    said = [
        item.answer if n == len(answer) else _written(model, tokenizer, asked, answer[:n])
        for item, (asked, answer), (n, _) in zip(items, rows, followed, strict=True)
    ]
    numbers = [prompt.cited(item.answer)[1] for item in items]
    return ReadingScores(
        tuple(item.kind for item in items),
        tuple(said),
        np.array(
            [
                a == prompt.UNKNOWN if i.answer == prompt.UNKNOWN else prompt.says(a, i.value)
                for a, i in zip(said, items, strict=True)
            ]
        ),
        np.array([n is not None and prompt.cited(a)[1] == n for a, n in zip(said, numbers, strict=True)]),
        np.array([a == prompt.UNKNOWN for a in said]),
    )


def judged(model: GPT2, tokenizer: Tokenizer, items: Sequence[Item], batch_size: int = 8) -> list[tuple[bool, float]]:
    """For each item: whether the model, greedily, gives just the right answer; and -log p of that answer, in nats.

    One look at the right answer tells both: each of its tokens, and the end token after it, must be the most likely
    one after those before it.
    """
    rows = _rows(tokenizer, items)
    followed = _followed(model, rows, batch_size)
    return [(n == len(answer), nats) for (_, answer), (n, nats) in zip(rows, followed, strict=True)]


@torch.inference_mode()
def _followed(model: GPT2, rows: list[tuple[list[int], list[int]]], batch_size: int) -> list[tuple[int, float]]:
    """For prompts with answers: how many of the answer's tokens the model would write itself before the first that it
    would not, and -log p of all of them."""
    device = model.wte.weight.device
    order, found = sorted(range(len(rows)), key=lambda i: sum(map(len, rows[i]))), {}
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        ids = torch.zeros(len(part), max(len(rows[i][0]) + len(rows[i][1]) for i in part), dtype=torch.long)
        for row, i in zip(ids, part, strict=True):
            row[: len(rows[i][0]) + len(rows[i][1])] = torch.tensor(rows[i][0] + rows[i][1])
        hidden = model.hidden_states(ids.to(device))
        for h, i in zip(hidden, part, strict=True):
            asked, answer = rows[i]
            logits = h[len(asked) - 1 : len(asked) + len(answer) - 1] @ model.wte.weight.T
            target = torch.tensor(answer, device=device)
            nats = F.cross_entropy(logits.float(), target, reduction="sum").item()
            agrees = logits.argmax(-1) == target
            found[i] = int(agrees.long().cumprod(0).sum()), nats
    return [found[i] for i in range(len(rows))]


def reading_heads(model: GPT2, tokenizer: Tokenizer, items: Sequence[Item]) -> Float[Tensor, "layer head"]:
    """How much each head looks at the next token of the right sentence on the page, while the answer repeats it.

    Averaged over the tokens of the values, which cannot be guessed, of all items that the pages answer.
    """
    found = []
    for item in (item for item in items if item.answer != prompt.UNKNOWN):
        asked, answer = _asked(tokenizer, item), tokenizer.encode(item.answer)
        sentence = prompt.cited(item.answer)[0].removesuffix(".")
        tail = tokenizer.encode(sentence[sentence.index(" ") :])  # how the first word is cut depends on what precedes
        on_page, restated = _places(asked, tail), _places(answer, tail)
        if len(on_page) == len(restated) == 1:
            ends = len(asked) + restated[0] + len(tail), on_page[0] + len(tail)
            n = len(tokenizer.encode(f" {item.value}"))
            copied = [(ends[0] - i, ends[1] - i) for i in range(1, n + 1)]
            found.append(copying(model, torch.tensor(asked + answer), copied))
    return torch.stack(found).mean(0)


def _places(ids: list[int], part: list[int]) -> list[int]:
    """Where a row of tokens stands in a longer one."""
    return [i for i in range(len(ids) - len(part) + 1) if ids[i : i + len(part)] == part]


def _asked(tokenizer: Tokenizer, item: Item) -> list[int]:
    """The prompt of an item, from an end token to where the answer begins."""
    return tokenizer.encode(prompt.END + prompt.build(item.question, item.pages), special_tokens="allow")


def _rows(tokenizer: Tokenizer, items: Sequence[Item]) -> list[tuple[list[int], list[int]]]:
    """For each item the tokens of its prompt, and those of the right answer with the end token behind it."""
    end = tokenizer.special_tokens[prompt.END]
    return [(_asked(tokenizer, item), [*tokenizer.encode(item.answer), end]) for item in items]


def _written(model: GPT2, tokenizer: Tokenizer, asked: list[int], begun: list[int], most: int = 60) -> str:
    """The answer as the model writes it, up to its end token; what it has `begun` with is known."""
    end, room = tokenizer.special_tokens[prompt.END], model.config.context_length - len(asked)
    left = max(0, min(most, room) - len(begun))
    ids = generation.generate(model, [*asked, *begun], left, stop=[end], temperature=0)
    return tokenizer.decode([i for i in ids[len(asked) :] if i != end])
