"""Who takes part, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "target/bench"
PYTHON = BENCH / "python/bin/python"
PYTHON_SUPABASE = BENCH / "python-supabase/bin/python"


@dataclass(frozen=True)
class Case:
    """`count` messages are enough to find out the pace; the rounds then take about as long as they are told."""

    name: str
    kind: str
    size: str
    channels: int
    count: int
    paced: bool = True

    def arguments(self, count: int, port: int) -> list[str]:
        return [self.kind, self.size, str(self.channels), str(count), str(port)]


RECEIVE_S, RECEIVE_S16 = "receive S, 1 channel", "receive S, 16 channels"
RECEIVE_L, RECEIVE_L16 = "receive L, 1 channel", "receive L, 16 channels"
SEND, ROUND_TRIP, CONNECT = "send S", "round trip S", "connect"

CASES = [
    Case(RECEIVE_S, "receive", "small", 1, 40_000),
    Case(RECEIVE_S16, "receive", "small", 16, 40_000),
    Case(RECEIVE_L, "receive", "large", 1, 10_000),
    Case(RECEIVE_L16, "receive", "large", 16, 10_000),
    Case(SEND, "send", "small", 1, 20_000),
    Case(ROUND_TRIP, "echo", "small", 1, 3_000, paced=False),
    Case(CONNECT, "connect", "small", 1, 40, paced=False),
]


@dataclass(frozen=True)
class Subject:
    language: str
    name: str
    command: list[str]
    acknowledged: bool
    """Whether its sends end with a receipt of the server."""
    ours: bool = False
    reference: bool = False
    """The ratios of its language are against this one."""
    only: tuple[str, ...] = ()
    """The kinds of cases that it takes part in; all where empty."""


def _python(
    name: str,
    file: str,
    *,
    loop: str = "",
    interpreter: Path = PYTHON,
    acknowledged: bool = False,
    ours: bool = False,
    reference: bool = False,
) -> Subject:
    # The case comes between the file and the loop.
    command = [str(interpreter), str(ROOT / "benches/python" / file), "{case}", *([loop] if loop else [])]
    return Subject("Python", name, command, acknowledged, ours, reference)


def _node(name: str, file: str, *, acknowledged: bool = False, ours: bool = False, reference: bool = False) -> Subject:
    return Subject("Node", name, ["node", str(BENCH / "node" / file), "{case}"], acknowledged, ours, reference)


def rust(target: Path) -> list[Subject]:
    """The subjects in Rust, from the folder where cargo has put their program."""
    program, raw = str(target / "bench-rust"), ("receive",)
    ours, peer = "realtime-client", "tokio-tungstenite + RawValue"
    return [
        Subject("Rust", f"{ours}, payload left raw", [program, "ours-raw", "{case}"], True, True, only=raw),
        Subject("Rust", ours, [program, "ours", "{case}"], True, True),
        Subject("Rust", f"{peer}, payload left raw", [program, "tungstenite-raw", "{case}"], False, only=raw),
        Subject("Rust", peer, [program, "tungstenite", "{case}"], False, reference=True),
    ]


SUBJECTS = [
    _python("realtime-client", "ours.py", acknowledged=True, ours=True),
    _python("realtime-client, uvloop", "ours.py", loop="uvloop", acknowledged=True, ours=True),
    _python("realtime-client, plain dialect", "ours_plain.py", ours=True),
    _python("picows + orjson", "peer_picows.py", reference=True),
    _python("picows + orjson, uvloop", "peer_picows.py", loop="uvloop"),
    _python("aiohttp + orjson", "peer_aiohttp.py"),
    _python("websockets + orjson", "peer_websockets.py"),
    _python("websockets + json", "peer_websockets_json.py"),
    _python("python-socketio", "peer_socketio.py"),
    _python("realtime (Supabase)", "peer_supabase.py", interpreter=PYTHON_SUPABASE),
    _node("realtime-client", "ours.mjs", acknowledged=True, ours=True),
    _node("realtime-client, plain dialect", "ours_plain.mjs", ours=True),
    _node("ws + JSON.parse", "peer_ws.mjs", reference=True),
    _node("phoenix", "peer_phoenix.mjs", acknowledged=True),
    _node("partysocket", "peer_partysocket.mjs"),
    _node("undici WebSocket", "peer_undici.mjs"),
    _node("@supabase/realtime-js", "peer_supabase.mjs"),
    _node("centrifuge", "peer_centrifuge.mjs", acknowledged=True),
    _node("socket.io-client", "peer_socketio.mjs"),
]
