from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ._errors import RealtimeError
from ._ordered import Ticket
from ._realtime import Message

if TYPE_CHECKING:
    from ._channel import RealtimeChannel


class MessageIterator:
    """Iterates over the messages of a channel, every event, in order.

    It ends when the channel is unsubscribed or the client disconnects, and raises where the channel fails. A message
    counts as consumed when the next one is asked for: a slow loop slows the server down.
    """

    def __init__(self, channel: RealtimeChannel) -> None:
        self._channel = channel
        self._tap = Tap()
        channel._attach(self._tap)

    def __aiter__(self) -> MessageIterator:
        return self

    async def __anext__(self) -> Message:
        tap = self._tap
        tap.release_current()
        while not tap.queue:
            if tap.ended:
                self._channel._detach(tap)
                if tap.error is not None:
                    error, tap.error = tap.error, None
                    raise error
                raise StopAsyncIteration
            if tap.waiter is not None:
                raise RuntimeError("two tasks iterate with one iterator; each needs its own `async for`")
            tap.waiter = asyncio.get_running_loop().create_future()
            try:
                await tap.waiter
            finally:
                tap.waiter = None
        message, tap.current = tap.queue.popleft()
        return message

    async def aclose(self) -> None:
        """Ends the iteration; the channel stays subscribed."""
        self._close()

    def _close(self) -> None:
        self._channel._detach(self._tap)
        self._tap.close()

    def __del__(self) -> None:
        # After a `break`, which leaves the iterator behind.
        if hasattr(self, "_tap"):
            self._close()


class Tap:
    """What an iterator has not taken yet. The channel holds this, not the iterator: one left behind is noticed."""

    __slots__ = ("current", "ended", "error", "queue", "waiter")

    def __init__(self) -> None:
        self.queue: deque[tuple[Message, Ticket | None]] = deque()
        self.current: Ticket | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.ended = False
        self.error: RealtimeError | None = None

    def put(self, message: Message, ticket: Ticket | None) -> None:
        self.queue.append((message, ticket))
        self._wake()

    def end(self, error: RealtimeError | None) -> None:
        if not self.ended:
            self.ended, self.error = True, error
            self._wake()

    def release_current(self) -> None:
        if self.current is not None:
            self.current.release()
            self.current = None

    def close(self) -> None:
        self.ended = True
        self.release_current()
        while self.queue:
            _, ticket = self.queue.popleft()
            if ticket is not None:
                ticket.release()
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)
