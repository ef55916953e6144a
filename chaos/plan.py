"""What goes wrong when: drawn from a seed, and bound to how many sends have ended, not to the clock."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SERVER = "server"

KINDS = {
    "cut": "all its connections are reset",
    "outage": "resets, also of what is new",
    "torn": "reset within a message",
    "stall": "half open: no bytes move",
    "silence": "half open until the client gives the connection up",
    "slow": "every byte is late",
    "narrow": "few bytes a second",
}


@dataclass(frozen=True)
class Fault:
    at: int
    """So many sends of all services have ended."""
    target: str
    kind: str
    size: int
    """Bytes of `torn`, milliseconds of `slow`, bytes a second of `narrow`."""
    lasts: int
    """Sends of the other services that end meanwhile."""

    def __str__(self) -> str:
        unit = {"torn": " after {} bytes", "slow": " by {} ms", "narrow": " to {} bytes/s"}.get(self.kind, "")
        lasts = f", for {self.lasts} sends" if self.lasts else ""
        return f"{self.target}: {self.kind}{unit.format(self.size)}{lasts}"


def draw(seed: str, sends: int, services: Sequence[str], faults: int, kills: int, outage: int) -> list[Fault]:
    """`faults` of the network, dealt to all services and kinds, and `kills` of the server, in the order of their moments.

    An `outage` lasts at least so many sends.
    """
    dice = random.Random(seed)
    kinds = list(KINDS)
    plan = []
    # Each kind and each service gets its share, in an order of its own.
    first_kind, first_service = dice.randrange(len(kinds)), dice.randrange(len(services))
    for index in range(faults):
        kind = kinds[(first_kind + index) % len(kinds)]
        target = services[(first_service + index + index // len(kinds)) % len(services)]
        plan.append(_fault(dice, sends, target, kind, outage))
    return sorted([*plan, *_kills(dice, SERVER, sends, kills)], key=lambda fault: fault.at)


def kills_of(target: str, seed: str, sends: int, kills: int) -> list[Fault]:
    """So many kills of somebody besides."""
    return _kills(random.Random(f"{seed} {target}"), target, sends, kills)


def _kills(dice: random.Random, target: str, sends: int, kills: int) -> list[Fault]:
    # Apart from each other: what a kill leaves behind goes on while the next messages flow.
    shares = [(index + dice.uniform(0.2, 0.8)) / kills for index in range(kills)]
    return [Fault(int(sends * (0.05 + 0.85 * share)), target, "kill", 0, 0) for share in shares]


def _fault(dice: random.Random, sends: int, target: str, kind: str, outage: int) -> Fault:
    at = int(sends * dice.uniform(0.03, 0.92))
    size = {
        "torn": dice.randrange(1, 50_000),
        "slow": dice.randrange(2, 40),
        "narrow": dice.randrange(100_000, 1_000_000),
    }.get(kind, 0)
    lasts = 0 if kind in ("cut", "torn") else int(sends * dice.uniform(0.002, 0.02))
    if kind == "outage":
        lasts = max(lasts, outage)
    elif kind == "silence":
        lasts = 0  # The client ends it.
    return Fault(at, target, kind, size, lasts)
