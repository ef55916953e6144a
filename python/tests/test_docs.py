"""The examples of the documentation, as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["recovery", "backpressure", "outbox", "presence", "collections"])
def test_the_examples_of_a_page_run(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    (program,) = re.findall(r"<!-- run: python -->\n```python\n(.*?)```", text, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (result.stdout, result.stderr) == (printed, "")
