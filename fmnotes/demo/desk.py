"""One question at a time, and the models loaded before the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmnotes.system import System


class Desk:
    """Answers one question after another, in a thread of its own, which first loads the models.

    Args:
        load: gives the system.
    """

    def __init__(self, load: Callable[[], System]):
        self._thread = ThreadPoolExecutor(1, "desk")
        self.loading: Future = self._thread.submit(load)
        self.waiting = 0  # questions that are here, with the one that is being answered

    @property
    def state(self) -> str:
        """loading, ready or broken."""
        if not self.loading.done():
            return "loading"
        return "broken" if self.loading.exception() else "ready"

    def submit(self, ask: Callable[[System], dict]) -> asyncio.Future:
        """Ask when it is this question's turn. Call it in the event loop: `waiting` is counted there."""
        self.waiting += 1
        asked = self._thread.submit(lambda: ask(self.loading.result()))
        loop = asyncio.get_running_loop()
        asked.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return asyncio.wrap_future(asked)

    def _done(self) -> None:
        self.waiting -= 1

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
