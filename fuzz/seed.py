"""Writes what the protocol's vectors show into fuzz/corpus, where the targets begin from it."""

import json
import pathlib

FUZZ = pathlib.Path(__file__).parent
VECTORS = FUZZ.parent / "tests" / "vectors"


def texts(value: object) -> list[bytes]:
    """Every text and every message of a vector file."""
    if isinstance(value, str):
        return [value.encode()]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    if isinstance(value, dict):
        message = [json.dumps(value, separators=(",", ":")).encode()] if "type" in value else []
        return message + [text for item in value.values() for text in texts(item)]
    return []


def step(kind: int, text: bytes) -> bytes:
    """One step of a target that takes several: a byte, a length and so many bytes."""
    return bytes([kind]) + len(text).to_bytes(2, "little") + text


HELLO = b'{"type":"hello","session":"0123456789abcdef0123"}'
WELCOME = (
    b'{"type":"welcome","session":"s","connection":"c","resumed":false,"heartbeat":30000,"timeout":60000,'
    b'"encoding":"text","time":1,"limits":{"frame":1000,"payload":900,"channels":9,"inflight":9,"rate":0},"server":"s"}'
)
# Watches a presence and a collection, and has both answered.
STREAMS = step(28, b"") + step(31, b"") + step(47, b"x")
# In a backend that only hands messages on: present, with a presence and a collection, and what others say there.
PLAIN = step(1, b"") + step(28, b"") + step(45, b"{}") + step(5, b"")
PEERS = {
    "join": (139, b'{"ref":"r1","key":"ada","status":"online","state":{},"joined_at":5,"seen_at":6}'),
    "leave": (59, b'{"ref":"r1"}'),
    "change": (75, b'{"collection":"tasks","key":"t1","clock":[1700000000000,3,"r1"],"record":{"id":"t1"}}'),
    "request": (91, b'{"collection":"tasks","ref":"r1","digest":"00000000000000ff"}'),
    "state": (
        107,
        b'{"collection":"tasks","ref":"r1","digest":"0000000000000000","part":0,"last":true,'
        b'"records":[{"key":"t1","clock":[1,0,"r2"],"record":null}]}',
    ),
}
seeds = [text for name in ("client_messages", "server_messages", "records") for text in texts(json.loads((VECTORS / f"{name}.json").read_text()))]
for index, text in enumerate(text for text in seeds if len(text) < 4000):
    targets = {
        "decode": text,
        "session": step(6, b"") + step(0, b"") + step(11, WELCOME) + STREAMS + step(7, b"room") + step(8, b"1") + step(11, text),
        "hub": step(9, HELLO) + step(9, b'{"type":"subscribe","id":9,"channel":"room"}') + step(9, text),
    }
    for target, data in targets.items():
        folder = FUZZ / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"vector-{index}").write_bytes(data)
for name, (kind, text) in PEERS.items():
    (FUZZ / "corpus" / "session" / f"peer-{name}").write_bytes(PLAIN + step(kind, text) + step(255, b"{}"))
