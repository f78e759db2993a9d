"""What a process that was killed held is free at once on its own machine; a connection that did not start is shown."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hub import wiring
from hub.api.app import create_app
from hub.api.serve import services
from hub.clock import SystemClock
from hub.pipe.jobs import lease
from hub.pipe.share import Pool, Share, members
from hub.settings import load_settings
from hub.store import Store
from hub.wiring import Hub, is_gone
from tests.flows.cli_site import ROOT, Site, make_site

POOLS = [Pool("bus", tuple(f"bus:hub.inbound:{number}" for number in range(4)), {"next": 0}),
         Pool("once", ("once:sweep", "once:seal"))]  # fmt: skip
JOBS = [job for pool in POOLS for job in pool.jobs]
WORKER = """
import asyncio, sys
from hub.clock import SystemClock
from hub.pipe.jobs import lease
from hub.pipe.share import Share
from hub.store import Store
from hub.wiring import holder_name
from tests.flows.test_died_and_down import POOLS
clock = SystemClock()
store = Store.open(sys.argv[1], clock)
asyncio.run(Share(store, clock, holder_name(), POOLS).turn())
store.run_now(lease, "read:x", "reader", holder_name(), 60.0)
store.run_now(lease, "token:x", "token", holder_name() + ":7", 60.0)
print(holder_name(), flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a process that takes every job; yield it and the name by which it holds them."""
    child = subprocess.Popen([sys.executable, "-c", WORKER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, cwd=ROOT)  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        name = child.stdout.readline().strip()
        assert name.endswith(f":{child.pid}")
        yield child, name
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path}/hub.db", SystemClock())
    yield opened
    opened.close()


async def held(store: Store, *, knows: bool) -> list[str]:
    """Take a turn as a process that just started; return the jobs it has."""
    share = Share(store, SystemClock(), "here:1", POOLS, is_gone if knows else None)
    await share.turn()
    return [job for job in JOBS if share.holds(job)]


async def test_what_a_killed_process_of_this_machine_held_is_taken_at_once(store: Store) -> None:
    with worker(store.url) as (child, name):
        assert await held(store, knows=True) == [], "it lives"
        assert store.read_now(members) == sorted(["here:1", name])
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        assert await held(store, knows=False) == [], "who cannot know waits until the leases lapse"
        assert await held(store, knows=True) == JOBS
    assert store.read_now(members) == ["here:1"]
    for job, kind in (("read:x", "reader"), ("token:x", "token")):
        assert store.run_now(lease, job, kind, "here:1", 60.0) is not None


def test_only_a_process_of_this_host_that_ended_is_gone() -> None:
    host = socket.gethostname()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    assert is_gone(f"{host}:{ended.pid}")
    for holder in (f"{host}:{os.getpid()}", f"{host}:1", f"elsewhere:{ended.pid}", host, "", f"{host}:x"):
        assert not is_gone(holder), holder


# connections that did not start ---------------------------------------------------------------------------------


def opened(site: Site) -> Hub:
    return wiring.open_hub(load_settings(project_dir=site.folder, data_dir=site.data), start=True)


async def told(hub: Hub) -> dict[str, object]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(services(hub))), base_url="http://hub"
    ) as one:
        answer: dict[str, object] = (await one.get("/readyz")).json()
        return answer


def test_a_connection_that_did_not_start_shows_in_status_and_readiness_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path)
    text = (tmp_path / "hub.yaml").read_text("utf-8")
    hub = opened(site)
    assert "k3" in hub.down
    ready = asyncio.run(told(hub))
    hub.close()
    (note,) = [one for one in ready["notes"] if one.startswith("connection k3 ")]  # type: ignore[attr-defined]
    assert "hub secrets set" in note
    k3 = next(one for one in site.json("status")["connections"] if one["name"] == "k3")
    assert k3["state"] == "down"
    assert "hub secrets set" in k3["down"]["why"]
    assert "k3 did not start" in site.cli("status")
    for name in ("acct-id", "user-name", "app-id", "app-secret"):
        value = "a" * 6 + "_" + "b" * 32 if name == "app-id" else "x" * 32
        text = text.replace(
            "${secret:k3-" + name + "}", "${env:HUB_TEST_" + name.upper().replace("-", "_") + "}"
        )
        monkeypatch.setenv("HUB_TEST_" + name.upper().replace("-", "_"), value)
    (tmp_path / "hub.yaml").write_text(text, "utf-8")
    hub = opened(site)
    assert "k3" not in hub.down
    hub.close()
    k3 = next(one for one in site.json("status")["connections"] if one["name"] == "k3")
    assert (k3["state"], k3["down"]) == ("open", None)


async def test_the_end_of_a_process_waits_two_seconds_for_all_its_vendors_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "GOODBYE", 0.05)
    hub = await asyncio.to_thread(opened, make_site(tmp_path))

    class Silent:
        async def close(self) -> None:
            await asyncio.Event().wait()

    hub.connectors |= {"a": Silent(), "b": Silent()}  # type: ignore[dict-item]
    await asyncio.wait_for(hub.aclose(), 10)
