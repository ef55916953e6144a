"""The pytest plugin, found by its entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from . import RealtimeServer


@pytest.fixture
def realtime_server() -> Iterator[RealtimeServer]:
    """A fresh realtime server on a free port; `realtime_server.url` is where clients connect to."""
    # Not at the top: a plugin is imported in every run of pytest, and before coverage is measured.
    from . import RealtimeServer

    server = RealtimeServer()
    server._start()
    yield server
    server._stop()
