"""The real server in a process of its own: `realtime serve`, killed and started again."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence

from plan import Fault


class Server:
    def __init__(self, program: str, flags: Sequence[str]) -> None:
        self._port = free_port()
        self._command = [program, "serve", "--port", str(self._port), *flags]
        self._process: asyncio.subprocess.Process | None = None
        self.kills = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def start(self) -> None:
        process = await asyncio.create_subprocess_exec(*self._command, stdout=asyncio.subprocess.PIPE)
        self._process = process
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line.startswith(b"realtime listening on "):
            raise SystemExit(f"chaos: the server did not start: {line!r}")

    async def suffer(self, fault: Fault) -> None:
        """`kill -9`, and the same command again."""
        assert fault.kind == "kill"
        await self.kill()
        self.kills += 1
        await self.start()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def free_port() -> int:
    """A port that no outgoing connection takes while the server is down: below those that systems give to them."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
