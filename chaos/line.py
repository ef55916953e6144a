"""The line between one service and the server, with one fault at a time."""

from __future__ import annotations

import asyncio
import contextlib

from plan import Fault
from progress import Progress
from realtime_client.testing import FaultProxy

PATIENCE = 5.0
"""Seconds after which a fault ends where nothing else ends it, because all lines are broken."""


class Line:
    def __init__(self, service: str, target: str, progress: Progress) -> None:
        self.service = service
        self._proxy = FaultProxy(target)
        self._progress = progress

    @property
    def url(self) -> str:
        return self._proxy.url

    @property
    def cuts(self) -> int:
        """Connections that faults have ended."""
        return self._proxy.cuts

    async def suffer(self, fault: Fault) -> None:
        """Begins a fault, and returns when it is over."""
        if fault.kind == "torn":
            # It stays until the bytes have come.
            return self._proxy.drop_after(fault.size)
        if fault.kind == "cut":
            return self._proxy.cut_connections()
        try:
            if fault.kind == "outage":
                self._proxy.cut()
            elif fault.kind == "slow":
                self._proxy.delay(fault.size)
            elif fault.kind == "narrow":
                self._proxy.limit(fault.size)
            else:
                self._proxy.stall()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._over(fault), PATIENCE)
        finally:
            self._proxy.restore()

    def stop(self) -> None:
        self._proxy.stop()

    async def _over(self, fault: Fault) -> None:
        if fault.kind == "silence":
            await self._progress.until_silence_is_noticed(self.service)
        else:
            await self._progress.until_others_ended(self.service, fault.lasts)
