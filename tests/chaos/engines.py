"""On what the hub of a run stands: the embedded engine, or Kafka and PostgreSQL with several workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from tests.chaos import children
from tests.chaos.proxy import Line, proxied
from tests.kafka import Broker, Unavailable
from tests.postgres import open_postgres, remove_server, server_folder

__all__ = ["ENGINES", "Engine", "dump"]

RECOVERY = 60.0
LASTING = ("--longest", "0.25", "--again", "20")
"""Of lines whose connections live as long as the process: each meets something new now and then."""
CLUSTER = "hubchaosAAAAAAAAAAAAAA"


@dataclass(frozen=True)
class Engine:
    """``environment``: for the hub's processes; ``roles``: those processes; ``outages``: what may happen to it.

    ``lines``: the faulty lines between the hub and it; ``direct``: what of the environment differs for whoever looks at
    it beside the hub, and must not be kept from it by a fault.
    """

    environment: Mapping[str, str]
    roles: Sequence[str] = ("all",)
    outages: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)
    direct: Mapping[str, str] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def embedded(folder: Path, workers: int, *, lines: bool = False) -> AsyncIterator[Engine]:
    """SQLite and the log in a file; one process does everything unless there is more than one worker."""
    del lines  # files are between nobody
    roles = ("all",) if workers <= 1 else _roles(workers)
    yield Engine({"HUB_DATA_DIR": str(folder / "data")}, roles)


def _roles(workers: int) -> tuple[str, ...]:
    return ("worker", "gateway", "console", *["worker"] * (workers - 1))


@contextlib.asynccontextmanager
async def kafka(folder: Path, workers: int, *, lines: bool = False) -> AsyncIterator[Engine]:
    """A broker, a database, a gateway, a console and ``workers`` workers; ``lines``: a faulty line before each server."""
    home = server_folder(os.getpid())
    broker = Broker(Path("/var/tmp") / f"hub-kafka-{os.getpid()}" / "chaos", CLUSTER)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(remove_server, home)
        server = stack.enter_context(open_postgres(home))
        stack.callback(shutil.rmtree, broker.folder.parent, ignore_errors=True)
        stack.callback(broker.stop)
        broker.choose_ports()
        before: dict[str, Line] = {}
        address = broker.address
        if lines:
            before["kafka"] = await stack.enter_async_context(proxied(broker.port, "kafka", *LASTING))
            address = f"127.0.0.1:{before['kafka'].port}"
        # what a broker tells clients to call is the line: else they would go round it after their first question
        await asyncio.to_thread(broker.format, {"advertised.listeners": f"PLAINTEXT://{address}"})
        broker.start()
        guard = await children.guard(home / "data" / "postmaster.pid", broker.folder / "pid")
        stack.callback(_dismiss, guard)
        await asyncio.to_thread(broker.wait_ready)
        url = server.create()
        if lines:
            line = await stack.enter_async_context(proxied(_socket(url), "postgresql", *LASTING))
            before["postgresql"] = line

        async def lose_connections() -> None:
            await asyncio.to_thread(_terminate, url)

        async def crash_database() -> None:
            """Kill a backend: the server ends all others and recovers from its log."""
            await asyncio.to_thread(_kill_backend, url)

        async def restart_broker() -> None:
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(2.0)
            broker.start()
            await asyncio.to_thread(_answers, broker)

        async def stop_broker() -> None:
            assert broker.process is not None
            os.kill(broker.process.pid, signal.SIGSTOP)
            await asyncio.sleep(4.0)
            os.kill(broker.process.pid, signal.SIGCONT)

        yield Engine(
            {
                "HUB_DATA_DIR": str(folder / "data"),
                "HUB_STORE_URL": _at(url, before["postgresql"].port) if lines else url,
                "HUB_KAFKA_BOOTSTRAP": address,
                "HUB_KAFKA_SINGLE_BROKER": "true",
            },
            _roles(workers),
            {
                "database connections lost": lose_connections,
                "database crashed": crash_database,
                "broker killed": restart_broker,
                "broker stood still": stop_broker,
            },
            before,
            {"HUB_STORE_URL": url},
        )


def _socket(url: str) -> Path | int:
    """Return the socket of a server that is called by its folder, or its port."""
    address = make_url(url)
    folder = address.query.get("host")
    return Path(str(folder)) / f".s.PGSQL.{address.port or 5432}" if folder else address.port or 5432


def _at(url: str, port: int) -> str:
    """Return the address of the same database behind a line."""
    return (
        make_url(url)
        .set(host="127.0.0.1", port=port)
        .difference_update_query(["host"])
        .render_as_string(hide_password=False)
    )


def _answers(broker: Broker) -> None:
    """Wait until a broker that was started again answers; the probe stands behind the faulty line, as everybody does."""
    ends = time.monotonic() + 4 * RECOVERY  # a broker starts as everybody does here: with little CPU
    while True:
        try:
            return broker.wait_ready()
        except Unavailable:
            if time.monotonic() > ends:
                raise


def _dismiss(guard: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        guard.kill()


def dump(url: str, file: Path) -> None:
    """Write every table of a database as text: where a secret would be found that must not be there."""
    with psycopg.connect(_plain(url)) as connection, file.open("wb") as out:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in tables.fetchall():
            with connection.cursor().copy(SQL("COPY {} TO STDOUT").format(Identifier(table))) as rows:
                for row in rows:
                    out.write(row)


def _plain(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


def _backends(connection: psycopg.Connection) -> list[int]:
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return [pid for (pid,) in rows.fetchall()]


def _terminate(url: str) -> None:
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        for pid in _backends(connection):
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def _kill_backend(url: str) -> None:
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        victims = _backends(connection)
    for pid in victims[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ends = time.monotonic() + RECOVERY
    while time.monotonic() < ends:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(_plain(url)):
            return
        time.sleep(0.2)
    raise TimeoutError("the database does not recover")


ENGINES = {"embedded": embedded, "kafka": kafka}
