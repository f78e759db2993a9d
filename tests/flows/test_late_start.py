"""`hub up` waits for a database or brokers that are not there yet, says so, and gives up in time."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.clock import SystemClock
from hub.demo.broker import free_ports
from hub.errors import SettingsError, Unreachable
from hub.store import Store
from hub.store.dialects import is_away
from tests.chaos.proxy import Proxy
from tests.cluster import Cluster, told
from tests.kafka import Shared
from tests.own_postgres import OwnPostgres, own_postgres
from tests.postgres import Unavailable

WAITS = "start.waits"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgres]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(own_postgres("late"))
        except Unavailable as error:
            required = "postgres" in os.environ.get("HUB_TEST_REQUIRE", "")
            (pytest.fail if required else pytest.skip)(
                f"NO POSTGRESQL, HALF OF THE STORE IS UNTESTED: {error}"
            )
        yield made


class Starting:
    """A `hub up` under way."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *words: str) -> None:
        self.log = folder / "log.txt"
        place = ("--project", str(folder / "project"), "--data", str(folder / "var"))
        listen = {"HUB_LISTEN_OPS": "127.0.0.1:0", "HUB_LISTEN_HOOKS": "127.0.0.1:0"}
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub", *place, "--output", "json", *words],
                stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **listen, **environment},
            )  # fmt: skip

    def waits(self) -> dict[str, Any]:
        """Wait until it has said that it waits; return what it said."""
        while WAITS not in self.log.read_text("utf-8"):
            assert self.process.poll() is None, self.log.read_text("utf-8")
            threading.Event().wait(0.05)
        line = next(line for line in self.log.read_text("utf-8").splitlines() if WAITS in line)
        said: dict[str, Any] = json.loads(line)
        return said

    def ready(self) -> Mapping[str, Any]:
        return told(self.process, lambda: self.log.read_text("utf-8"))

    def ended(self) -> tuple[int, dict[str, Any]]:
        out, _ = self.process.communicate()
        return self.process.returncode, json.loads(out)


@contextmanager
def starting(folder: Path, environment: Mapping[str, str], *words: str) -> Iterator[Starting]:
    made = Starting(folder, environment, *(words or ("up", "--role", "console")))
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        assert made.process.stdout is not None
        made.process.stdout.close()


def installed(folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    with ExitStack() as stack:
        Cluster(folder, environment, stack).settle()
    return environment


def on(server: OwnPostgres) -> dict[str, str]:
    return {"HUB_STORE_URL": server.url(), "HUB_START_PATIENCE": "90"}


def test_a_database_that_is_down_is_waited_for(server: OwnPostgres, tmp_path: Path) -> None:
    environment = installed(tmp_path, on(server))
    server.stop()
    try:
        with starting(tmp_path, environment) as hub:
            said = hub.waits()
            assert "refused" in said["reason"]
            assert (said["limit"], said["setting"]) == (90.0, "HUB_START_PATIENCE")
            server.start()
            assert hub.ready()["ready"] is True
    finally:
        if not (server.data / "postmaster.pid").exists():
            server.start()


def test_a_database_that_is_starting_is_waited_for_by_migrate_too(
    server: OwnPostgres, tmp_path: Path
) -> None:
    server.stop()
    server.start_unready()
    with starting(tmp_path, on(server), "migrate") as hub:
        said = hub.waits()["reason"]
        assert "starting up" in said or "not accepting connections" in said or "not yet accepting" in said, (
            said
        )
        server.get_ready()
        code, answer = hub.ended()
        assert (code, answer["ok"]) == (0, True)


def test_brokers_that_are_not_up_yet_are_waited_for(kafka: Shared, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    environment = installed(
        tmp_path,
        {
            "HUB_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}",
            "HUB_KAFKA_SINGLE_BROKER": "true",
            "HUB_KAFKA_TOPIC_PREFIX": f"{tmp_path.name}.{os.getpid()}.",
            "HUB_START_PATIENCE": "90",
        },
    )
    with starting(tmp_path, environment) as hub:
        assert f"127.0.0.1:{port} cannot be used" in hub.waits()["reason"]
        with passed_on(port, int(kafka.address.rpartition(":")[2])):
            assert hub.ready()["ready"] is True


@contextmanager
def passed_on(port: int, to: int) -> Iterator[None]:
    """Open a port behind which the broker is."""
    loop, opened = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        proxy = Proxy("127.0.0.1", to, random.Random(1))
        async with await asyncio.start_server(proxy.connected, "127.0.0.1", port):
            opened.set()
            await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[serve()])
    thread.start()
    try:
        assert opened.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.mark.parametrize("patience", ["0", "2"])
def test_a_start_gives_up_in_time_and_says_what_was_missing(tmp_path: Path, patience: str) -> None:
    (port,) = free_ports(1)
    environment = installed(tmp_path, {})
    away = {"HUB_STORE_URL": f"postgresql://hub:hunter2@127.0.0.1:{port}/hub", "HUB_START_PATIENCE": patience}
    with starting(tmp_path, {**environment, **away}) as hub:
        code, answer = hub.ended()
    assert code == 2
    assert f"port {port} failed" in answer["error"]
    assert ("HUB_START_PATIENCE" in answer["error"]) is (patience != "0")
    said = hub.log.read_text("utf-8")
    assert (WAITS in said) is (patience != "0")
    assert "hunter2" not in said + answer["error"]


def test_a_database_that_is_not_there_is_not_waited_for(server: OwnPostgres, tmp_path: Path) -> None:
    environment = installed(tmp_path, {})
    with starting(tmp_path, {**environment, "HUB_STORE_URL": server.url("nobody")}) as hub:
        code, answer = hub.ended()
    assert code == 2
    assert 'database "nobody" does not exist' in answer["error"]
    assert WAITS not in hub.log.read_text("utf-8")


def test_who_is_turned_away_is_told_from_what_may_answer_later(server: OwnPostgres) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Unreachable):
        Store.open(f"postgresql://127.0.0.1:{port}/hub", SystemClock())
    with pytest.raises(SettingsError) as refused:
        Store.open(server.url("nobody"), SystemClock())
    assert not isinstance(refused.value, Unreachable)
    with (
        psycopg.connect(server.url(), autocommit=True) as one,
        psycopg.connect(server.url(), autocommit=True) as other,
    ):
        other.execute("SELECT pg_terminate_backend(%s)", (one.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError) as ended:
            one.execute("SELECT 1")
    assert is_away(ended.value)
    assert not is_away(ValueError("something else"))
