"""Processes of the hub that are forked instead of started anew are processes of the hub all the same."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.chaos.nursery import nursery

pytestmark = pytest.mark.slow  # each nursery imports the hub


async def test_what_is_forked_is_the_hub_with_its_own_words_files_and_environment(tmp_path: Path) -> None:
    async with nursery(tmp_path / "processes") as made:
        told = await made.start("--version", environment={}, log=tmp_path / "one.log")
        lost = await made.start(
            "validate", environment={"HUB_PROJECT_DIR": str(tmp_path / "none")}, log=tmp_path / "two.log"
        )
        assert await asyncio.wait_for(told.wait(), 60) == 0
        assert "0." in await told.said()
        assert await asyncio.wait_for(lost.wait(), 60) == 1
        assert (tmp_path / "two.log").read_text()
        assert not (tmp_path / "one.log").read_text()


async def test_a_forked_process_dies_of_a_signal_and_with_the_nursery(tmp_path: Path) -> None:
    async with nursery(tmp_path / "processes") as made:
        sandboxes = [
            await made.start("--output", "json", "sandbox", "kingdee", environment={}, log=tmp_path / "log")
            for _ in range(2)
        ]
        for one in sandboxes:
            await asyncio.wait_for(one.said("base_url"), 60)
        sandboxes[0].send_signal(signal.SIGKILL)
        assert await asyncio.wait_for(sandboxes[0].wait(), 60) == -signal.SIGKILL
        left = sandboxes[1].pid
    for _ in range(1_000_000):
        if not _runs(left):
            break
        await asyncio.sleep(0)
    assert not _runs(left)


def _runs(pid: int) -> bool:
    """Say whether a process runs; one that has ended and that nobody asked for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


async def test_nobody_waits_for_a_nursery_that_has_ended(tmp_path: Path) -> None:
    async with nursery(tmp_path / "processes") as made:
        waiting = asyncio.ensure_future(made.start("--version", environment={}, log=tmp_path / "log"))
        await asyncio.sleep(0)
        made.process.kill()
        with pytest.raises(RuntimeError, match="the nursery ended"):
            await asyncio.wait_for(waiting, 60)
        with pytest.raises(RuntimeError, match="the nursery ended"):
            await made.start("--version", environment={}, log=tmp_path / "log")
