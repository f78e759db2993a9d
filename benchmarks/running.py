"""A hub as a user runs it: `hub up` and `hub sandbox kingdee` as processes of their own, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault

ROOT = Path(__file__).parents[1]
HUB = Path(sys.executable).with_name("hub")
TOKEN = "bench-token"
SECRETS = {
    "acct_id": "k3-acct-id",
    "user_name": "k3-user-name",
    "app_id": "k3-app-id",
    "app_secret": "k3-app-secret",
}


@dataclass(frozen=True)
class Running:
    """A hub that is ready. ``ready``: seconds from its start to the line that says so; ``ledger``: the vendor's."""

    url: str
    ledger: str
    process: psutil.Process
    ready: float

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far, user and system."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@contextlib.contextmanager
def running_hub() -> Iterator[Running]:
    """Start vendor and hub in an empty folder; stop both at the end."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        vendor = _start(stack, "--data", str(folder / "vendor"), "sandbox", "kingdee")
        site = _told(vendor)
        _prepare(folder, site)
        began = time.perf_counter()
        hub = _start(stack, "--project", str(folder), "--data", str(folder / "var"), "up",
                     HUB_LISTEN_OPS=f"127.0.0.1:{_free_port()}", HUB_LISTEN_HOOKS="127.0.0.1:0")  # fmt: skip
        told = _told(hub)
        yield Running(told["url"], site["ledger"], psutil.Process(hub.pid), time.perf_counter() - began)


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


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Read the JSON object by which a process says that it is ready."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        with contextlib.suppress(ValueError):  # an object over several lines is not whole yet
            told: dict[str, Any] = json.loads(text)
            return told
    raise RuntimeError(f"{process.args} ended with {process.wait()} before it was ready: {text}")


def _prepare(folder: Path, site: dict[str, Any]) -> None:
    """Write the demo project with this sandbox as its Kingdee, and the secrets."""
    port = site["base_url"].rpartition(":")[2].strip("/")
    (folder / "hub.yaml").write_text((ROOT / "hub.yaml").read_text().replace("9401", port))
    shutil.copytree(ROOT / "mappings", folder / "mappings")
    data = folder / "var"
    data.mkdir(mode=0o700)
    clock = SystemClock()
    store, vault = Store.open(f"sqlite:///{data / 'hub.db'}", clock), Vault.open(data / "key", clock)
    values = {name: site["credentials"][key] for key, name in SECRETS.items()} | {"api-token": TOKEN}

    def put(tx: Any) -> None:
        for name, value in values.items():
            put_secret(tx, vault, name, str(value).encode())

    store.run_now(put)
    store.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
