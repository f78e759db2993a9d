"""A whole hub, its loops and its sealer, whose payment Kingdee refuses: finance reads of it in DingTalk."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.dingtalk.sandbox import DingTalkSandbox
from hub.crm.external import ExternalWrite
from hub.errors import Cause
from hub.pipe.accept import accept
from hub.pipe.runtime import Runtime
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.store.secrets import put_secret
from hub.wiring import Hub, open_hub, sealer
from tests.flows.cli_site import NAME, PAYMENT, ROOT, Scripted, refuse
from tests.stores import ask

NOTICES = """
notices:
  connection: ding
  finance: {demo: [zhao.liu]}
  it: [it.wu]
"""
PEOPLE = """  zhao.liu: {users: {ding: finance}}
  it.wu: {users: {ding: head}}
"""


def connection(given: dict[str, Any]) -> str:
    port = given["base_url"].rstrip("/").rpartition(":")[2]
    return f"""  ding:
    connector: dingtalk
    settings:
      {{base_url: "{given["base_url"]}", old_url: "{given["old_url"]}", corp_id: {given["corp_id"]}, app_key: {given["app_key"]},
       app_secret: "${{secret:ding}}", agent_id: {given["agent_id"]}, receive: poll, qps: 100}}
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
"""


@pytest.fixture
async def box() -> AsyncIterator[tuple[DingTalkSandbox, str]]:
    sandbox = DingTalkSandbox()
    sandbox.dials.qps = 0
    async with running(sandbox) as url:
        yield sandbox, url


def opened(folder: Path, given: dict[str, Any]) -> Hub:
    """Open the repository's own project with a DingTalk beside it."""
    text = (ROOT / "hub.yaml").read_text("utf-8")
    text = text.replace("\nentities:", f"{PEOPLE}\nentities:", 1).replace(
        "\nkinds:", f"{connection(given)}\nkinds:", 1
    )
    (folder / "hub.yaml").write_text(text + NOTICES, "utf-8")
    shutil.copytree(ROOT / "mappings", folder / "mappings")
    settings = load_settings(data_dir=folder / "var", project_dir=folder)
    hub = open_hub(settings)
    hub.store.run_now(put_secret, hub.vault, "ding", str(given["app_secret"]).encode())
    hub.close()
    return open_hub(settings, start=True)


async def test_finance_is_told_once_of_the_payments_that_kingdee_refuses(
    tmp_path: Path, box: tuple[DingTalkSandbox, str]
) -> None:
    sandbox, url = box
    hub = await asyncio.to_thread(opened, tmp_path, dict(sandbox.credentials(url)))
    assert "ding" not in hub.down
    kingdee = Scripted()
    kingdee.fate = refuse("receipt", cause=Cause.PERIOD_CLOSED)
    hub.connectors["k3"] = kingdee
    notices = hub.project.notices
    assert notices is not None
    world = replace(hub.world, project=replace(hub.project, notices=replace(notices, every=0.5)))
    runtime = Runtime(hub.store, world, hub.bus, hub.clock, hub.connectors, holder="w", sealer=sealer(hub))
    task = asyncio.ensure_future(runtime.run())
    try:
        who = {"name": NAME, "uscc": "91440300708461136T", "entity": "demo"}
        made = await hub.store.run(
            accept, ExternalWrite("crm", "customer", "C-1", who, "cn/south/", "demo"), world
        )
        for number in (1, 2):
            body = {**PAYMENT, "no": f"PAY-{number}", "customer": made.record_id.hex()}
            write = ExternalWrite("crm", "payment", f"P-{number}", body, "cn/south/", "demo")
            await hub.store.run(accept, write, world)
        async with asyncio.timeout(60):
            while not await told(hub):
                assert not task.done(), task
                await asyncio.wait([task], timeout=0.1)
    finally:
        runtime.stop.set()
        await task
        acts = [
            orjson.loads(body)["items"]
            for (body,) in await hub.store.run(ask, "SELECT body FROM acts WHERE verb = 'notice'")
        ]
        await hub.aclose()
    texts = [one.msg["text"]["content"] for one in sandbox.company.notices.values()]
    assert all(one.userids == ["finance"] for one in sandbox.company.notices.values())
    assert all("会计期间已关账" in text and "金蝶" in text for text in texts)
    assert sorted(line for text in texts for line in text.splitlines() if line.startswith("- ")) == [
        f"- PAY-{number}，{NAME}，1000.00 CNY" for number in (1, 2)
    ]
    assert sum(items[0]["count"] for items in acts) == 2
    assert len({item["record"] for items in acts for item in items[1:]}) == 2


async def told(hub: Hub) -> bool:
    """Say whether both payments were told of, and it is noted."""
    found = await hub.store.run(ask, "SELECT body FROM acts WHERE verb = 'notice'")
    return sum(orjson.loads(body)["items"][0]["count"] for (body,) in found) == 2
