"""The accounts of what all services share: records, and who is present.

It reads what each service has asked for and was told, beside what a witness, a subscriber that changes nothing, was shown,
and replays that by rules of its own. Lines of a service, and of everybody who shows at the end what there is:

    i NUMBER ID                      a record is to be inserted
    u NUMBER ID REVISION             updated, if it is at that revision; `-` for any
    x NUMBER ID REVISION             removed, likewise
    k NUMBER                         it was accepted
    f NUMBER CODE REVISION           it has failed; the revision that the error tells, or `-`
    t CODE                           a change of its own presence has failed
    s                                it was given all records anew
    v OFFSET                         its records had diverged
    r ID REVISION JSON               a record at the end
    p ID CONNECTIONS JSON            a member at the end, and what it has told of itself

Lines of the witness, one a change, in their order; a removed record has no revision:

    c KIND ID REVISION JSON
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

MAX_PROBLEMS = 20
Fields = list[tuple[str, object]]
"""A record with the order of its fields, which is the same everywhere."""

Records = dict[str, tuple["int | None", Fields]]
"""With the revision that each is at, where that is known."""


@dataclass
class SyncAccounts:
    """The outcome: figures, and what was wrong beside them."""

    mutations: int = 0
    """Changes that were accepted."""
    conflicts: int = 0
    snapshots: int = 0
    """How often one was given all records again, having missed more changes than the server keeps."""
    replicas: int = 0
    """Those who have shown their records at the end."""
    diverged: int = 0
    """Replicas that have shown others than were due, and those that said so of themselves before."""
    ghosts: int = 0
    """Members who were shown and are not there, or with more connections than they have, or as they were in an earlier life."""
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    @property
    def is_clean(self) -> bool:
        return not self.diverged and not self.ghosts and self.problem_count == 0

    def wrong(self, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(what)


@dataclass
class Asked:
    """A change that a service has asked for."""

    kind: str
    id: str
    revision: int | None
    """Where it has to be at that revision."""
    outcome: str | None = None
    """`ok`, or the code of the error."""
    was_seen: bool = False


def sync_account(
    journals: Mapping[str, Iterable[str]],
    witness: Iterable[str],
    fresh: Iterable[str],
    members: Mapping[str, str],
    killed: Collection[str] = (),
    keeps_all: bool = True,
) -> SyncAccounts:
    """Compares the journals, by service.

    `fresh` is what somebody shows who came at the end; `members` who has to be present, with the service that it is. The
    ends of what those were doing who were `killed` are unknown, and they show nothing. Where the server does not keep
    all changes (`keeps_all`), the witness cannot be shown each, and all are only compared with what is there at the end.
    """
    accounts = SyncAccounts()
    services = {name: _Service(name, accounts, journal, keeps_all) for name, journal in journals.items()}
    for service in services.values():
        service.end(service.name in killed)
        if service.name in killed and service.showed:
            accounts.wrong(f"{service.name} was killed, and has shown what there is")
    newcomer = _Service("a new client", accounts, fresh)
    if keeps_all:
        replay = _Replay(services, accounts)
        watching = _Service("the witness", accounts, (line for line in witness if not replay.take(line)))
        replay.end()
        due = replay.records
    else:
        watching = _Service("the witness", accounts, (line for line in witness if not line.startswith("c ")))
        due = newcomer.records
    showing = [watching, newcomer]
    showing += [service for service in services.values() if service.name not in killed]
    for each in showing:
        accounts.replicas += 1
        if each.diverged or not each.shows(due):
            accounts.diverged += 1
        each.count_ghosts(members)
    return accounts


class _Service:
    """What one has asked for, was told, and has shown at the end."""

    def __init__(self, name: str, accounts: SyncAccounts, journal: Iterable[str], keeps_all: bool = True) -> None:
        self.name = name
        self.asked: dict[int, Asked] = {}
        self.last_seen = 0
        """The number of its last change that the witness was shown."""
        self.diverged = False
        self.showed = False
        self.records: Records = {}
        self._keeps_all = keeps_all
        self._accounts = accounts
        self._members: dict[str, tuple[int, dict[str, object]]] = {}
        for line in journal:
            kind, _, rest = line.rstrip("\n").partition(" ")
            self._take(kind, rest)

    def end(self, was_killed: bool) -> None:
        accounts = self._accounts
        for number, asked in self.asked.items():
            if asked.outcome is None and not was_killed:
                accounts.wrong(f"{self.name} {number} has never ended")
            accounts.mutations += asked.outcome == "ok"
            accounts.conflicts += asked.outcome == "conflict"

    def shows(self, due: Records) -> bool:
        """Whether it has shown these records. Where it told a revision, that one."""
        wrong = []
        for id in due.keys() | self.records.keys():
            there, shown = due.get(id), self.records.get(id)
            if there is None or shown is None:
                wrong.append(f"{id}, which is {'not there' if there is None else 'missing'}")
            elif there[1] != shown[1]:
                wrong.append(f"{id} as {shown[1]} instead of {there[1]}")
            elif shown[0] not in (None, there[0]):
                wrong.append(f"{id} at revision {shown[0]} instead of {there[0]}")
        for each in wrong:
            self._accounts.wrong(f"{self.name} shows {each}")
        return not wrong

    def count_ghosts(self, members: Mapping[str, str]) -> None:
        for id in members.keys() - self._members.keys():
            self._accounts.wrong(f"{self.name} does not show that {id} is present")
        for id, (connections, state) in self._members.items():
            if members.get(id) != state.get("life") or connections != 1:
                self._accounts.ghosts += 1
                self._accounts.wrong(f"{self.name} shows {id} with {connections} connections and {state}")

    def _take(self, kind: str, rest: str) -> None:
        if kind == "r":
            id, revision, record = rest.split(" ", 2)
            self.showed = True
            if id in self.records:
                self._accounts.wrong(f"{self.name} shows {id} twice")
            self.records[id] = (_revision(revision), fields_of(record))
        elif kind == "p":
            id, connections, state = rest.split(" ", 2)
            self.showed = True
            if id in self._members:
                self._accounts.ghosts += 1
                self._accounts.wrong(f"{self.name} shows {id} twice")
            self._members[id] = (int(connections), json.loads(state))
        elif kind == "s":
            self._accounts.snapshots += 1
            if self._keeps_all:
                self._accounts.wrong(f"{self.name} was given all records anew, and the server has all changes")
        elif kind == "v":
            self.diverged = True
            self._accounts.wrong(f"the records of {self.name} had diverged at {rest}")
        elif kind == "t":
            self._accounts.wrong(f"{self.name} could not tell who it is: {rest}")
        elif kind in "iux":
            number, id, *at = rest.split(" ")
            self.asked[int(number)] = Asked(kind, id, _revision(at[0]) if at else None)
        else:
            self._end(kind, *rest.split(" "))

    def _end(self, kind: str, number: str, code: str = "ok", told: str = "-") -> None:
        asked = self.asked.get(int(number))
        what = f"{self.name} {number}"
        if asked is None or asked.outcome is not None:
            return self._accounts.wrong(f"{what} has ended twice, or was never begun")
        asked.outcome = code
        if kind == "k":
            return None
        if code not in ("conflict", "not_found"):
            self._accounts.wrong(f"{what} failed with {code}")
        elif self._keeps_all and code == "conflict" and asked.kind != "i" and _revision(told) == asked.revision:
            self._accounts.wrong(f"{what} was refused because of revision {told}, which is what it wanted")
        return None


class _Replay:
    """Applies the changes in the order of the server, by rules of its own, and compares what the witness was shown."""

    def __init__(self, services: Mapping[str, _Service], accounts: SyncAccounts) -> None:
        self.records: Records = {}
        self._services = services
        self._accounts = accounts
        self._revision = 0
        self._removed: dict[str, list[int | None]] = {}
        """The revisions that removed records had."""
        self._removers: dict[str, list[Asked]] = {}
        for service in services.values():
            for asked in service.asked.values():
                if asked.kind == "x":
                    self._removers.setdefault(asked.id, []).append(asked)

    def take(self, line: str) -> bool:
        """Applies a change; `False` where this is none."""
        kind, rest = line.rstrip("\n").split(" ", 1)
        if kind != "c":
            return False
        change, id, revision, record = rest.split(" ", 3)
        if change == "delete":
            self._remove(id)
        else:
            self._put(change, id, int(revision), fields_of(record))
        return True

    def end(self) -> None:
        for service in self._services.values():
            removing: set[str] = set()
            for number, asked in service.asked.items():
                self._compare(f"{service.name} {number}", asked, removing)
                # Also what it inserted in vain: it does not show the other's record before that has come.
                if asked.kind == "x" or (asked.kind == "i" and asked.outcome == "conflict"):
                    removing.add(asked.id)

    def _put(self, kind: str, id: str, revision: int, record: Fields) -> None:
        self._revision += 1
        if revision != self._revision:
            self._wrong(f"revision {revision} follows {self._revision - 1}")
            self._revision = revision
        before = self.records.get(id)
        self.records[id] = (revision, record)
        mark = str(dict(record).get("mark"))
        name, _, number = mark.rpartition(" ")
        service = self._services.get(name)
        asked = service and number.isdigit() and service.asked.get(int(number))
        if not service or not asked:
            return self._wrong(f"revision {revision} is {mark!r}, which nobody has asked for")
        if asked.was_seen:
            self._wrong(f"{mark} was applied twice")
        if int(number) <= service.last_seen:
            self._wrong(f"{mark} was applied after {service.last_seen}")
        asked.was_seen, service.last_seen = True, max(int(number), service.last_seen)
        if asked.outcome not in ("ok", None):
            self._wrong(f"{mark} was applied, though it failed with {asked.outcome}")
        if (asked.kind, asked.id) != ({"insert": "i", "update": "u"}.get(kind), id):
            self._wrong(f"{mark} was shown as {kind} of {id}")
        if (before is None) != (asked.kind == "i"):
            self._wrong(f"{mark} was applied where {'nothing' if before is None else 'a record'} was")
        elif asked.revision is not None and before and before[0] != asked.revision:
            self._wrong(f"{mark} was applied to revision {before[0]}")
        due = inserted(id, name, int(number)) if before is None else updated(before[1], name, int(number))
        if record != due:
            self._wrong(f"{mark} was shown as {record} instead of {due}")
        return None

    def _remove(self, id: str) -> None:
        # A record that is gone has no revision, but a change of its own.
        self._revision += 1
        before = self.records.pop(id, None)
        if before is None:
            return self._wrong(f"{id} was removed, and was not there")
        self._removed.setdefault(id, []).append(before[0])
        for asked in self._removers.get(id, ()):
            if asked.outcome in ("ok", None) and asked.revision in (None, before[0]):
                return None
        return self._wrong(f"{id} was removed at revision {before[0]}, and nobody has done it")

    def _compare(self, what: str, asked: Asked, removing: Collection[str]) -> None:
        """`removing`: what the service wanted to remove before, which it then does not show."""
        removed = self._removed.get(asked.id, [])
        if asked.outcome == "ok":
            if asked.kind != "x":
                if not asked.was_seen:
                    self._wrong(f"{what} was accepted, and never applied")
            elif asked.revision is None:
                # Nobody inserts again what was removed.
                if asked.id in self.records:
                    self._wrong(f"{what} was accepted, and {asked.id} is still there")
            elif asked.revision not in removed:
                self._wrong(f"{what} was accepted, and {asked.id} was not removed at revision {asked.revision}")
        elif asked.outcome == "not_found" and not removed and asked.id in self.records and asked.id not in removing:
            self._wrong(f"{what} failed with not_found, and {asked.id} was never removed")
        elif asked.outcome == "conflict" and asked.kind != "i" and asked.revision is None:
            self._wrong(f"{what} failed with conflict, and wanted no revision")

    def _wrong(self, what: str) -> None:
        self._accounts.wrong(what)


def inserted(id: str, name: str, number: int) -> Fields:
    """The record that a service inserts with its change of this number."""
    return [("id", id), ("mark", f"{name} {number}"), ("title", f"grüße {number}")]


def updated(before: Fields, name: str, number: int) -> Fields:
    """What becomes of a record by an update: fields in place, new ones behind."""
    return list((dict(before) | {"mark": f"{name} {number}", name: number}).items())


def fields_of(record: str) -> Fields:
    fields: Fields = json.loads(record, object_pairs_hook=list)
    return fields


def _revision(text: str) -> int | None:
    return None if text == "-" else int(text)
