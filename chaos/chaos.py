"""Runs the chaos (see docs/chaos.md): `chaos.py --realtime PROGRAM --service PROGRAM`, with MESSAGES and SEED."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from account import Accounts, account
from guest import GUEST, Guest
from line import Line
from plan import SERVER, Fault, draw, kills_of
from progress import Progress
from server_process import Server
from services import Service
from sync_account import SyncAccounts, sync_account
from table import table
from witness import Witness

HERE = Path(__file__).resolve().parent
CHANNELS = ["lobby", "orders", "grüße", "telemetry/1", "telemetry/2"]
LARGE, LARGE_EVERY = 6000, 500
LIMITS = ["--max-payload", "4096", "--heartbeat", "1000", "--timeout", "3000", "--presence-grace", "2000"]
ENDLESS = ["--history-messages", "100000000", "--history-bytes", "1000000000000", "--history-total", "1000000000000"]


@dataclass(frozen=True)
class Part:
    """One server and its services, with faults of their own."""

    name: str
    what: str
    share: float
    """Of all messages."""
    flags: Sequence[str]
    is_durable: bool
    has_gaps: bool
    outage: int = 0
    """How many sends an outage lasts at least."""


def parts(messages: int) -> list[Part]:
    small = max(50, messages // 2500)
    return [
        Part("durable", "all is kept: no gap may be told", 0.7, ENDLESS, True, False),
        Part(
            "forgetful",
            f"the last {small} messages of a channel are kept, on disk: gaps have to be told",
            0.15,
            ["--history-messages", str(small)],
            True,
            True,
            outage=3 * small * len(CHANNELS),
        ),
        Part("in memory", "a kill loses all histories: gaps have to be told", 0.15, ENDLESS, False, True),
    ]


@dataclass
class Outcome:
    accounts: Accounts
    cuts: int
    kills: int
    broken: list[str]
    sync: SyncAccounts


class Run:
    """One part, from its server's start to the accounts."""

    def __init__(self, part: Part, options: argparse.Namespace, folder: Path) -> None:
        self._part = part
        self._seed = f"{options.seed} {part.name}"
        self._folder = folder
        folder.mkdir(parents=True)
        self._programs = {
            "rust": [options.service],
            "python": [sys.executable, str(HERE / "service.py")],
            "node": ["node", str(HERE / "service.mjs")],
        }
        self._count = max(int(options.messages * part.share) // len(self._programs), 1)
        data = ["--data", str(folder / "data")] if part.is_durable else []
        self._server = Server(options.realtime, [*LIMITS, *part.flags, *data])
        self._progress = Progress(self._count)
        self._lines: list[Line] = []
        self._services: list[Service] = []
        self._guest: Guest | None = None
        self._witness: Witness | None = None

    async def run(self) -> Outcome:
        try:
            await self._server.start()
            for name, program in self._programs.items():
                line = Line(name, self._server.url, self._progress)
                self._lines.append(line)
                command = [*program, json.dumps(self._job(name, line.url))]
                self._services.append(await Service.start(name, command, self._progress.heard(name)))
            await self._all("ready", 60)
            await self._share()
            return await self._through_chaos()
        finally:
            for service in self._everybody():
                service.kill()
            for line in self._lines:
                line.stop()
            await self._server.kill()

    async def _share(self) -> None:
        """Somebody watches the records, and a guest comes who will be killed."""
        self._witness = await Witness.start(self._server.url, self._shared_journal("witness"))
        names = list(self._programs)
        program = self._programs[names[zlib.crc32(self._seed.encode()) % len(names)]]

        async def start(life: str) -> Service:
            job = self._job(life, self._server.url, GUEST) | {"channels": [], "count": 0, "marks": 0}
            return await Service.start(life, [*program, json.dumps(job)])

        self._guest = Guest(start)
        await self._guest.come()

    async def _through_chaos(self) -> Outcome:
        sends = self._count * len(self._services)
        faults, kills = 8 + sends // 6_000, 1 + sends // 60_000
        plan = draw(self._seed, sends, list(self._programs), faults, kills, self._part.outage)
        if self._guest:
            plan = sorted([*plan, *kills_of(GUEST, self._seed, sends, kills)], key=lambda fault: fault.at)
        breaking = asyncio.create_task(self._break(plan, sends))
        for service in self._services:
            service.tell("go")
        broken = []
        patience = 90 + sends / 1000
        try:
            await self._all("sent", patience)
            await breaking
            self._tell("quiet")
            await self._all("quiet", 60)
            self._tell("end")
            await self._all("complete", 60)
        except asyncio.TimeoutError:  # noqa: UP041 (another class before Python 3.11)
            broken.append("the services did not get to the end in time")
            breaking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await breaking
        if self._witness:
            await self._witness.finish(self._members(), self._shared_journal("fresh"))
        self._tell("stop")
        done = await self._all("done", 30)
        for service in self._everybody():
            await service.end()
        return self._outcome(done[: len(self._programs)], broken, await self._sync_accounts())

    async def _sync_accounts(self) -> SyncAccounts:
        if not self._guest or not self._witness:
            return SyncAccounts()
        *killed, guest = self._guest.lives
        members = {name: name for name in self._programs} | {GUEST: guest}
        with contextlib.ExitStack() as files:
            journals = {
                name: files.enter_context(self._shared_journal(name).open(encoding="utf-8"))
                for name in (*self._programs, *self._guest.lives)
            }
            witness = files.enter_context(self._shared_journal("witness").open(encoding="utf-8"))
            fresh = files.enter_context(self._shared_journal("fresh").open(encoding="utf-8"))
            return sync_account(journals, witness, fresh, members, killed, keeps_all=not self._part.has_gaps)

    async def _break(self, plan: Sequence[Fault], sends: int) -> None:
        sufferers = {line.service: line.suffer for line in self._lines} | {SERVER: self._server.suffer}
        if self._guest:
            sufferers[GUEST] = self._guest.suffer

        async def in_turn(target: str) -> None:
            for fault in plan:
                if fault.target == target:
                    await self._progress.until(fault.at)
                    print(f"  {self._progress.ended / sends:6.1%}  {fault}", flush=True)
                    await sufferers[target](fault)

        await asyncio.gather(*map(in_turn, sufferers))

    def _outcome(self, done: Sequence[dict[str, Any]], broken: list[str], sync: SyncAccounts) -> Outcome:
        names = list(self._programs)
        with contextlib.ExitStack() as files:
            journals = {name: files.enter_context(self._journal(name).open(encoding="utf-8")) for name in names}
            accounts = account(journals, dict.fromkeys(names, self._count + len(CHANNELS)))
        gaps = sum(row.gaps for row in accounts.rows)
        if self._part.has_gaps != (gaps > 0):
            broken.append(f"{gaps} gaps were told" if gaps else "no gap was told: nothing was shown")
        rows = []
        for row, figures in zip(accounts.rows, done, strict=True):
            errors = self._progress.errors[row.service]
            rows.append(
                {**asdict(row), "reconnects": figures["reconnects"], "recovered": figures["recovered"]}
                | {"sent again": figures["repeated"], "silences": errors["heartbeat_timeout"] + errors["timeout"]}
            )
        print(f"\n{table(rows, 'all')}\n")
        lives = len(self._guest.lives) if self._guest else 0
        print(
            f"  shared: {sync.mutations} changes accepted, {sync.conflicts} conflicts, {sync.snapshots} times all records anew, "
            f"{lives} lives of the guest"
        )
        for problem in [*broken, *accounts.problems, *sync.problems]:
            print(f"  WRONG: {problem}")
        return Outcome(accounts, sum(line.cuts for line in self._lines), self._server.kills, broken, sync)

    def _job(self, name: str, url: str, member: str | None = None) -> dict[str, Any]:
        shared = {
            "channel": "team",
            "member": member or name,
            "life": name,
            "journal": str(self._shared_journal(name)),
            "members": self._members(),
            # Fast, where more is to be missed than is kept.
            "pause": 2 if self._part.has_gaps else 10,
        }
        return {
            "name": name,
            "url": url,
            "journal": str(self._journal(name)),
            "channels": CHANNELS,
            "count": self._count,
            # More than the outbox holds: some wait before it.
            "window": 1500,
            "queue": 1000,
            # Little, so that the server often has to hold messages back.
            "inbox": 256 << 10,
            "channel_inbox": 64 << 10,
            "large": LARGE,
            "large_every": LARGE_EVERY,
            "report_every": max(self._count // 1000, 20),
            "marks": len(CHANNELS) * len(self._programs),
            "shared": shared,
        }

    def _journal(self, name: str) -> Path:
        return self._folder / f"{name}.journal"

    def _members(self) -> list[str]:
        return [*self._programs, GUEST]

    def _shared_journal(self, name: str) -> Path:
        return self._folder / f"{name}.shared.journal"

    def _everybody(self) -> list[Service]:
        guests = [self._guest.service] if self._guest and self._guest.service else []
        return [*self._services, *guests]

    def _tell(self, word: str) -> None:
        for service in self._everybody():
            service.tell(word)

    async def _all(self, state: str, patience: float) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(service.hear(state, patience) for service in self._everybody())))


async def main(options: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="realtime-chaos-"))
    print(f"chaos: SEED={options.seed} MESSAGES={options.messages}, journals in {folder}")
    started = time.monotonic()
    outcomes = []
    for part in parts(options.messages):
        print(f"\n{part.name}: {part.what}", flush=True)
        outcomes.append(await Run(part, options, folder / part.name.replace(" ", "-")).run())
    rows = [row for outcome in outcomes for row in outcome.accounts.rows]
    is_clean = all(outcome.accounts.is_clean and outcome.sync.is_clean and not outcome.broken for outcome in outcomes)
    if is_clean:
        shutil.rmtree(folder)
    else:
        print(
            f"chaos: something was wrong; SEED={options.seed} draws the same faults again, the journals are in {folder}"
        )
    seconds = time.monotonic() - started
    print(
        f"chaos: {sum(row.delivered for row in rows)} deliveries, {sum(row.refused for row in rows)} refusals as due, "
        f"{sum(row.skipped for row in rows)} messages within gaps that were told, {seconds:.0f} s"
    )
    shared = [outcome.sync for outcome in outcomes]
    print(
        f"sync: mutations={sum(sync.mutations for sync in shared)} conflicts={sum(sync.conflicts for sync in shared)} "
        f"replicas={sum(sync.replicas for sync in shared)} diverged={sum(sync.diverged for sync in shared)} "
        f"presence_ghosts={sum(sync.ghosts for sync in shared)}"
    )
    print(
        f"chaos: messages={sum(row.acknowledged for row in rows)} cuts={sum(outcome.cuts for outcome in outcomes)} "
        f"kills={sum(outcome.kills for outcome in outcomes)} lost={sum(row.lost for row in rows)} "
        f"duplicated={sum(row.duplicated for row in rows)} out_of_order={sum(row.out_of_order for row in rows)} "
        f"gaps={sum(row.gaps for row in rows)}"
    )
    return 0 if is_clean else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publishers and subscribers in three languages on a broken network.")
    parser.add_argument("--realtime", required=True, help="the server's program")
    parser.add_argument("--service", required=True, help="the Rust service's program")
    options = parser.parse_args()
    options.messages = int(os.environ.get("MESSAGES") or 1_100_000)
    options.seed = os.environ.get("SEED") or str(secrets.randbelow(1_000_000))
    return options


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
