from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from ._errors import RealtimeError


class _StrEnum(str, Enum):
    """A string with a name: compares, prints and serializes as the string."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, spec: str) -> str:
        return format(str(self.value), spec)


class Status(_StrEnum):
    """What a client is doing."""

    CONNECTING = "connecting"
    """The first attempt is under way."""
    CONNECTED = "connected"
    """Connected, and a frame was seen within the heartbeat timeout."""
    DISCONNECTED = "disconnected"
    """Not connected, and not trying."""
    RECONNECTING = "reconnecting"
    """Between attempts, or in one that is not the first."""
    ERROR = "error"
    """Several attempts failed (it goes on probing), or the server or the configuration forbids to go on."""


class Quality(_StrEnum):
    """How good the connection is, from round trip, jitter and missed pongs."""

    EXCELLENT = "excellent"
    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    OFFLINE = "offline"


class ChannelState(_StrEnum):
    """What a channel is doing."""

    IDLE = "idle"
    """Not subscribed."""
    SUBSCRIBING = "subscribing"
    """Asked for, not yet answered; also while offline before the first answer."""
    SUBSCRIBED = "subscribed"
    """Messages flow."""
    RESUBSCRIBING = "resubscribing"
    """It was subscribed, the connection is gone, and it comes back by itself."""
    UNSUBSCRIBING = "unsubscribing"
    """Being left."""
    FAILED = "failed"
    """The server refused it, or the client gave up."""


@dataclass(frozen=True)
class Opened:
    """A connection that is ready; what `"open"` handlers get."""

    dialect: str
    """`"realtime.v1"` or `"plain"`."""
    connection: str | None
    """The server's id of the connection, in `realtime.v1`."""
    resumed: bool
    """Whether the server still knew the session of an earlier connection."""
    user: str | None
    """The verified user."""


@dataclass(frozen=True)
class Closed:
    """A connection that is gone; what `"close"` handlers get."""

    code: int
    """The close code; 1006 where the socket was lost."""
    reason: str
    reconnecting: bool
    """Whether the client comes back by itself."""


@dataclass(frozen=True)
class StatusChange:
    """A change of the status; the second argument of `"status"` handlers."""

    status: Status
    error: RealtimeError | None
    """Why, where something went wrong."""
    retry_in: float | None
    """Seconds until the next attempt. `None` with the status `error` means: it gave up."""


@dataclass(frozen=True)
class Gap:
    """Messages of a channel that will not come; what `channel.on("gap")` handlers get."""

    channel: str
    reason: str
    """`"evicted"` (older than the server keeps), `"epoch"` (the server lost its history), `"missing"` (skipped).

    Only for `channel.on_gap`: `"initial"` (the subscription begins), `"reconnect"` (`plain`, where nobody knows).
    """
    epoch: str
    """The epoch that goes on."""
    previous_epoch: str | None
    """The epoch before, where it changed; how much of that was missed is unknown."""
    from_offset: int | None
    """The first missing offset of `epoch`; `None` where nothing of it is missing."""
    to_offset: int | None
    """The last missing offset of `epoch`."""


@dataclass(frozen=True)
class StalledHandler:
    """The handler that the event loop was blocked in; the second argument of `"stalled"` handlers."""

    channel: str | None
    """The channel whose handler it is; `None` for one of the client."""
    event: str
    """What it handled; `"gap"` for a loader of `channel.on_gap`."""
    name: str
    """Module and name of the function."""
    source: str | None
    """File and line of the function, where it is written in Python."""


class Position(NamedTuple):
    """A place in a channel's history, and everything up to it."""

    epoch: str
    offset: int


@dataclass(frozen=True)
class Stats:
    """Figures of a client, from its beginning. Times are in seconds, moments in seconds since the Unix epoch."""

    status: Status
    quality: Quality
    connected_at: float | None
    """Since when it is connected."""
    latency: float | None
    """The last round trip of a ping."""
    jitter: float | None
    """How much round trips vary, smoothed."""
    messages_sent: int
    """Messages written to a socket; those sent again count again."""
    messages_received: int
    bytes_sent: int
    bytes_received: int
    acknowledged: int
    """Sends that the server acknowledged (in `plain`: that were written)."""
    failed: int
    """Sends that failed."""
    restored: int
    """Sends of an earlier run, or of before a disconnect, that were found in the file of `queue_path`."""
    deferred: int
    """Sends that failed with `deferred`: the file of `queue_path` keeps them."""
    torn_bytes: int
    """Bytes at the end of that file that were not whole, and were put aside."""
    duplicates: int
    """Messages that came again and were dropped."""
    gaps: int
    """Gaps reported."""
    covered: int
    """Messages that were dropped because a snapshot, loaded by `channel.on_gap`, contains them."""
    recovered: int
    """Messages that came after a reconnect from the server's history."""
    diverged: int
    """Times that a collection was not equal to the server's, and was fetched anew."""
    unroutable: int
    """Messages for channels that are not subscribed any more; dropped."""
    unexpected: int
    """Answers to sends that had ended already; dropped."""
    malformed: int
    """Messages that could not be understood; each is an `error` event."""
    unhandled: int
    """Messages that no handler and no iterator wanted; dropped."""
    reconnects: int
    failed_attempts: int
    """Failed attempts in a row."""
    queued: int
    """Sends that have no receipt yet."""
    queued_bytes: int
    unconsumed_bytes: int
    """Bytes of messages that handlers are not done with."""
    next_attempt: float | None
    """When the next attempt comes."""


def stats_from_report(
    report: Mapping[str, Any], *, unhandled: int, malformed: int, waiting: int, waiting_bytes: int
) -> Stats:
    def seconds(name: str) -> float | None:
        value = report[name]
        return None if value is None else value / 1000

    return Stats(
        status=Status(report["status"]),
        quality=Quality(report["quality"]),
        connected_at=seconds("connectedAt"),
        latency=seconds("latency"),
        jitter=seconds("jitter"),
        messages_sent=report["messagesSent"],
        messages_received=report["messagesReceived"],
        bytes_sent=report["bytesSent"],
        bytes_received=report["bytesReceived"],
        acknowledged=report["acknowledged"],
        failed=report["failed"],
        restored=report["restored"],
        deferred=report["deferred"],
        torn_bytes=report["tornBytes"],
        duplicates=report["duplicates"],
        gaps=report["gaps"],
        covered=report["covered"],
        recovered=report["recovered"],
        diverged=report["diverged"],
        unroutable=report["unroutable"],
        unexpected=report["unexpected"],
        malformed=report["malformed"] + malformed,
        unhandled=unhandled,
        reconnects=report["reconnects"],
        failed_attempts=report["failedAttempts"],
        queued=report["queued"] + waiting,
        queued_bytes=report["queuedBytes"] + waiting_bytes,
        unconsumed_bytes=report["unconsumedBytes"],
        next_attempt=seconds("nextAttempt"),
    )


NO_STATS: Mapping[str, Any] = {
    "status": "disconnected",
    "quality": "offline",
    **dict.fromkeys(["connectedAt", "latency", "jitter", "nextAttempt"]),
    **dict.fromkeys(["messagesSent", "messagesReceived", "bytesSent", "bytesReceived", "acknowledged", "failed"], 0),
    **dict.fromkeys(["duplicates", "gaps", "recovered", "unroutable", "unexpected", "malformed", "reconnects"], 0),
    **dict.fromkeys(["diverged", "restored", "deferred", "tornBytes"], 0),
    **dict.fromkeys(["covered", "failedAttempts", "queued", "queuedBytes", "unconsumedBytes"], 0),
}
"""The report of a client that was never used."""
