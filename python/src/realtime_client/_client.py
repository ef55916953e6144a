from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Literal, TypeVar

from ._calls import Calls
from ._channel import RealtimeChannel
from ._collection import RealtimeCollection
from ._emitter import Emitter, Listener
from ._errors import RealtimeError, error_from_report
from ._link import Link
from ._options import TokenProvider, write_options
from ._ordered import Ticket
from ._outbox import Attempt, Outbox, Pending, Watched
from ._presence import RealtimePresence
from ._realtime import Encoded, Message, Receipt, encode
from ._stalls import Stalls
from ._stream import Stream
from ._tokens import Tokens
from ._types import NO_STATS, Closed, Opened, Stats, Status, StatusChange, stats_from_report

RESERVED = frozenset({"open", "close", "status", "error", "binary", "stalled", "message"})
"""The client's own events. A backend's type with such a name arrives under `message` only."""

_FLUSH = 5.0
"""Seconds that `disconnect` waits for receipts."""

T = TypeVar("T")


class WebSocketClient(Emitter):
    """A connection that stays: it reconnects, subscribes again, sends again, and says what it could not keep.

    Nothing happens until `connect()`. A client belongs to the event loop that it is first used in, and may be made
    anywhere. All times are in seconds.

    Events, with what their handlers get:

    - `"open"` (`Opened`), `"close"` (`Closed`), `"status"` (`Status`, `StatusChange`);
    - `"error"` (`RealtimeError`): what belongs to no single send, a failed attempt to connect, a handler that raised.
      Where nobody listens, it is logged (`logging.getLogger("realtime_client")`);
    - `"message"` (`Message`): every message, of any channel;
    - `"binary"` (`bytes`, `Message`): binary messages of the backend to this client;
    - `"stalled"` (seconds, `StalledHandler` or `None`): the event loop was blocked for a second or more, and in which
      handler, where that is known. The connection does not notice: pings are answered meanwhile;
    - any other name: messages of the backend to this client of that type (payload, `Message`).

    Async handlers run one after the other; how many arguments a handler gets is said at `on`.
    """

    def __init__(
        self,
        url: str,
        *,
        protocol: Literal["auto", "realtime.v1", "plain"] = "auto",
        token: str | TokenProvider | None = None,
        token_placement: str = "header",
        token_timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] | None = None,
        connect_timeout: float = 10.0,
        heartbeat_interval: float = 30.0,
        heartbeat_timeout: float = 60.0,
        reconnect: bool = True,
        reconnect_first: float = 0.5,
        reconnect_base: float = 3.0,
        reconnect_max: float = 30.0,
        attempts_until_error: int = 5,
        max_attempts: int | None = None,
        send_timeout: float | None = None,
        queue_messages: int = 10_000,
        queue_bytes: int = 16 << 20,
        when_full: Literal["wait", "reject", "dropOldest"] = "wait",
        queue_path: str | os.PathLike[str] | None = None,
        inbox_bytes: int = 4 << 20,
        channel_inbox_bytes: int = 2 << 20,
        replica_bytes: int = 256 << 20,
        rate_limit: int | None = None,
        error_report: str | os.PathLike[str] | None = None,
        ca: str | bytes | None = None,
        proxy: bool | str = True,
    ) -> None:
        """Makes a client. Raises `RealtimeError` with `invalid_url` or `invalid_option`.

        Args:
            url: `ws://…` or `wss://…`.
            protocol: The dialect: `"realtime.v1"`, `"plain"` (any JSON WebSocket backend), or `"auto"`, which takes
                the first where the server has it.
            token: A token, or a plain or `async` function that returns one; it is asked afresh on every connect.
            token_placement: `"header"` (`Authorization: Bearer`), `"hello"` (only inside `realtime.v1`), or
                `"query:NAME"`, a query parameter.
            token_timeout: How long the function may take.
            headers: Sent with the upgrade.
            query: Added to the URL.
            subprotocols: Offered besides the client's own.
            connect_timeout: From opening the socket to connected.
            heartbeat_interval: Between pings.
            heartbeat_timeout: Without any frame for this long the socket is dead.
            reconnect: Whether to come back by itself.
            reconnect_first: The first retry comes within this, at random.
            reconnect_base: The second within this; it doubles from there.
            reconnect_max: Up to this.
            attempts_until_error: After so many failed attempts in a row the status is `error`; it goes on trying.
            max_attempts: After so many it gives up; what was not sent fails. Default: never.
            send_timeout: Fails a send without a receipt after this long. Default: never.
            queue_messages: Sends that may be without a receipt.
            queue_bytes: The same in bytes.
            when_full: What a send does then: `"wait"` for room (as many again may; beyond that `queue_full`),
                `"reject"` (raises `queue_full`), or `"dropOldest"` (the oldest unsent one fails with `dropped`).
            queue_path: A file that makes the outbox durable: what `send` has accepted survives the end of the process
                and goes out, once, after the next start. Each client needs a file of its own. It is opened at the
                first use, which may raise `outbox_in_use`, `outbox_damaged` or `storage_failed`. Default: in memory.
            inbox_bytes: Messages that handlers are not done with; beyond, the server holds them back.
            channel_inbox_bytes: The same for one channel.
            replica_bytes: What a collection, or a presence, may take of memory; beyond, it fails with
                `collection_full` or `presence_full`.
            rate_limit: Sends a second; more are delayed. Default: no limit.
            error_report: A file that the JSON of `dump()` is written to when an error ends the client: when it gives
                up, or is told not to come back. Default: none.
            ca: Certificate authorities in PEM, trusted instead of the system's.
            proxy: `True`: as the environment says (`HTTPS_PROXY`, `NO_PROXY`, …), `False`: none, or a URL.
        """
        super().__init__()
        self._url = url
        self._options = write_options(
            url,
            {
                "protocol": protocol,
                "token": token,
                "token_placement": token_placement,
                "token_timeout": token_timeout,
                "headers": headers,
                "query": query,
                "subprotocols": subprotocols,
                "connect_timeout": connect_timeout,
                "heartbeat_interval": heartbeat_interval,
                "heartbeat_timeout": heartbeat_timeout,
                "reconnect": reconnect,
                "reconnect_first": reconnect_first,
                "reconnect_base": reconnect_base,
                "reconnect_max": reconnect_max,
                "attempts_until_error": attempts_until_error,
                "max_attempts": max_attempts,
                "send_timeout": send_timeout,
                "queue_messages": queue_messages,
                "queue_bytes": queue_bytes,
                "when_full": when_full,
                "queue_path": queue_path,
                "inbox_bytes": inbox_bytes,
                "channel_inbox_bytes": channel_inbox_bytes,
                "replica_bytes": replica_bytes,
                "rate_limit": rate_limit,
                "error_report": error_report,
                "ca": ca,
                "proxy": proxy,
            },
        )
        self._tokens = Tokens(token if callable(token) else None)
        self._waits = when_full == "wait"
        self._outbox = Outbox(self._unseen)
        self._channels: dict[str, RealtimeChannel] = {}
        self._by_number: dict[int, RealtimeChannel] = {}
        self._streams: dict[int, Stream] = {}
        self._link: Link | None = None
        self._seen = Status.DISCONNECTED
        """The status as the handlers know it."""
        self._ended: RealtimeError | None = None
        """Why nothing will come until the next `connect()`."""
        self._connecting: list[Pending[None]] = []
        self._settling: list[Pending[None]] = []
        self._unhandled = 0
        self._malformed = 0
        self._stalls = Stalls()
        self._reset_handlers()

    # What an application calls.

    @property
    def url(self) -> str:
        """Where it connects to."""
        return self._url

    @property
    def status(self) -> Status:
        """What it does now."""
        return Status.DISCONNECTED if self._link is None else Status(self._link.native.status)

    @property
    def is_connected(self) -> bool:
        """Whether it is connected, and a frame was seen within the heartbeat timeout."""
        return self.status is Status.CONNECTED

    async def connect(self) -> None:
        """Connects, and stays so; returns when connected.

        Raises when the status becomes `error`: after `attempts_until_error` failed attempts (it goes on trying in the
        background), or at once where the server says not to come back. Each failed attempt before that is an
        `"error"` event. Does nothing where it is connected.
        """
        link = self._bind()
        if self._seen is Status.CONNECTED and link.native.status == "connected":
            return
        if self._seen is Status.DISCONNECTED or self._ended is not None:
            self._seen = Status.CONNECTING
        self._ended = None
        for settling in self._settling:
            _resolve(settling, None)
        waiter: Pending[None] = Watched(asyncio.get_running_loop(), _ignore)
        self._connecting.append(waiter)
        try:
            link.native.connect()
            await waiter
        finally:
            self._connecting.remove(waiter)

    async def disconnect(self) -> None:
        """Disconnects. Where it is connected, waits up to 5 seconds for the receipts of what was sent.

        What is left then fails with `closed`, or with `deferred` where `queue_path` keeps it, and every iteration over
        a channel ends. Subscriptions stay declared: a later `connect()` recovers them. Idempotent.
        """
        link = self._link
        if link is None:
            return
        if link.loop is not None and link.loop.is_closed():
            self._abandon()
            return
        link = self._bind()
        loop = asyncio.get_running_loop()
        end = loop.time() + _FLUSH
        while self._outbox.waiting and self.is_connected and loop.time() < end:
            await asyncio.wait([entry[0] for entry in self._outbox.waiting], timeout=end - loop.time())
        self._ended = _disconnected()
        link.native.disconnect(max(end - loop.time(), 0.0))
        self._outbox.pump(link)
        if not self._is_settled():
            settling: Pending[None] = Watched(loop, _ignore)
            self._settling.append(settling)
            try:
                await asyncio.wait_for(settling, _FLUSH + 5)
            except asyncio.TimeoutError:
                self._abandon()
            finally:
                self._settling.remove(settling)
        if self._ended is not None:  # not connected again meanwhile
            self._end_channels(self._ended)
            link.detach()

    async def __aenter__(self) -> WebSocketClient:
        try:
            await self.connect()
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()

    def channel(self, name: str) -> RealtimeChannel:
        """The channel of this name, always the same object. Raises `invalid_name` (1 to 255 bytes of UTF-8)."""
        channel = self._channels.get(name)
        if channel is None:
            channel = RealtimeChannel(self, name)
            if self._link is not None:
                self._number(channel, self._link)
            self._channels[name] = channel
        return channel

    def send(self, type: str, payload: object = None) -> Pending[Receipt]:
        """Sends a message to the backend itself, not to a channel: anything that JSON carries, or `bytes`.

        It is on its way when this returns; await the result for the receipt. Raises at once what is known at once
        (`invalid_payload`, `invalid_name`, `closed`, `queue_full`).
        """
        return self._send(None, type, payload)

    def send_binary(self, data: bytes | bytearray | memoryview) -> Pending[Receipt]:
        """Sends a binary message to the backend itself. As `send` does."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise RealtimeError("invalid_payload", f"send_binary takes bytes, not {type(data).__name__}")
        return self._send(None, None, data)

    def get_stats(self) -> Stats:
        """Figures from the beginning of the client."""
        report = json.loads(self._link.native.stats()) if self._link is not None else NO_STATS
        return stats_from_report(
            report,
            unhandled=self._unhandled + sum(channel._unhandled for channel in self._channels.values()),
            malformed=self._malformed,
            waiting=len(self._outbox.waiting),
            waiting_bytes=self._outbox.waiting_bytes,
        )

    def dump(self) -> dict[str, Any]:
        """What the client is and did last: for a report of something that went wrong.

        Its state, its channels, and the last 512 entries of a flight recorder that is always on: changes of state,
        frames, timers, calls. It can be written as JSON, and holds no payload, token, URL or session id, but channel
        names. Empty for a client that was never used.
        """
        return {} if self._link is None else dict(json.loads(self._link.native.dump()))

    def __repr__(self) -> str:
        return f"<WebSocketClient {self._url} {self.status}>"

    # Sends.

    def _send(self, channel: RealtimeChannel | None, event: str | None, payload: object) -> Pending[Receipt]:
        link = self._link
        loop = asyncio.get_running_loop() if link is not None else None
        if link is None or link.loop is not loop or loop is None:
            link = self._bind()
            loop = asyncio.get_running_loop()
        outbox = self._outbox
        future: Pending[Receipt] = Pending(loop=loop)
        request = None
        if not outbox.waiting:
            if channel is None:
                request = link.native.send(event, payload)
            else:
                request = link.native.publish(channel._id, event, payload)  # type: ignore[arg-type]
        if request is not None:
            outbox.futures[request] = future
            if not link.corked:
                link.cork()
            return future
        # Now, so that what the caller changes later is not sent.
        encoded: Encoded = encode(payload)
        if channel is None:
            self._wait_for_room(link, future, lambda link: link.native.send(event, encoded), len(encoded))
        else:
            number, name = channel._id, event or ""
            self._wait_for_room(link, future, lambda link: link.native.publish(number, name, encoded), len(encoded))
        return future

    def _send_in_turn(self, future: Pending[Any], attempt: Attempt, size: int) -> None:
        """Gives something to the engine, or has it wait behind what waits for room."""
        link = self._bind()
        request = None if self._outbox.waiting else attempt(link)
        if request is None:
            self._wait_for_room(link, future, attempt, size)
        else:
            self._outbox.futures[request] = future

    def _wait_for_room(self, link: Link, future: Pending[Any], attempt: Attempt, size: int) -> None:
        if self._ended is not None:
            raise self._ended._copy()
        self._outbox.wait(link, future, attempt, size)

    # Event loop.

    def _bind(self) -> Link:
        """The link, attached to the running loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RealtimeError(
                "unsupported", "a client needs a running event loop; call this from a coroutine or a callback of one"
            ) from None
        link = self._link or self._make_link()
        if link.loop is loop:
            return link
        link.native.check_process()
        if link.loop is not None:
            if not link.loop.is_closed():
                raise RealtimeError(
                    "unsupported", "this client belongs to another event loop; each loop needs a client of its own"
                )
            # What that loop had is gone with it; the connection is not.
            link.detach()
            self._outbox.fail_all(RealtimeError("closed", "the event loop was closed"))
            self._connecting, self._settling = [], []
            self._reset_handlers()
            for channel in self._channels.values():
                channel._forget_loop()
                for stream in channel._all_streams():
                    stream._forget_loop()
        link.attach(loop, self._drain)
        return link

    def _make_link(self) -> Link:
        link = self._link = Link(self._options, self._waits)
        self._stalls.watch(link.native.take_overdue)
        for channel in self._channels.values():
            self._number(channel, link)
        self._refresh_all_routes()
        return link

    def _drain(self) -> bool:
        link = self._link
        if link is None:
            return False
        more = link.native.drain(self, self._outbox.futures)
        if self._settling and self._is_settled():
            for settling in self._settling:
                _resolve(settling, None)
        return more

    def _is_settled(self) -> bool:
        return self._seen is Status.DISCONNECTED and self._outbox.is_empty

    def _abandon(self) -> None:
        """Closes at once, without hearing what becomes of it."""
        link, self._link = self._link, None
        self._stalls.watch(None)
        self._seen = Status.DISCONNECTED
        if link is not None:
            link.close()
        closed = RealtimeError("closed", "the client was closed")
        self._outbox.fail_all(closed)
        self._end_channels(closed)

    def _number(self, channel: RealtimeChannel, link: Link) -> None:
        channel._id = link.native.channel(channel.name)
        self._by_number[channel._id] = channel
        channel._linked(link)
        for stream in channel._all_streams():
            stream._linked(link)

    def _pending(self) -> Pending[None]:
        return Watched(asyncio.get_running_loop(), self._calls.error)

    def _unseen(self, error: BaseException) -> None:
        self._calls.error(error)

    def _end_channels(self, error: RealtimeError) -> None:
        for channel in self._channels.values():
            channel._disconnected(error)
            for stream in channel._all_streams():
                stream._disconnected(error)

    # Handlers.

    def _reset_handlers(self) -> None:
        self._calls = Calls(self, self._stalls)

    def _listeners_changed(self, event: str) -> None:
        if event == "message":
            self._refresh_all_routes()
        else:
            self._refresh_route(event)

    def _refresh_route(self, event: str) -> None:
        """Lets the native side call the only, plain handler of an event by itself."""
        if self._link is None or event in RESERVED:
            return
        listener = self._only_plain(event, self)
        if listener is None:
            self._link.native.remove_route(None, event)
        else:
            self._link.native.set_route(None, event, listener.handler, listener.parameters > 1)

    def _refresh_all_routes(self) -> None:
        for event in self._listeners:
            self._refresh_route(event)
        for channel in self._channels.values():
            channel._refresh_routes()

    def _only_plain(self, event: str, emitter: Emitter) -> Listener | None:
        listeners = emitter._listeners.get(event, ())
        if len(listeners) != 1 or "message" in self._listeners:
            return None
        listener = listeners[0]
        plain = not listener.is_async and not listener.once and listener.parameters > 0
        return listener if plain else None

    # What the native side calls while it drains.

    def _message(self, number: int | None, message: Message, implied: bool) -> bool:
        """A message that has no route. `True` where it is consumed later."""
        link = self._link
        if link is None:
            return False
        ticket = Ticket(partial(link.native.consumed, number), message._size)
        handled = False
        if number is not None:
            channel = self._by_number.get(number)
            handled = channel is not None and channel._deliver(message, ticket)
        elif message.event is None:
            if isinstance(message.data, bytes):
                handled = self._calls.emit(self, "binary", (message.data, message), None, ticket)
        elif message.event not in RESERVED:
            handled = self._calls.emit(self, message.event, (message.data, message), None, ticket)
        if not implied:
            handled = self._calls.emit(self, "message", (message,), None, ticket) or handled
            self._unhandled += not handled
        return ticket.is_taken

    def _result(self, number: int | None, event: str, handler: object, result: object, size: int) -> bool:
        """What a routed handler has returned. `True` where the message is consumed later."""
        if not inspect.isawaitable(result) or self._link is None:
            return False
        channel = None if number is None else self._by_number.get(number)
        ticket = Ticket(partial(self._link.native.consumed, number), size)
        place = (None if channel is None else channel.name, event, handler)
        (self._calls.ordered if channel is None else channel._ordered).add(result, (), ticket.take(), place)
        return True

    def _blocked(self, number: int | None = None, event: str | None = None, handler: object = None) -> None:
        """The loop was blocked for long: in this handler, or in none that the native side has called."""
        channel = None if number is None else self._by_number.get(number)
        name = None if channel is None else channel.name
        self._stalls.found(None if event is None else (name, event, handler))

    def _handler_failed(self, failure: BaseException) -> None:
        self._calls.failed(failure)

    def _undecodable(self, number: int | None, failure: BaseException) -> None:
        self._malformed += 1
        channel = None if number is None else self._by_number.get(number)
        stream = None if number is None else self._streams.get(number)
        where = "of the backend" if channel is None else f"of channel {channel.name!r}"
        where = where if stream is None else f"of {stream!r}"
        error = RealtimeError("malformed", f"a message {where} is not JSON and was left out: {failure}")
        error.__cause__ = failure
        self._calls.error(error)

    def _send_failed(self, request: int, report: Mapping[str, Any]) -> None:
        future = self._outbox.futures.pop(request, None)
        if future is not None:
            future.fail(error_from_report(report), self._unseen)

    def _change(self, number: int, *change: Any) -> bool:
        """A change of a collection. `True` where it is consumed later."""
        stream = self._streams.get(number)
        return isinstance(stream, RealtimeCollection) and stream._on_change(*change)

    def _presence(self, number: int, report: Mapping[str, Any], size: int) -> bool:
        """A change of who is present. `True` where it is consumed later."""
        stream = self._streams.get(number)
        return isinstance(stream, RealtimePresence) and stream._on_presence(report, size)

    def _report(self, report: Mapping[str, Any]) -> None:
        getattr(self, f"_on_{report['type']}")(report)

    def _on_status(self, report: Mapping[str, Any]) -> None:
        status = self._seen = Status(report["status"])
        error = error_from_report(report["error"]) if "error" in report else None
        retry_in = report.get("retryIn")
        if status is Status.CONNECTED:
            for waiter in self._connecting:
                _resolve(waiter, None)
        # Where the client does something else by now, connect() was called again: what ended before is no matter.
        elif status in (Status.ERROR, Status.DISCONNECTED) and self.status is status:
            if retry_in is None and self._ended is None:
                self._ended = error or _disconnected()
            self._fail_connecting(error or self._ended or _disconnected())
            if self._link is not None:
                self._outbox.pump(self._link)
        change = StatusChange(status, error, None if retry_in is None else retry_in / 1000)
        self._calls.emit(self, "status", (status, change))

    def _on_open(self, report: Mapping[str, Any]) -> None:
        opened = Opened(report["dialect"], report.get("connection"), report["resumed"], report.get("user"))
        self._calls.emit(self, "open", (opened,))

    def _on_close(self, report: Mapping[str, Any]) -> None:
        self._calls.emit(self, "close", (Closed(report["code"], report["reason"], report["reconnecting"]),))

    def _on_error(self, report: Mapping[str, Any]) -> None:
        error = error_from_report(report["error"])
        if self._seen is Status.ERROR:
            # It was probing, and the status does not change again.
            self._fail_connecting(error)
        self._calls.error(error)

    def _on_channel(self, report: Mapping[str, Any]) -> None:
        channel = self._by_number.get(report["channel"])
        told = channel or self._streams.get(report["channel"])
        if told is not None:
            told._on_state(report["state"], error_from_report(report["error"]) if "error" in report else None)

    def _on_gap(self, report: Mapping[str, Any]) -> None:
        channel = self._by_number.get(report["channel"])
        if channel is not None:
            channel._on_gap(report)

    def _on_load(self, report: Mapping[str, Any]) -> None:
        channel = self._by_number.get(report["channel"])
        if channel is not None:
            channel._on_load(report)

    def _on_synced(self, report: Mapping[str, Any]) -> None:
        stream = self._streams.get(report["channel"])
        if isinstance(stream, RealtimeCollection):
            stream._on_sync(report["reason"])

    def _on_diverged(self, report: Mapping[str, Any]) -> None:
        stream = self._streams.get(report["channel"])
        if isinstance(stream, RealtimeCollection):
            stream._on_diverged(report["offset"])

    def _on_writable(self, report: Mapping[str, Any]) -> None:
        if self._link is not None:
            self._outbox.pump(self._link)

    def _on_stalled(self, report: Mapping[str, Any]) -> None:
        self._calls.emit(self, "stalled", (report["duration"] / 1000, self._stalls.take()))

    def _on_token(self, report: Mapping[str, Any]) -> None:
        if self._link is not None:
            self._tokens.answer(report["request"], self._link.native)

    def _fail_connecting(self, error: RealtimeError) -> None:
        for waiter in self._connecting:
            if not waiter.done():
                waiter.set_exception(error._copy())


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


def _disconnected() -> RealtimeError:
    return RealtimeError("closed", "the client was disconnected by its application; connect() opens it again")


def _ignore(error: BaseException) -> None:
    pass
