"""The packages as a new user gets them: built, installed into empty environments, and the README run as it stands."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def block(name: str) -> str:
    """The code of the README under `<!-- run: name -->`."""
    match = re.search(rf"<!-- run: {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert match is not None, f"the README has no block {name}"
    return match.group(1)


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Runs a command and returns what it printed; a failure shows that."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def pythons() -> list[str]:
    """Every Python from 3.10 on that can be found here, the running one among them."""
    candidates = [f"python3.{minor}" for minor in range(10, 20)]
    candidates += map(
        str, (Path(os.environ.get("PYENV_ROOT", "/nowhere")) / "versions").glob("3.[1-9][0-9]*/bin/python")
    )
    works = [
        subprocess.run([name, "--version"], capture_output=True, check=False)
        for name in candidates
        if shutil.which(name)
    ]
    found = {run.stdout: str(run.args[0]) for run in works if run.returncode == 0}
    return sorted(found.values()) or [sys.executable]


class Installed:
    """A folder with nothing but the packages in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "venv/bin"
        run(ROOT / "tools/package.sh", home / "dist", cwd=ROOT)
        run(sys.executable, "-m", "venv", home / "venv", cwd=home)
        (home / "package.json").write_text('{"private": true, "type": "module"}')
        install = block("install").replace("pip install", f"{self.bin}/pip install -q --disable-pip-version-check")
        run("bash", "-euc", install.replace("npm install", "npm install --silent --no-audit --no-fund"), cwd=home)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


@pytest.fixture(params=["python", "node"])
def server(installed: Installed, request: pytest.FixtureRequest) -> Iterator[None]:
    """The README's server, by the command of each package."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 8080))  # The README says 8080: where that is taken, it cannot be run as it stands.
    command = block("server").split("#")[0].split()
    prefix = [str(installed.bin / command[0])] if request.param == "python" else ["node_modules/.bin/realtime"]
    process = subprocess.Popen([*prefix, *command[1:]], cwd=installed.home, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "realtime listening on ws://127.0.0.1:8080\n"
        yield
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_python_quick_start(installed: Installed, server: None) -> None:
    (installed.home / "start.py").write_text(block("python"))
    printed = run(installed.bin / "python", "-W", "error", "start.py", cwd=installed.home)
    assert set(printed.splitlines()) == {
        "heard 'hello' at offset 1",
        "the server has it at offset 1",
    }


def test_node_quick_start(installed: Installed, server: None) -> None:
    (installed.home / "start.mjs").write_text(block("node"))
    printed = run("node", "start.mjs", cwd=installed.home)
    assert set(printed.splitlines()) == {"heard hello at offset 1", "the server has it at offset 1"}


def test_node_quick_start_as_common_js(installed: Installed, server: None) -> None:
    code = (
        block("node")
        .replace("import { WebSocketClient } from", "const { WebSocketClient } = require(")
        .replace('"realtime-client";', '"realtime-client");')
    )
    (installed.home / "start.cjs").write_text(f"(async () => {{\n{code}}})();\n")
    assert "the server has it at offset 1" in run("node", "start.cjs", cwd=installed.home)


def test_rust_quick_start(installed: Installed, server: None) -> None:
    project = installed.home / "rust"
    (project / "src").mkdir(parents=True, exist_ok=True)
    (project / "src/main.rs").write_text(block("rust"))
    (project / "Cargo.toml").write_text(
        '[package]\nname = "start"\nversion = "0.1.0"\nedition = "2024"\n[workspace]\n[dependencies]\n'
        f'realtime-client = {{ path = "{ROOT}/core/client" }}\nserde_json = "1"\n'
        'tokio = { version = "1", features = ["rt", "macros"] }\n'
    )
    shutil.copy(ROOT / "Cargo.lock", project)
    printed = run("cargo", "run", "--quiet", cwd=project, CARGO_TARGET_DIR=str(ROOT / "target/quick-start"))
    assert printed.splitlines() == ["the server has it at offset Some(1)", 'heard "hello"']


def test_presence_and_collections(installed: Installed, server: None) -> None:
    (installed.home / "sync.py").write_text(block("sync"))
    printed = run(installed.bin / "python", "-W", "error", "sync.py", cwd=installed.home)
    assert "shown already: 1" in printed
    assert printed.splitlines()[-1] == "conflict write the docs"
    (installed.home / "sync.mjs").write_text(block("sync-node"))
    printed = run("node", "sync.mjs", cwd=installed.home)
    assert "shown already: 2" in printed
    assert printed.splitlines()[-1] == "conflict write the docs"


def test_testing_quick_start(installed: Installed) -> None:
    (installed.home / "testing.py").write_text(block("testing"))
    assert run(installed.bin / "python", "-W", "error", "testing.py", cwd=installed.home) == "1 1\n"


def test_a_strict_type_checker_accepts_the_installed_package(installed: Installed) -> None:
    (installed.home / "typed.py").write_text(
        "from realtime_client import Receipt, WebSocketClient\n\n\n"
        "async def main() -> Receipt:\n"
        '    async with WebSocketClient("ws://127.0.0.1:1") as client:\n'
        '        return await client.channel("room").send("said", {"text": "hello"})\n'
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.bin / "python", "typed.py"]
    assert "Success" in run(*mypy, cwd=installed.home)


def test_every_supported_python_imports_the_one_wheel(installed: Installed, tmp_path: Path) -> None:
    wheel = next((installed.home / "dist").glob("*.whl"))
    assert "-cp310-abi3-" in wheel.name
    for python in pythons():
        folder = tmp_path / python.replace("/", "_")
        run(python, "-m", "venv", folder, cwd=tmp_path)
        run(folder / "bin/pip", "install", "-q", "--disable-pip-version-check", wheel, cwd=tmp_path)
        code = "import realtime_client, sys; print(realtime_client.WebSocketClient('ws://127.0.0.1:1').status)"
        assert run(folder / "bin/python", "-W", "error", "-c", code, cwd=tmp_path).strip() == "disconnected", python


def test_the_demo_loses_nothing_and_keeps_tasks_and_presence_equal() -> None:
    printed = run(ROOT / "tools/demo.sh", "4000", cwd=ROOT)

    def figures(part: str) -> dict[str, str]:
        return dict(
            re.findall(
                r"(\w+)=(\S+)",
                re.findall(rf"^{part}: (.*)$", printed, re.MULTILINE)[-1],
            )
        )

    demo = figures("demo")
    assert (demo["sent"], demo["acknowledged"], demo["delivered"]) == (
        "4000",
        "4000",
        "4000",
    )
    assert (demo["lost"], demo["duplicated"], demo["out_of_order"]) == ("0", "0", "0")
    assert int(demo["cuts"]) > 0
    tasks = figures("tasks")
    # Each edits 100 times; both want the release, and one of them comes too late.
    assert (tasks["edits"], tasks["conflicts"], tasks["equal"]) == ("199", "1", "true")
    assert int(tasks["cuts"]) > 0
    assert int(tasks["records"]) > 3
    presence = figures("presence")
    assert (presence["joins"], presence["leaves"], presence["ghosts"]) == (
        "3",
        "3",
        "0",
    )
