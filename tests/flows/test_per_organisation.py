"""A customer of two organisations of one account set: `per: organisation` against Kingdee's sandbox, over a socket."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx

from connectors.kingdee.sandbox import KingdeeSandbox
from hub.api.serve import API_TOKEN, serve
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.store.engine import Tx
from hub.store.secrets import put_secret
from hub.wiring import open_hub

ROOT = Path(__file__).resolve().parents[2]
HUB_YAML = """\
version: 1
regions: [cn]
entities:
  south: {{title: 示例科技（深圳）有限公司, connection: k3, orgs: {{use: "100"}}}}
  north: {{title: 示例科技（北京）有限公司, connection: k3, orgs: {{use: "200"}}}}
connections:
  crm: {{connector: api, region: cn, entity: south}}
  k3:
    connector: kingdee
    settings:
      server_url: {url}/k3cloud/
      acct_id: ${{secret:acct_id}}
      user_name: ${{secret:user_name}}
      app_id: ${{secret:app_id}}
      app_secret: ${{secret:app_secret}}
      settle_after: 1
    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]
syncs:
  k3.customer.out: {{target: k3.customer, mapping: kingdee/customer.out, mode: write, per: organisation, stop_at: audited}}
  k3.payment.out: {{target: k3.receipt, mapping: kingdee/payment.out, mode: write, per: organisation, stop_at: saved, on_audited: park}}
"""


async def test_a_customer_two_companies_serve_is_in_both_organisations_and_each_receipt_in_its_own(
    tmp_path: Path,
):
    kingdee = KingdeeSandbox()
    async with running(kingdee) as url:
        root = tmp_path / "project"
        root.mkdir()
        shutil.copytree(ROOT / "mappings", root / "mappings")
        text = HUB_YAML.format(url=url, port=url.rpartition(":")[2])
        (root / "hub.yaml").write_text(text, "utf-8")
        settings = load_settings(
            data_dir=tmp_path / "var",
            project_dir=root,
            listen_ops="127.0.0.1:0",
            listen_hooks="127.0.0.1:0",
        )
        first = open_hub(settings)

        def keep(tx: Tx) -> None:
            given = kingdee.credentials(url)
            names = ("acct_id", "user_name", "app_id", "app_secret")
            for name, value in {**{one: given[one] for one in names}, API_TOKEN: "token"}.items():
                put_secret(tx, first.vault, name, str(value).encode())

        first.store.run_now(keep)
        first.store.close()
        hub = open_hub(settings, start=True)
        ready, stop = asyncio.Event(), asyncio.Event()
        serving = asyncio.ensure_future(serve(hub, ready=ready, stop=stop))
        waiting = asyncio.ensure_future(ready.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            headers = {"Authorization": "Bearer token"}
            async with httpx.AsyncClient(
                base_url=hub.listening["ops"], headers=headers, trust_env=False
            ) as api:
                await play(api)
                effects = await settled(kingdee)
        finally:
            stop.set()
            await serving
            await hub.aclose()
    customers = {(one["FUseOrgId"], one["FName"]) for form, one in effects if form == "BD_Customer"}
    assert customers == {("100", "示例科技有限公司"), ("200", "示例科技有限公司")}
    receipts = {(one["FPAYORGID"], one["FTHIRDBILLNO"]) for form, one in effects if form == "AR_RECEIVEBILL"}
    assert {org for org, _ in receipts} == {"100", "200"}
    assert len(receipts) == 2


async def play(api: httpx.AsyncClient) -> None:
    """Let the CRM send one customer and a payment to each company."""

    async def put(kind: str, id_: str, **fields: Any) -> None:
        answer = await api.put(f"/api/v1/{kind}/by-external/crm/{id_}", json=fields)
        assert answer.status_code == 201, answer.text

    await put("customers", "C-1", name="示例科技有限公司", uscc="91440300MA5EXA1016")
    for number, entity in enumerate(("south", "north")):
        await put(
            "payments", f"P-{number}", no=f"P-{number}", customer={"external": "C-1"}, received_on="2026-01-10",
            amount="1000.00", currency="CNY", method="bank", entity=entity, payer_name="示例科技有限公司",
        )  # fmt: skip


async def settled(kingdee: KingdeeSandbox) -> list[tuple[str, dict[str, Any]]]:
    """Wait until Kingdee has made four objects, and return what each was made with."""
    made: list[Any] = []
    for _ in range(2_000):
        made = [one for one in kingdee.ledger().effects() if one.verb == "create"]
        if len(made) >= 4:
            break
        await asyncio.sleep(0.01)
    return [(one.form, dict(one.fields)) for one in made]
