"""A short run over real sockets, with what `make setup` has built."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_repeated_reordered_or_diverges_while_network_and_server_break() -> None:
    result = subprocess.run(
        ["tools/chaos.sh"],
        cwd=ROOT,
        env=os.environ | {"MESSAGES": "24000", "SEED": "1", "PROFILE": "debug"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    sync, figures = (dict(re.findall(r"(\w+)=(\d+)", line)) for line in result.stdout.splitlines()[-2:])
    assert (figures["lost"], figures["duplicated"], figures["out_of_order"]) == ("0", "0", "0")
    # Every 500th send of 8000 each is too large; the end marks of three parts are messages too.
    assert int(figures["messages"]) == 24_000
    assert int(figures["cuts"]) >= 3
    assert (figures["kills"], int(figures["gaps"]) > 0) == ("3", True)
    # In each part those of three services, of the guest in its last life, of the witness, and of who came at the end.
    assert (sync["replicas"], sync["diverged"], sync["presence_ghosts"]) == ("18", "0", "0")
    assert int(sync["mutations"]) > 0
    assert int(sync["conflicts"]) > 0
    assert "guest: kill" in result.stdout
