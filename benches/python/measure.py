"""Time, processor time and memory of this process."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any


class Clock:
    """Time and processor time from here on."""

    def __init__(self) -> None:
        gc.collect()
        self._begun = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, count: int, **more: Any) -> dict[str, Any]:
        seconds, cpu = time.perf_counter() - self._begun, time.process_time() - self._cpu
        return {"count": count, "seconds": seconds, "cpu": cpu, "times": []} | more


def resident() -> int:
    """The memory that this process uses now, in bytes."""
    gc.collect()
    return _status("VmRSS")


def peak() -> int:
    """The most that it has used."""
    return _status("VmHWM")


def _status(name: str) -> int:
    """0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))
