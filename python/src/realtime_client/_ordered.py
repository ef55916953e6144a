from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from ._emitter import Listener


class Ticket:
    """Counts who still works on a message; the last one to finish gives its bytes back to the inbox."""

    __slots__ = ("_consumed", "_size", "_users")

    def __init__(self, consumed: Callable[[int], None], size: int) -> None:
        self._consumed = consumed
        self._size = size
        self._users = 0

    def take(self) -> Ticket:
        self._users += 1
        return self

    @property
    def is_taken(self) -> bool:
        return self._users > 0

    def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._consumed(self._size)


class Ordered:
    """Runs the async handlers of one channel, or of the client, one after the other.

    Its queue is bounded by the inbox: what waits here is not consumed, and the server holds back what does not fit.
    """

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._jobs: deque[tuple[Listener | Awaitable[Any], tuple[Any, ...], Ticket | None]] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, job: Listener | Awaitable[Any], arguments: tuple[Any, ...], ticket: Ticket | None) -> None:
        self._jobs.append((job, arguments, ticket))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="realtime handlers")

    async def _run(self) -> None:
        try:
            while self._jobs:
                job, arguments, ticket = self._jobs.popleft()
                try:
                    result = job.call(arguments) if isinstance(job, Listener) else job
                    if inspect.isawaitable(result):
                        await result
                except Exception as error:
                    self._failed(error)
                except asyncio.CancelledError as error:
                    if _is_cancelled():
                        raise
                    # The handler's own: something that it awaited was cancelled.
                    self._failed(error)
                finally:
                    if ticket is not None:
                        ticket.release()
        finally:
            self._task = None
            # Only left where the task was cancelled, which is how a loop ends.
            while self._jobs:
                job, _, ticket = self._jobs.popleft()
                if inspect.iscoroutine(job):
                    job.close()
                if ticket is not None:
                    ticket.release()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    # Python 3.10 cannot tell.
    return task is None or getattr(task, "cancelling", lambda: 1)() > 0
