"""The stage of a storm of approvals: a vendor's sandbox on a socket, a hub that routes to it, the CRM as a caller of the API."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from hub import wiring
from hub.api import create_app
from hub.api.serve import API_TOKEN, doors, services
from hub.bus import INBOUND, INBOUND_BULK
from hub.clock import SECOND
from hub.pipe.intake import Intake
from hub.pipe.read import read_stream
from hub.pipe.work import Worker
from hub.project import LANE_MONEY
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.store.secrets import put_secret
from tests.hook_site import served
from tests.storm.approval_dingtalk import DingTalk
from tests.storm.approval_vendor import Vendor
from tests.storm.approval_wecom import WeCom
from tests.storm.site import LANES, ROOT, Hours, Lost, Site, StormClock

__all__ = ["TOKEN", "VENDORS", "ApprovalSite", "Crm", "keep_secrets", "opened", "prepare"]

AHEAD = 3
"""Turns by which the events of a moment are ahead of the pages of a sweep."""
CUSTOMER = "C-1"
TOKEN = "storm-token-0d2f6b1c94e84a57"
PROJECT = """
version: 1
regions: [cn, cn/south, cn/north]
owners:
{owners}
entities:
  demo: {{title: 示例, currency: CNY}}
connections:
  crm: {{connector: api, region: cn/south, entity: demo}}
  {vendor}:
    connector: {vendor}
    region: cn
    entity: demo
    settings:
{settings}
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
approvals:
  routes:
    headquarters:
      region: cn
      subjects: [contract, payment, refund, discount, transfer, custom]
      amount: {{from: 100000, currency: CNY}}
      connection: {vendor}
      template: {template}
      approvers: [{{all: [li.si]}}, {{any: [wang.wu, zhao.liu]}}]
      cc: [zhang.san]
    branch:                                # the template's own flow decides
      region: cn
      subjects: [contract, payment, refund, discount, transfer, custom]
      amount: {{below: 100000, currency: CNY}}
      connection: {vendor}
      template: {template}
syncs:
  {vendor}.approval.out: {{target: {vendor}.approval, mapping: {vendor}/approval.out, mode: write, accept_window: true}}
  {vendor}.approval.in: {{source: {vendor}.approval, mapping: {vendor}/approval.in, mode: write, schedule: {schedule}}}
"""
VENDORS: Mapping[str, type[Vendor]] = {"wecom": WeCom, "dingtalk": DingTalk}


def prepare(folder: Path, vendor: Vendor, base_url: str, *, schedule: str) -> None:
    """Write the project of a hub in front of this sandbox. ``schedule``: how often it sweeps by itself."""
    owners = [
        f"  {code}: {{region: cn/{('south', 'north')[n % 2]}, users: {{{vendor.name}: {userid}}}}}"
        for n, (code, userid) in enumerate(vendor.applicants.items())
    ]
    known = {**vendor.sandbox.credentials(base_url), "base_url": base_url, "template": vendor.template}
    text = PROJECT.format(
        owners="\n".join(owners), vendor=vendor.name, settings=vendor.connection.format(**known),
        port=base_url.rsplit(":", 1)[1], template=vendor.template, schedule=schedule,
    )  # fmt: skip
    (folder / "hub.yaml").write_text(text, "utf-8")
    shutil.copytree(ROOT / "mappings" / vendor.name, folder / "mappings" / vendor.name)


def keep_secrets(settings: Any, clock: StormClock, vendor: Vendor) -> None:
    """Put the vendor's secrets and the API's token into the store."""
    credentials = vendor.sandbox.credentials("")
    kept = {name: credentials[key] for name, key in vendor.secrets.items()} | {API_TOKEN: TOKEN}
    hub = wiring.open_hub(settings, clock=clock)

    def put(tx: Any) -> None:
        for name, secret in kept.items():
            put_secret(tx, hub.vault, name, secret.encode())

    try:
        hub.store.run_now(put)
    finally:
        hub.store.close()


@dataclass
class Crm:
    """The CRM as the hub meets it: a caller of the API. ``bodies``: its own number -> what it sent; ``signed``: contracts
    whose approval it leaves to people who start it themselves.
    """

    client: httpx.AsyncClient
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)

    async def submit(self, no: str) -> None:
        """Send an approval, for the first time or again; before it the contract it is about, if it is about one.

        Raises HTTPStatusError, or what the connection raises.
        """
        body = self.bodies[no]
        if body["subject"] == "contract":
            await self._contract(no, body["amount"])
        await self._put("approvals", no, body)

    async def sign(self, no: str, amount: str) -> None:
        """Send a contract alone."""
        await self._contract(no, amount)
        self.signed.append(no)

    async def _contract(self, no: str, amount: str) -> None:
        deal = {"no": no, "customer": {"external": CUSTOMER}, "amount_total": amount, "currency": "CNY"}
        await self._put("contracts", no, deal)

    async def introduce(self) -> None:
        """Send the customer whose contracts are approved."""
        await self._put("customers", CUSTOMER, {"name": "示例科技有限公司"})

    async def _put(self, path: str, no: str, body: dict[str, Any]) -> None:
        (await self.client.put(f"/api/v1/{path}/by-external/crm/{no}", json=body)).raise_for_status()

    async def held(self, no: str, path: str = "approvals") -> dict[str, Any]:
        """Return the fields of a record as the hub shows them."""
        answer = await self.client.get(f"/api/v1/{path}/by-external/crm/{no}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()["fields"]
        return found

    async def everything(self) -> list[dict[str, Any]]:
        """Return the fields of every approval the hub has, those included that people started."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            asked = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
            answer = (await self.client.get("/api/v1/approvals", params=asked)).raise_for_status().json()
            found += [item["fields"] for item in answer["items"]]
            cursor = answer["next_cursor"]
            if not cursor:
                return found


@dataclass
class ApprovalSite(Site):
    """A running storm; the pipe is moved by hand."""

    sandbox: Any
    crm: Crm = field(kw_only=True)
    vendor: Vendor = field(kw_only=True)

    async def flush(self) -> None:
        await self.vendor.flush()

    async def turn(self) -> int:
        """Take one batch of every partition and work one turn of every lane, approvals go with the money; return how much."""
        moved = await Site.turn(self)
        worked = await self.worker.turn(LANE_MONEY, 40)
        self.count("worked", worked)
        return moved + worked

    async def until_nothing_is_owed(self) -> None:
        """Turn until no debt is left but those that wait for a person or for something else; time moves to what is due next.

        A connection that pauses, for too many answers were lost in a row, is waited for, too.
        """
        for _ in range(5_000):
            if await self.turn():
                continue
            due = (await self.query("SELECT min(due) FROM owed WHERE state IN ('ready', 'in_doubt')"))[0][0]
            if due is None:
                return
            paused = (await self.query("SELECT max(until) FROM connections WHERE state = 'paused'"))[0][0]
            ahead = max(due, paused or 0) - self.hub.clock.now()
            self.hours.ahead += max(0.0, ahead / SECOND) + 0.001
        raise Lost(f"still busy: {(await self.owed())[:5]}")

    async def swept(self, amid: Callable[[], Any] = lambda: None) -> None:
        """Read what has changed, as the schedule does, and work it off.

        ``amid``: is called between the read and the taking. What it tells by events overtakes the pages, which are old then.
        """
        hub = self.hub
        report = await read_stream(
            hub.store, hub.world, hub.bus, hub.clock, hub.world.project.syncs[self.vendor.sync], hub.connectors[self.vendor.name],
            holder="storm",
        )  # fmt: skip
        assert report.done, report
        self.count("sweeps")
        amid()
        await self.flush()
        for _ in range(AHEAD):
            for intake in self.intakes:
                if intake.topic == INBOUND:
                    self.count("taken", await intake.turn())
            for lane in (LANE_MONEY, *LANES):
                self.count("worked", await self.worker.turn(lane, 40))
        await self.until_nothing_is_owed()


@asynccontextmanager
async def opened(folder: Path, name: str, seed: int) -> AsyncIterator[ApprovalSite]:
    """Start the sandbox, the hub, its API and its door, save the callback address, and let go of all at the end."""
    hours = Hours()
    vendor = VENDORS[name](StormClock(hours, seed), seed)
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(running(vendor.sandbox))
        prepare(folder, vendor, base_url, schedule="1h")
        settings = load_settings(data_dir=folder / "data", project_dir=folder, store_url=None, key_file=None)
        clock = StormClock(hours)
        keep_secrets(settings, clock, vendor)
        hub = wiring.open_hub(settings, clock=clock, start=True)
        stack.push_async_callback(hub.aclose)
        assert not hub.down, hub.down
        hooks, _ = await stack.enter_async_context(served(doors(hub)))
        api, _ = await stack.enter_async_context(served(create_app(services(hub))))
        await vendor.sandbox.save_receiver(f"http://127.0.0.1:{hooks}/hooks/{name}")
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{api}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(
                max_keepalive_connections=0
            ),  # the server ends idle ones, on a busy machine in mid-call
        )
        crm = Crm(await stack.enter_async_context(client))
        intakes = [
            Intake(hub.store, hub.world, hub.bus, "storm", topic=topic, partition=number)
            for topic in (INBOUND, INBOUND_BULK)
            for number in range(await hub.bus.partitions(topic))
        ]
        worker = Worker(hub.store, hub.world, hub.clock, "storm", name, hub.connectors[name])
        yield ApprovalSite(vendor.sandbox, hub, hours, intakes, worker, crm=crm, vendor=vendor)
        await asyncio.sleep(0)
