"""A hub as several processes of different roles over one store and one bus, and the sandboxes it is connected to."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault

__all__ = ["PORTS", "SECRETS", "TOKEN", "Cluster", "Member", "running", "told"]

ROOT = Path(__file__).resolve().parents[1]
TOKEN = "a-token-of-tests"
PORTS = {"kingdee": "9401", "wecom": "9402"}
"""Where the demo's hub.yaml says the sandboxes are."""
SECRETS = {
    "kingdee": {
        "k3-acct-id": "acct_id", "k3-user-name": "user_name", "k3-app-id": "app_id", "k3-app-secret": "app_secret",
    },
    "wecom": {"wecom-secret": "secret", "wecom-token": "token", "wecom-encoding-aes-key": "encoding_aes_key"},
}  # fmt: skip
"""Secret in hub.yaml -> what the sandbox calls it."""


@dataclass
class Member:
    """One process. ``told``: the JSON object by which it said that it is ready."""

    process: subprocess.Popen[str]
    told: Mapping[str, Any]

    @property
    def url(self) -> str:
        return str(self.told["url"])

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Ask it to stop and return how it ended."""
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Cluster:
    """The demo's project over a store and a bus; ``environment`` says which."""

    folder: Path
    environment: Mapping[str, str]
    stack: contextlib.ExitStack
    vendors: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def sandbox(self, name: str) -> None:
        """Start a vendor."""
        self.vendors[name] = self._start("sandbox", name).told

    def settle(self) -> None:
        """Put the project there, naming these sandboxes, and what an integrator would store with `hub secrets set`."""
        project, data = self.folder / "project", self.folder / "var"
        shutil.copytree(ROOT / "mappings", project / "mappings")
        text = (ROOT / "hub.yaml").read_text("utf-8")
        for name, site in self.vendors.items():
            text = text.replace(PORTS[name], site["base_url"].rpartition(":")[2].strip("/"))
        (project / "hub.yaml").write_text(text, "utf-8")
        data.mkdir(mode=0o700)
        clock = SystemClock()
        address = self.environment.get("HUB_STORE_URL", f"sqlite:///{data / 'hub.db'}")
        store, vault = Store.open(address, clock), Vault.open(data / "key", clock)
        values = {"api-token": TOKEN}
        for vendor, known in SECRETS.items():
            given = self.vendors.get(vendor, {}).get("credentials", {})
            values |= {name: given.get(key, "none") for name, key in known.items()}
        for name, value in values.items():
            store.run_now(put_secret, vault, name, value.encode())
        store.close()

    def up(self, role: str = "all") -> Member:
        """Start one more process of a role, and return it once it is ready."""
        return self._start("up", "--role", role)

    def _start(self, *args: str) -> Member:
        place = ("--project", str(self.folder / "project"), "--data", str(self.folder / "var"))
        listen = {"HUB_LISTEN_OPS": "127.0.0.1:0", "HUB_LISTEN_HOOKS": "127.0.0.1:0"}
        log = (self.folder / "log.txt").open("a", encoding="utf-8")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "hub", *(place if args[0] == "up" else ()), "--output", "json", *args],
                stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **listen, **self.environment},
            )  # fmt: skip
        self.stack.callback(_stop, process)
        return Member(process, told(process, lambda: (self.folder / "log.txt").read_text("utf-8")))


def _stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def told(process: subprocess.Popen[str], log: Callable[[], str] = str) -> dict[str, Any]:
    """Read the JSON object by which a process says that it is ready; ``log`` is shown if it ends before."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        with contextlib.suppress(ValueError):  # an object over several lines is not whole yet
            found: dict[str, Any] = json.loads(text)
            return found
    raise RuntimeError(
        f"{process.args} ended with {process.wait()} before it was ready: {text}{log()[-2000:]}"
    )


@contextlib.contextmanager
def running(folder: Path, environment: Mapping[str, str], *vendors: str) -> Iterator[Cluster]:
    """Give a cluster with these sandboxes and no member yet; at the end nothing of it runs."""
    with contextlib.ExitStack() as stack:
        cluster = Cluster(folder, environment, stack)
        for name in vendors:
            cluster.sandbox(name)
        cluster.settle()
        yield cluster
