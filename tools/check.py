"""Runs every check that is not a test: formatters, linters, types, documentation, dependencies, WebAssembly.

All checks run, also after one has failed; the exit status is 1 where any did.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv/bin"

# Licences that let anybody use the packages for anything; each is one that cargo and npm name so.
LICENCES = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip


def run(*command: str, cwd: Path = ROOT, **env: str) -> str:
    """Runs a command and returns what it printed; fails with that."""
    result = subprocess.run(
        command, cwd=cwd, env=os.environ | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{result.stdout}")
    return result.stdout


def rust_format() -> None:
    run("cargo", "fmt", "--all", "--check")


def rust_lint() -> None:
    run(
        "cargo",
        "clippy",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--examples",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    )


def rust_documentation() -> None:
    run("cargo", "doc", "--workspace", "--no-deps", "--locked", "--quiet", RUSTDOCFLAGS="-D warnings")


def engine_has_no_runtime() -> None:
    tree = run("cargo", "tree", "-p", "realtime-engine", "-e", "normal", "--prefix", "none", "--locked")
    found = re.findall(r"^(?:tokio|mio|socket2|async-std|getrandom|rand)\b.*", tree, re.MULTILINE)
    assert not found, f"the engine is to have no I/O, clock or randomness, and depends on {found}"


def engine_builds_for_webassembly() -> None:
    target, command = (
        "wasm32-unknown-unknown",
        ["cargo", "build", "-p", "realtime-engine", "--locked", "--quiet", "--target"],
    )
    if (Path(run("rustc", "--print", "sysroot").strip()) / "lib/rustlib" / target).exists():
        run(*command, target)
        return
    if (
        shutil.which("rustup")
        and subprocess.run(["rustup", "target", "add", target], capture_output=True, check=False).returncode == 0
    ):
        run(*command, target)
        return
    # Debian builds the standard library from source where rustup cannot bring it.
    if not Path("/usr/lib/rustlib/src").exists() and shutil.which("apt-get") and os.geteuid() == 0:
        print("   installing Debian packages: rustc-web rust-web-src", flush=True)
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "rustc-web", "rust-web-src", DEBIAN_FRONTEND="noninteractive")
    assert Path("/usr/bin/rustc").exists(), f"needs `rustup target add {target}` or Debian's rustc-web and rust-web-src"
    linker = shutil.which("rust-lld") or next(
        iter(map(str, Path(run("rustc", "--print", "sysroot").strip()).rglob("rust-lld")))
    )
    run(
        *command, target, "-Z", "build-std=std,panic_abort",
        RUSTC="/usr/bin/rustc", RUSTC_BOOTSTRAP="1", CARGO_TARGET_DIR=str(ROOT / "target/wasm"),
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=linker,
    )  # fmt: skip


def rust_dependencies() -> None:
    metadata = json.loads(run("cargo", "metadata", "--format-version", "1", "--locked"))
    for package in metadata["packages"]:
        if package["source"] is None:
            continue
        assert package["source"].startswith("registry+"), f"{package['name']} does not come from the registry"
        expression = (package["license"] or "").replace("/", " OR ")
        choices = [choice.strip("() ") for choice in re.split(r"\bOR\b", expression)]
        permissive = any(all(part.strip("() ") in LICENCES for part in choice.split(" AND ")) for choice in choices)
        assert permissive or all(part.strip("() ") in LICENCES for part in re.split(r"\b(?:OR|AND)\b", expression)), (
            f"{package['name']} has the licence {expression!r}"
        )


def node_dependencies() -> None:
    for folder in ("node", "examples"):
        lock = json.loads((ROOT / folder / "package-lock.json").read_text())
        for name, package in lock["packages"].items():
            if name and not package.get("link"):
                assert package.get("license", "MIT") in LICENCES, (
                    f"{folder}: {name} has the licence {package['license']!r}"
                )


def python_style() -> None:
    run(str(BIN / "ruff"), "format", "--check", ".", cwd=ROOT / "python")
    run(str(BIN / "ruff"), "check", ".", cwd=ROOT / "python")
    for folder in ("demo", "chaos", "benches", "tools", "tests/packages", "tests/chaos"):
        run(str(BIN / "ruff"), "format", "--check", "--line-length", "120", folder)
        run(str(BIN / "ruff"), "check", "--line-length", "120", folder)


def python_types() -> None:
    run(str(BIN / "mypy"), cwd=ROOT / "python")
    run(str(BIN / "stubtest"), "realtime_client._realtime", cwd=ROOT / "python")


def python_types_of_the_demo() -> None:
    run(str(BIN / "mypy"), "--strict", "demo.py", "service.py", "editor.py", cwd=ROOT / "demo")


def python_types_of_the_chaos() -> None:
    run(str(BIN / "mypy"), "--strict", "chaos.py", "service.py", cwd=ROOT / "chaos", MYPYPATH="../demo")
    run(str(BIN / "mypy"), "--strict", ".", cwd=ROOT / "tests/chaos", MYPYPATH="../../chaos:../../demo")


def python_types_of_the_benches() -> None:
    run(str(BIN / "mypy"), "--strict", "run.py", "fanout.py", "layers.py", "memory.py", "tests", cwd=ROOT / "benches")
    # Other subjects need the peers, which are not installed here.
    run(str(BIN / "mypy"), "--strict", "common.py", "ours_plain.py", cwd=ROOT / "benches/python")


def node_style_and_types() -> None:
    run("npm", "run", "--silent", "check", cwd=ROOT / "node")
    # The benches have the peers, and no formatter, in their own environment.
    subjects = [str(file) for folder in ("node", "fanout") for file in (ROOT / "benches" / folder).glob("*.mjs")]
    run("npx", "prettier", "--print-width", "120", "--check", *subjects, cwd=ROOT / "node")


def no_paths_of_a_machine() -> None:
    found = subprocess.run(
        ["git", "grep", "-nE", r"/(home|root|Users)/[a-z]", "--", ".", ":!*.lock"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    ).stdout
    assert not found, f"paths of a machine:\n{found}"


CHECKS: list[Callable[[], None]] = [
    rust_format,
    rust_lint,
    rust_documentation,
    engine_has_no_runtime,
    engine_builds_for_webassembly,
    rust_dependencies,
    node_dependencies,
    python_style,
    python_types,
    python_types_of_the_demo,
    python_types_of_the_chaos,
    python_types_of_the_benches,
    node_style_and_types,
    no_paths_of_a_machine,
]


def main() -> int:
    wanted = sys.argv[1:]
    failed = []
    for check in CHECKS:
        if wanted and check.__name__ not in wanted:
            continue
        started = time.monotonic()
        try:
            check()
            verdict = "ok"
        except AssertionError as error:
            print(error)
            failed.append(check.__name__)
            verdict = "FAILED"
        print(f"check {check.__name__.replace('_', ' ')}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    if failed:
        print(f"check: {len(failed)} failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
