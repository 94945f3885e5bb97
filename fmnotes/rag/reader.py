"""A language model that reads: pages and a question in, an answer with the number of its page out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fmnotes import generation
from fmnotes.bpe import Tokenizer
from fmnotes.gpt2 import GPT2
from fmnotes.museum import prompt

ENDING, HARMLESS = "<|", "< |"  # what only the layout may write, and what stands for it in a text from outside


@dataclass(frozen=True)
class Reader:
    """A GPT-2 that was taught the museum's prompt, and what it is asked with.

    Args:
        longest: tokens of an answer.
    """

    model: GPT2
    tokenizer: Tokenizer
    longest: int = 60

    def prompt(self, question: str, pages: Sequence[str] = ()) -> list[int]:
        """The tokens of a prompt. If the pages do not fit the context together, the longest are cut.

        A text from outside cannot write the layout's special tokens: they are taken apart.

        Raises:
            ValueError: if there are more than five pages, or the question is empty or alone too long.
        """
        if not question.strip():
            raise ValueError("the question is empty: ask something")
        question, pages = harmless(question), [harmless(page) for page in pages]
        room = self.model.config.context_length - self.longest
        alone = self._ids(question, [])
        if len(alone) > room:
            raise ValueError(f"the question has {len(alone)} tokens, there is room for {room}: shorten it")
        ids = self._ids(question, pages)
        if len(ids) > room:
            cut = [self.tokenizer.encode(page) for page in pages]
            left = room - len(alone) - 6 * len(pages)  # a page's number, and what tokens at a cut may become
            most = _fair([len(page) for page in cut], left)
            ids = self._ids(question, [self.tokenizer.decode(page[:most]) for page in cut])
        return ids

    def _ids(self, question: str, pages: Sequence[str]) -> list[int]:
        return self.tokenizer.encode(prompt.END + prompt.build(question, pages), special_tokens="allow")

    def stream(self, question: str, pages: Sequence[str] = ()) -> Iterator[str]:
        """The answer, greedily, piece by piece as it is written."""
        end = self.tokenizer.special_tokens[prompt.END]
        said, shown = [], ""
        for token in generation.stream(
            self.model, self.prompt(question, pages), self.longest, temperature=0, stop=[end]
        ):
            if token.item() == end:
                return
            said.append(token.item())
            text = self.tokenizer.decode(said)
            if text.startswith(shown) and not text.endswith("\ufffd"):  # a letter may need several tokens
                yield text[len(shown) :]
                shown = text

    def answer(self, question: str, pages: Sequence[str] = ()) -> str:
        """The answer: a page's sentence and "[n]", or "unknown"."""
        return "".join(self.stream(question, pages))

    def hypothesis(self, question: str, longest: int = 100) -> str:
        """A page that would answer the question, invented (HyDE, Gao et al. 2022): what a search may look for."""
        text = prompt.END + prompt.build_hypothesis(harmless(question))
        ids = self.tokenizer.encode(text, special_tokens="allow")
        end = self.tokenizer.special_tokens[prompt.END]
        found = generation.generate(self.model, ids, longest, temperature=0, stop=[end])[len(ids) :]
        return self.tokenizer.decode([token for token in found if token != end])


def harmless(text: str) -> str:
    """A text from outside, in which nothing reads as one of the layout's special tokens."""
    return text.replace(ENDING, HARMLESS)


def _fair(lengths: Sequence[int], room: int) -> int:
    """The largest length to which all may be cut so that they fit together."""
    for n, length in enumerate(ordered := sorted(lengths)):
        share = max(1, room // (len(ordered) - n))
        if length > share:
            return share
        room -= length
    return max(lengths)
