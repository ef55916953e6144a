"""What an installation weighs: the packages as they are shipped, and unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

from subjects import BENCH


def sizes() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []

    def add(subject: str, metric: str, value: int) -> None:
        rows.append({"case": "size", "subject": subject, "metric": metric, "value": value, "unit": "bytes"})

    for package in sorted([*(BENCH / "packages").glob("*.whl"), *(BENCH / "packages").glob("*.tgz")]):
        add(package.name, "packed", package.stat().st_size)
        add(package.name, "unpacked", _unpacked(package))
    return rows


def _unpacked(package: Path) -> int:
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    with tarfile.open(package) as archive:
        return sum(entry.size for entry in archive)
