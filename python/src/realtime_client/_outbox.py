from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import RealtimeError

if TYPE_CHECKING:
    from ._link import Link

T = TypeVar("T")

Attempt = Callable[["Link"], "int | None"]
"""Gives a send to the engine; returns the number of the request, or `None` where there is no room."""


class Pending(asyncio.Future[T]):
    """What a send or a subscribe returns: await it for the outcome, or leave it.

    It was begun when it was returned. A failure that nobody looks at goes to the client's `"error"` event. Cancelling
    it does not take back what was sent.
    """

    # Made for every send: `__init__` and `__del__` in Python would be a fifth of its cost.
    __slots__ = ("_unseen",)

    _unseen: Callable[[BaseException], None]

    def fail(self, error: BaseException, unseen: Callable[[BaseException], None]) -> None:
        """Ends it with an error, where nobody has cancelled it; `unseen` gets that where nobody looks at it."""
        if not self.done():
            self._unseen = unseen
            self.__class__ = Watched
            self.set_exception(error)


class Watched(Pending[T]):
    """Says what nobody has looked at when it goes."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop, unseen: Callable[[BaseException], None]) -> None:
        super().__init__(loop=loop)
        self._unseen = unseen

    def __del__(self) -> None:
        # Instead of asyncio's "exception was never retrieved".
        if getattr(self, "_log_traceback", False):
            self._log_traceback = False
            error = self.exception()
            loop = self.get_loop()
            if error is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._unseen, error)

    def fail(self, error: BaseException, unseen: Callable[[BaseException], None]) -> None:
        if not self.done():
            self.set_exception(error)


class Outbox:
    """Sends on their way: those that the engine has, by number, and those that wait for room there, in order."""

    def __init__(self, unseen: Callable[[BaseException], None]) -> None:
        self._unseen = unseen
        self.futures: dict[int, Pending[Any]] = {}
        self.waiting: deque[tuple[Pending[Any], Attempt, int]] = deque()
        self.waiting_bytes = 0

    def wait(self, link: Link, future: Pending[Any], attempt: Attempt, size: int) -> None:
        """Puts a send behind those that wait. Raises `queue_full` where no more may."""
        link.native.wait_in_line(len(self.waiting), self.waiting_bytes, size)
        self.waiting.append((future, attempt, size))
        self.waiting_bytes += size

    def pump(self, link: Link) -> None:
        """Moves what fits now into the engine."""
        if self.waiting and not link.corked:
            link.cork()
        while self.waiting:
            future, attempt, size = self.waiting[0]
            if not future.done():
                try:
                    request = attempt(link)
                except RealtimeError as error:
                    # Its traceback holds this frame, which holds the future: a failure that nobody looks at would be
                    # told only once the garbage collector finds the circle.
                    future.fail(error.with_traceback(None), self._unseen)
                else:
                    if request is None:
                        return
                    self.futures[request] = future
            self.waiting.popleft()
            self.waiting_bytes -= size

    def fail_all(self, error: RealtimeError) -> None:
        """Fails everything; only for a client that cannot say what became of it any more."""
        pending: list[Pending[Any]] = [*self.futures.values(), *(entry[0] for entry in self.waiting)]
        self.futures.clear()
        self.waiting.clear()
        self.waiting_bytes = 0
        for future in pending:
            if not future.get_loop().is_closed():
                future.fail(error._copy(), self._unseen)

    @property
    def is_empty(self) -> bool:
        return not self.futures and not self.waiting
