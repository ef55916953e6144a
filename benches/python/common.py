"""Runs a subject, and prints one line of JSON at the end.

`python <subject>.py <kind> <size> <channels> <count> <port> [loop]`; `BENCH_LIMIT`: seconds until a run without an end fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from cases import MEASURES, Make, Result, fail, missing
from measure import peak
from subject import Case, Handler, Subject, bursts

__all__ = ["Case", "Handler", "Subject", "bursts", "run"]

LIMIT = float(os.environ.get("BENCH_LIMIT", "100"))


def run(make: Make) -> None:
    kind, size, channels, count, port, *loop = sys.argv[1:]
    case = Case(kind, size, int(channels), int(count), int(port))
    warm_up = Case(kind, size, int(channels), -(-int(count) // 4), int(port))

    async def measured(case: Case) -> Result:
        missing.clear()
        run = asyncio.ensure_future(MEASURES[kind](make, case))
        ended, _ = await asyncio.wait([run], timeout=LIMIT)
        if not ended:
            fail(f"after {LIMIT:g} s there is not: {'; '.join(what() for what in missing)}")
        return run.result()

    async def main() -> Result:
        # What a warm-up leaves behind would hide what connections need.
        if kind != "idle":
            await measured(warm_up)
        return await measured(case)

    if loop == ["uvloop"]:
        import uvloop

        result = uvloop.run(main())
    else:
        result = asyncio.run(main())
    print(json.dumps(result | {"rss": peak()}))
