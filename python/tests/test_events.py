"""Handlers: registering, arguments, plain and async, failing ones."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from typing import Any
from unittest import mock

import pytest

from realtime_client import Handler, Message, RealtimeError, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import TIMEOUT, Heard


async def test_on_returns_what_ends_it_and_is_a_decorator(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[Any] = []
    stop = channel.on("said", got.append)

    @channel.on("said")
    def decorated(data: Any) -> None:
        got.append(("decorated", data))

    assert channel.listener_count("said") == 2
    await channel.subscribe()
    last = Heard(channel, "last")
    await channel.send("said", 1)
    stop()
    stop()
    assert channel.listener_count("said") == 1
    await channel.send("said", 2)
    channel.off("said", decorated)
    assert channel.listener_count("said") == 0
    await channel.send("said", 3)
    await channel.send("last")
    await last.count(1)
    assert got == [1, ("decorated", 1), ("decorated", 2)]


async def test_once_is_called_once(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[Any] = []
    channel.once("said", got.append)
    decorated = mock.Mock()
    channel.once("said")(decorated)
    await channel.subscribe()
    last = Heard(channel, "last")
    for number in (1, 2):
        await channel.send("said", number)
    await channel.send("last")
    await last.count(1)
    assert got == [1]
    assert decorated.call_count == 1
    assert channel.listener_count("said") == 0


async def test_off_without_a_handler_ends_all(client: WebSocketClient) -> None:
    for _ in range(3):
        client.on("status", print)
    client.off("status")
    client.off("never")
    assert client.listener_count("status") == 0


async def test_a_handler_gets_as_many_arguments_as_it_needs(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: dict[str, tuple[Any, ...]] = {}

    class Listener:
        def method(self, data: Any, message: Message) -> None:
            got["method"] = (data, message)

        async def async_method(self, data: Any) -> None:
            got["async method"] = (data,)

        def __call__(self, data: Any) -> None:
            got["object"] = (data,)

    def everything(*arguments: Any) -> None:
        got["everything"] = arguments

    def captured(data: Any, name: str = "captured") -> None:
        got[name] = (data,)

    def keep(name: str, data: Any, message: Message) -> None:
        got[name] = (data, message)

    handlers: list[Handler] = [
        lambda: got.update(none=()),
        lambda data: got.update(one=(data,)),
        lambda data, message: got.update(two=(data, message)),
        Listener().method,
        Listener().async_method,
        Listener(),
        everything,
        captured,
        functools.partial(keep, "partial"),
    ]
    for handler in handlers:
        channel.on("said", handler)
    await channel.subscribe()
    last = Heard(channel, "last")
    await channel.send("said", 1)
    await channel.send("last")
    await last.count(1)
    assert {name: len(arguments) for name, arguments in got.items()} == {
        "none": 0,
        "one": 1,
        "two": 2,
        "method": 2,
        "async method": 1,
        "object": 1,
        "everything": 2,
        "captured": 1,
        "partial": 2,
    }
    assert all(arguments[0] == 1 for arguments in got.values() if arguments)


async def test_what_is_no_handler_is_refused(client: WebSocketClient) -> None:
    with pytest.raises(TypeError):
        client.on("said", 7)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        client.on(7)  # type: ignore[call-overload]


@pytest.mark.parametrize("alone", [True, False])
async def test_a_handler_that_raises_is_an_error_event_and_stops_nothing(client: WebSocketClient, alone: bool) -> None:
    channel = client.channel("room")
    errors = Heard(client, "error")

    @channel.on("said")
    def fail(data: Any) -> None:
        raise ZeroDivisionError(data)

    if not alone:

        @channel.on("said")
        async def fail_too(data: Any) -> None:
            raise KeyError(data)

        others = Heard(channel, "said")
    await channel.subscribe()
    await channel.send("said", 1)
    await channel.send("said", 2)
    await errors.count(2 if alone else 4)
    assert {error.code for error in errors.values} == {"handler_failed"}
    causes = [type(error.__cause__) for error in errors.values]
    assert causes.count(ZeroDivisionError) == 2
    if not alone:
        assert causes.count(KeyError) == 2
        assert others.values == [1, 2]
    assert client.is_connected


async def test_a_failed_handler_is_logged_where_nobody_listens(
    client: WebSocketClient, caplog: pytest.LogCaptureFixture
) -> None:
    channel = client.channel("room")

    @channel.on("said")
    def fail(data: Any) -> None:
        raise ZeroDivisionError("in a handler")

    await channel.subscribe()
    got = Heard(channel, "other")
    await channel.send("said", 1)
    await channel.send("other", 1)
    await got.count(1)
    (record,) = [record for record in caplog.records if record.name == "realtime_client"]
    assert "handler_failed" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_an_error_handler_that_raises_is_logged_and_does_not_loop(
    client: WebSocketClient, caplog: pytest.LogCaptureFixture
) -> None:
    channel = client.channel("room")

    @client.on("error")
    def fail(error: RealtimeError) -> None:
        raise KeyError("in the error handler")

    @client.on("error")
    async def fail_async(error: RealtimeError) -> None:
        raise KeyError("in the async error handler")

    channel.on("said", lambda data: 1 / 0)
    await channel.subscribe()
    got = Heard(channel, "other")
    await channel.send("said", 1)
    await channel.send("other", 1)
    await got.count(1)
    await asyncio.sleep(0)
    assert [record.levelno for record in caplog.records if record.name == "realtime_client"] == [logging.ERROR] * 2


async def test_a_handler_may_change_the_handlers(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[Any] = []

    def first(data: Any) -> None:
        got.append(("first", data))
        channel.off("said", first)
        channel.on("said", second)

    def second(data: Any) -> None:
        got.append(("second", data))

    channel.on("said", first)
    await channel.subscribe()
    last = Heard(channel, "last")
    channel.send("said", 1)
    channel.send("said", 2)
    channel.send("last")
    await last.count(1)
    assert got == [("first", 1), ("second", 2)]


async def test_a_handler_that_dies_may_change_the_handlers(client: WebSocketClient) -> None:
    channel = client.channel("room")

    class Fragile:
        def __call__(self, data: Any) -> None:
            pass

        def __del__(self) -> None:
            channel.off("other")
            channel.on("other", lambda: None)

    await channel.subscribe()
    assert client._link is not None
    # Where the native side has the last reference, it must hold no lock when it gives that up.
    client._link.native.set_route(channel._id, "said", Fragile(), False)
    client._link.native.set_route(channel._id, "said", Fragile(), False)
    client._link.native.remove_route(channel._id, "said")
    channel.on("\ud800", lambda: None)
    assert channel.listener_count("other") == 1
    assert (await channel.send("said", 1)).acknowledged


async def test_listening_to_every_message_changes_nothing_for_others(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    await channel.send("said", 1)
    everything = Heard(client, "message")
    await channel.send("said", 2)
    client.off("message")
    await channel.send("said", 3)
    assert await got.count(3) == [1, 2, 3]
    assert [message.data for message in everything.values] == [2]


async def test_a_plain_function_that_returns_a_coroutine_is_awaited(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[Any] = []
    done = asyncio.Event()

    async def work(data: Any) -> None:
        await asyncio.sleep(0)
        got.append(data)
        if len(got) == 3:
            done.set()

    channel.on("said", lambda data: work(data))
    await channel.subscribe()
    for number in range(3):
        channel.send("said", number)
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert got == [0, 1, 2]


async def test_what_a_plain_handler_returns_is_ignored(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got: list[Any] = []

    def handler(data: Any) -> int:
        got.append(data)
        return 7

    channel.on("said", handler)
    await channel.subscribe()
    last = Heard(channel, "last")
    await channel.send("said", 1)
    await channel.send("last")
    await last.count(1)
    assert got == [1]


async def test_messages_that_nobody_wants_are_counted(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got = Heard(channel, "wanted")
    await channel.subscribe()
    await channel.send("unwanted", 1)
    await channel.send("wanted", 2)
    await client.send("unwanted", 3)
    await client.send("wanted", 4)
    await got.count(1)
    direct = Heard(client, "last")
    await client.send("last")
    await direct.count(1)
    assert client.get_stats().unhandled == 3


async def test_events_of_the_client_await_async_handlers_in_order(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url)
    seen: list[str] = []
    done = asyncio.Event()

    @client.on("status")
    async def slow(status: str) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append(str(status))
        if status == "disconnected":
            done.set()

    await client.connect()
    await client.disconnect()
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert seen == ["connecting", "connected", "disconnected"]


def test_public_functions_have_documentation() -> None:
    import realtime_client
    import realtime_client.testing

    missing = []
    for module in (realtime_client, realtime_client.testing):
        for name in module.__all__:
            value = getattr(module, name)
            if not inspect.isclass(value) or name == "Handler":  # which Python 3.10 takes for a class
                continue
            members = [
                (name, value),
                *((f"{name}.{key}", member) for key, member in vars(value).items() if key[0] != "_"),
            ]
            for path, member in members:
                target = member.fget if isinstance(member, property) else member
                if callable(target) and not inspect.getdoc(target):
                    missing.append(path)
    assert missing == []
