"""Workers on two hosts share the store, the brokers and the vault's key file; the audit trail stays one chain."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.audit.seal import oldest_unsealed
from hub.clock import SystemClock
from hub.pipe.share import members
from hub.store import Store
from tests.cluster import Cluster, running
from tests.flows.test_roles import Office, until

__all__: list[str] = []


@pytest.fixture
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cluster, Cluster]]:
    """Two folders with the same project; the second has no key file yet."""
    environment = {
        "HUB_STORE_URL": request.getfixturevalue("fresh_postgres_url"),
        "HUB_KAFKA_BOOTSTRAP": request.getfixturevalue("kafka").address,
        "HUB_KAFKA_SINGLE_BROKER": "true",
        "HUB_KAFKA_TOPIC_PREFIX": f"{tmp_path.name}.{os.getpid()}.",
    }
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    with running(folders[0], environment, "kingdee", "wecom") as one, ExitStack() as stack:
        shutil.copytree(folders[0] / "project", folders[1] / "project")
        yield one, Cluster(folders[1], environment, stack, one.vendors)


@pytest.fixture
def store(hosts: tuple[Cluster, Cluster]) -> Iterator[Store]:
    opened = Store.open(hosts[0].environment["HUB_STORE_URL"], SystemClock())
    yield opened
    opened.close()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30.0) as made:
        yield made


def audit(host: Cluster, *words: str) -> dict[str, Any]:
    """Run `hub audit` on a host."""
    done = subprocess.run(
        [sys.executable, "-m", "hub", "--project", host.folder / "project", "--data", host.folder / "var", "--output", "json",
         "audit", *words], env={**os.environ, **host.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_the_sealer_moves_to_another_host_and_one_chain_verifies(
    hosts: tuple[Cluster, Cluster], store: Store, client: httpx.AsyncClient
) -> None:
    one, other = hosts
    first = one.up("worker")
    office = Office(one, client, one.up("console").url)

    async def sealed() -> bool:
        return store.read_now(oldest_unsealed) is None

    async def left_alone() -> bool:
        return len(store.read_now(members)) == 1

    await office.send(5)
    await until(office.all_there)
    await until(sealed)
    before = audit(one, "verify")["last"]
    assert before > 0

    assert "its key file is not" in other.up("worker").told["error"]
    assert not (other.folder / "var" / "key").exists(), "a new one would open nothing"
    shutil.copy(one.folder / "var" / "key", other.folder / "var" / "key")
    assert audit(other, "verify")["last"] >= before, "also where nobody has sealed yet"
    second = other.up("worker")
    first.kill()
    await until(left_alone)
    await office.send(5)
    await until(office.all_there)
    await until(sealed)

    for host in hosts:
        told = audit(host, "verify")
        assert (told["ok"], told["damage"]) == (True, None)
        assert told["last"] > before
        trail = host.folder / "trail.jsonl"
        audit(host, "export", "--to", str(trail))
        assert audit(host, "verify", str(trail))["ok"] is True
        assert not (host.folder / "var" / "audit.key").exists()
    keys = {(host.folder / "var" / "audit.pub").read_text() for host in hosts}
    assert len(keys) == 1
    assert (other.folder / "var" / "seals.log").exists()
    assert second.end() == 0
