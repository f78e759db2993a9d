"""The API over the real pipe and a store in memory: the smallest hub a caller can meet."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import structlog

from hub.access.gate import Gate
from hub.access.viewer import Viewer
from hub.api import Services, create_app
from hub.api.writer import record_writer
from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.model.record import Scope
from hub.pipe.world import World
from hub.project.sections import DEFAULT_RULES
from hub.project.values import Connection, LegalEntity, Project
from hub.store import Store, Tx
from hub.vault import Vault

TOKEN = "token-of-the-test"
CREDIT_CODE = "91440300708461136T"
CUSTOMER = {"name": "深圳市远望谷科技有限公司", "uscc": CREDIT_CODE}

PROJECT = Project(
    connections={
        "crm": Connection("crm", "api", "api", region="cn/south/", entity="demo"),
        "shop": Connection("shop", "api", "api"),
        "k3": Connection("k3", "kingdee"),
    },
    syncs={},
    entities={"demo": LegalEntity("demo", "示例"), "north": LegalEntity("north", "北方")},
    regions=("", "cn/", "cn/south/", "cn/north/"),
    owners={"li.lei": "cn/north/"},
    kinds=DEFAULT_RULES,
)


@dataclass
class Site:
    """A served API. ``writes``: every write that reached the writer; ``refuse``, ``hold``: how the next
    write ends instead."""

    store: Store
    client: httpx.AsyncClient
    app: Any
    writer: Callable[[ExternalWrite], Awaitable[WriteAnswer | WriteRefused]]
    writes: list[ExternalWrite] = field(default_factory=list)
    refuse: Exception | None = None
    hold: WriteRefused | None = None
    logged: list[Mapping[str, Any]] = field(default_factory=list)

    async def put(
        self, path: str, body: Any = None, *, content: Any = None, **headers: str
    ) -> httpx.Response:
        """PUT to /api/v1, as JSON unless raw content is given."""
        sent = {"content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if content is None:
            return await self.client.put(f"/api/v1/{path}", json=body, headers=sent)
        return await self.client.put(f"/api/v1/{path}", content=content, headers=sent)

    async def patch(
        self, path: str, body: Any = None, *, content: Any = None, **headers: str
    ) -> httpx.Response:
        """PATCH below /api/v1, as JSON unless raw content is given."""
        sent = {"content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"json": body} if content is None else {"content": content}
        return await self.client.patch(f"/api/v1/{path}", headers=sent, **given)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """GET below /api/v1."""
        return await self.client.get(f"/api/v1/{path}", headers=headers)

    def counts(self) -> tuple[int, ...]:
        """Return the number of rows of every table a write could touch."""
        return self.store.read_now(_counts)

    async def write_record(self, write: ExternalWrite) -> WriteAnswer | WriteRefused:
        """Hand a write to the pipe and keep it; ``refuse`` and ``hold`` stand in for what the pipe may answer."""
        if self.refuse is not None:
            raise self.refuse
        if self.hold is not None:
            return self.hold
        answer = await self.writer(write)
        self.writes.append(write)
        return answer


def _counts(tx: Tx) -> tuple[int, ...]:
    found = []
    for name in ("records", "keys", "xrefs", "owed", "acts"):
        tx.cursor.execute(f"SELECT count(*) FROM {name}")
        found.append(tx.cursor.fetchone()[0])
    return tuple(found)


@asynccontextmanager
async def open_site(
    *,
    log: Any = None,
    made: Project = PROJECT,
    tokens: Sequence[bytes] = (TOKEN.encode(),),
    scope: Scope = Scope.ALL,
    **changed: Any,
) -> AsyncIterator[Site]:
    """Serve the API in this process, over a project (``made``); ``tokens``: with ``scope``; ``changed`` replaces services."""
    clock = SystemClock()
    store = Store.open("sqlite://", clock, inline=True)
    vault = Vault.in_memory(clock)
    world = World(made, {}, vault, store.epoch)
    logged: list[Mapping[str, Any]] = []

    def keep(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
        logged.append(dict(event))
        raise structlog.DropEvent

    holder: list[Site] = []

    async def ready() -> dict[str, bool]:
        return {"store": True}

    async def write(asked: ExternalWrite) -> WriteAnswer | WriteRefused:
        return await holder[0].write_record(asked)

    told = log or structlog.wrap_logger(None, processors=[keep])
    holders = Viewer("token:test", frozenset({"integrator"}), scope)
    gate = Gate(store.read, store.run, vault, clock, told, local=False, shared=lambda _tx: tokens, same=hmac.compare_digest,
                shared_viewer=holders)  # fmt: skip
    services = Services(
        project=lambda: made,
        read=store.read,
        write_record=write,
        gate=gate.admit,
        ready=ready,
        cursor_key=b"k" * 32,
        log=told,
    )
    app = create_app(replace(services, **changed))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
        holder.append(Site(store, client, app, record_writer(store, lambda: world), logged=logged))
        yield holder[0]
    store.close()


__all__ = ["CREDIT_CODE", "CUSTOMER", "PROJECT", "TOKEN", "Site", "open_site"]
