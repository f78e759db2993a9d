"""The project of a chaos run: a CRM that calls the API, WeCom and Kingdee as sandboxes, everything in write mode."""

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

__all__ = ["EMPLOYEES", "TOKEN", "Vendor", "prepare"]

ROOT = Path(__file__).parents[2]
TOKEN = "chaos-token-6c1f0a9e77d54b3f"
EMPLOYEES = 8
SECRETS = {
    "k3": {"acct_id": "k3-acct-id", "user_name": "k3-user-name", "app_id": "k3-app-id", "app_secret": "k3-app-secret"},
    "wecom": {"secret": "wecom-secret", "token": "wecom-token", "encoding_aes_key": "wecom-aes-key"},
}  # fmt: skip
SPOKEN = ("k3-acct-id", "k3-user-name")
"""Who we are at the vendor: he names us in every object."""
TEXT = """
version: 1
regions: [cn, cn/south]
owners:
{owners}
entities:
  demo: {{title: 示例科技（深圳）有限公司, connection: k3, orgs: {{use: "100"}}, currency: CNY}}
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
    allow: [{{host: 127.0.0.1, port: {wecom_port}, plain_http: true}}]
  k3:
    connector: kingdee
    region: cn/south                       # so that a customer of a lost answer, polled meanwhile, meets its namesake here
    settings:
      server_url: {k3}/k3cloud/
      acct_id: ${{secret:k3-acct-id}}
      user_name: ${{secret:k3-user-name}}
      app_id: ${{secret:k3-app-id}}
      app_secret: ${{secret:k3-app-secret}}
      settle_after: {settle_after}
    allow: [{{host: 127.0.0.1, port: {k3_port}, plain_http: true}}]
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
"""


@dataclass(frozen=True)
class Vendor:
    """A sandbox as the hub sees it: what it printed at its start, and the port at which the hub calls it."""

    about: Mapping[str, Any]
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def prepare(
    folder: Path, environment: Mapping[str, str], k3: Vendor, wecom: Vendor, *, settle_after: float
) -> dict[str, str]:
    """Write a project whose vendors are the sandboxes and put the secrets in; return those that must not get out.

    ``environment``: of the hub's processes.
    """
    text = TEXT.format(
        owners="\n".join(f"  e-{n}: {{region: cn/south, users: {{wecom: Sales{n:02}}}}}" for n in range(EMPLOYEES)),
        wecom=wecom.base_url, wecom_port=wecom.port, k3=k3.base_url, k3_port=k3.port,
        corpid=wecom.about["credentials"]["corpid"], agentid=wecom.about["credentials"]["agentid"], settle_after=settle_after,
    )  # fmt: skip
    (folder / "hub.yaml").write_text(text, "utf-8")
    shutil.copytree(ROOT / "mappings", folder / "mappings")
    clock = SystemClock()
    data = Path(environment["HUB_DATA_DIR"])
    data.mkdir(mode=0o700)
    url = environment.get("HUB_STORE_URL") or f"sqlite:///{data / 'hub.db'}"
    store, vault = Store.open(url, clock), Vault.open(data / "key", clock)
    kept = {"api-token": TOKEN}
    for vendor, about in (("k3", k3.about), ("wecom", wecom.about)):
        kept |= {name: str(about["credentials"][key]) for key, name in SECRETS[vendor].items()}

    def put(tx: Any) -> None:
        for name, secret in kept.items():
            put_secret(tx, vault, name, secret.encode())

    store.run_now(put)
    store.close()
    return {name: secret for name, secret in kept.items() if name not in SPOKEN}
