"""Randomness: whole numbers from a seed, the same on every machine."""

from collections.abc import Sequence

import numpy as np


class Dice:
    """Whole numbers from a seed. PCG64 draws them 1,024 at a time: NumPy's call costs more than its numbers."""

    def __init__(self, *seed: int):
        self._generator = np.random.default_rng(seed)
        self._numbers: list[int] = []

    def below(self, n: int) -> int:
        """A number in 0 … n-1, each equally likely (to within n/2⁶⁴)."""
        if not self._numbers:
            self._numbers = self._generator.integers(0, 2**64, size=1024, dtype=np.uint64).tolist()
        return self._numbers.pop() * n >> 64

    def weighted(self, weights: Sequence[int]) -> int:
        """An index, drawn in proportion to its integer weight."""
        ticket = self.below(sum(weights))
        for index, weight in enumerate(weights):
            ticket -= weight
            if ticket < 0:
                return index
        raise ValueError(f"weights must be whole numbers and not all zero; got {list(weights)}")

    def choice(self, values: Sequence):
        """One of the values, each equally likely."""
        return values[self.below(len(values))]

    def shuffled(self, values: Sequence) -> list:
        """The values in random order (Fisher and Yates, from the back)."""
        values = list(values)
        for last in range(len(values) - 1, 0, -1):
            other = self.below(last + 1)
            values[last], values[other] = values[other], values[last]
        return values
