"""A hub as a user runs it: `hub up` and `hub sandbox NAME` as processes of their own, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault
from tests.cluster import PORTS, SECRETS, told

ROOT = Path(__file__).parents[1]
HUB = Path(sys.executable).with_name("hub")
TOKEN = "bench-token"
Site = dict[str, Any]
"""What a sandbox says of itself: base_url, credentials, control_url, ledger."""


@dataclass(frozen=True)
class Running:
    """A hub that is ready. ``hooks``: its doors; ``ready``: seconds from its start to the line that says so; ``sites``: the vendors by name."""

    url: str
    hooks: str
    process: psutil.Process
    ready: float
    sites: Mapping[str, Site]
    folder: Path

    @property
    def ledger(self) -> str:
        """Where Kingdee's effects are listed."""
        return str(self.sites["kingdee"]["ledger"])

    @property
    def store(self) -> Path:
        """The file of its store."""
        return self.folder / "var" / "hub.db"

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far, user and system."""
        return seconds_of(self.process)

    def command(self, stack: contextlib.ExitStack, *args: str) -> subprocess.Popen[str]:
        """Start another command of the same hub; it is stopped with the stack."""
        place = ("--project", str(self.folder), "--data", str(self.folder / "var"))
        return _start(stack, *place, *args)


def seconds_of(process: psutil.Process) -> float:
    """Return the CPU a process used so far, user and system."""
    used = process.cpu_times()
    return float(used.user + used.system)


def demo_project(folder: Path) -> None:
    """Put the demo's project there."""
    shutil.copy(ROOT / "hub.yaml", folder / "hub.yaml")
    shutil.copytree(ROOT / "mappings", folder / "mappings")


@contextlib.contextmanager
def running_hub(
    project: Callable[[Path], None] = demo_project,
    *,
    vendors: tuple[str, ...] = ("kingdee", "wecom"),
    path: tuple[Path, ...] = (),
) -> Iterator[Running]:
    """Start vendors and hub in an empty folder; stop them at the end.

    ``project`` writes hub.yaml, with the vendors at :data:`PORTS`, and mappings/. ``path``: folders in which the hub
    finds further packages.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        started = {name: _start(stack, "sandbox", name) for name in vendors}
        sites = {name: told(process) for name, process in started.items()}
        project(folder)
        _settle(folder, sites)
        listen = {
            "HUB_LISTEN_OPS": f"127.0.0.1:{_free_port()}",
            "HUB_LISTEN_HOOKS": f"127.0.0.1:{_free_port()}",
        }
        if path:
            listen["PYTHONPATH"] = os.pathsep.join(map(str, path))
        began = time.perf_counter()
        hub = _start(stack, "--project", str(folder), "--data", str(folder / "var"), "up", **listen)
        said = told(hub)
        ready = time.perf_counter() - began
        yield Running(said["url"], said["hooks_url"], psutil.Process(hub.pid), ready, sites, folder)


def _start(stack: contextlib.ExitStack, *args: str, **env: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [HUB, "--output", "json", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **env},
    )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _settle(folder: Path, sites: Mapping[str, Site]) -> None:
    """Name these sandboxes in the project, and store what an integrator would with `hub secrets set`."""
    ports = {PORTS[name]: site["base_url"].rpartition(":")[2].strip("/") for name, site in sites.items()}
    text = (folder / "hub.yaml").read_text()
    (folder / "hub.yaml").write_text(
        re.sub(r"\b940[12]\b", lambda found: ports.get(found[0], found[0]), text)
    )
    data = folder / "var"
    data.mkdir(mode=0o700)
    clock = SystemClock()
    store, vault = Store.open(f"sqlite:///{data / 'hub.db'}", clock), Vault.open(data / "key", clock)
    values = {
        name: site["credentials"][key] for vendor, site in sites.items() for name, key in SECRETS[vendor].items()
    } | {"api-token": TOKEN}  # fmt: skip

    def put(tx: Any) -> None:
        for name, value in values.items():
            put_secret(tx, vault, name, str(value).encode())

    store.run_now(put)
    store.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
