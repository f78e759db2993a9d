"""What the demo stands on: a sandbox of each vendor on a real socket, the hub with API and doors, and a CRM that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hub import registry, wiring
from hub.api.serve import API_TOKEN, serve
from hub.demo.papers import PAPERS_PORT, Papers
from hub.demo.vendors import CRM, VENDORS
from hub.errors import SettingsError
from hub.sdk.sandbox import Effect, Sandbox, running
from hub.settings import Settings, load_settings
from hub.store.engine import Tx
from hub.store.secrets import put_secret
from hub.wiring import Hub

__all__ = ["Site", "Stage", "StoryFailed", "opened", "prepared"]

T = TypeVar("T")

MARK = ".demo"
"""Stands in a folder that a demo made: only such a folder is emptied for the next one."""
ANSWER, SETTING_UP = 60.0, 60.0
"""Seconds until a call, or what must be there before the day begins, counts as missing."""
LOOK = 0.02
"""Seconds between two looks for something that is awaited."""
KEPT = httpx.Limits(keepalive_expiry=1.0)
"""Idle connections are given up before the servers do, which is after 5 s: a call must not meet one that just closes."""
OPS_PORT, HOOKS_PORT = 8080, 8081
"""Where API and doors listen for people, if the ports are free."""


class StoryFailed(Exception):
    """The story did not go on as it should have; the text says what was missing."""


class Site:
    """A vendor's sandbox on one port, that can be switched off and on again."""

    def __init__(self, vendor: Sandbox, port: int) -> None:
        """Take the sandbox and the port it keeps for life."""
        self.vendor, self.port = vendor, port
        self._served = contextlib.AsyncExitStack()

    @property
    def base_url(self) -> str:
        """Return where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen."""
        await self._served.enter_async_context(running(self.vendor, self.port))

    async def stop(self) -> None:
        """Close the socket and every connection; the state stays."""
        await self._served.aclose()


@dataclass
class Stage:
    """A running demo.

    ``patience``: seconds until an awaited thing counts as missing; ``made``: secrets that the integrator made up; ``records``: CRM id → record id; ``before``: how many
    effects each ledger held before the day began. ``papers``: the files of the CRM, which lie at ``papers_url``.
    """

    hub: Hub
    sites: Mapping[str, Site]
    api: httpx.AsyncClient
    control: httpx.AsyncClient
    token: str
    folder: Path
    patience: float
    made: Mapping[str, str]
    papers: Papers
    papers_url: str
    records: dict[str, str] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)

    @property
    def doors(self) -> str:
        """Return where vendors call back, without the connection's name."""
        return f"{self.hub.listening['hooks']}/hooks"

    async def put(self, kind: str, id_: str, *, system: str = CRM, **fields: Any) -> dict[str, Any]:
        """Send a record as the CRM, or another system that calls us, does; returns the hub's answer.

        Raises:
            StoryFailed: the hub did not take it.
        """
        told = await self._asked("PUT", f"/api/v1/{kind}/by-external/{system}/{id_}", fields)
        self.records[id_] = told["id"]
        return told

    async def patch(self, kind: str, record: str, **fields: Any) -> dict[str, Any]:
        """Change fields of a record by the hub's own id; returns and raises as :meth:`put`."""
        return await self._asked("PATCH", f"/api/v1/{kind}/{record}?system={CRM}", fields)

    async def get(self, kind: str, id_: str, *, system: str = CRM) -> dict[str, Any]:
        """Return the fields of a record as the API shows them."""
        told = await self._asked("GET", f"/api/v1/{kind}/by-external/{system}/{id_}")
        fields: dict[str, Any] = told["fields"]
        return fields

    async def records_of(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of a kind as the API lists them; what changes meanwhile may stand on two pages: the later one counts."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while True:
            told = await self._asked("GET", f"/api/v1/{kind}?limit=100{cursor}")
            found |= {one["id"]: one for one in told["items"]}
            if told["next_cursor"] is None:
                return list(found.values())
            cursor = f"&cursor={told['next_cursor']}"

    async def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.api.request(method, path, json=None if body is None else dict(body))
        if answer.status_code not in (200, 201):
            raise StoryFailed(f"{method} {path}: HTTP {answer.status_code} {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        return told

    async def at_vendor(self, name: str, method: str, path: str, body: Any = None) -> Any:
        """Do something at a sandbox's control door: turn a dial, act as its user; returns what it answers.

        Raises:
            StoryFailed: the door refused it.
        """
        answer = await self.control.request(method, f"{self.sites[name].base_url}/control{path}", json=body)
        if answer.is_error:
            raise StoryFailed(
                f"{name}: {method} /control{path}: HTTP {answer.status_code} {answer.text[:300]}"
            )
        return answer.json()

    def effects(self, name: str) -> list[Effect]:
        """Return everything that took effect at a vendor since the day began."""
        return self.sites[name].vendor.ledger().effects()[self.before.get(name, 0) :]

    async def until(self, what: str, condition: Callable[[], Awaitable[T | None]]) -> T:
        """Wait until a condition gives something that is true, and return it.

        Raises:
            StoryFailed: it did not within ``patience``.
        """
        clock = self.hub.clock
        end = clock.monotonic() + self.patience
        while not (found := await condition()):
            if clock.monotonic() > end:
                raise StoryFailed(f"{what}: not within {self.patience:g} s")
            await clock.sleep(LOOK)
        return found


def prepared(folder: Path, project: Path, ports: Mapping[int, int]) -> Path:
    """Empty the demo's folder, copy the project into it with the sandboxes' ports, and return the copy's place.

    ``ports``: the one in hub.yaml -> the one that the sandbox has.

    Raises:
        SettingsError: the folder holds something that no demo made, or hub.yaml is not the demo's.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise SettingsError(
            "is not empty and was not made by a demo: name another with --data", file=str(folder)
        )
    try:
        text = (project / "hub.yaml").read_text("utf-8")
    except OSError as error:
        raise SettingsError(
            f"the demo's project cannot be read: {error.strerror}; run it in the folder of the repository",
            file=str(project / "hub.yaml"),
        ) from None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    (folder / MARK).touch()
    copy = folder / "project"
    for name in ("mappings", "fields"):
        shutil.copytree(project / name, copy / name)
    for name, vendor in VENDORS.items():
        if not re.search(rf": {re.escape(vendor.address)}$", text, re.MULTILINE):
            raise SettingsError(
                f"connection {name} does not name the sandbox ({vendor.address}): a demo writes to nothing else",
                file=str(project / "hub.yaml"),
            )
    moved = re.sub(rf"\b({'|'.join(map(str, ports))})\b", lambda found: str(ports[int(found[0])]), text)
    (copy / "hub.yaml").write_text(moved, "utf-8")
    return copy


@contextlib.asynccontextmanager
async def opened(
    folder: Path,
    project: Path,
    *,
    vendors: Mapping[str, Sandbox] | None = None,
    fixed: bool = False,
    patience: float = 60.0,
    engine: Mapping[str, Any] | None = None,
) -> AsyncIterator[Stage]:
    """Start sandboxes, hub, API and doors, and stop them at the end.

    ``vendors``: sandboxes to use instead of new ones, by connection. ``fixed``: take the ports of hub.yaml, 8080 and 8081
    if they are free, for people; else any free ones. ``engine``: settings that lead to store and bus; None: files.

    Raises:
        SettingsError: as :func:`prepared`, or the project is not valid.
        StoryFailed: a sandbox does not take its set-up.
    """
    wanted = (*(vendor.port for vendor in VENDORS.values()), PAPERS_PORT, OPS_PORT, HOOKS_PORT)
    *ports, paper, ops, hooks = _free_ports(wanted if fixed else (0,) * len(wanted))
    given = vendors or {}
    sites = {
        name: Site(given.get(name) or registry.sandbox(vendor.sandbox)(), port)
        for (name, vendor), port in zip(VENDORS.items(), ports, strict=True)
    }
    moved = {VENDORS[name].port: site.port for name, site in sites.items()} | {PAPERS_PORT: paper}
    copy = prepared(folder, project, moved)
    settings = load_settings(**{
        "data_dir": folder, "project_dir": copy, "listen_ops": f"127.0.0.1:{ops}", "listen_hooks": f"127.0.0.1:{hooks}",
        "public_url": f"http://127.0.0.1:{hooks}",
        "store_url": None, "kafka_bootstrap": None, "key_file": None, "seal_head_file": folder / "seal.head",
        **(engine or {}),
    })  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        for site in sites.values():
            await site.start()
            stack.push_async_callback(site.stop)
        papers = Papers({})
        papers_url = await stack.enter_async_context(papers.running(paper))
        token, made = _keep_secrets(settings, sites)
        hub = wiring.open_hub(settings, start=True)
        stack.push_async_callback(hub.aclose)
        for name, error in hub.down.items():
            raise SettingsError(f"connection {name} did not start: {error}")
        await stack.enter_async_context(_serving(hub))
        api = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ops}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER,
            limits=KEPT,
            trust_env=False,
        )
        control = httpx.AsyncClient(timeout=ANSWER, limits=KEPT, trust_env=False)
        await stack.enter_async_context(api)
        await stack.enter_async_context(control)
        stage = Stage(hub, sites, api, control, token, folder, SETTING_UP, made, papers, papers_url)
        for vendor in VENDORS.values():
            if vendor.settled is not None:
                await vendor.settled(stage)
        stage.patience = patience
        stage.before = {name: len(site.vendor.ledger()) for name, site in sites.items()}
        yield stage


def _keep_secrets(settings: Settings, sites: Mapping[str, Site]) -> tuple[str, Mapping[str, str]]:
    """Store what an integrator would with `hub secrets set`; returns the token that the CRM calls with, and what was made up."""
    hub = wiring.open_hub(settings)
    token = hub.clock.token(16).hex()
    made = {name: hub.clock.token(16).hex() for vendor in VENDORS.values() for name in vendor.made}

    def put(tx: Tx) -> None:
        for connection, site in sites.items():
            credentials = site.vendor.credentials(site.base_url)
            for name, key in VENDORS[connection].secrets.items():
                put_secret(tx, hub.vault, name, credentials[key].encode())
        for name, value in {**made, API_TOKEN: token}.items():
            put_secret(tx, hub.vault, name, value.encode())

    try:
        hub.store.run_now(put)
    finally:
        hub.store.close()
    return token, made


@contextlib.asynccontextmanager
async def _serving(hub: Hub) -> AsyncIterator[None]:
    ready, stop = asyncio.Event(), asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
    waiting = asyncio.ensure_future(ready.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # why it did not start
        yield
    finally:
        waiting.cancel()
        stop.set()
        await serving


def _free_ports(wanted: Sequence[int]) -> list[int]:
    """Return ports that are free now, each the wanted one, else any; all are held until the last is found."""
    with contextlib.ExitStack() as held:
        return [_held_port(held, port) for port in wanted]


def _held_port(held: contextlib.ExitStack, wanted: int) -> int:
    for port in dict.fromkeys((wanted, 0)):
        probe = held.enter_context(socket.socket())
        with contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SettingsError("no port is free on 127.0.0.1")
