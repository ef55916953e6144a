"""Collections, where they are more than what `tests/scenarios` has."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import orjson
import pytest
import pytest_asyncio

from realtime_client import CollectionChange, RealtimeCollection, RealtimeError, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, TIMEOUT, Heard


class Task(TypedDict):
    id: str
    title: str
    done: bool


class Pair:
    """The same collection at Ann, through a proxy, and at Ben."""

    def __init__(self, ann: WebSocketClient, ben: WebSocketClient, proxy: FaultProxy, server: RealtimeServer) -> None:
        self.client, self.other, self.proxy, self.server = ann, ben, proxy, server
        self.ann: RealtimeCollection[dict[str, Any]] = ann.channel("team").collection("tasks")
        self.ben: RealtimeCollection[dict[str, Any]] = ben.channel("team").collection("tasks")

    async def cut(self) -> None:
        lost = Heard(self.client, "status")
        self.proxy.cut()
        await lost.until(lambda seen: "reconnecting" in seen)


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    async with RealtimeServer() as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, **FAST) as ann, WebSocketClient(server.url) as ben:
            pair = Pair(ann, ben, proxy, server)
            await asyncio.gather(pair.ann.ready(), pair.ben.ready())
            yield pair


async def until(collection: RealtimeCollection[Any], data: list[Any]) -> None:
    changed = Heard(collection, "change")
    while list(collection.data) != data:
        changed.all.clear()
        await changed.count(1)


async def test_a_record_shows_at_once_and_gets_an_id_and_a_revision(pair: Pair) -> None:
    saving = pair.ann.insert({"title": "a"})
    (shown,) = pair.ann.data
    assert (shown["title"], len(shown["id"]), list(shown)) == ("a", 36, ["id", "title"])
    assert pair.ann.is_pending(shown["id"])
    assert pair.ann.revision(shown["id"]) is None
    assert await saving == shown
    assert not pair.ann.is_pending(shown["id"])
    assert pair.ann.revision(shown["id"]) == 1
    second = await pair.ann.insert({"title": "b"})
    assert shown["id"] < second["id"]
    assert [record["title"] for record in pair.ann.data] == ["a", "b"]


async def test_it_is_told_when_nothing_of_a_record_is_on_its_way_any_more(pair: Pair) -> None:
    settled = Heard(pair.ann, "settled")
    first, second = pair.ann.insert({"id": "a"}), pair.ann.update("a", {"n": 1})
    third = pair.ann.insert({"id": "b"})
    await asyncio.gather(first, second, third)
    assert settled.values == ["a", "b"]
    with pytest.raises(RealtimeError):
        await pair.ann.update("b", {"n": 1}, if_revision=99)
    assert settled.values == ["a", "b", "b"]
    assert not pair.ann.is_pending("b")


async def test_data_is_the_same_object_until_something_changes(pair: Pair) -> None:
    record = await pair.ann.insert({"id": "a", "n": 1})
    before = pair.ann.data
    assert pair.ann.data is before
    assert pair.ann.get("a") is record is before[0]
    await pair.ann.insert({"id": "a", "n": 1})
    assert pair.ann.data is before
    await pair.ann.update("a", {"n": 1})
    assert pair.ann.data == before
    await pair.ann.update("a", {"n": 2})
    assert before == ({"id": "a", "n": 1},)
    assert pair.ann.data == ({"id": "a", "n": 2},)


async def test_records_cannot_be_changed_and_are_like_dictionaries_otherwise(pair: Pair) -> None:
    record = await pair.ann.insert({"id": "a", "list": [1, {"deep": 2}]})
    for change in (
        lambda: record.update(x=1),
        lambda: record.__setitem__("x", 1),
        lambda: record.pop("id"),
        lambda: record["list"].append(1),
        lambda: record["list"][1].clear(),
    ):
        with pytest.raises(TypeError, match="read-only"):
            change()
    with pytest.raises(TypeError):
        record |= {"x": 1}
    assert json.loads(json.dumps(record)) == orjson.loads(orjson.dumps(record)) == record
    assert {**record, "x": 1}["x"] == 1
    for made in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record)), dict(record)):
        made["x"] = 1
        assert made["list"] == [1, {"deep": 2}]
    copy.deepcopy(record)["list"].append(2)


async def test_what_the_caller_changes_later_is_not_sent(pair: Pair) -> None:
    await pair.cut()
    mine = {"id": "a", "tags": ["x"]}
    saving = pair.ann.insert(mine)
    mine["tags"] = []
    pair.proxy.restore()
    assert await saving == {"id": "a", "tags": ["x"]}
    await until(pair.ben, [{"id": "a", "tags": ["x"]}])


async def test_handlers_get_the_record_and_how_it_changed(pair: Pair) -> None:
    heard = {event: Heard(pair.ben, event) for event in ("insert", "update", "delete")}
    changes: list[CollectionChange[dict[str, Any]]] = Heard(pair.ben, "change").values
    every = Heard(pair.ben, "change")
    await pair.ann.insert({"id": "a", "n": 1})
    await until(pair.ben, [{"id": "a", "n": 1}])
    await pair.ben.update("a", {"n": 2})
    await pair.ann.remove("a")
    changes = await every.count(3)
    assert [(c.kind, c.id, c.record, c.old, c.local, c.rollback) for c in changes] == [
        ("insert", "a", {"id": "a", "n": 1}, None, False, False),
        ("update", "a", {"id": "a", "n": 2}, {"id": "a", "n": 1}, True, False),
        ("delete", "a", None, {"id": "a", "n": 2}, False, False),
    ]
    assert changes[0].revision == 1
    assert heard["insert"].all == [({"id": "a", "n": 1},)] or len(heard["insert"].all[0]) >= 1
    assert heard["delete"].values == [{"id": "a", "n": 2}]
    assert heard["update"].values == [{"id": "a", "n": 2}]


async def test_a_refused_change_is_taken_back_and_told(pair: Pair) -> None:
    await pair.ann.insert({"id": "a", "n": 1})
    changes = Heard(pair.ann, "change")
    with pytest.raises(RealtimeError) as refused:
        await pair.ann.update("a", {"n": 2}, if_revision=9)
    assert refused.value.code == "conflict"
    assert refused.value.current == {"id": "a", "n": 1}
    assert refused.value.revision == 1
    assert [(c.record["n"], c.rollback) for c in changes.values] == [(2, False), (1, True)]
    assert pair.ann.data == ({"id": "a", "n": 1},)
    assert not pair.ann.is_pending("a")
    again = await pair.ann.update("a", {"n": 3}, if_revision=refused.value.revision)
    assert again["n"] == 3


async def test_a_conflict_at_a_record_that_is_gone(pair: Pair) -> None:
    with pytest.raises(RealtimeError) as refused:
        await pair.ann.remove("nobody", if_revision=1)
    assert (refused.value.code, refused.value.current, refused.value.revision) == ("conflict", None, None)


async def test_a_failure_that_nobody_awaits_is_an_error_event(pair: Pair) -> None:
    await pair.ann.insert({"id": "a"})
    errors = Heard(pair.ann, "error")
    pair.ann.update("a", {"n": 2}, if_revision=9)
    assert [error.code for error in await errors.count(1)] == ["conflict"]
    pair.ann.off("error")
    reported = Heard(pair.client, "error")
    pair.ann.update("a", {"n": 2}, if_revision=9)
    assert [error.code for error in await reported.count(1)] == ["conflict"]


async def test_a_handler_may_change_and_is_not_told_in_between(pair: Pair) -> None:
    log: list[tuple[str, str]] = []

    @pair.ann.on("insert")
    def first(record: dict[str, Any]) -> None:
        log.append(("first", record["id"]))
        if record["id"] == "a":
            pair.ann.insert({"id": "b"})

    pair.ann.on("insert", lambda record: log.append(("second", record["id"])))
    await pair.ann.insert({"id": "a"})
    assert log == [("first", "a"), ("second", "a"), ("first", "b"), ("second", "b")]


async def test_handlers_that_raise_are_reported_and_stop_nothing(pair: Pair) -> None:
    errors, heard = Heard(pair.client, "error"), []

    @pair.ann.on("change")
    async def fails(change: CollectionChange[Any]) -> None:
        raise ValueError(change.id)

    pair.ann.on("insert", lambda record: 1 / 0)
    pair.ann.on("change", lambda change: heard.append(change.id))
    await pair.ann.insert({"id": "a"})
    assert heard == ["a"]
    assert [error.code for error in await errors.count(2)] == ["handler_failed"] * 2


async def test_async_handlers_hold_the_server_back_and_lose_nothing() -> None:
    count = 400
    async with RealtimeServer() as server:
        async with WebSocketClient(server.url, channel_inbox_bytes=4000) as slow, WebSocketClient(server.url) as fast:
            seen, done = [], asyncio.Event()
            collection = slow.channel("team").collection("tasks")

            @collection.on("change")
            async def change(change: CollectionChange[Any]) -> None:
                await asyncio.sleep(0)
                seen.append(change.record["n"] if change.record else None)
                if len(seen) == count:
                    done.set()

            await collection.ready()
            writer = fast.channel("team").collection("tasks")
            await writer.insert({"id": "a", "n": 0})
            await asyncio.gather(*(writer.update("a", {"n": n}) for n in range(1, count)))
            await asyncio.wait_for(done.wait(), TIMEOUT)
            assert seen == list(range(count))
            assert slow.get_stats().diverged == 0


async def test_closing_stops_and_asking_again_goes_on(pair: Pair) -> None:
    await pair.ann.insert({"id": "a"})
    await until(pair.ben, [{"id": "a"}])
    pair.ben.close()
    await pair.ann.insert({"id": "b"})
    await pair.ann.remove("a")
    assert pair.ben.data == ({"id": "a"},)
    changes = Heard(pair.ben, "change")
    assert pair.other.channel("team").collection("tasks") is pair.ben
    await pair.ben.ready()
    assert pair.ben.data == ({"id": "b"},)
    assert sorted((c.kind, c.id) for c in changes.values) == [("delete", "a"), ("insert", "b")]


async def test_initial_data_shows_until_the_server_s_is_here(pair: Pair) -> None:
    client = WebSocketClient(pair.server.url)
    other = client.channel("team").collection("tasks", initial_data=[{"id": "x", "n": 1}])
    assert (len(other), list(other.data)) == (1, [{"id": "x", "n": 1}])
    assert "x" in other
    with pytest.raises(RealtimeError) as invalid:
        client.channel("team").collection("others", initial_data=[{"id": 1}])
    assert invalid.value.code == "invalid_record"
    await client.connect()
    await other.ready()
    assert other.data == ()
    await client.disconnect()


async def test_a_collection_before_there_is_a_loop_or_a_connection() -> None:
    client = WebSocketClient("ws://127.0.0.1:1")
    tasks = client.channel("team").collection("tasks", Task)
    assert (tasks.data, len(tasks), tasks.name, bool(tasks)) == ((), 0, "tasks", True)
    saving = tasks.insert({"id": "a", "title": "t", "done": False})
    assert tasks.get("a") == {"id": "a", "title": "t", "done": False}
    await client.disconnect()
    with pytest.raises(RealtimeError) as closed:
        await saving
    assert closed.value.code == "closed"
    assert len(tasks) == 0


async def test_disconnecting_takes_back_what_did_not_go(pair: Pair) -> None:
    await pair.ann.insert({"id": "a"})
    await pair.cut()
    pending: list[Any] = [pair.ann.insert({"id": "b"}), pair.ann.remove("a")]
    assert pair.ann.data == ({"id": "b"},)
    await pair.client.disconnect()
    results = await asyncio.gather(*pending, return_exceptions=True)
    assert [result.code for result in results if isinstance(result, RealtimeError)] == ["closed", "closed"]
    assert pair.ann.data == ({"id": "a"},)
    with pytest.raises(RealtimeError):
        await pair.ann.insert({"id": "c"})
    pair.proxy.restore()
    await pair.client.connect()
    await pair.ann.insert({"id": "d"})
    await until(pair.ben, [{"id": "a"}, {"id": "d"}])


async def test_changes_that_find_the_outbox_full_wait_in_turn_with_messages() -> None:
    async with RealtimeServer() as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, queue_messages=4, **FAST) as client:
            tasks = client.channel("team").collection("tasks")
            await tasks.ready()
            lost = Heard(client, "status")
            proxy.cut()
            await lost.until(lambda seen: "reconnecting" in seen)
            pending: list[Any] = []
            for n in range(4):
                pending.append(tasks.insert({"id": f"{n}"}))
                pending.append(client.channel("team").send("n", n))
            assert [record["id"] for record in tasks.data] == ["0", "1"]
            proxy.restore()
            results = await asyncio.wait_for(asyncio.gather(*pending), TIMEOUT)
            assert [record["id"] for record in results[::2]] == ["0", "1", "2", "3"]
            assert [receipt.offset for receipt in results[1::2]] == [1, 2, 3, 4]
            assert [record["id"] for record in tasks.data] == ["0", "1", "2", "3"]


async def test_big_integers_stay_exact(pair: Pair) -> None:
    record = await pair.ann.insert({"id": "a", "n": 2**70})
    assert record["n"] == 2**70
    await until(pair.ben, [{"id": "a", "n": 2**70}])
    with pytest.raises(RealtimeError) as refused:
        await pair.ben.update("a", {"n": 1}, if_revision=9)
    assert refused.value.current == {"id": "a", "n": 2**70}


@pytest.mark.parametrize("record", [[1], "text", 7, None, b"bytes", {"id": 7}, {"id": None}])
async def test_what_is_no_record(pair: Pair, record: Any) -> None:
    with pytest.raises(RealtimeError) as refused:
        await pair.ann.insert(record)
    assert refused.value.code == "invalid_record"
    assert pair.ann.data == ()


async def test_arguments_of_the_wrong_type(pair: Pair) -> None:
    with pytest.raises(TypeError, match="id of a record must be a string, not int"):
        pair.ann.update(7, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="if_revision must be an int"):
        pair.ann.remove("a", if_revision="1")  # type: ignore[arg-type]
    with pytest.raises(RealtimeError, match="surrogate"):
        pair.ann.remove("\ud800")
    with pytest.raises(RealtimeError, match="NaN"):
        pair.ann.insert({"x": float("nan")})
    with pytest.raises(RealtimeError, match="a collection name must have"):
        pair.client.channel("team").collection("")


async def test_a_refused_collection_fails_and_can_be_asked_for_again() -> None:
    async with RealtimeServer(max_channels=1) as server, WebSocketClient(server.url) as client:
        await client.channel("one").subscribe()
        errors = Heard(client, "error")
        tasks = client.channel("team").collection("tasks")
        with pytest.raises(RealtimeError) as refused:
            await tasks.ready()
        assert refused.value.code == "too_many_channels"
        assert errors.all == []
        await client.channel("one").unsubscribe()
        await client.channel("team").collection("tasks").ready()


async def test_a_snapshot_of_many_pages_is_one(pair: Pair) -> None:
    count = 3000
    text = "x" * 300
    await asyncio.gather(*(pair.ann.insert({"id": f"{n:05}", "text": text}) for n in range(count)))
    async with WebSocketClient(pair.server.url) as client:
        changes = Heard(tasks := client.channel("team").collection("tasks"), "change")
        await tasks.ready()
        assert [record["id"] for record in tasks.data] == [f"{n:05}" for n in range(count)]
        assert changes.all == []
