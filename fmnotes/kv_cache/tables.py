"""Block tables: which blocks of a pool hold the tokens of which sequence (Kwon et al. 2023, sections 4.2 to 4.4).

Bookkeeping alone, without keys or values: `PagedKVCache` adds those, and the scheduler of `batching` needs no more.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field


class OutOfBlocks(RuntimeError):
    """The pool has too few free blocks for what was asked; nothing was changed."""


class BlockAllocator:
    """Hands out the blocks of a pool and counts how many sequences use each.

    A block that nobody uses is free. If it was given a key it may still be found by that key, until it is handed out
    again; the block that was given back first is handed out first.
    """

    def __init__(self, n_blocks: int):
        if n_blocks < 1:
            raise ValueError(f"a pool needs at least one block, not {n_blocks}")
        self.users = [0] * n_blocks
        self._free = OrderedDict.fromkeys(range(n_blocks))
        self._block_of: dict[Hashable, int] = {}
        self._key_of: dict[int, Hashable] = {}

    @property
    def n_free(self) -> int:
        return len(self._free)

    def allocate(self) -> int:
        """A free block, of which the caller is the only user."""
        if not self._free:
            raise OutOfBlocks(f"all {len(self.users)} blocks are in use: free a sequence, or make a larger pool")
        block, _ = self._free.popitem(last=False)
        self.forget(block)
        self.users[block] = 1
        return block

    def share(self, block: int) -> None:
        """One user more; a free block that was found by its key is in use again."""
        self._free.pop(block, None)
        self.users[block] += 1

    def release(self, block: int) -> None:
        """One user less; a ValueError if there was none."""
        if self.users[block] == 0:
            raise ValueError(f"block {block} is free already: it was released twice")
        self.users[block] -= 1
        if self.users[block] == 0:
            self._free[block] = None

    def name(self, block: int, key: Hashable) -> None:
        """Let a block be found by a key; the first block of a key keeps it."""
        if key not in self._block_of and block not in self._key_of:
            self._block_of[key], self._key_of[block] = block, key

    def forget(self, block: int) -> None:
        """A block's contents will change: nobody finds it by its key any more."""
        if (key := self._key_of.pop(block, None)) is not None:
            del self._block_of[key]

    def find(self, key: Hashable) -> int | None:
        return self._block_of.get(key)


@dataclass
class Held:
    """A sequence's block table, and its tokens (needed to recognise prefixes; their number is its length)."""

    table: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


class BlockTables:
    """The block tables of all sequences over one pool, with copy-on-write and, if wanted, a cache of prefixes.

    Token i of a sequence lies in slot `table[i // block_size] * block_size + i % block_size`.

    Args:
        n_blocks: in the pool.
        block_size: tokens that a block holds.
        max_length: the most tokens of a sequence (the model's context); no limit if not given.
        prefix_caching: whether `start` looks for full blocks with the same tokens from the beginning on.
    """

    def __init__(
        self, n_blocks: int, block_size: int = 16, max_length: int | None = None, prefix_caching: bool = False
    ):
        if block_size < 1:
            raise ValueError(f"block_size must be 1 or more, not {block_size}")
        self.allocator = BlockAllocator(n_blocks)
        self.block_size, self.max_length, self.prefix_caching = block_size, max_length, prefix_caching
        self._sequences: dict[Hashable, Held] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._sequences

    def table(self, name: Hashable) -> list[int]:
        return list(self._of(name).table)

    def length(self, name: Hashable) -> int:
        return len(self._of(name).tokens)

    @property
    def n_free(self) -> int:
        return self.allocator.n_free

    @property
    def tokens_held(self) -> int:
        """Filled slots, those of shared blocks counted once."""
        filled = {}
        for sequence in self._sequences.values():
            for i, block in enumerate(sequence.table):
                here = min(self.block_size, len(sequence.tokens) - i * self.block_size)
                filled[block] = max(filled.get(block, 0), here)
        return sum(filled.values())

    @property
    def slots_held(self) -> int:
        return (len(self.allocator.users) - self.n_free) * self.block_size

    def blocks_for(self, length: int) -> int:
        """How many blocks hold so many tokens: ⌈length / block_size⌉."""
        return -(-length // self.block_size)

    def blocks_needed(self, new: Mapping[Hashable, int]) -> int:
        """How many free blocks it takes to extend sequences by so many tokens, copies of shared last blocks included.

        Of k sequences that write into one block with u users, the last has it to itself if there is no other user.
        """
        fresh, writers = 0, Counter()
        for name, count in new.items():
            table, length = self._of(name).table, len(self._of(name).tokens)
            fresh += self.blocks_for(length + count) - len(table)
            if count and length % self.block_size:
                writers[table[-1]] += 1
        return fresh + sum(min(k, self.allocator.users[block] - 1) for block, k in writers.items())

    def check_room(self, new: Mapping[Hashable, int]) -> None:
        """Raise what `extend` would if all these sequences were extended by so many tokens."""
        for name, count in new.items():
            length = self.length(name) + count
            if self.max_length is not None and length > self.max_length:
                raise ValueError(
                    f"sequence {name!r} would have {length:,} tokens, and its block table ends at {self.max_length:,}: "
                    "stop it earlier, or give it a model with a longer context"
                )
        if (needed := self.blocks_needed(new)) > self.n_free:
            raise OutOfBlocks(
                f"{needed} more blocks are needed, and {self.n_free} of {len(self.allocator.users)} are free: free a "
                "sequence, or make a larger pool"
            )

    def start(self, name: Hashable, prompt: Sequence[int] = ()) -> int:
        """Begin a sequence; returns how many tokens of its prompt are in the pool already (and now belong to it).

        Only whole blocks are found, and never the whole prompt: of its last token the logits are still needed.
        """
        if name in self._sequences:
            raise ValueError(f"sequence {name!r} has begun already: free it first, or give the new one another name")
        sequence = Held()
        if self.prefix_caching:
            for end in range(self.block_size, len(prompt), self.block_size):
                block = self.allocator.find(tuple(prompt[:end]))
                if block is None:
                    break
                self.allocator.share(block)
                sequence.table.append(block)
            sequence.tokens = list(prompt[: len(sequence.table) * self.block_size])
        self._sequences[name] = sequence
        return len(sequence.tokens)

    def extend(self, name: Hashable, tokens: Sequence[int]) -> list[tuple[int, int]]:
        """Make room for more tokens of a sequence.

        Returns:
            (from, to) pairs of blocks to copy before anything is written: the sequence's last block, if others use it
            too and it is not full.

        Raises:
            OutOfBlocks: if the pool has too few free blocks; nothing is changed.
            ValueError: if the sequence would be longer than max_length.
        """
        self.check_room({name: len(tokens)})
        sequence = self._of(name)
        old, new = len(sequence.tokens), len(sequence.tokens) + len(tokens)
        copies = []
        if old % self.block_size and len(tokens) and self.allocator.users[sequence.table[-1]] > 1:
            shared, own = sequence.table[-1], self.allocator.allocate()
            self.allocator.release(shared)
            sequence.table[-1] = own
            copies.append((shared, own))
        while len(sequence.table) < self.blocks_for(new):
            sequence.table.append(self.allocator.allocate())
        sequence.tokens.extend(tokens)
        if self.prefix_caching:
            for i in range(old // self.block_size, new // self.block_size):
                self.allocator.name(sequence.table[i], tuple(sequence.tokens[: (i + 1) * self.block_size]))
        return copies

    def fork(self, name: Hashable, copy: Hashable) -> None:
        """Begin a sequence with everything of another one; no block is copied, all are shared."""
        parent = self._of(name)
        if copy in self._sequences:
            raise ValueError(f"sequence {copy!r} has begun already: free it first, or give the copy another name")
        for block in parent.table:
            self.allocator.share(block)
        self._sequences[copy] = Held(list(parent.table), list(parent.tokens))

    def truncate(self, name: Hashable, length: int) -> None:
        """Forget a sequence's last tokens, such as rejected drafts; blocks that become empty are given back."""
        sequence = self._of(name)
        if not 0 <= length <= len(sequence.tokens):
            raise ValueError(f"sequence {name!r} has {len(sequence.tokens)} tokens, and cannot be cut to {length}")
        while len(sequence.table) > self.blocks_for(length):
            self.allocator.release(sequence.table.pop())
        del sequence.tokens[length:]
        tail = sequence.table[-1] if length % self.block_size else None
        if tail is not None and self.prefix_caching:
            self.allocator.forget(tail)

    def free(self, name: Hashable) -> None:
        """End a sequence; its last blocks can be handed out first, for others are likelier to share its beginning."""
        for block in reversed(self._of(name).table):
            self.allocator.release(block)
        del self._sequences[name]

    def slots(self, name: Hashable, start: int = 0) -> list[int]:
        """The physical places of a sequence's tokens, from the token `start` on."""
        sequence = self._of(name)
        size = self.block_size
        return [sequence.table[i // size] * size + i % size for i in range(start, len(sequence.tokens))]

    def _of(self, name: Hashable) -> Held:
        if name not in self._sequences:
            raise ValueError(f"there is no sequence {name!r}: begin it with start(), or fork another one")
        return self._sequences[name]
