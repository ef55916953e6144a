"""Realtime over WebSocket: channels with receipts and recovery, on asyncio.

```python
async with WebSocketClient("ws://127.0.0.1:8080") as client:
    room = client.channel("room")
    room.on("said", lambda data: print(data))
    await room.subscribe()
    receipt = await room.send("said", {"text": "hello"})
```
"""

import os as _os

from ._channel import Loader, RealtimeChannel
from ._client import WebSocketClient
from ._collection import CollectionChange, RealtimeCollection
from ._emitter import Handler
from ._errors import RealtimeError
from ._iterator import MessageIterator
from ._manager import RealtimeManager, realtime_manager
from ._options import Options
from ._outbox import Pending
from ._presence import PresenceStatus, PresenceUser, RealtimePresence
from ._realtime import VERSION as __version__
from ._realtime import Message, Receipt
from ._realtime import note_fork as _note_fork
from ._types import ChannelState, Closed, Gap, Opened, Position, Quality, StalledHandler, Stats, Status, StatusChange

__all__ = [
    "ChannelState",
    "Closed",
    "CollectionChange",
    "Gap",
    "Handler",
    "Loader",
    "Message",
    "MessageIterator",
    "Opened",
    "Options",
    "Pending",
    "Position",
    "PresenceStatus",
    "PresenceUser",
    "Quality",
    "RealtimeChannel",
    "RealtimeCollection",
    "RealtimeError",
    "RealtimeManager",
    "RealtimePresence",
    "Receipt",
    "StalledHandler",
    "Stats",
    "Status",
    "StatusChange",
    "WebSocketClient",
    "__version__",
    "realtime_manager",
]

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_note_fork)
