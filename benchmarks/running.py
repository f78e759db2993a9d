"""A hub as a user runs it: `hub up` and `hub sandbox NAME` as processes of their own, in a folder of their own.

On either pair of engines: the embedded files, or a real Kafka and a real PostgreSQL, started once for the whole run.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import server
from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault
from tests import kafka
from tests.cluster import PORTS, SECRETS, told
from tests.postgres import Unavailable

ROOT = Path(__file__).parents[1]
HUB = Path(sys.executable).with_name("hub")
TOKEN = "bench-token"
PATIENCE = 120.0
"""Seconds until a command that does not end fails."""
Site = dict[str, Any]
"""What a sandbox says of itself: base_url, credentials, control_url, ledger."""


@dataclass
class Running:
    """A hub that is ready. ``hooks``: its doors; ``ready``: seconds from its start to the line that says so.

    ``process``: its first one; ``processes``: all of them; ``sites``: the vendors by name; ``environment``: its engines.
    """

    url: str
    hooks: str
    process: psutil.Process
    ready: float
    sites: Mapping[str, Site]
    folder: Path
    environment: Mapping[str, str]
    processes: list[psutil.Process] = field(default_factory=list)

    @property
    def ledger(self) -> str:
        """Where Kingdee's effects are listed."""
        return str(self.sites["kingdee"]["ledger"])

    @property
    def store(self) -> str:
        """The address of its store."""
        return _store(self.folder / "var", self.environment)

    @property
    def log(self) -> Path:
        """Where its processes write what they have to say."""
        return self.folder / "log.txt"

    @property
    def cpu(self) -> float:
        """Seconds of CPU its processes used so far, user and system; servers of the engines are not counted."""
        return sum(map(seconds_of, self.processes))

    def command(self, stack: contextlib.ExitStack, *args: str) -> subprocess.Popen[str]:
        """Start another command of the same hub; it is stopped with the stack."""
        place = ("--project", str(self.folder), "--data", str(self.folder / "var"))
        return _start(stack, *place, *args, log=self.log, **self.environment)

    def run(self, *args: str) -> None:
        """Run a command of the hub to its end.

        Raises:
            RuntimeError: it failed; what it and the hub said last.
        """
        with contextlib.ExitStack() as stack:
            command = self.command(stack, *args)
            said, _ = command.communicate(timeout=PATIENCE)
            if command.returncode:
                raise RuntimeError(
                    f"hub {' '.join(args)}: {command.returncode} {said}{self.log.read_text()[-3000:]}"
                )

    def up(self, stack: contextlib.ExitStack, role: str) -> Mapping[str, str]:
        """Start one more process of a role, wait until it is ready, return what it says; it is stopped with the stack."""
        started = self.command(stack, "up", "--role", role)
        said = told(started, self.log.read_text)
        if not said.get("ready"):
            raise RuntimeError(f"hub up --role {role} did not start: {said} {self.log.read_text()[-3000:]}")
        self.processes.append(psutil.Process(started.pid))
        return said


def _store(data: Path, environment: Mapping[str, str]) -> str:
    return environment.get("HUB_STORE_URL", f"sqlite:///{data / 'hub.db'}")


def seconds_of(process: psutil.Process) -> float:
    """Return the CPU a process used so far, user and system."""
    used = process.cpu_times()
    return float(used.user + used.system)


def demo_project(folder: Path) -> None:
    """Put the demo's project there."""
    shutil.copy(ROOT / "hub.yaml", folder / "hub.yaml")
    shutil.copytree(ROOT / "mappings", folder / "mappings")


EMBEDDED, SERVERS = "embedded", "Kafka and PostgreSQL"
_numbers = itertools.count(1)


@functools.cache
def engines() -> Sequence[str]:
    """Return the pairs of engines that can be had here; what cannot is said once."""
    try:
        server()
        kafka.shared()
    except Unavailable as error:
        print(f"{SERVERS}: left out: {error}", file=sys.stderr, flush=True)
    except kafka.Unavailable as error:
        print(f"{SERVERS}: left out: {error}", file=sys.stderr, flush=True)
    else:
        atexit.register(kafka.remove_brokers)
        return (EMBEDDED, SERVERS)
    return (EMBEDDED,)


@contextlib.contextmanager
def settings_of(engine: str) -> Iterator[Mapping[str, str]]:
    """Give the settings that put a hub on an engine: an empty database, topics of its own."""
    if engine == EMBEDDED:
        yield {}
        return
    url = server().create()
    try:
        yield {
            "HUB_STORE_URL": url,
            "HUB_KAFKA_BOOTSTRAP": kafka.shared().address,
            "HUB_KAFKA_SINGLE_BROKER": "true",
            "HUB_KAFKA_TOPIC_PREFIX": f"bench.{os.getpid()}.{next(_numbers)}.",
        }
    finally:
        server().drop(url)


@contextlib.contextmanager
def running_hub(
    project: Callable[[Path], None] = demo_project,
    *,
    vendors: tuple[str, ...] = ("kingdee", "wecom"),
    path: tuple[Path, ...] = (),
    engine: str = EMBEDDED,
    roles: tuple[str, ...] = ("all",),
) -> Iterator[Running]:
    """Start vendors and hub in an empty folder; stop them at the end.

    ``project`` writes hub.yaml, with the vendors at :data:`PORTS`, and mappings/. ``path``: folders in which the hub
    finds further packages. ``engine``: one of :func:`engines`. ``roles``: one process each; the address is that of the
    first one, the doors are those of the first that has some.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-bench-")))
        environment = dict(stack.enter_context(settings_of(engine)))
        started = {name: _start(stack, "sandbox", name) for name in vendors}
        sites = {name: told(process) for name, process in started.items()}
        project(folder)
        _settle(folder, sites, environment)
        environment |= {"HUB_LISTEN_OPS": "127.0.0.1:0", "HUB_LISTEN_HOOKS": "127.0.0.1:0"}
        if path:
            environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
        began = time.perf_counter()
        place = ("--project", str(folder), "--data", str(folder / "var"))
        log = folder / "log.txt"
        members = [_start(stack, *place, "up", "--role", role, log=log, **environment) for role in roles]
        said = [told(member, log.read_text) for member in members]
        if odd := [one for one in said if not one.get("ready")]:
            raise RuntimeError(f"hub up did not start: {odd} {log.read_text()[-3000:]}")
        ready = time.perf_counter() - began
        processes = [psutil.Process(member.pid) for member in members]
        hooks = next((one["hooks_url"] for one in said if one["hooks_url"]), "")
        yield Running(said[0]["url"], hooks, processes[0], ready, sites, folder, environment, processes)


def _start(
    stack: contextlib.ExitStack, *args: str, log: Path | None = None, **env: str
) -> subprocess.Popen[str]:
    with (log or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(
            [HUB, "--output", "json", *args],
            stdout=subprocess.PIPE,
            stderr=errors,
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


def _settle(folder: Path, sites: Mapping[str, Site], environment: Mapping[str, str]) -> None:
    """Name these sandboxes in the project, and store what an integrator would with `hub secrets set`."""
    ports = {PORTS[name]: site["base_url"].rpartition(":")[2].strip("/") for name, site in sites.items()}
    text = (folder / "hub.yaml").read_text()
    (folder / "hub.yaml").write_text(
        re.sub(r"\b940[12]\b", lambda found: ports.get(found[0], found[0]), text)
    )
    data = folder / "var"
    data.mkdir(mode=0o700)
    clock = SystemClock()
    store, vault = Store.open(_store(data, environment), clock), Vault.open(data / "key", clock)
    values = {
        name: site["credentials"][key] for vendor, site in sites.items() for name, key in SECRETS[vendor].items()
    } | {"api-token": TOKEN}  # fmt: skip

    def put(tx: Any) -> None:
        for name, value in values.items():
            put_secret(tx, vault, name, str(value).encode())

    store.run_now(put)
    store.close()
