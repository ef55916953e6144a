from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

import pytest
import pytest_asyncio

from realtime_client import WebSocketClient
from realtime_client._emitter import Emitter
from realtime_client.testing import FaultProxy, RealtimeServer

pytest_plugins = ["pytester"]

TIMEOUT = 10.0
"""No wait in a test takes longer; one that would fails."""


class Fast(TypedDict):
    reconnect_first: float
    reconnect_base: float
    reconnect_max: float


FAST: Fast = {"reconnect_first": 0.02, "reconnect_base": 0.05, "reconnect_max": 0.1}
"""Comes back soon after a cut."""


class Heard:
    """Everything that a handler was called with, to be waited for."""

    def __init__(self, emitter: Emitter, event: str) -> None:
        self.all: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()

        def hear(*arguments: Any) -> None:
            self.all.append(arguments)
            self._changed.set()

        emitter.on(event, hear)

    @property
    def values(self) -> list[Any]:
        """The first arguments."""
        return [arguments[0] for arguments in self.all]

    async def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        async def wait() -> list[Any]:
            while not enough(self.values):
                self._changed.clear()
                await self._changed.wait()
            return self.values

        try:
            return await asyncio.wait_for(wait(), TIMEOUT)
        except asyncio.TimeoutError:
            raise AssertionError(f"waited in vain; heard {self.values}") from None

    async def count(self, count: int) -> list[Any]:
        return await self.until(lambda values: len(values) >= count)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RealtimeServer]:
    async with RealtimeServer(echo=True) as server:
        yield server


@pytest_asyncio.fixture
async def proxy(server: RealtimeServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.url) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def client(server: RealtimeServer) -> AsyncIterator[WebSocketClient]:
    async with WebSocketClient(server.url) as client:
        yield client


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for `localhost` that is its own authority, and its key, in PEM."""
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return (folder / "certificate.pem").read_text(), (folder / "key.pem").read_text()
