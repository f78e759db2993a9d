"""What every test gets: PostgreSQL and Kafka on request, no network but this machine's own, repeatable examples."""

from __future__ import annotations

import gc
import ipaddress
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

pytest_plugins = ["tests.kafka", "tests.postgres"]

hypothesis.settings.register_profile("local", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def _refuse_other_machines(event: str, args: tuple[Any, ...]) -> None:
    """Refuse any connection that leaves this machine, whichever library asks for it."""
    if event == "socket.connect" and isinstance(args[1], tuple):
        host = args[1][0]
        if host != "localhost" and not _is_loopback(host):
            raise RuntimeError(f"a test tried to reach {host}: tests stay on this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


sys.addaudithook(_refuse_other_machines)


@pytest.fixture(autouse=True)
def _sockets_of_aiokafka(request: pytest.FixtureRequest) -> Iterator[None]:
    """Collect what a client of Kafka leaves: aiokafka drops a socket when it is closed while it connects.

    Without this the warning of it becomes the error of whichever test is running when it is collected.
    """
    yield
    if "kafka" in request.fixturenames:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
