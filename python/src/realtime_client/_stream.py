from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._emitter import Emitter
from ._errors import RealtimeError
from ._ordered import Ordered, Ticket
from ._outbox import Pending, Watched

if TYPE_CHECKING:
    from ._channel import RealtimeChannel
    from ._link import Link

T = TypeVar("T")


class Answer(Watched[T], Generic[T]):
    """What a request to the server returns: its receipt becomes what the application is to have."""

    __slots__ = ()

    def __init__(self, stream: Stream) -> None:
        super().__init__(asyncio.get_running_loop(), stream._unseen)

    def value(self) -> Any:
        return None

    def set_result(self, receipt: Any) -> None:
        super().set_result(self.value())


class Stream(Emitter):
    """What presence and collections have in common: they are kept in sync with the server until they are closed."""

    def __init__(self, channel: RealtimeChannel, what: str) -> None:
        super().__init__()
        self._channel = channel
        self._client = channel._client
        self._what = what
        self._id = -1
        self._watched = False
        self._synced = False
        self._error: RealtimeError | None = None
        self._ready: list[Pending[None]] = []
        self._ordered = Ordered(self._client._handler_failed, self._client._stalls)
        self._emissions: list[Callable[[], None]] = []

    def ready(self) -> Pending[None]:
        """Waits until what is shown is what the server has. Offline it waits for the connection.

        Fails with the server's refusal (`forbidden`, `too_many_channels`, …), or with `closed`.
        """
        self._client._bind()
        if self._error is not None:
            raise self._error._copy()
        if self._client._ended is not None:
            raise self._client._ended._copy()
        self._watch()
        future = self._client._pending()
        if self._synced:
            future.set_result(None)
        else:
            self._ready.append(future)
        return future

    # The native side.

    def _open(self, link: Link) -> int:
        """Its number there."""
        raise NotImplementedError

    def _linked(self, link: Link) -> None:
        self._synced = False
        self._id = self._open(link)
        self._client._streams[self._id] = self
        if self._watched:
            link.native.watch(self._id)

    def _watch(self) -> None:
        if self._watched:
            return
        self._watched, self._error = True, None
        if self._client._link is not None:
            self._client._link.native.watch(self._id)

    def _unwatch(self, reason: str) -> None:
        if not self._watched:
            return
        self._watched = self._synced = False
        if self._client._link is not None:
            self._client._link.native.unsubscribe(self._id)
        self._fail_ready(RealtimeError("closed", reason))

    # What the client hands on while it drains.

    def _on_state(self, state: str, error: RealtimeError | None) -> None:
        if state == "failed" and self._watched:
            self._error = error or RealtimeError("refused", f"the server refused {self._what}")
            self._watched = self._synced = False
            heard = bool(self._ready)
            self._fail_ready(self._error)
            if not heard or "error" in self._listeners:
                self._unseen(self._error)

    def _on_synced(self) -> None:
        self._synced = True
        waiting, self._ready = self._ready, []
        for ready in waiting:
            if not ready.done():
                ready.set_result(None)

    def _disconnected(self, error: RealtimeError) -> None:
        """The application has disconnected the client; what is watched stays so for the next `connect()`."""
        self._fail_ready(error)

    def _forget_loop(self) -> None:
        self._ready = []
        self._ordered = Ordered(self._client._handler_failed, self._client._stalls)

    def _fail_ready(self, error: RealtimeError) -> None:
        waiting, self._ready = self._ready, []
        for ready in waiting:
            if not ready.done():
                ready.set_exception(error._copy())

    # Handlers.

    def _unseen(self, error: BaseException) -> None:
        """What failed and nobody waits for."""
        if "error" in self._listeners:
            self._emit(lambda: self._call("error", (error,)))
        else:
            self._client._calls.error(error)

    def _emit(self, emission: Callable[[], None]) -> None:
        """Calls handlers after those that are being called: one that changes something is not told of it in between."""
        self._emissions.append(emission)
        if len(self._emissions) > 1:
            return
        # What ran before the call of the application that is the cause of this is none of these handlers.
        self._client._stalls.settle(None)
        try:
            # What a handler adds is behind it.
            for each in self._emissions:
                each()
        finally:
            self._emissions.clear()

    def _ticket(self, size: int) -> Ticket | None:
        link, number = self._client._link, self._id
        if size == 0 or link is None:
            return None
        return Ticket(lambda bytes_: link.native.consumed(number, bytes_), size)

    def _call(self, event: str, arguments: tuple[Any, ...], ticket: Ticket | None = None) -> None:
        self._client._calls.emit(self, event, arguments, self._ordered, ticket, self._channel.name)


Report = Mapping[str, Any]
