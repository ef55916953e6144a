"""One client for a whole program."""

from __future__ import annotations

import pytest

from realtime_client import RealtimeError, RealtimeManager, Status, realtime_manager
from realtime_client.testing import RealtimeServer


async def test_a_manager_has_one_client(server: RealtimeServer) -> None:
    manager = RealtimeManager()
    statuses: list[str] = []
    once: list[str] = []
    manager.on("status", statuses.append)
    manager.once("status", once.append)
    assert manager.status is Status.DISCONNECTED
    assert manager.client is None
    client = await manager.initialize(server.url, heartbeat_interval=5.0)
    assert manager.client is client
    assert await manager.initialize(server.url) is client
    assert manager.is_connected
    assert manager.channel("room") is client.channel("room")
    received = await manager.channel("room").send("said", 1)
    assert received.offset == 1
    with pytest.raises(RealtimeError) as raised:
        await manager.initialize("ws://127.0.0.1:1")
    assert raised.value.code == "invalid_option"
    await manager.disconnect()
    await manager.disconnect()
    assert statuses == ["connecting", "connected", "disconnected"]
    assert once == ["connecting"]


async def test_handlers_stay_over_a_disconnect_and_can_be_ended(server: RealtimeServer) -> None:
    manager = RealtimeManager()
    statuses: list[str] = []
    stop = manager.on("status", statuses.append)
    await manager.initialize(server.url)
    await manager.disconnect()
    await manager.initialize(server.url)
    stop()
    assert manager.listener_count("status") == 0
    await manager.disconnect()
    assert statuses == ["connecting", "connected", "disconnected", "connecting", "connected"]


async def test_a_manager_without_a_client_says_so() -> None:
    assert isinstance(realtime_manager, RealtimeManager)
    with pytest.raises(RealtimeError) as raised:
        realtime_manager.channel("room")
    assert raised.value.code == "closed"


async def test_options_are_checked(server: RealtimeServer) -> None:
    manager = RealtimeManager()
    with pytest.raises(RealtimeError) as raised:
        await manager.initialize(server.url, connect_timeout=-1)
    assert raised.value.code == "invalid_option"
    assert manager.client is None
