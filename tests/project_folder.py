"""A small project on disk, with an invented vendor, that tests bend one line at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hub.project import Project, load_project
from hub.sdk.spec import ConnectorSpec, Delivery, ObjectSpec, SettingSpec, Step, StreamSpec

FIELDS = {"No": "text", "Name": "text", "Tax": "text"}
SAVE = {"save": Step("save", Delivery.PUT)}
CLIENT = ObjectSpec(
    "client",
    "客户",
    "client",
    FIELDS,
    SAVE,
    5.0,
    finish={"saved": (), "done": ("finish",)},
    required=("Name",),
)
BILL = ObjectSpec("bill", "单据", "bill", {"Client": "text", "Sum": "decimal"}, SAVE, 5.0)
SPEC = ConnectorSpec(
    name="acme",
    title_zh="样例",
    title_en="Acme",
    settings=(
        SettingSpec("url", "url", "地址", "address"),
        SettingSpec("key", "secret", "密钥", "key"),
        SettingSpec("size", "integer", "页", "page", default=100),
        SettingSpec("note", "text", "备注", "note", required=False),
    ),
    streams={"client": StreamSpec("client", "客户", "client", ("No",), FIELDS, object="client")},
    objects={"client": CLIENT, "bill": BILL},
)

HUB_YAML = """\
version: 1
regions: [cn, cn/south]
owners:
  li.lei: cn/south
entities:
  demo: {title: 示例, connection: erp, orgs: {use: "100"}}
connections:
  crm: {connector: api, region: cn/south, entity: demo}
  erp:
    connector: acme
    settings:
      url: https://erp.example.com/api
      key: ${secret:erp-key}
syncs:
  erp.client.out:
    target: erp.client
    mapping: acme/client.out
    mode: write
    entity: demo
    accept_window: true
  erp.client.in:
    source: erp.client
    mapping: acme/client.in
    entity: demo
    schedule: 5m
  erp.bill.out:
    target: erp.bill
    mapping: acme/bill.out
    entity: demo
"""

MAPPINGS = {
    "acme/client.out": """\
mapping: acme/client.out
source: crm.customer
target: acme.client
fields:
  Name: name
  Tax: uscc
""",
    "acme/client.in": """\
mapping: acme/client.in
source: acme.client
target: crm.customer
key: [No]
fields:
  name: Name
  uscc: Tax
""",
    "acme/bill.out": """\
mapping: acme/bill.out
source: crm.payment
target: acme.bill
fields:
  Client: xref("acme.client", customer)
  Sum: decimal(amount)
""",
}


def write_project(root: Path, hub_yaml: str = HUB_YAML, **mappings: str) -> Path:
    """Write the project; ``mappings`` replace texts by name (``/`` and ``.`` as ``_``)."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "hub.yaml").write_text(hub_yaml, encoding="utf-8")
    for name, text in MAPPINGS.items():
        path = root / "mappings" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(mappings.get(name.replace("/", "_").replace(".", "_"), text), encoding="utf-8")
    return root


def load(root: Path, spec: ConnectorSpec = SPEC) -> Project:
    """Load a project for the invented vendor."""
    return load_project(root, {spec.name: spec})


def with_object(**changed: object) -> ConnectorSpec:
    """Return the spec whose object client differs."""
    return replace(SPEC, objects={"client": replace(CLIENT, **changed), "bill": BILL})
