"""No run of chaos leaves a process behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHILD = "import signal, sys; print('up', flush=True); signal.pause()"
PARENT = f"""
import asyncio, os, sys
from tests.chaos.children import end_as_interrupted, start
async def main():
    end_as_interrupted()
    child = await start("-c", {CHILD!r}, log=sys.stdout)
    assert await child.stdout.readline() == b"up" + b"\\n"
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds a child to a parent that is killed")
def test_a_child_ends_with_the_run(number: signal.Signals) -> None:
    """The child holds the pipe, too: reading it to the end means that both are gone."""
    run = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert int(run.stdout.readline()) != run.pid
    os.kill(run.pid, number)
    rest, _ = run.communicate(timeout=20)
    assert rest == b""


GUARDED = """
import asyncio, os, subprocess, sys
from pathlib import Path
from tests.chaos.children import guard
async def main():
    server = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    Path(sys.argv[1]).write_text(f"{server.pid} and more")
    await guard(Path(sys.argv[1]))
    print("up", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_server_that_others_started_ends_with_a_run_that_was_killed(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", GUARDED, str(tmp_path / "pid")], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"up\n"
    run.kill()
    assert run.communicate(timeout=20)[0] == b""  # the server holds the pipe, too
