"""Presence, where it is more than what `tests/scenarios` has."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from realtime_client import PresenceStatus, PresenceUser, RealtimeError, RealtimePresence, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, TIMEOUT, Heard


class Pair:
    """Ann, through a proxy, and Ben, who watches."""

    def __init__(self, ann: WebSocketClient, ben: WebSocketClient, proxy: FaultProxy) -> None:
        self.client, self.proxy = ann, proxy
        self.ann, self.ben = ann.channel("room").presence, ben.channel("room").presence


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    async with RealtimeServer(presence_grace=5) as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, **FAST) as ann, WebSocketClient(server.url) as ben:
            yield Pair(ann, ben, proxy)


async def until(presence: RealtimePresence, holds: Any) -> tuple[PresenceUser, ...]:
    heard = Heard(presence, "sync")
    if not holds(presence.users):
        await heard.until(lambda values: bool(values) and holds(values[-1]))
    return presence.users


async def test_a_user_is_a_snapshot_with_everything_that_is_known(pair: Pair) -> None:
    await pair.ann.track({"id": 7, "name": "Ann", "tags": ["a", {"b": 1}]})
    (user,) = await until(pair.ben, lambda users: len(users) == 1)
    assert (user.id, user.status, user.connections, user.verified, user.is_self) == (
        "7",
        PresenceStatus.ONLINE,
        1,
        False,
        False,
    )
    assert (user["name"], user.get("nothing", 3)) == ("Ann", 3)
    assert user.joined_at == user.last_seen > 1.5e9
    assert json.dumps(user.state) == '{"name": "Ann", "tags": ["a", {"b": 1}]}'
    with pytest.raises(dataclasses.FrozenInstanceError):
        user.status = PresenceStatus.AWAY  # type: ignore[misc]
    state: Any = user.state
    changes: list[Callable[[], Any]] = [
        lambda: state.update(name="Ben"),
        lambda: state["tags"].append(1),
        lambda: state["tags"][1].clear(),
    ]
    for change in changes:
        with pytest.raises(TypeError, match="read-only"):
            change()
    assert pair.ben.get("7") is user
    assert pair.ben.get("8") is None
    assert pair.ben.users is pair.ben.users
    assert pair.ben.online_count == 1


async def test_who_is_away_is_present_and_not_online(pair: Pair) -> None:
    await pair.ann.track(status=PresenceStatus.AWAY)
    (user,) = await until(pair.ben, lambda users: len(users) == 1)
    assert len(user.id) > 10  # made by the server
    assert pair.ben.online_count == 0
    await pair.ann.update_status("online")
    await until(pair.ben, lambda users: users[0].status == "online")
    assert pair.ben.online_count == 1


async def test_watching_begins_with_the_first_handler_and_ends_with_close(pair: Pair) -> None:
    ready = Heard(pair.ben, "sync")
    assert await ready.count(1) == [()]
    pair.ben.close()
    await pair.ann.track({"id": "ann"})
    later = pair.ben.users  # which watches again
    assert later == ()
    await pair.ben.ready()
    assert [user.id for user in pair.ben.users] == ["ann"]


async def test_closing_untracks(pair: Pair) -> None:
    await pair.ann.track({"id": "ann"})
    await until(pair.ben, lambda users: len(users) == 1)
    assert pair.ann.is_tracked
    pair.ann.close()
    assert not pair.ann.is_tracked
    await until(pair.ben, lambda users: users == ())


async def test_disconnecting_says_goodbye(pair: Pair) -> None:
    await pair.ann.track({"id": "ann"})
    await until(pair.ben, lambda users: len(users) == 1)
    await pair.client.disconnect()
    await until(pair.ben, lambda users: users == ())


async def test_what_was_tracked_offline_is_there_once_connected() -> None:
    async with RealtimeServer() as server, WebSocketClient(server.url) as ben:
        ann = WebSocketClient(server.url)
        tracking = ann.channel("room").presence.track({"id": "ann"})
        assert ann.channel("room").presence.is_tracked
        await ann.connect()
        await asyncio.wait_for(tracking, TIMEOUT)
        await until(ben.channel("room").presence, lambda users: [user.id for user in users] == ["ann"])
        await ann.disconnect()


async def test_a_verified_user_is_who_the_server_says() -> None:
    async with RealtimeServer(jwt_secret="secret") as server:
        async with WebSocketClient(server.url, token=_token("ann")) as client:
            presence = client.channel("room").presence
            await presence.track({"id": "somebody else", "name": "Ann"})
            (user,) = await until(presence, lambda users: len(users) == 1)
            assert (user.id, user.verified, user.is_self) == ("ann", True, True)


async def test_a_handler_that_raises_is_reported_and_stops_nothing(pair: Pair) -> None:
    errors = Heard(pair.client, "error")
    pair.ann.on("sync", lambda users: 1 / 0)
    joined = Heard(pair.ann, "join")
    await pair.ann.ready()
    await pair.ann.track({"id": "ann"})
    await joined.count(1)
    assert {error.code for error in await errors.count(2)} == {"handler_failed"}


async def test_async_handlers_run_one_after_the_other(pair: Pair) -> None:
    log: list[str] = []
    done = asyncio.Event()

    @pair.ben.on("update")
    async def update(user: PresenceUser) -> None:
        log.append(f"begin {user['n']}")
        await asyncio.sleep(0)
        log.append(f"end {user['n']}")
        if user["n"] == 3:
            done.set()

    await pair.ben.ready()
    await pair.ann.track({"n": 0})
    await until(pair.ben, lambda users: len(users) == 1)
    for n in (1, 2, 3):
        await pair.ann.update({"n": n})
        await until(pair.ben, lambda users, n=n: users[0]["n"] == n)
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert log == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]


@pytest.mark.parametrize("user", [{"id": "x" * 256}, {"id": ""}, {"id": "\ud800"}, {"id": ["x"]}, {"id": True}])
async def test_an_id_that_cannot_be_one(pair: Pair, user: dict[str, Any]) -> None:
    with pytest.raises((RealtimeError, TypeError)):
        await pair.ann.track(user)
    assert not pair.ann.is_tracked


async def test_a_state_or_status_that_cannot_be_one(pair: Pair) -> None:
    with pytest.raises(RealtimeError, match="NaN") as invalid:
        pair.ann.track({"x": float("nan")})
    assert invalid.value.code == "invalid_payload"
    with pytest.raises(RealtimeError, match="asleep") as unknown:
        pair.ann.track(status="asleep")  # type: ignore[arg-type]
    assert unknown.value.code == "invalid_option"
    with pytest.raises(RealtimeError) as untracked:
        await pair.ann.update({"x": 1})
    assert untracked.value.code == "not_tracked"


async def test_a_failure_that_nobody_awaits_is_an_error_event() -> None:
    async with RealtimeServer(presence_members=1) as server:
        async with WebSocketClient(server.url) as ann, WebSocketClient(server.url) as ben:
            await ann.channel("room").presence.track({"id": "ann"})
            errors = Heard(ben.channel("room").presence, "error")
            ben.channel("room").presence.track({"id": "ben"})
            assert [error.code for error in await errors.count(1)] == ["presence_full"]


async def test_a_killed_client_is_gone_after_the_grace_period() -> None:
    async with RealtimeServer(presence_grace=0.1) as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url) as ann, WebSocketClient(server.url) as ben:
            watched = ben.channel("room").presence
            left = Heard(watched, "leave")
            await ann.channel("room").presence.track({"id": "ann"})
            await until(watched, lambda users: len(users) == 1)
            proxy.cut()
            assert [user.id for user in await left.count(1)] == ["ann"]
            assert watched.users == ()


def _token(user: str) -> str:
    import base64
    import hashlib
    import hmac
    import time

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': user, 'exp': int(time.time()) + 60})}"
    signature = hmac.new(b"secret", text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
