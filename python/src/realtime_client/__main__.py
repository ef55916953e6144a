"""The server's command line: `python -m realtime_client serve --port 8080`, also installed as `realtime`."""

from __future__ import annotations

import signal
import sys

from ._realtime import run_cli


def main() -> int:
    """Runs the command with the arguments of the process; returns its exit code."""
    # The command handles it itself, and stops in order; Python would raise afterwards.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_cli(["realtime", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
