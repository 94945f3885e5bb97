"""Speculative decoding: a draft guesses a few tokens, the model checks them in one pass (Leviathan et al. 2023).

The rule of acceptance leaves the model's own distribution unchanged, whatever the draft says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from fmnotes.generation import next_token_probabilities
from fmnotes.gpt2 import GPT2, KVCache

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def residual(p: Float[Tensor, "*batch vocab"], q: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch vocab"]:
    """What to draw from after a rejection: max(0, p - q), normalised (section 2.3). Where p = q it is p: never used."""
    rest = (p - q).clamp(min=0)
    mass = rest.sum(-1, keepdim=True)
    return torch.where(mass > 0, rest / mass, p)


def acceptance(p: Float[Tensor, "*batch vocab"], q: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """The probability that a token drawn from q is accepted: Σ min(p, q) = 1 - total variation (theorem 3.5)."""
    return torch.minimum(p, q).sum(-1)


def verify(
    p: Float[Tensor, "batch more vocab"],
    q: Float[Tensor, "batch k vocab"],
    drafted: Int[Tensor, "batch k"],
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Check drafted tokens against the model (algorithm 1), many rows at once.

    Args:
        p: the model's distributions at the k drafted places and the one behind them.
        q: the draft's, from which `drafted` was drawn.

    Returns:
        how many drafted tokens are accepted in each row, and the token that follows them: from the residual after a
        rejection, from the model's last distribution if all were accepted.
    """
    batch, k = drafted.shape
    if p.shape[1] != k + 1 or q.shape[1] != k:
        raise ValueError(
            f"{k} drafted tokens need {k + 1} distributions of the model and {k} of the draft, "
            f"not {p.shape[1]} and {q.shape[1]}"
        )
    chosen = drafted[:, :, None]
    p_chosen, q_chosen = p[:, :k].gather(2, chosen)[..., 0], q.gather(2, chosen)[..., 0]
    u = torch.rand(batch, k, generator=generator, dtype=p.dtype, device=p.device)
    accepted = (u * q_chosen < p_chosen).int().cumprod(1).sum(1)  # a token counts if all before it do
    rows = torch.arange(batch, device=p.device)
    last = accepted.clamp(max=k - 1) if k else accepted
    after = p[rows, accepted]
    if k:
        after = torch.where((accepted < k)[:, None], residual(p[rows, last], q[rows, last]), after)
    return accepted, torch.multinomial(after, 1, generator=generator)[:, 0]


def tokens_per_pass(alpha: float, k: int) -> float:
    """Expected tokens of one pass of the model, (1 - α^(k+1)) / (1 - α), if each guess is right with α (equation 1)."""
    _check_alpha(alpha, k)
    return float(k + 1) if alpha == 1 else (1 - alpha ** (k + 1)) / (1 - alpha)


def speed_up(alpha: float, k: int, draft_cost: float, check_cost: float = 1.0) -> float:
    """Expected speed-up over plain decoding (theorem 3.8).

    Args:
        draft_cost: a draft's token in units of the model's (c in the paper).
        check_cost: a pass over k + 1 tokens in the same units; the paper supposes 1, which holds where memory, not
            arithmetic, is what a pass waits for.
    """
    return tokens_per_pass(alpha, k) / (k * draft_cost + check_cost)


def chi_square(
    counts: Int[Tensor, " cells"], p: Float[Tensor, " cells"], least: float = 5.0
) -> tuple[float, int, float]:
    """Pearson's test of counts against a distribution: (statistic, degrees of freedom, p-value).

    Cells with fewer than `least` expected counts are put together into one. The p-value is the upper tail
    Q(freedom / 2, statistic / 2), the regularised incomplete gamma function.
    """
    n = counts.sum()
    expected, counts = p.double() * n, counts.double()
    rare = expected < least
    expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
    if (counts[expected == 0] > 0).any():
        return float("inf"), len(expected) - 1, 0.0  # something came that cannot come
    expected, counts = expected[expected > 0], counts[expected > 0]
    if len(expected) < 2:
        raise ValueError("a chi-square test needs two cells with enough expected counts: draw more samples")
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(expected) - 1
    tail = torch.special.gammaincc(torch.tensor(freedom / 2, dtype=torch.double), statistic / 2)
    return statistic.item(), freedom, tail.item()


class Draft(Protocol):
    """Guesses what comes next."""

    def guess(self, ids: list[int], k: int, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """At most k tokens behind ids, (k,), and the distributions that they were drawn from, (k, vocab)."""


class ModelDraft:
    """A smaller model of the same vocabulary, with its own cache. It sees no more than its context has room for."""

    def __init__(self, model: GPT2):
        self.model, self.start, self.known = model, 0, []  # `known` is in the cache, from the token `start` on
        self.cache = KVCache(model.config, like=model.wte.weight)

    def guess(self, ids: list[int], k: int, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        same, window = self._same(ids), self.model.config.context_length
        if not same or len(ids) - self.start + k > window:  # another text, or the window is full: move it by a half
            self.start = len(ids) - window // 2 if len(ids) + k > window else 0
            same = 0
        self.cache.length = min(same, len(ids) - self.start - 1)
        feed, tokens, rows = ids[self.start + self.cache.length :], [], []
        for _ in range(k):
            logits = self.model(torch.tensor([feed]), cache=self.cache)[:, -1]
            rows.append(next_token_probabilities(logits, temperature))
            tokens.append(torch.multinomial(rows[-1], 1, generator=generator).item())
            feed = tokens[-1:]
        self.known = [*ids[self.start :], *tokens[:-1]]
        return torch.tensor(tokens), torch.cat(rows)

    def _same(self, ids: list[int]) -> int:
        """How many of the tokens in the cache are still right."""
        rest = ids[self.start :]
        pairs = zip(self.known, rest, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.known), len(rest)))


class LookupDraft:
    """No model at all: what followed the last few tokens when they came before ("prompt lookup", n-gram drafting).

    Its distributions have all their mass on the guess, so that a guess is accepted with the model's probability of it.
    """

    def __init__(self, vocab_size: int, n: int = 3):
        self.vocab_size, self.n = vocab_size, n

    def guess(self, ids: list[int], k: int, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        for n in range(self.n, 0, -1):
            tail = ids[-n:]
            for start in range(len(ids) - n - 1, -1, -1):
                if ids[start : start + n] == tail:
                    tokens = torch.tensor(ids[start + n : start + n + k])
                    return tokens, torch.nn.functional.one_hot(tokens, self.vocab_size).float()
        return torch.empty(0, dtype=torch.long), torch.empty(0, self.vocab_size)


@dataclass
class Speculated:
    """The new tokens, and of each pass of the model how many were drafted and how many of those accepted."""

    ids: list[int]
    drafted: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)

    @property
    def passes(self) -> int:
        return len(self.drafted)


@torch.inference_mode()
def speculate(
    model: GPT2,
    draft: Draft,
    prompt: Sequence[int],
    max_new_tokens: int,
    k: int = 4,
    *,
    temperature: float = 1.0,
    stop: Sequence[int] = (),
    seed: int = 0,
) -> Speculated:
    """Continue a prompt as `generation.generate` would, with fewer passes of the model.

    Greedy (temperature 0) gives the same tokens as without a draft; sampling the same distribution over them.

    Raises:
        ValueError: an empty prompt, k below 1, or more tokens than the model's context has room for.
    """
    total, limit = len(prompt) + max_new_tokens, model.config.context_length
    if not len(prompt) or k < 1:
        raise ValueError(f"a prompt of {len(prompt)} tokens and drafts of k = {k}: both must be 1 or more")
    if total > limit:
        raise ValueError(
            f"{total:,} tokens do not fit a context_length of {limit:,}: shorten the prompt, or ask for less"
        )
    generator = torch.Generator().manual_seed(seed)
    ids, cache, found = list(prompt), KVCache(model.config, total, like=model.wte.weight), Speculated([])
    while len(found.ids) < max_new_tokens and not (found.ids and found.ids[-1] in stop):
        room = max_new_tokens - len(found.ids) - 1  # the pass itself gives one token
        drafted, q = draft.guess(ids, min(k, room), temperature, generator) if room else (torch.tensor([]).long(), None)
        feed = [*ids[cache.length :], *drafted.tolist()]
        logits = model(torch.tensor([feed]), cache=cache)[0, -len(drafted) - 1 :]
        p = next_token_probabilities(logits, temperature)
        q = p.new_zeros(0, p.shape[1]) if q is None else q.to(p.dtype)
        accepted, token = verify(p[None], q[None], drafted[None], generator)
        n = accepted.item()
        said = [*drafted[:n].tolist(), token.item()]
        ends = [i for i, one in enumerate(said) if one in stop]
        said = said[: ends[0] + 1] if ends else said
        ids += said
        found.ids += said
        found.drafted.append(len(drafted))
        found.accepted.append(n)
        cache.length = len(ids) - 1  # what was rejected is forgotten
    return found


def _check_alpha(alpha: float, k: int) -> None:
    if not 0 <= alpha <= 1 or k < 0:
        raise ValueError(f"alpha is a probability and k a number of tokens; they are {alpha} and {k}")
