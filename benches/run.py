"""Runs every subject on every case in interleaved rounds, and writes the report; `tools/bench.sh` prepares it all."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from publish import publish
from report import write_report
from rounds import Rounds, Server, cores
from sizes import sizes
from subjects import BENCH, CASES, ROOT, SUBJECTS, rust

FAULTS = ["drop", "swap", "twice", "corrupt"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: says that everything works, and no more")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=9, help="no further round where it would take longer")
    parser.add_argument("--seconds", type=float, default=0.4, help="how long a run takes that has no fixed count")
    parser.add_argument("--only", default="", help="subjects with this in `language/name`, beside the references")
    parser.add_argument("--case", default="", help="cases with this in their name")
    parser.add_argument("--programs", type=Path, default=ROOT / "target/dist", help="where cargo has put them")
    parser.add_argument("--output", type=Path, default=BENCH, help="where the report goes")
    parser.add_argument(
        "--publish", action="store_true", help="puts charts and summary into docs/bench if all went well"
    )
    parser.add_argument("--fault", choices=FAULTS, help="the load server spoils a message of each stream: has to fail")
    options = parser.parse_args()
    if options.publish and (options.quick or options.only or options.case or options.fault):
        parser.error("only a whole run is published")
    return options


def main() -> int:
    options = arguments()
    everyone = [*SUBJECTS, *rust(options.programs)]
    wanted = [s for s in everyone if options.only.lower() in f"{s.language}/{s.name}".lower()]
    languages = {subject.language for subject in wanted}
    subjects = [s for s in everyone if s in wanted or (s.reference and s.language in languages)]
    cases = [case for case in CASES if options.case in case.name]

    server_core, client_core = cores()
    server = Server(options.programs / "bench-load", server_core, options.fault)
    rounds = Rounds(subjects, cases, server, client_core)
    begun = time.monotonic()
    try:
        if options.quick:
            rounds.once()
        else:
            play(rounds, begun, options)
    finally:
        server.stop()

    samples = rounds.samples
    write_report(options.output, subjects, cases, samples, sizes(), rounds.failures, quick=options.quick)
    busiest = max((sample.busy for sample in samples if "receive" in sample.case), default=0.0)
    typical = statistics.median([sample.busy for sample in samples if sample.busy] or [0.0])
    print(f"load server: {typical:.0%} of its core at the median, {busiest:.0%} at most while streaming")
    print(f"{len(samples)} runs in {time.monotonic() - begun:.0f} s; report in {options.output}/report.md")
    if options.publish and not rounds.failures:
        publish(options.output)
    return 1 if rounds.failures else 0


def play(rounds: Rounds, begun: float, options: argparse.Namespace) -> None:
    rounds.prepare(options.seconds)
    longest = 0.0
    for number in range(options.rounds):
        round_begun = time.monotonic()
        if number > 0 and round_begun - begun + longest > options.minutes * 60:
            print(f"{number} rounds instead of {options.rounds}: the time is up", flush=True)
            break
        print(f"round {number + 1} of {options.rounds}, {round_begun - begun:.0f} s", flush=True)
        rounds.play(number)
        longest = max(longest, time.monotonic() - round_begun)


if __name__ == "__main__":
    sys.exit(main())
