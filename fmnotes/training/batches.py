"""Batches in an order that needs no memory: batch i is a function of (seed, i) alone.

So the position in the data is one number, the step, and a run that was killed goes on exactly where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


class Batches(Protocol):
    """What the training loop asks of its data.

    A batch is a tensor, or a tuple, list or dict of tensors (nested if need be); the loop moves it to the model's
    device. `batches[i]` must give the same batch whenever it is asked for, for every i from 0 on.
    """

    unit: str
    """What speed is counted in: "tokens", "pairs"."""

    size: int
    """How many of them a batch holds."""

    facts: dict[str, Any]
    """What fixes the batches (sizes, seed, a hash of the data), in JSON's types: a checkpoint of others is refused."""

    def __getitem__(self, i: int) -> Any: ...


class TokenBatches:
    """Windows of a long row of token ids, for a language model.

    Every epoch cuts the row anew into windows of `context_length` tokens, end to end from a random start, and visits
    them in a random order: a token is predicted at most once an epoch, and fewer than two windows are left out. Window
    n of the endless stream does not depend on the batch size, so k batches of b are one batch of k·b.

    Args:
        ids: one row of token ids, integers; an array (also a memory-mapped one), a tensor on the CPU or a list.
        context_length: tokens that the model sees at once.
        batch_size: windows in a batch.
        vocab_size: ids must lie below it. It is checked here, before any work is lost.
        seed: of the order.

    Raises:
        TypeError: if the ids are not integers.
        ValueError: if there are none, not even one window with its target, or one outside the vocabulary.
    """

    unit = "tokens"

    def __init__(
        self, ids: Int[np.ndarray, " n"], context_length: int, batch_size: int, vocab_size: int, seed: int = 0
    ):
        for name, value in {"context_length": context_length, "batch_size": batch_size}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1")
        self.ids = _checked(ids, context_length, vocab_size)
        self.context_length, self.batch_size, self.seed = context_length, batch_size, seed
        self.windows = max(1, (len(self.ids) - context_length) // context_length)
        self._starts = min(context_length, len(self.ids) - self.windows * context_length)
        self.size = batch_size * context_length
        self.facts = {
            "ids": hashlib.sha256(np.ascontiguousarray(self.ids).data).hexdigest(),
            "count": len(self.ids),
            "context_length": context_length,
            "batch_size": batch_size,
            "seed": seed,
        }

    def __getitem__(self, i: int) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
        """Batch i: inputs, and as targets the token after each; int64, both of shape (batch_size, context_length)."""
        epoch, window = shuffled(self.windows, self.seed, i * self.batch_size, self.batch_size)
        first = np.array([_start(self._starts, self.seed, int(e)) for e in epoch]) + window * self.context_length
        tokens = torch.from_numpy(self.ids[first[:, None] + np.arange(self.context_length + 1)].astype(np.int64))
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def row_of_ids(texts: Iterable[str], tokenizer: Any) -> Int[np.ndarray, " n"]:
    """The tokens of all texts in one row, an end token before the first and after each: what `TokenBatches` cuts.

    Args:
        texts: read once.
        tokenizer: with `encode` and `special_tokens`, as `fmnotes.bpe.Tokenizer`.
    """
    end = tokenizer.special_tokens["<|endoftext|>"]
    rows = (np.array([*tokenizer.encode(text), end]) for text in texts)
    return np.concatenate([np.array([end]), *rows])


def shuffled(
    count: int, seed: int, first: int, number: int
) -> tuple[Int[np.ndarray, " number"], Int[np.ndarray, " number"]]:
    """Places `first`, `first + 1`, … of the endless stream that visits `count` items in a new order every epoch.

    Args:
        count: how many items there are.
        seed: of the orders.
        first: place of the first item wanted, from 0 on.
        number: how many are wanted; they may lie in several epochs.

    Returns:
        the epoch of each, and which item it is, in 0 … count − 1.
    """
    epoch, place = np.divmod(np.arange(first, first + number), count)
    return epoch, np.array([_order(count, seed, int(e))[p] for e, p in zip(epoch, place, strict=True)])


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


@lru_cache(maxsize=4)
def _start(count: int, seed: int, epoch: int) -> int:
    return int(np.random.default_rng([seed, epoch, 1]).integers(count))


def _checked(ids: Any, context_length: int, vocab_size: int) -> np.ndarray:
    """The ids as an array, or an error that says what is wrong with them."""
    ids = ids.numpy() if isinstance(ids, torch.Tensor) else np.asanyarray(ids)
    if ids.ndim != 1:
        raise ValueError(f"ids have the shape {ids.shape}, but must be one row: join the documents, with end tokens")
    if len(ids) == 0:
        raise ValueError("the data set is empty: there are no ids to train on")
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"ids are {ids.dtype}, but token ids are integers: give what the tokenizer's encode returned")
    if len(ids) <= context_length:
        raise ValueError(
            f"the corpus has {len(ids)} tokens, but one window takes {context_length} and the target after it: "
            f"give at least {context_length + 1} tokens, or a shorter context_length"
        )
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or highest >= vocab_size:
        bad = lowest if lowest < 0 else highest
        raise ValueError(f"id {bad} is outside the vocabulary of {vocab_size}: was this encoded by another tokenizer?")
    return ids
