"""The project of a chaos run: a CRM that calls the API, vendors as sandboxes, everything in write mode.

Kingdee and WeCom always; with :data:`ALL` also Yonyou, where a second company books, and DingTalk, where the south's
contracts are approved while the north's are in WeCom.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.clock import SystemClock
from hub.store import Store
from hub.store.secrets import put_secret
from hub.vault import Vault

__all__ = ["ALL", "APPLICANTS", "APPROVERS", "EMPLOYEES", "TOKEN", "TWO", "Vendor", "prepare"]

ROOT = Path(__file__).parents[2]
TOKEN = "chaos-token-6c1f0a9e77d54b3f"
EMPLOYEES = 8
TWO = ("kingdee", "wecom")
ALL = (*TWO, "yonyou", "dingtalk")
"""The vendors: always, and all."""
APPLICANTS = {"sales.south": "south", "sales.north": "north"}
"""Who asks for approvals, by region: called the same at the vendors."""
APPROVERS = {"south": "boss.south", "north": "boss.north"}
SECRETS = {
    "kingdee": {"acct_id": "k3-acct-id", "user_name": "k3-user-name", "app_id": "k3-app-id", "app_secret": "k3-app-secret"},
    "wecom": {"secret": "wecom-secret", "token": "wecom-token", "encoding_aes_key": "wecom-aes-key"},
    "yonyou": {"app_secret": "yonyou-app-secret"},
    "dingtalk": {"app_secret": "dingtalk-app-secret"},
}  # fmt: skip
SPOKEN = ("k3-acct-id", "k3-user-name")
"""Who we are at the vendor: he names us in every object."""
TEXT = """
version: 1
regions: [cn, cn/south, cn/north]
owners:
{owners}
entities:
  demo: {{title: 示例科技（深圳）有限公司, connection: k3, orgs: {{use: "100"}}, currency: CNY}}
{entities}
connections:
  crm: {{connector: api, region: cn/south, entity: demo}}
  wecom:
    connector: wecom
    region: cn/south
    entity: demo
    settings:
      base_url: {wecom}
      corp_id: {corpid}
      agent_id: {agentid}
      secret: ${{secret:wecom-secret}}
      token: ${{secret:wecom-token}}
      encoding_aes_key: ${{secret:wecom-aes-key}}
      template_ids: 3TmSbxContract000000000000000000000000000001
    allow: [{{host: 127.0.0.1, port: {wecom_port}, plain_http: true}}]
  k3:
    connector: kingdee
    region: cn/south                       # so that a customer of a lost answer, polled meanwhile, meets its namesake here
    settings:
      server_url: {kingdee}/k3cloud/
      acct_id: ${{secret:k3-acct-id}}
      user_name: ${{secret:k3-user-name}}
      app_id: ${{secret:k3-app-id}}
      app_secret: ${{secret:k3-app-secret}}
      settle_after: {settle_after}
    allow: [{{host: 127.0.0.1, port: {kingdee_port}, plain_http: true}}]
{connections}
kinds:
  customer:
    match:
      - {{by: [uscc], confidence: sure}}
      - {{by: [name], within: region, confidence: unsure}}
    admission: [name]                      # a company's name alone admits it: those that WeCom makes go to Kingdee
syncs:
  wecom.follow.in: {{source: wecom.follow, mapping: wecom/follow.in, mode: write, schedule: 1d}}
  wecom.contact.in: {{source: wecom.contact, mapping: wecom/contact.in, mode: write}}
  wecom.user.in: {{source: wecom.user, mapping: wecom/user.in, mode: write, schedule: 1d}}
  wecom.follow.out:
    {{target: wecom.follow, mapping: wecom/follow.out, mode: write, accept_window: true, retry: {{max_interval: 15s}}}}
  k3.customer.out:
    {{target: k3.customer, mapping: kingdee/customer.out, mode: write, entity: demo, stop_at: audited, accept_window: true}}
  k3.customer.in: {{source: k3.customer, mapping: kingdee/customer.in, mode: write, entity: demo, schedule: 30s}}
  k3.payment.out:
    {{target: k3.receipt, mapping: kingdee/payment.out, mode: write, lane: money, entity: demo, stop_at: saved, on_audited: park}}
{syncs}
"""
MORE = {
    "entities": """\
  north: {title: 示例科技（北京）有限公司, connection: yonyou, orgs: {use: ORG001}, currency: CNY, accounts: [ACC-N01]}
""",
    "connections": """\
  yonyou:
    connector: yonyou
    region: cn/north
    entity: north
    settings:
      directory_url: <yonyou>
      tenant_id: sandbox1
      app_key: a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2d3
      app_secret: ${secret:yonyou-app-secret}
      receive: poll
      per_minute: 6000
      settle_after: <settle_after>
    allow: [{host: 127.0.0.1, port: <yonyou_port>, plain_http: true}]
  dingtalk:                                # events by Stream
    connector: dingtalk
    region: cn
    entity: demo
    settings:
      base_url: <dingtalk>
      old_url: <dingtalk>
      corp_id: ding0123456789abcdef
      app_key: dingsandboxonly00000
      app_secret: ${secret:dingtalk-app-secret}
      process_codes: PROC-SANDBOX-CONTRACT
      monthly_calls: 1000000
      monthly_pushes: 1000000
    allow: [{host: 127.0.0.1, port: <dingtalk_port>, plain_http: true}]
approvals:
  routes:
    south:
      region: cn                           # and whatever is not the north's
      subjects: [contract]
      connection: dingtalk
      template: PROC-SANDBOX-CONTRACT
      approvers: [{all: [boss.south]}]
    north:
      region: cn/north
      subjects: [contract]
      connection: wecom
      template: 3TmSbxContract000000000000000000000000000001
      approvers: [{all: [boss.north]}]
""",
    "syncs": """\
  yonyou.customer.out: {target: yonyou.customer, mapping: yonyou/customer.out, mode: write, entity: north, accept_window: true}
  yonyou.payment.out: {target: yonyou.receipt, mapping: yonyou/payment.out, mode: write, lane: money, entity: north, stop_at: saved}
  dingtalk.approval.out: {target: dingtalk.approval, mapping: dingtalk/approval.out, mode: write, accept_window: true}
  dingtalk.approval.in: {source: dingtalk.approval, mapping: dingtalk/approval.in, mode: write, schedule: 1h}
  wecom.approval.out: {target: wecom.approval, mapping: wecom/approval.out, mode: write, accept_window: true}
  wecom.approval.in: {source: wecom.approval, mapping: wecom/approval.in, mode: write, schedule: 1h}
""",
}  # fmt: skip
"""What a project with all vendors has besides."""


@dataclass(frozen=True)
class Vendor:
    """A sandbox as the hub sees it: what it printed at its start, and the port at which the hub calls it."""

    about: Mapping[str, Any]
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def prepare(
    folder: Path, environment: Mapping[str, str], vendors: Mapping[str, Vendor], *, settle_after: float
) -> dict[str, str]:
    """Write a project whose vendors are the sandboxes and put the secrets in; return those that must not get out.

    ``environment``: of the hub's processes.
    """
    (folder / "hub.yaml").write_text(_text(vendors, settle_after), "utf-8")
    shutil.copytree(ROOT / "mappings", folder / "mappings")
    clock = SystemClock()
    data = Path(environment["HUB_DATA_DIR"])
    data.mkdir(mode=0o700)
    url = environment.get("HUB_STORE_URL") or f"sqlite:///{data / 'hub.db'}"
    store, vault = Store.open(url, clock), Vault.open(data / "key", clock)
    kept = {"api-token": TOKEN}
    for vendor, one in vendors.items():
        kept |= {name: str(one.about["credentials"][key]) for key, name in SECRETS[vendor].items()}

    def put(tx: Any) -> None:
        for name, secret in kept.items():
            put_secret(tx, vault, name, secret.encode())

    store.run_now(put)
    store.close()
    return {name: secret for name, secret in kept.items() if name not in SPOKEN}


def _text(vendors: Mapping[str, Vendor], settle_after: float) -> str:
    owners = [f"  e-{n}: {{region: cn/south, users: {{wecom: Sales{n:02}}}}}" for n in range(EMPLOYEES)]
    more = dict.fromkeys(MORE, "")
    places = {"settle_after": str(settle_after)}
    for name, one in vendors.items():
        places |= {name: one.base_url, f"{name}_port": str(one.port)}
    if len(vendors) > len(TWO):
        more = {part: _filled(text, places) for part, text in MORE.items()}
        people = {**APPLICANTS, **{who: region for region, who in APPROVERS.items()}}
        owners += [
            f"  {who}: {{region: cn/{region}, users: {{wecom: {who}, dingtalk: {who}}}}}"
            for who, region in people.items()
        ]
    wecom = vendors["wecom"].about["credentials"]
    return TEXT.format(
        owners="\n".join(owners), corpid=wecom["corpid"], agentid=wecom["agentid"], **places,
        **{part: text.rstrip() for part, text in more.items()},
    )  # fmt: skip


def _filled(text: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"<{name}>", value)
    return text
