"""Counts what a receiver got, from the numbers that the senders wrote into their messages."""

from __future__ import annotations


class Tally:
    """Numbers 1, 2, 3, … of each (sender, channel), as they arrived."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[int]] = {}
        self._last: dict[tuple[str, str], int] = {}
        self.received: dict[str, int] = {}
        self.duplicated = 0
        self.out_of_order = 0
        self.latencies: list[float] = []

    def note(self, sender: str, channel: str, number: int, latency: float) -> None:
        """One message arrived; `latency` in milliseconds since it was sent."""
        key = (sender, channel)
        seen = self._seen.setdefault(key, set())
        if number in seen:
            self.duplicated += 1
            return
        seen.add(number)
        self.received[sender] = self.received.get(sender, 0) + 1
        if number < self._last.get(key, 0):
            self.out_of_order += 1
        self._last[key] = max(number, self._last.get(key, 0))
        self.latencies.append(latency)

    def total(self) -> int:
        return sum(self.received.values())
