from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from ._emitter import Listener
from ._stalls import Place, Stalls, Steps

_PAUSE = 1.0
"""Seconds until handlers go on after all tasks were cancelled, where the loop still runs then."""


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

    def __init__(self, failed: Callable[[BaseException], None], stalls: Stalls) -> None:
        self.failed = failed
        self._stalls = stalls
        self._jobs: deque[tuple[Listener | Awaitable[Any], tuple[Any, ...], Ticket | None, Place]] = deque()
        self._running: Place | None = None
        self._active = False

    def add(
        self, job: Listener | Awaitable[Any], arguments: tuple[Any, ...], ticket: Ticket | None, place: Place
    ) -> None:
        self._jobs.append((job, arguments, ticket, place))
        if not self._active:
            self._start()

    def drop(self) -> None:
        """Forgets what waits for its turn; what is at work goes on."""
        jobs, self._jobs = self._jobs, deque()
        for job, _, ticket, _ in jobs:
            if inspect.iscoroutine(job):
                job.close()
            if ticket is not None:
                ticket.release()

    def _start(self) -> None:
        self._active = True
        steps = Steps(self._run(), self._stalls, lambda: self._running)
        task = _Worker(steps, loop=asyncio.get_running_loop(), name="realtime handlers")
        task.add_done_callback(self._done)

    async def _run(self) -> None:
        worker = asyncio.current_task()
        assert isinstance(worker, _Worker)
        while self._jobs:
            job, arguments, ticket, self._running = self._jobs.popleft()
            worker.cancelled_from_outside = False
            try:
                result = job.call(arguments) if isinstance(job, Listener) else job
                if inspect.isawaitable(result):
                    await result
            except Exception as error:
                self.failed(error)
            except asyncio.CancelledError as error:
                if worker.is_cancelling():
                    raise
                # The handler's own: something that it awaited was cancelled.
                self.failed(error)
            except (KeyboardInterrupt, SystemExit, GeneratorExit):
                raise
            except BaseException as error:
                self.failed(error)
            finally:
                self._stalls.settle(self._running)
                self._running = None
                if ticket is not None:
                    ticket.release()

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            # Somebody cancels all tasks, which is how a loop ends: a new one now would outlive it.
            task.get_loop().call_later(_PAUSE, self._resume)
            return
        # It is with the loop already; this keeps it from being told again.
        task.exception()
        self._resume()

    def _resume(self) -> None:
        self._active = False
        if self._jobs:
            self._start()

    def __del__(self) -> None:
        for job, *_ in self._jobs:
            if inspect.iscoroutine(job):
                job.close()


def is_ending() -> bool:
    """Whether whoever ends the loop cancels the handler that asks this."""
    worker = asyncio.current_task()
    return isinstance(worker, _Worker) and worker.is_cancelling()


class _Worker(asyncio.Task[None]):
    """A task that knows whether it was cancelled, which a CancelledError alone does not say."""

    cancelled_from_outside = False

    def cancel(self, msg: Any | None = None) -> bool:
        self.cancelled_from_outside = True
        return super().cancel(msg)

    def is_cancelling(self) -> bool:
        # Since Python 3.11 a timeout inside of a handler cancels, and takes that back.
        cancelling = getattr(self, "cancelling", None)
        return self.cancelled_from_outside if cancelling is None else bool(cancelling())
