"""Services in processes of their own that speak JSON lines: the demo's, and those of `chaos/`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any


class Service:
    """A process, and what it says."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, heard: Callable[[dict[str, Any]], None]) -> None:
        self.name = name
        self._process = process
        self._heard = heard

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], heard: Callable[[dict[str, Any]], None] = lambda message: None
    ) -> Service:
        """Starts it. `heard` gets what it says while something else is waited for."""
        pipe = asyncio.subprocess.PIPE
        # The latencies of all messages are one long line.
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
        return cls(name, process, heard)

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    async def hear(self, state: str, patience: float = 120) -> dict[str, Any]:
        """The next message with this state. Raises `TimeoutError` (that of asyncio) after so many seconds."""
        return await asyncio.wait_for(self._hear(state), patience)

    async def _hear(self, state: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["state"] == state:
                return message
            self._heard(message)
        raise SystemExit(f"the {self.name} service ended before it was {state}")

    def finish(self) -> None:
        """Says that nothing more will be said."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def end(self) -> None:
        """Waits for its end; kills it where it does not come."""
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except asyncio.TimeoutError:  # noqa: UP041 (another class before Python 3.11)
            self.kill()
            await self._process.wait()
            raise SystemExit(f"the {self.name} service did not end") from None

    def kill(self) -> bool:
        """Kills it. `False` where it had ended before."""
        was_running = self._process.returncode is None
        if was_running:
            self._process.kill()
        return was_running
