"""The checker shares no code with what it judges: its process has nothing of the hub, nor of the connectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOK = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {{'hub', 'connectors'}}))"


def taken(module: str) -> str:
    """Return which of the project's packages come with a module."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(module=module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["tests.chaos.checker", "tests.chaos.judge_people"])
def test_the_checker_imports_nothing_of_the_hub(module: str) -> None:
    assert taken(module) == ""


def test_what_looks_into_the_hub_is_seen_to_do_so() -> None:
    assert "hub" in taken("tests.chaos.rest").split()
