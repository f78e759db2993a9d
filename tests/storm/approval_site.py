"""The stage of a storm of approvals: WeCom's sandbox on a socket, a hub that routes to it, and the CRM as a caller of the API."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import PrivateAttr

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.dials import WeComDials
from connectors.wecom.sandbox.rows import Form
from connectors.wecom.sandbox.templates import CONTRACT, LABEL
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
from tests.storm.site import LANES, ROOT, SECRETS, Hours, Lost, Site, StormClock

__all__ = ["APPLICANTS", "CREATE", "SYNC", "TOKEN", "ApprovalSite", "Crm", "number_in", "opened", "prepare"]

CREATE = "oa/applyevent"
SYNC = "wecom.approval.in"
AHEAD = 3
"""Turns by which the events of a moment are ahead of the pages of a sweep."""
CUSTOMER = "C-1"
TOKEN = "storm-token-0d2f6b1c94e84a57"
APPLICANTS = {"zhang.san": "zhangsan", "li.si": "lisi", "wang.wu": "wangwu", "zhao.liu": "ZhaoLiu"}
"""Code in the CRM -> userid."""
PROJECT = """
version: 1
regions: [cn, cn/south, cn/north]
owners:
{owners}
entities:
  demo: {{title: 示例, currency: CNY}}
connections:
  crm: {{connector: api, region: cn/south, entity: demo}}
  wecom:
    connector: wecom
    region: cn
    entity: demo
    settings:
      base_url: {base_url}
      corp_id: {corpid}
      agent_id: {agentid}
      secret: ${{secret:wecom-secret}}
      token: ${{secret:wecom-token}}
      encoding_aes_key: ${{secret:wecom-aes-key}}
      template_ids: {template}
      approval_calls: 1000000
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
approvals:
  routes:
    headquarters:
      region: cn
      subjects: [contract, payment, refund, discount, transfer, custom]
      amount: {{from: 100000, currency: CNY}}
      connection: wecom
      template: {template}
      approvers: [{{all: [li.si]}}, {{any: [wang.wu, zhao.liu]}}]
      cc: [zhang.san]
    branch:                                # the template's own flow decides
      region: cn
      subjects: [contract, payment, refund, discount, transfer, custom]
      amount: {{below: 100000, currency: CNY}}
      connection: wecom
      template: {template}
syncs:
  wecom.approval.out: {{target: wecom.approval, mapping: wecom/approval.out, mode: write, accept_window: true}}
  wecom.approval.in: {{source: wecom.approval, mapping: wecom/approval.in, mode: write, schedule: {schedule}}}
"""


def prepare(folder: Path, base_url: str, credentials: Mapping[str, str], *, schedule: str) -> None:
    """Write the project of a hub in front of this sandbox. ``schedule``: how often it sweeps by itself."""
    owners = [
        f"  {code}: {{region: cn/{('south', 'north')[n % 2]}, users: {{wecom: {userid}}}}}"
        for n, (code, userid) in enumerate(APPLICANTS.items())
    ]
    text = PROJECT.format(
        owners="\n".join(owners), base_url=base_url, port=base_url.rsplit(":", 1)[1], template=CONTRACT, schedule=schedule,
        corpid=credentials["corpid"], agentid=credentials["agentid"],
    )  # fmt: skip
    (folder / "hub.yaml").write_text(text, "utf-8")
    shutil.copytree(ROOT / "mappings" / "wecom", folder / "mappings" / "wecom")


def keep_secrets(settings: Any, clock: StormClock, credentials: Mapping[str, str]) -> None:
    """Put the vendor's secrets and the API's token into the store."""
    kept = {name: credentials[key] for name, key in SECRETS.items()} | {API_TOKEN: TOKEN}
    hub = wiring.open_hub(settings, clock=clock)

    def put(tx: Any) -> None:
        for name, secret in kept.items():
            put_secret(tx, hub.vault, name, secret.encode())

    try:
        hub.store.run_now(put)
    finally:
        hub.store.close()


def number_in(form: Form) -> str:
    """Return the text in the control that carries the CRM's number, "" for none."""
    for one in form.contents:
        if any(title["text"] == LABEL for title in one.get("title") or ()):
            return str(one["value"].get("text") or "")
    return ""


@dataclass
class Crm:
    """The CRM as the hub meets it: a caller of the API. ``bodies``: its own number -> what it sent."""

    client: httpx.AsyncClient
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def submit(self, no: str) -> None:
        """Send an approval, for the first time or again; before it the contract it is about, if it is about one.

        Raises HTTPStatusError, or what the connection raises.
        """
        body = self.bodies[no]
        if body["subject"] == "contract":
            deal = {
                "no": no,
                "customer": {"external": CUSTOMER},
                "amount_total": body["amount"],
                "currency": "CNY",
            }
            await self._put("contracts", no, deal)
        await self._put("approvals", no, body)

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


class StormDials(WeComDials):
    """Dials that count what calls met."""

    _met: Counter[str] = PrivateAttr(default_factory=Counter)

    @property
    def met(self) -> Counter[str]:
        """Fault -> how many calls met it."""
        return self._met

    def draw(self, op: str, form: str) -> str:
        fault = super().draw(op, form)
        if fault:
            self._met[fault] += 1
        return fault


@dataclass
class ApprovalSite(Site):
    """A running storm; the pipe is moved by hand."""

    crm: Crm = field(kw_only=True)

    @property
    def faults(self) -> Counter[str]:
        """What creates met: fault -> how many."""
        dials = self.sandbox.dials
        assert isinstance(dials, StormDials)
        return dials.met

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
            hub.store, hub.world, hub.bus, hub.clock, hub.world.project.syncs[SYNC], hub.connectors["wecom"], holder="storm",
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


def made(clock: StormClock, seed: int) -> WeComSandbox:
    """Return a sandbox without limits on calls; its callbacks go when they are flushed."""
    dials = StormDials(
        seed=seed, callback_auto=False, per_minute=0, per_hour=0, per_ip_minute=0, per_ip_hour=0, approval_per_minute=0,
        in_flight=0,
    )  # fmt: skip
    return WeComSandbox(clock=clock, dials=dials)


@asynccontextmanager
async def opened(folder: Path, seed: int) -> AsyncIterator[ApprovalSite]:
    """Start the sandbox, the hub, its API and its door, save the callback address, and let go of all at the end."""
    hours = Hours()
    sandbox = made(StormClock(hours, seed), seed)
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(running(sandbox))
        credentials = sandbox.credentials(base_url)
        prepare(folder, base_url, credentials, schedule="1h")
        settings = load_settings(data_dir=folder / "data", project_dir=folder, store_url=None, key_file=None)
        clock = StormClock(hours)
        keep_secrets(settings, clock, credentials)
        hub = wiring.open_hub(settings, clock=clock, start=True)
        stack.push_async_callback(hub.aclose)
        assert not hub.down, hub.down
        hooks, _ = await stack.enter_async_context(served(doors(hub)))
        api, _ = await stack.enter_async_context(served(create_app(services(hub))))
        await sandbox.save_receiver(f"http://127.0.0.1:{hooks}/hooks/wecom")
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{api}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
            trust_env=False,
        )
        crm = Crm(await stack.enter_async_context(client))
        intakes = [
            Intake(hub.store, hub.world, hub.bus, "storm", topic=topic, partition=number)
            for topic in (INBOUND, INBOUND_BULK)
            for number in range(await hub.bus.partitions(topic))
        ]
        worker = Worker(hub.store, hub.world, hub.clock, "storm", "wecom", hub.connectors["wecom"])
        yield ApprovalSite(sandbox, hub, hours, intakes, worker, crm=crm)
        await asyncio.sleep(0)
