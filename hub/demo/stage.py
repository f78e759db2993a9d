"""What the demo stands on: the sandbox of Kingdee on a real socket, the hub with its API, and a CRM that calls it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hub import wiring
from hub.api.serve import API_TOKEN, serve
from hub.errors import SettingsError
from hub.sdk.sandbox import Effect, Sandbox, running
from hub.settings import Settings, load_settings
from hub.store.engine import Tx
from hub.store.secrets import put_secret
from hub.wiring import Hub

__all__ = ["CRM", "KINGDEE", "PORT", "Site", "Stage", "StoryFailed", "opened", "prepared"]

T = TypeVar("T")

CRM, KINGDEE = "crm", "k3"
"""The connections of the demo's hub.yaml."""
PORT = 9401
"""The sandbox's port in the demo's hub.yaml; the copy that is played names the one that was free."""
SECRETS = {
    "k3-acct-id": "acct_id",
    "k3-user-name": "user_name",
    "k3-app-id": "app_id",
    "k3-app-secret": "app_secret",
}
MARK = ".demo"
"""Stands in a folder that a demo made: only such a folder is emptied for the next one."""
LOOK = 0.05
"""Seconds between two looks for something that is awaited."""


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
    """A running demo. ``patience``: seconds until an awaited thing counts as missing; ``records``: CRM id → record id."""

    hub: Hub
    site: Site
    api: httpx.AsyncClient
    control: httpx.AsyncClient
    token: str
    folder: Path
    patience: float
    records: dict[str, str] = field(default_factory=dict)

    async def put(self, kind: str, id_: str, **fields: Any) -> dict[str, Any]:
        """Send a record as the CRM does; returns the hub's answer.

        Raises:
            StoryFailed: the hub did not take it.
        """
        answer = await self.api.put(f"/api/v1/{kind}/by-external/{CRM}/{id_}", json=fields)
        if answer.status_code not in (200, 201):
            raise StoryFailed(f"PUT {kind} {id_}: HTTP {answer.status_code} {answer.text[:300]}")
        told: dict[str, Any] = answer.json()
        self.records[id_] = told["id"]
        return told

    async def get(self, kind: str, id_: str) -> dict[str, Any]:
        """Return the fields of a record as the API shows them."""
        answer = await self.api.get(f"/api/v1/{kind}/by-external/{CRM}/{id_}")
        if answer.status_code != 200:
            raise StoryFailed(f"GET {kind} {id_}: HTTP {answer.status_code} {answer.text[:300]}")
        fields: dict[str, Any] = answer.json()["fields"]
        return fields

    async def at_vendor(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Do something at the sandbox's control door: turn a dial, act as its user."""
        answer = await self.control.request(method, path, json=dict(body))
        if answer.is_error:
            raise StoryFailed(f"{method} /control{path}: HTTP {answer.status_code} {answer.text[:300]}")

    def effects(self) -> list[Effect]:
        """Return everything that took effect at the vendor."""
        return self.site.vendor.ledger().effects()

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


def prepared(folder: Path, project: Path, port: int) -> Path:
    """Empty the demo's folder, copy the project into it with the sandbox's port, and return the copy's place.

    Raises:
        SettingsError: the folder holds something that no demo made, or hub.yaml is not the demo's.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise SettingsError(
            "is not empty and was not made by a demo: name another with --data", file=str(folder)
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    (folder / MARK).touch()
    copy = folder / "project"
    shutil.copytree(project / "mappings", copy / "mappings")
    text = (project / "hub.yaml").read_text("utf-8")
    if f"http://127.0.0.1:{PORT}/k3cloud/" not in text:
        raise SettingsError(
            f"connection {KINGDEE} does not name the sandbox (http://127.0.0.1:{PORT}/k3cloud/): a demo writes to nothing else",
            file=str(project / "hub.yaml"),
        )
    (copy / "hub.yaml").write_text(re.sub(rf"\b{PORT}\b", str(port), text), "utf-8")
    return copy


@contextlib.asynccontextmanager
async def opened(
    vendor: Sandbox, folder: Path, project: Path, *, fixed: bool = False, patience: float = 60.0
) -> AsyncIterator[Stage]:
    """Start sandbox, hub and API, and stop them at the end.

    ``fixed``: take the ports 9401 and 8080 if they are free, for people; else any free ones.

    Raises:
        SettingsError: as :func:`prepared`, or the project is not valid.
    """
    site = Site(vendor, _free_port(PORT if fixed else 0))
    copy = prepared(folder, project, site.port)
    port = _free_port(8080 if fixed else 0)
    settings = load_settings(
        data_dir=folder, project_dir=copy, listen_ops=f"127.0.0.1:{port}", store_url=None, key_file=None
    )
    async with contextlib.AsyncExitStack() as stack:
        await site.start()
        stack.push_async_callback(site.stop)
        token = _keep_secrets(settings, vendor.credentials(site.base_url))
        hub = wiring.open_hub(settings, start=True)
        stack.push_async_callback(hub.aclose)
        for name, error in hub.down.items():
            raise SettingsError(f"connection {name} did not start: {error}")
        await stack.enter_async_context(_serving(hub))
        api = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=patience,
        )
        control = httpx.AsyncClient(base_url=f"{site.base_url}/control", timeout=patience)
        await stack.enter_async_context(api)
        await stack.enter_async_context(control)
        yield Stage(hub, site, api, control, token, folder, patience)


def _keep_secrets(settings: Settings, credentials: Mapping[str, str]) -> str:
    """Store what an integrator would with `hub secrets set`; returns the token that the CRM calls with."""
    hub = wiring.open_hub(settings)
    token = hub.clock.token(16).hex()

    def put(tx: Tx) -> None:
        for name, key in SECRETS.items():
            put_secret(tx, hub.vault, name, credentials[key].encode())
        put_secret(tx, hub.vault, API_TOKEN, token.encode())

    try:
        hub.store.run_now(put)
    finally:
        hub.store.close()
    return token


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


def _free_port(wanted: int) -> int:
    """Return a port that is free now: the wanted one, else any."""
    for port in dict.fromkeys((wanted, 0)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SettingsError("no port is free on 127.0.0.1")
