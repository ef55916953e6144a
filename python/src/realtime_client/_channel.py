from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

from ._collection import RealtimeCollection, RecordT
from ._emitter import Emitter, Listener
from ._errors import RealtimeError
from ._iterator import MessageIterator, Tap
from ._ordered import Ordered, Ticket, is_ending
from ._outbox import Pending
from ._presence import RealtimePresence
from ._realtime import Message, Receipt
from ._stream import Stream
from ._types import ChannelState, Gap, Position

if TYPE_CHECKING:
    from ._client import WebSocketClient
    from ._link import Link

Loader = Callable[[Gap], "Awaitable[Position | int | None] | Position | int | None"]
"""Loads a snapshot, plain or `async`; returns up to where it reaches, where it knows."""

_MAX_NAME_BYTES = 255
_EARLY_MESSAGES = 1000
_EARLY_BYTES = 256 << 10
_DOWN = (ChannelState.IDLE, ChannelState.FAILED, ChannelState.UNSUBSCRIBING)


class RealtimeChannel(Emitter):
    """A channel of a client, from `client.channel(name)`.

    `on(event)` handlers get the payload and the `Message`. The event `"gap"` is the channel's own: its handlers get a
    `Gap` when messages are missing and will not come; `on_gap` is for fetching the state afresh then.

    Plain handlers are called at once, in order. Async handlers of one channel run one after the other; a message counts
    as consumed when they are done, so that a slow handler slows the server down instead of filling the memory.
    Register handlers before `subscribe()`: messages that nobody handles are counted (`unhandled`) and dropped.
    """

    def __init__(self, client: WebSocketClient, name: str) -> None:
        super().__init__()
        _check_name(name)
        self._client = client
        self._name = name
        self._id = -1
        self._state = ChannelState.IDLE
        self._error: RealtimeError | None = None
        self._left = True
        """The application has unsubscribed, or has not subscribed yet."""
        self._ready: list[Pending[None]] = []
        self._leaving: list[Pending[None]] = []
        self._taps: list[Tap] = []
        self._early: deque[Message] = deque()
        self._early_bytes = 0
        self._unhandled = 0
        self._ordered = Ordered(client._handler_failed, client._stalls)
        self._loader: Loader | None = None
        self._load_at_first = False
        self._loading: Mapping[str, Any] | None = None
        """The load that the engine waits for."""
        self._presence: RealtimePresence | None = None
        self._collections: dict[str, RealtimeCollection[Any]] = {}

    # What an application calls.

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def state(self) -> ChannelState:
        """What it is doing."""
        return self._state

    @property
    def presence(self) -> RealtimePresence:
        """Who is present in the channel. Needs no subscription."""
        if self._presence is None:
            self._presence = RealtimePresence(self)
            if self._client._link is not None:
                self._presence._linked(self._client._link)
        return self._presence

    @overload
    def collection(
        self, name: str, *, initial_data: Iterable[Mapping[str, Any]] | None = None
    ) -> RealtimeCollection[dict[str, Any]]: ...
    @overload
    def collection(
        self, name: str, type: type[RecordT], *, initial_data: Iterable[RecordT] | None = None
    ) -> RealtimeCollection[RecordT]: ...
    def collection(
        self, name: str, type: Any = None, *, initial_data: Iterable[Mapping[str, Any]] | None = None
    ) -> RealtimeCollection[Any]:
        """The collection of this name, always the same object, kept in sync from now on. Needs no subscription.

        `type` is for type checkers: the `TypedDict` of the records. `initial_data` is shown until the server's records
        are here, such as those that were rendered into a page; it counts where the collection is asked for first.
        Raises `invalid_name` and `invalid_record`.
        """
        collection = self._collections.get(name)
        if collection is None:
            _check_name(name, "collection")
            collection = RealtimeCollection(self, name)
            link = self._client._link
            if initial_data is not None:
                # What it may be is the engine's to say.
                link = link or self._client._make_link()
            if link is not None:
                collection._linked(link)
                if initial_data is not None:
                    collection._seed(link, initial_data)
            self._collections[name] = collection
        collection._watch()
        return collection

    def subscribe(self) -> Pending[None]:
        """Subscribes; await it to know that messages flow. It lasts over reconnects. Idempotent.

        Offline it waits for the connection. Fails with the server's refusal (`forbidden`, `too_many_channels`, …), with
        `closed` where it is unsubscribed or disconnected meanwhile, or with what made the client give up.
        """
        link = self._client._bind()
        if self._client._ended is not None:
            raise self._client._ended._copy()
        link.native.subscribe(self._name)
        if self._left:
            self._left = False
            self._refresh_routes()
        if self._state in _DOWN:
            self._state, self._error = ChannelState.SUBSCRIBING, None
        return self._until_ready()

    def ready(self) -> Pending[None]:
        """Waits until it is subscribed, without subscribing. Fails as `subscribe` does."""
        self._client._bind()
        if self._error is not None:
            raise self._error._copy()
        if self._left:
            raise RealtimeError("closed", f"channel {self._name!r} is not subscribed; call subscribe()")
        return self._until_ready()

    def unsubscribe(self) -> Pending[None]:
        """Ends the subscription, and every iteration; await it to know that the server has let it go. Idempotent.

        No handler is called any more, also for messages that were here already; one that is at work goes on.
        """
        link = self._client._bind()
        self._left, self._error = True, None
        self._fail_ready(RealtimeError("closed", f"channel {self._name!r} was unsubscribed"))
        self._end_taps(None)
        self._drop_early()
        self._ordered.drop()
        self._loading = None
        self._refresh_routes()
        link.native.unsubscribe(self._id)
        future = self._client._pending()
        if self._state in (ChannelState.IDLE, ChannelState.FAILED):
            self._state = ChannelState.IDLE
            future.set_result(None)
        else:
            self._leaving.append(future)
        return future

    def on_gap(self, load: Loader, *, initial: bool = False) -> Callable[[], None]:
        """Loads a snapshot where messages are missing, while those after them wait. Returns a function that ends this.

        After every gap (in `plain`: after every reconnect), once the messages before it are handled, `load` is called
        with it, and the channel's messages wait until it is done. It may be `async`. Where it returns up to where the
        snapshot reaches, a `Position` or its offset alone, messages up to there are dropped and counted (`covered`).
        Where it raises, that is an `"error"` event (`handler_failed`), and the messages come all the same. Another gap
        meanwhile calls it again afterwards. With `initial` it is also called when a subscription begins, with the
        reason `"initial"`; set it before `subscribe()`. A channel has one; setting another replaces it.
        """
        if not callable(load):
            raise TypeError(f"load must be callable, not {type(load).__name__}")
        self._loader, self._load_at_first = load, initial
        if self._client._link is not None:
            self._linked(self._client._link)

        def end() -> None:
            if self._loader is load:
                self._loader = None
                if self._client._link is not None:
                    self._linked(self._client._link)

        return end

    def send(self, event: str, payload: object = None) -> Pending[Receipt]:
        """Publishes to the channel: anything that JSON carries, or `bytes` (also `bytearray` and `memoryview`).

        It is on its way when this returns, in the order of the calls; await the result for the `Receipt`. The channel
        need not be subscribed. Offline it is kept and sent once connected, and after a cut it is sent again with the
        same id, so that it arrives once. Raises at once what is known at once (`invalid_payload`, `invalid_name`,
        `closed`, `queue_full`); what fails later and is not awaited goes to the client's `"error"` event.
        """
        return self._client._send(self, event, payload)

    def __aiter__(self) -> MessageIterator:
        """Iterates over the messages of all events. Each iteration gets every message from its begin on.

        Where the channel has no handlers, the first one also gets what came since `subscribe()`, up to the last 1,000
        messages or 256 KiB.
        """
        return MessageIterator(self)

    def __repr__(self) -> str:
        return f"<RealtimeChannel {self._name!r} {self._state}>"

    # Iterators.

    def _attach(self, tap: Tap) -> None:
        if self._error is not None:
            return tap.end(self._error._copy())
        for message in self._early:
            tap.put(message, None)
        self._early.clear()
        self._early_bytes = 0
        self._taps.append(tap)
        self._refresh_routes()
        return None

    def _detach(self, tap: Tap) -> None:
        if tap in self._taps:
            self._taps.remove(tap)
            self._refresh_routes()

    def _end_taps(self, error: RealtimeError | None) -> None:
        for tap in self._taps:
            tap.end(error and error._copy())

    def _keep(self, message: Message) -> None:
        """Keeps a message for the iteration that may begin."""
        self._early.append(message)
        self._early_bytes += message._size
        while len(self._early) > _EARLY_MESSAGES or (self._early_bytes > _EARLY_BYTES and len(self._early) > 1):
            self._early_bytes -= self._early.popleft()._size
            self._unhandled += 1

    def _drop_early(self) -> None:
        self._unhandled += len(self._early)
        self._early.clear()
        self._early_bytes = 0

    # Handlers.

    def _listeners_changed(self, event: str) -> None:
        self._refresh_route(event)

    def _refresh_routes(self) -> None:
        for event in self._listeners:
            self._refresh_route(event)

    def _refresh_route(self, event: str) -> None:
        link = self._client._link
        if link is None or event == "gap":
            return
        listener = None if self._taps or self._left else self._client._only_plain(event, self)
        if listener is None:
            link.native.remove_route(self._id, event)
        else:
            link.native.set_route(self._id, event, listener.handler, listener.parameters > 1)

    # What the client hands on while it drains.

    def _deliver(self, message: Message, ticket: Ticket) -> bool:
        if self._left:
            return False
        event = message.event
        handled = False
        if event is not None and event != "gap":
            arguments = (message.data, message)
            handled = self._client._calls.emit(self, event, arguments, self._ordered, ticket, self._name)
        for tap in self._taps:
            if not tap.ended:
                tap.put(message, ticket.take())
                handled = True
        if not handled and not self._taps and not (self._listeners.keys() - {"gap"}):
            self._keep(message)
            handled = True
        return handled

    def _on_state(self, state: str, error: RealtimeError | None) -> None:
        new = ChannelState(state)
        if new is ChannelState.IDLE:
            for leaving in self._leaving:
                if not leaving.done():
                    leaving.set_result(None)
            self._leaving.clear()
        # What was true before the application's last word is not any more.
        if self._left != (new in (ChannelState.IDLE, ChannelState.UNSUBSCRIBING)) and new is not ChannelState.FAILED:
            return
        self._state = new
        if new is ChannelState.SUBSCRIBED:
            self._error = None
            for ready in self._ready:
                if not ready.done():
                    ready.set_result(None)
            self._ready.clear()
        elif new is ChannelState.FAILED and not self._left:
            self._error = error or RealtimeError("refused", f"channel {self._name!r} was refused")
            self._fail_ready(self._error)
            self._end_taps(self._error)

    def _on_gap(self, report: Mapping[str, Any]) -> None:
        self._client._calls.emit(self, "gap", (_gap(self._name, report),), self._ordered, channel=self._name)

    def _linked(self, link: Link) -> None:
        """The native side knows the channel by its number, and now what its hook wants."""
        link.native.load_on(self._id, self._loader is not None, self._load_at_first)

    def _on_load(self, report: Mapping[str, Any]) -> None:
        self._loading = report
        # After the "gap" handlers; the native side has waited for all others.
        self._add_load(report)

    def _add_load(self, report: Mapping[str, Any]) -> None:
        self._ordered.add(Listener(self._load, False), (report,), None, (self._name, "gap", self._loader))

    async def _load(self, report: Mapping[str, Any]) -> None:
        loader, position = self._loader, None
        try:
            if loader is not None:
                result = loader(_gap(self._name, report))
                position = _position(await result if inspect.isawaitable(result) else result)
        except GeneratorExit:
            # The loop is gone; the next one loads anew.
            raise
        except BaseException:
            if is_ending():
                # Where the loop goes on after all, this is what goes on first.
                self._add_load(report)
            else:
                self._loaded(report, None)
            raise
        self._loaded(report, position)

    def _loaded(self, report: Mapping[str, Any], position: tuple[str | None, int] | None) -> None:
        if self._loading is report:
            self._loading = None
        if self._client._link is not None:
            epoch, offset = position or (None, None)
            self._client._link.native.loaded(self._id, report["load"], epoch, offset)

    def _all_streams(self) -> Iterator[Stream]:
        if self._presence is not None:
            yield self._presence
        yield from self._collections.values()

    def _disconnected(self, error: RealtimeError) -> None:
        """The application has disconnected the client."""
        self._fail_ready(error)
        self._end_taps(None)
        for leaving in self._leaving:
            if not leaving.done():
                leaving.set_result(None)
        self._leaving.clear()

    def _forget_loop(self) -> None:
        self._ready, self._leaving, self._taps = [], [], []
        self._ordered = Ordered(self._client._handler_failed, self._client._stalls)
        if self._loading is not None:
            self._on_load(self._loading)

    def _until_ready(self) -> Pending[None]:
        future = self._client._pending()
        if self._state is ChannelState.SUBSCRIBED:
            future.set_result(None)
        else:
            self._ready.append(future)
        return future

    def _fail_ready(self, error: RealtimeError) -> None:
        waiting, self._ready = self._ready, []
        for ready in waiting:
            if not ready.done():
                ready.set_exception(error._copy())


def _gap(channel: str, report: Mapping[str, Any]) -> Gap:
    return Gap(
        channel, report["reason"], report["epoch"], report.get("previousEpoch"), report.get("from"), report.get("to")
    )


def _position(result: object) -> tuple[str | None, int] | None:
    """What a loader has returned, as epoch and offset."""
    epoch: object = None
    offset = result
    if result is None:
        return None
    if isinstance(result, tuple) and len(result) == 2:
        epoch, offset = result
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < 1 << 53:
        raise TypeError(f"a loader must return a Position, an offset or None, not {result!r}")
    if epoch is not None and not isinstance(epoch, str):
        raise TypeError(f"the epoch of a Position must be a string, not {epoch!r}")
    return epoch, offset


def _check_name(name: str, what: str = "channel") -> None:
    if not isinstance(name, str):
        raise RealtimeError("invalid_name", f"a {what} name must be a string, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise RealtimeError(
            "invalid_name", f"the {what} name holds a lone surrogate, which UTF-8 does not have"
        ) from None
    if not 1 <= size <= _MAX_NAME_BYTES:
        raise RealtimeError("invalid_name", f"a {what} name must have 1 to {_MAX_NAME_BYTES} UTF-8 bytes, not {size}")
