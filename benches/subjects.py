"""Who takes part, and in what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "target/bench"
PYTHON = BENCH / "python/bin/python"
PYTHON_SUPABASE = BENCH / "python-supabase/bin/python"


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    size: str
    channels: int
    count: int
    """Enough to see that it works, and to find out the pace."""
    full: int | None = None
    """What the rounds measure; as many as fit in the time of a run where there is none."""
    every: int = 1
    """It takes part in each so many-th round."""

    def arguments(self, count: int, port: int) -> list[str]:
        return [self.kind, self.size, str(self.channels), str(count), str(port)]


RECEIVE_S, RECEIVE_S16 = "receive S, 1 channel", "receive S, 16 channels"
RECEIVE_L, RECEIVE_L16 = "receive L, 1 channel", "receive L, 16 channels"
SEND, REQUEST, ROUND_TRIP, CONNECT = "send S", "request and receipt", "round trip S", "connect"
IDLE, RESUBSCRIBE = "idle memory", "resubscribe 1,000 channels"
CATCH_UP = "catch up on 100,000 messages"

CASES = [
    Case(RECEIVE_S, "receive", "small", 1, 40_000),
    Case(RECEIVE_S16, "receive", "small", 16, 40_000),
    Case(RECEIVE_L, "receive", "large", 1, 10_000),
    Case(RECEIVE_L16, "receive", "large", 16, 10_000),
    Case(SEND, "send", "small", 1, 20_000),
    Case(REQUEST, "request", "small", 1, 500, full=3_000),
    Case(ROUND_TRIP, "echo", "small", 1, 1_000, full=10_000),
    Case(CONNECT, "connect", "small", 1, 10, full=40, every=2),
    Case(IDLE, "idle", "small", 1, 20, full=500, every=2),
    Case(RESUBSCRIBE, "resubscribe", "small", 1_000, 1, full=4, every=2),
    # The first 1,000 come before the cut.
    Case(CATCH_UP, "catch-up", "small", 1, 11_000, full=101_000, every=2),
]

SOCKET = ("receive", "send", "echo", "connect", "idle")
"""The cases that a WebSocket is enough for."""
RECEIPTS = ("request",)
RESUBSCRIBES = ("resubscribe",)
"""For who comes back after a cut, with its subscriptions."""
RECOVERS = ("catch-up",)
"""For who asks for what it missed."""
ALL = (*SOCKET, *RECEIPTS, *RESUBSCRIBES, *RECOVERS)


@dataclass(frozen=True)
class Subject:
    language: str
    name: str
    command: tuple[str, ...]
    kinds: tuple[str, ...] = SOCKET
    """Of the cases that it takes part in."""
    acknowledged: bool = False
    """Whether its sends end with a receipt of the server."""
    ours: bool = False
    reference: bool = False
    """The ratios of its language are against this one, in the cases that it takes part in."""


def _python(
    name: str,
    file: str,
    kinds: tuple[str, ...] = SOCKET,
    *,
    loop: str = "",
    interpreter: Path = PYTHON,
    acknowledged: bool = False,
    ours: bool = False,
    reference: bool = False,
) -> Subject:
    # The case comes between the file and the loop.
    command = (str(interpreter), str(ROOT / "benches/python" / file), "{case}", *([loop] if loop else []))
    return Subject("Python", name, command, kinds, acknowledged, ours, reference)


def _node(
    name: str,
    file: str,
    kinds: tuple[str, ...] = SOCKET,
    *,
    acknowledged: bool = False,
    ours: bool = False,
    reference: bool = False,
) -> Subject:
    return Subject("Node", name, ("node", str(BENCH / "node" / file), "{case}"), kinds, acknowledged, ours, reference)


def rust(target: Path) -> list[Subject]:
    """The subjects in Rust, from the folder where cargo has put their program."""
    program, raw = str(target / "bench-rust"), ("receive",)
    ours, peer = "realtime-client", "tokio-tungstenite + RawValue"
    return [
        Subject("Rust", f"{ours}, payload left raw", (program, "ours-raw", "{case}"), raw, True, True),
        Subject("Rust", ours, (program, "ours", "{case}"), ALL, True, True),
        Subject("Rust", f"{peer}, payload left raw", (program, "tungstenite-raw", "{case}"), raw),
        Subject("Rust", peer, (program, "tungstenite", "{case}"), reference=True),
    ]


SUBJECTS = [
    _python("realtime-client", "ours.py", ALL, acknowledged=True, ours=True),
    _python("realtime-client, uvloop", "ours.py", ALL, loop="uvloop", acknowledged=True, ours=True),
    _python("realtime-client, plain dialect", "ours_plain.py", ours=True),
    _python("picows + orjson", "peer_picows.py", reference=True),
    _python("picows + orjson, uvloop", "peer_picows.py", loop="uvloop"),
    _python("aiohttp + orjson", "peer_aiohttp.py"),
    _python("websockets + orjson", "peer_websockets.py"),
    _python("websockets + json", "peer_websockets_json.py"),
    _python("python-socketio", "peer_socketio.py", (*SOCKET, *RECEIPTS)),
    _python(
        "realtime (Supabase)",
        "peer_supabase.py",
        (*SOCKET, *RECEIPTS, *RESUBSCRIBES),
        interpreter=PYTHON_SUPABASE,
    ),
    _node("realtime-client", "ours.mjs", ALL, acknowledged=True, ours=True),
    _node("realtime-client, plain dialect", "ours_plain.mjs", ours=True),
    _node("ws + JSON.parse", "peer_ws.mjs", reference=True),
    _node("phoenix", "peer_phoenix.mjs", (*SOCKET, *RECEIPTS, *RESUBSCRIBES), acknowledged=True),
    _node("partysocket", "peer_partysocket.mjs"),
    _node("undici WebSocket", "peer_undici.mjs"),
    _node("@supabase/realtime-js", "peer_supabase.mjs", (*SOCKET, *RECEIPTS, *RESUBSCRIBES)),
    _node("centrifuge", "peer_centrifuge.mjs", ALL, acknowledged=True),
    _node("socket.io-client", "peer_socketio.mjs", (*SOCKET, *RECEIPTS, *RECOVERS)),
]
