"""The accounts of a run: what publishers were told beside what subscribers were given.

It reads the journals of the services and knows nothing of the client or its figures. A journal is a text of events in
their order, one a line, with channels by their number:

    r CHANNEL NUMBER EPOCH OFFSET                  a send has a receipt
    e CHANNEL NUMBER CODE                          a send has failed
    m CHANNEL OFFSET SENDER NUMBER                 a message was given to the application
    g CHANNEL REASON EPOCH PREVIOUS FROM TO        a gap was told; `-` for nothing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

MAX_PROBLEMS = 20


@dataclass
class Row:
    """The figures of one service."""

    service: str
    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    delivered: int = 0
    """Messages that it was given, each once."""
    skipped: int = 0
    """Acknowledged messages that it was not given, but told that they are missing."""
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    gaps: int = 0


@dataclass
class Accounts:
    """The outcome: figures of each service, and what was wrong beside them."""

    rows: list[Row]
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def is_clean(self) -> bool:
        bad = any(row.lost or row.duplicated or row.out_of_order for row in self.rows)
        return not bad and self.problem_count == 0

    def wrong(self, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(what)


def account(
    journals: Mapping[str, Iterable[str]], sent: Mapping[str, int], refusals: Iterable[str] = ("payload_too_large",)
) -> Accounts:
    """Compares journals, by service.

    Each has sent the numbers 1 to `sent`, and may have been refused with `refusals` only.
    """
    accounts = Accounts([Row(service, sent=sent[service]) for service in journals])
    sends = Sends(accounts, set(refusals))
    given: list[Given] = []
    for row, journal in zip(accounts.rows, journals.values(), strict=True):
        receiver = Given(row, accounts)
        sends.begin(row)
        for line in journal:
            kind, channel, rest = line.rstrip("\n").split(" ", 2)
            if kind == "m":
                receiver.message(channel, rest)
            elif kind == "g":
                receiver.gap(channel, rest)
            else:
                sends.outcome(kind, channel, rest)
        sends.end()
        given.append(receiver)
    order = sends.order([*(chain for receiver in given for chain in receiver.chains())])
    for receiver in given:
        receiver.compare(sends, order)
    return accounts


class Sends:
    """What became of the sends of all services, by "SENDER NUMBER"."""

    def __init__(self, accounts: Accounts, refusals: set[str]) -> None:
        self.stored: dict[str, dict[str, dict[int, str]]] = {}
        """Channel, epoch, offset: the message that the receipt puts there."""
        self.refused: set[str] = set()
        self._accounts = accounts
        self._refusals = refusals
        self._chains: dict[tuple[str, str], list[str]] = {}
        """The epochs of a channel as a service met them."""

    def begin(self, row: Row) -> None:
        self._row = row
        self._ended: set[int] = set()

    def outcome(self, kind: str, channel: str, rest: str) -> None:
        number, *what = rest.split(" ")
        sending = f"{self._row.service} {number}"
        if int(number) in self._ended:
            self._accounts.wrong(f"{sending} has ended twice")
            return
        self._ended.add(int(number))
        if kind == "e":
            self._row.refused += 1
            self.refused.add(sending)
            if what[0] not in self._refusals:
                self._accounts.wrong(f"{sending} failed with {what[0]}")
            return
        self._row.acknowledged += 1
        epoch, offset = what[0], int(what[1])
        other = self.stored.setdefault(channel, {}).setdefault(epoch, {}).setdefault(offset, sending)
        if other != sending:
            self._accounts.wrong(f"{sending} and {other} have receipts for offset {offset} of channel {channel}")
        chain = self._chains.setdefault((channel, self._row.service), [])
        if not chain or chain[-1] != epoch:
            chain.append(epoch)

    def end(self) -> None:
        for number in range(1, self._row.sent + 1):
            if number not in self._ended:
                self._accounts.wrong(f"{self._row.service} {number} has never ended")

    def order(self, chains: Iterable[tuple[str, list[str]]]) -> dict[str, dict[str, int]]:
        """The places of the epochs of each channel, from all who met several."""
        graphs: dict[str, TopologicalSorter[str]] = {}
        for channel, chain in [*((channel, chain) for (channel, _), chain in self._chains.items()), *chains]:
            graph = graphs.setdefault(channel, TopologicalSorter())
            for epoch in chain[:1]:
                graph.add(epoch)
            for before, after in pairwise(chain):
                graph.add(after, before)
        places = {}
        for channel, graph in graphs.items():
            try:
                places[channel] = {epoch: place for place, epoch in enumerate(graph.static_order())}
            except CycleError as error:
                self._accounts.wrong(f"an epoch of channel {channel} has come back: {error.args[1]}")
        return places


class Stretch:
    """What a subscriber was given of one epoch of a channel."""

    def __init__(self, epoch: str | None) -> None:
        self.epoch = epoch
        self.messages: dict[int, str] = {}
        self.gaps: list[tuple[int, int]] = []
        self.last = 0
        """The last offset that came or was told missing."""
        self.numbers: dict[str, int] = {}
        """The last number of each sender."""


class Given:
    """What a subscriber was given."""

    def __init__(self, row: Row, accounts: Accounts) -> None:
        self._row = row
        self._accounts = accounts
        self._channels: dict[str, list[Stretch]] = {}

    def message(self, channel: str, rest: str) -> None:
        text, _, message = rest.partition(" ")
        sender, _, number_text = message.partition(" ")
        offset, number = int(text), int(number_text)
        stretch = self._channels.setdefault(channel, [Stretch(None)])[-1]
        if offset in stretch.messages:
            self._row.duplicated += 1
            return
        if any(start <= offset <= end for start, end in stretch.gaps):
            self._wrong(f"was given offset {offset} of channel {channel} after it was told that this is missing")
        if offset <= stretch.last or number <= stretch.numbers.get(sender, 0):
            self._row.out_of_order += 1
        self._row.delivered += 1
        stretch.messages[offset] = message
        stretch.last = max(offset, stretch.last)
        stretch.numbers[sender] = max(number, stretch.numbers.get(sender, 0))

    def gap(self, channel: str, rest: str) -> None:
        _, epoch, previous, start, end = rest.split(" ")
        self._row.gaps += 1
        stretches = self._channels.setdefault(channel, [Stretch(None)])
        stretch = stretches[-1]
        before = epoch if previous == "-" else previous
        if stretch.epoch not in (None, before):
            self._wrong(f"was told of a gap in epoch {before} of channel {channel}, and was in {stretch.epoch}")
        stretch.epoch = before
        if epoch != before:
            stretch = Stretch(epoch)
            stretches.append(stretch)
        if start != "-":
            if int(start) <= stretch.last or int(end) < int(start):
                self._wrong(f"was told that {start} to {end} of channel {channel} are missing, behind {stretch.last}")
            stretch.gaps.append((int(start), int(end)))
            stretch.last = max(stretch.last, int(end))

    def chains(self) -> Iterable[tuple[str, list[str]]]:
        for channel, stretches in self._channels.items():
            yield channel, [stretch.epoch for stretch in stretches if stretch.epoch is not None]

    def compare(self, sends: Sends, order: Mapping[str, Mapping[str, int]]) -> None:
        for channel in sends.stored.keys() | self._channels.keys():
            epochs, places = sends.stored.get(channel, {}), order.get(channel, {})
            stretches = self._channels.get(channel, [])
            # Who was told of no gap is in the first epoch that there is.
            if len(stretches) == 1 and stretches[0].epoch is None and places:
                stretches[0].epoch = min(places, key=places.__getitem__)
            by_epoch = {stretch.epoch: stretch for stretch in stretches}
            known = [places[epoch] for epoch in by_epoch if epoch is not None and epoch in places]
            for epoch, messages in epochs.items():
                if epoch not in by_epoch:
                    # An epoch that came and went while the subscriber was away is within the gap that it was told of.
                    within = bool(known) and epoch in places and min(known) < places[epoch] < max(known)
                    self._missing(len(messages), within, f"epoch {epoch} of channel {channel}")
                    continue
                stretch = by_epoch[epoch]
                self._compare_epoch(channel, messages, stretch, ended=stretch is not stretches[-1])
            for stretch in stretches:
                self._explain(channel, stretch, epochs, sends)

    def _compare_epoch(self, channel: str, stored: Mapping[int, str], stretch: Stretch, ended: bool) -> None:
        for offset, message in stored.items():
            found = stretch.messages.get(offset)
            if found == message:
                continue
            if found is None:
                # How much of an epoch that is over was missed is unknown: what came last is followed by the gap.
                told = ended and offset > stretch.last or any(start <= offset <= end for start, end in stretch.gaps)
                self._missing(1, told, f"{message}, offset {offset} of channel {channel}")
            else:
                self._missing(1, False, f"{message}, offset {offset} of channel {channel}")
                self._wrong(f"was given {found} at offset {offset} of channel {channel}, where {message} was stored")

    def _explain(self, channel: str, stretch: Stretch, epochs: Mapping[str, Mapping[int, str]], sends: Sends) -> None:
        """What has no receipt for its place was stored again in another epoch, and its sender knows of that one."""
        stored = epochs.get(stretch.epoch or "", {})
        again = len(stretch.messages) - len(set(stretch.messages.values()))
        if again:
            self._row.duplicated += again
            self._wrong(f"was given {again} messages of channel {channel} at two offsets of one epoch")
        unexplained = {message for offset, message in stretch.messages.items() if offset not in stored}
        for epoch, messages in epochs.items():
            if unexplained and epoch != stretch.epoch:
                unexplained.difference_update(messages.values())
        for message in unexplained:
            what = "whose send was refused" if message in sends.refused else "that has no receipt for it"
            self._wrong(f"was given {message} on channel {channel}, {what}")

    def _missing(self, count: int, told: bool, what: str) -> None:
        if told:
            self._row.skipped += count
        else:
            self._row.lost += count
            self._wrong(f"was never given {what}")

    def _wrong(self, what: str) -> None:
        self._accounts.wrong(f"{self._row.service} {what}")
