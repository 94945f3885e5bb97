"""Sampling from a language model: which token comes next, and one after another with a key-value cache.

`temperature`, `top_k`, `top_p` and `min_p` change logits as the warpers of `transformers` do, in the same order; what
a filter leaves out gets the logit -∞.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fmnotes.gpt2 import GPT2, KVCache
from fmnotes.gpt2.model import linear

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    Logits = Float[Tensor, "*batch vocab"]


def top_k(logits: Logits, k: int) -> Logits:
    """Keep the k most likely tokens, and those that are as likely as the last of them (Fan et al. 2018)."""
    if k < 1:
        raise ValueError(f"top_k must be 1 or more, not {k}")
    least = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def top_p(logits: Logits, p: float) -> Logits:
    """Keep the fewest most likely tokens whose probabilities reach p together (Holtzman et al. 2020, section 3.1)."""
    if not 0 < p <= 1:
        raise ValueError(f"top_p must lie above 0 and at most at 1, not at {p}")
    rising, order = logits.sort()
    drop = rising.softmax(-1).cumsum(-1) <= 1 - p
    drop[..., -1] = False  # the most likely one always stays
    return logits.masked_fill(drop.scatter(-1, order, drop), -torch.inf)


def min_p(logits: Logits, p: float) -> Logits:
    """Keep tokens at least p times as likely as the most likely one (Nguyen et al. 2024, section 3)."""
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must lie between 0 and 1, not at {p}")
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, keepdim=True), -torch.inf)


def next_token_probabilities(
    logits: Logits,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Float[Tensor, "*batch vocab"]:
    """The distribution to draw the next token from: temperature first, then the filters in the order of the arguments.

    Temperature 0 puts everything on the most likely token (the first of several).

    Raises:
        ValueError: a negative temperature, or a filter's value outside its range.
    """
    if temperature < 0:
        raise ValueError(f"temperature must be 0 (greedy) or more, not {temperature}")
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    logits = logits / temperature
    for keep, value in ((_top_k, top_k), (_top_p, top_p), (_min_p, min_p)):
        if value is not None:
            logits = keep(logits, value)
    return logits.softmax(-1)


_top_k, _top_p, _min_p = top_k, top_p, min_p  # under names that the arguments above do not hide


def generate(
    model: GPT2,
    prompt: Sequence[int] | Int[Tensor, "batch time"],
    max_new_tokens: int,
    **options,
) -> list[int] | Int[Tensor, "batch longer"]:
    """Continue a prompt; options as for `stream`.

    Returns:
        the prompt with its continuation: a list for a list, a tensor for a tensor. Sequences end with their stop
        token; in a batch, those that end before the longest one are filled up with it.
    """
    new = list(stream(model, prompt, max_new_tokens, **options))
    if isinstance(prompt, Tensor):
        return torch.cat([prompt, *(token[:, None] for token in new)], dim=1)
    return [*prompt, *(token.item() for token in new)]


def stream(
    model: GPT2,
    prompt: Sequence[int] | Int[Tensor, "batch time"],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop: Sequence[int] = (),
    seed: int = 0,
    cache: KVCache | None = None,
    use_cache: bool = True,
) -> Iterator[Int[Tensor, " batch"]]:
    """Yield the new tokens one by one, the batch's next token each time, as soon as it is drawn.

    Args:
        model: a GPT2; nothing of it changes.
        prompt: ids, at least one; the sequences of a batch are equally long.
        max_new_tokens: how many tokens to draw at most.
        temperature, top_k, top_p, min_p: see `next_token_probabilities`; temperature 0 is greedy.
        stop: tokens that end a sequence; each is itself the last that is yielded.
        seed: of the draws.
        cache: with what comes before the prompt already in it, such as a picture; it is filled further.
        use_cache: False computes the whole sequence anew for every token: the same result, slowly.

    Raises:
        ValueError: an empty prompt, or more tokens in all than the context has room for; before anything is computed.
    """
    ids = prompt if isinstance(prompt, Tensor) else torch.tensor([list(prompt)], dtype=torch.long)
    weight = model.wte.weight
    ids = ids.to(weight.device)
    past = 0 if cache is None else cache.length
    _check_prompt(model, ids, past, max_new_tokens)
    if cache is None and use_cache:
        cache = KVCache(model.config, room=ids.shape[1] + max_new_tokens, batch=len(ids), like=weight)
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    next_token_probabilities(weight.new_zeros(1, 2), **sampling)  # complains about a bad option now
    return _stream(model, ids, max_new_tokens, sampling, torch.tensor(list(stop), device=ids.device), seed, cache)


def _check_prompt(model: GPT2, ids: Tensor, past: int, max_new_tokens: int) -> None:
    if ids.ndim != 2 or ids.numel() == 0:
        raise ValueError(
            f"the prompt has the shape {tuple(ids.shape)}: it needs at least one token, and a tensor is (batch, time)"
        )
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, not {max_new_tokens}")
    total, limit = past + ids.shape[1] + max_new_tokens, model.config.context_length
    if total > limit:
        before = f"{past:,} tokens in the cache, " if past else ""
        raise ValueError(
            f"{before}a prompt of {ids.shape[1]:,} and {max_new_tokens:,} new tokens do not fit a context_length of "
            f"{limit:,}: shorten the prompt, or ask for at most {max(0, limit - past - ids.shape[1]):,}"
        )


def _stream(
    model: GPT2, ids: Tensor, max_new_tokens: int, sampling: dict, stop: Tensor, seed: int, cache: KVCache | None
) -> Iterator[Tensor]:
    generator = torch.Generator(ids.device).manual_seed(seed)
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(max_new_tokens):
        with torch.inference_mode():  # not around the yield: it would hold for the caller, too
            logits = linear(model.hidden_states(ids, cache=cache)[:, -1], model.wte.weight)
            token = _draw(logits, sampling, generator)
            if len(stop):
                token = torch.where(ended, ids[:, -1], token)  # an ended sequence repeats its stop token
                ended |= torch.isin(token, stop)
            ids = token[:, None] if cache is not None else torch.cat([ids, token[:, None]], dim=1)
        yield token.clone()
        if len(stop) and ended.all():
            return


def _draw(logits: Float[Tensor, "batch vocab"], sampling: dict, generator: torch.Generator) -> Int[Tensor, " batch"]:
    if sampling["temperature"] == 0:
        return logits.argmax(-1)
    return torch.multinomial(next_token_probabilities(logits, **sampling), 1, generator=generator)[:, 0]


@torch.inference_mode()
def one_more(model: GPT2, ids: Int[Tensor, "1 time"], cached: bool) -> Callable[[], Float[Tensor, "1 vocab"]]:
    """A call to be timed: it gives the logits behind the last token, and may be made again and again.

    Args:
        cached: the tokens before the last one lie in a cache, and each call takes its own token out again; otherwise
            every call computes all of them.
    """
    if not cached:
        return torch.inference_mode()(lambda: model(ids)[:, -1])
    cache = KVCache(model.config, room=ids.shape[1], like=model.wte.weight)
    model.hidden_states(ids, cache=cache)

    @torch.inference_mode()
    def step():
        cache.length = ids.shape[1] - 1
        return model(ids[:, -1:], cache=cache)[:, -1]

    return step


@torch.inference_mode()
def beam_search(
    model: GPT2,
    prompt: Sequence[int] | Int[Tensor, "one time"],
    max_new_tokens: int,
    beams: int,
    *,
    stop: Sequence[int] = (),
    cache: KVCache | None = None,
) -> list[tuple[list[int], float]]:
    """The likeliest continuations that a search with so many open ends finds, likeliest first (Graves 2012, section 3).

    Every step continues each open one by every token and keeps the `beams` best; those that end in a stop token are
    put aside. It is over when as many have ended and no open one is likelier, for a longer one never is.

    Args:
        prompt: the ids of one sequence.
        cache: with what comes before the prompt already in it; copied for each beam, and left as it was.

    Returns:
        the new tokens, with the stop token if one came, and the logarithm of their probability.

    Raises:
        ValueError: as for `stream`, or if there is no beam.
    """
    if beams < 1:
        raise ValueError(f"beams must be 1 or more, not {beams}")
    ids = prompt if isinstance(prompt, Tensor) else torch.tensor([list(prompt)], dtype=torch.long)
    past = 0 if cache is None else cache.length
    _check_prompt(model, ids, past, max_new_tokens)
    mine = KVCache(model.config, past + ids.shape[1] + max_new_tokens, 1, model.wte.weight)
    if cache is not None:
        for layer, filled in zip(mine.layers, cache.layers, strict=True):
            layer[:, :, :, :past] = filled[:, :, :, :past]
        mine.length = past
    open_, ended = [([], 0.0)], []
    for _ in range(max_new_tokens):
        logits = linear(model.hidden_states(ids, cache=mine)[:, -1], model.wte.weight)
        scores = logits.log_softmax(-1) + logits.new_tensor([score for _, score in open_])[:, None]
        best, places = scores.flatten().topk(min(2 * beams, scores.numel()))
        places = [divmod(place, scores.shape[1]) for place in places.tolist()]
        found = [(row, token, score) for (row, token), score in zip(places, best.tolist(), strict=True)]
        going = [(row, token, score) for row, token, score in found if token not in stop][:beams]
        ended += [([*open_[row][0], token], score) for row, token, score in found[:beams] if token in stop]
        ended = sorted(ended, key=lambda one: -one[1])[:beams]
        open_ = [([*open_[row][0], token], score) for row, token, score in going]
        if not open_ or (len(ended) == beams and ended[-1][1] >= open_[0][1]):
            return ended
        rows = torch.tensor([row for row, _, _ in going], device=ids.device)
        mine.layers, mine.batch = [layer[:, rows] for layer in mine.layers], len(rows)
        ids = torch.tensor([[token] for _, token, _ in going], device=ids.device)
    return sorted(ended + open_, key=lambda one: -one[1])[:beams]
