from __future__ import annotations

import json
import math
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from ._errors import RealtimeError
from ._realtime import check_options

TokenProvider = Callable[[], "str | Awaitable[str | None] | None"]


class Options(TypedDict, total=False):
    """The keyword arguments of `WebSocketClient`. Times are in seconds."""

    protocol: Literal["auto", "realtime.v1", "plain"]
    token: str | TokenProvider | None
    token_placement: str
    token_timeout: float
    headers: Mapping[str, str] | None
    query: Mapping[str, str] | None
    subprotocols: Sequence[str] | None
    connect_timeout: float
    heartbeat_interval: float
    heartbeat_timeout: float
    reconnect: bool
    reconnect_first: float
    reconnect_base: float
    reconnect_max: float
    attempts_until_error: int
    max_attempts: int | None
    send_timeout: float | None
    queue_messages: int
    queue_bytes: int
    when_full: Literal["wait", "reject", "dropOldest"]
    queue_path: str | os.PathLike[str] | None
    inbox_bytes: int
    channel_inbox_bytes: int
    replica_bytes: int
    rate_limit: int | None
    error_report: str | os.PathLike[str] | None
    ca: str | bytes | None
    proxy: bool | str


# Names in Python, and the paths that the native module knows. Those that end in "s" are seconds here and ms there.
_PATHS = {
    "protocol": "protocol",
    "token_placement": "tokenPlacement",
    "token_timeout": "tokenTimeout:s",
    "headers": "headers",
    "query": "query",
    "subprotocols": "subprotocols",
    "connect_timeout": "connectTimeout:s",
    "heartbeat_interval": "heartbeat.interval:s",
    "heartbeat_timeout": "heartbeat.timeout:s",
    "reconnect": "reconnect.enabled",
    "reconnect_first": "reconnect.first:s",
    "reconnect_base": "reconnect.base:s",
    "reconnect_max": "reconnect.max:s",
    "attempts_until_error": "reconnect.attemptsUntilError",
    "max_attempts": "reconnect.maxAttempts",
    "send_timeout": "sendTimeout:s",
    "queue_messages": "queue.messages",
    "queue_bytes": "queue.bytes",
    "when_full": "queue.whenFull",
    "queue_path": "queue.path",
    "inbox_bytes": "inbox.bytes",
    "channel_inbox_bytes": "inbox.channelBytes",
    "replica_bytes": "replicaBytes",
    "rate_limit": "rateLimit",
    "error_report": "errorReport",
    "ca": "ca",
    "proxy": "proxy",
    "token": "token",
}


def write_options(url: str, options: Mapping[str, Any]) -> str:
    """The options as the native module reads them, checked. Raises `invalid_option` and `invalid_url`."""
    if not isinstance(url, str):
        raise RealtimeError("invalid_url", f"the URL must be a string, not {type(url).__name__}")
    written: dict[str, Any] = {"url": url}
    for name, value in options.items():
        path = _PATHS.get(name)
        if path is None:
            raise RealtimeError("invalid_option", f"option {name} is not known")
        if value is not None:
            _write(written, name, path, value)
    try:
        text = json.dumps(written, allow_nan=False)
        check_options(text)
    except (TypeError, ValueError) as error:
        raise RealtimeError("invalid_option", f"an option has a value of a wrong type: {error}") from error
    except RealtimeError as error:
        raise RealtimeError(error.code, _in_python(str(error))) from None
    return text


def _write(written: dict[str, Any], name: str, path: str, value: Any) -> None:
    path, _, unit = path.partition(":")
    if unit:
        value = _milliseconds(name, value)
    elif name == "token" and callable(value):
        path, value = "tokenProvider", True
    elif name == "ca":
        value = _pem(value)
    elif name == "token_placement" and isinstance(value, str) and value.startswith("query:"):
        value = {"query": value.removeprefix("query:")}
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, Mapping):
        value = dict(value)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        value = list(value)
    *parents, key = path.split(".")
    for parent in parents:
        written = written.setdefault(parent, {})
    written[key] = value


def _milliseconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RealtimeError("invalid_option", f"option {name} must be a number of seconds, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise RealtimeError("invalid_option", f"option {name} must be a number of seconds from 0, not {value!r}")
    return value * 1000


def _pem(value: Any) -> str:
    if isinstance(value, bytes):
        # DER, as `ssl` hands it out, or PEM.
        return value.decode() if value.startswith(b"-----") else ssl.DER_cert_to_PEM_cert(value)
    if not isinstance(value, str):
        raise RealtimeError("invalid_option", f"option ca must be certificates in PEM, not {type(value).__name__}")
    return value


def _in_python(message: str) -> str:
    """The names of the options as they are spelled here."""
    for name, path in sorted(_PATHS.items(), key=lambda item: -len(item[1])):
        path = path.partition(":")[0]
        message = message.replace(f"option {path} ", f"option {name} ").replace(f"at least {path}", f"at least {name}")
    return message
