"""Copies what the last runs have written to where the docs and README find it: `python3 benches/publish.py`."""

from __future__ import annotations

import shutil
from pathlib import Path

from subjects import BENCH, ROOT

DOCS = ROOT / "docs/bench"
PAGES = {"summary.md": "README.md", "fanout.md": "fanout.md"}


def publish(folder: Path = BENCH) -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    for chart in sorted(folder.glob("*.svg")):
        shutil.copy(chart, DOCS)
    for page, name in PAGES.items():
        if (folder / page).exists():
            shutil.copy(folder / page, DOCS / name)
    print(f"charts and tables are in {DOCS.relative_to(ROOT)}")


if __name__ == "__main__":
    publish()
