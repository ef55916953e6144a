"""A WebSocket peer that says what a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Connection:
    """One accepted client."""

    def __init__(self, request: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._reader = reader
        self._writer = writer

    def header(self, name: str) -> str | None:
        for line in self.request.split("\r\n"):
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return None

    async def answer(self, status: str, *headers: str) -> None:
        self._writer.write("\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]).encode())
        await self._writer.drain()

    async def accept(self, protocol: str | None = None) -> None:
        key = self.header("sec-websocket-key") or ""
        accepted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {accepted}")
        if protocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        await self._writer.drain()

    async def send(self, payload: object, kind: int = TEXT) -> None:
        """A frame: bytes as they are, anything else as JSON."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        size = len(data)
        if size < 126:
            head = bytes([0x80 | kind, size])
        elif size < 1 << 16:
            head = bytes([0x80 | kind, 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | kind, 127]) + size.to_bytes(8, "big")
        self._writer.write(head + data)
        await self._writer.drain()

    async def close(self, code: int, reason: str = "") -> None:
        await self.send(code.to_bytes(2, "big") + reason.encode(), CLOSE)

    async def receive(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._reader.readexactly(8), "big")
        mask = await self._reader.readexactly(4)
        data = await self._reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))

    async def receive_json(self, type: str) -> Any:
        """The next JSON message of this type."""
        while True:
            kind, data = await self.receive()
            if kind == TEXT:
                for line in data.splitlines():
                    message = json.loads(line)
                    if message["type"] == type:
                        return message

    def drop(self) -> None:
        self._writer.transport.abort()

    async def until_gone(self) -> None:
        try:
            while True:
                await self.receive()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass


Behaviour = Callable[[Connection], Awaitable[None]]


class Peer:
    """Listens on a free port; `behave` is called for every client."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Peer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            await self._behave(Connection(request, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            # The test is over; asyncio would log it.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def plain(connection: Connection) -> None:
    """Accepts without a subprotocol, and listens."""
    await connection.accept()
    await connection.until_gone()
