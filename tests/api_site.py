"""The API over a store in memory, with a writer that stores what it is given: the smallest hub a caller can meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import structlog

from hub.api import Services, create_app
from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, VersionMoved, WriteAnswer, WriteRefused, external_key
from hub.crm.query import by_external
from hub.model.record import Scope
from hub.project.values import Connection, LegalEntity, Project
from hub.store import Store, Tx, schema, sql

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
    kinds={},
)

insert_records = sql.bulk_upsert(schema.records, "id kind version region entity owner body act", key="id")
insert_xrefs = sql.bulk_insert(
    schema.xrefs, "connection object org vendor_id record is_primary snapshot seen rest_until sent act"
)


@dataclass
class Site:
    """A served API. ``writes``: every write that reached the writer; ``refuse``: what the next write is answered with."""

    store: Store
    client: httpx.AsyncClient
    app: Any
    writes: list[ExternalWrite] = field(default_factory=list)
    refuse: Exception | None = None
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

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """GET below /api/v1."""
        return await self.client.get(f"/api/v1/{path}", headers=headers)

    def counts(self) -> tuple[int, ...]:
        """Return the number of rows of every table a write could touch."""
        return self.store.read_now(_counts)

    async def write_record(self, write: ExternalWrite) -> WriteAnswer:
        """Stand in for the pipe: one transaction that stores the record under its external id."""
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        answer = self.store.run_now(_store, write)
        self.writes.append(write)
        return answer


def _counts(tx: Tx) -> tuple[int, ...]:
    found = []
    for name in ("records", "keys", "xrefs", "owed", "acts"):
        tx.cursor.execute(f"SELECT count(*) FROM {name}")
        found.append(tx.cursor.fetchone()[0])
    return tuple(found)


def _store(tx: Tx, write: ExternalWrite) -> WriteAnswer:
    found = by_external(tx, Scope.ALL, write.kind, system=write.system, external_id=write.external_id)
    if write.if_version not in (None, found.version if found else None):
        raise VersionMoved(found.version if found else None)
    record = found.id if found else tx.clock.new_id()
    version = found.version + 1 if found else 1
    body = {**(found.body if found else {}), **write.body}
    row = (record, write.kind, version, write.region, write.entity, write.owner)
    insert_records(tx, [(*row, sql_json(body), tx.act)])
    if not found:
        key = external_key(write.system, write.kind, write.external_id)
        insert_xrefs(tx, [(*key, record, True, "{}", tx.now, 0, "{}", tx.act)])
    tx.journal("api", "record.written", {"version": version}, [record])
    return WriteAnswer(record, version, not found, body, write.region, write.entity, write.owner)


def sql_json(value: Any) -> str:
    """Return JSON text as the store keeps it."""
    import orjson

    return orjson.dumps(value).decode()


@asynccontextmanager
async def open_site(*, log: Any = None, **changed: Any) -> AsyncIterator[Site]:
    """Serve the API in this process; ``changed`` replaces services."""
    store = Store.open("sqlite://", SystemClock(), inline=True)
    logged: list[Mapping[str, Any]] = []

    def keep(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
        logged.append(dict(event))
        raise structlog.DropEvent

    holder: list[Site] = []

    async def tokens() -> list[bytes]:
        return [TOKEN.encode()]

    async def ready() -> dict[str, bool]:
        return {"store": True}

    async def write(asked: ExternalWrite) -> WriteAnswer:
        return await holder[0].write_record(asked)

    services = Services(
        project=lambda: PROJECT,
        read=store.read,
        write_record=write,
        tokens=tokens,
        ready=ready,
        cursor_key=b"k" * 32,
        log=log or structlog.wrap_logger(None, processors=[keep]),
    )
    app = create_app(replace(services, **changed))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
        holder.append(Site(store, client, app, logged=logged))
        yield holder[0]
    store.close()


__all__ = ["CUSTOMER", "PROJECT", "TOKEN", "Site", "WriteRefused", "open_site"]
