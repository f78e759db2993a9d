"""A small world for tests: one CRM behind the API, one vendor in memory, every delivery class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hub.mapping import Schemas, crm_schemas
from hub.mapping import compile as compile_mapping
from hub.pipe.world import Timing, World
from hub.project.values import LANE_MONEY, Connection, KindRules, MatchRule, Project, Retry, Sync
from hub.store import Store
from hub.vault import Vault
from tests.vendor import SPEC

CUSTOMER_OUT = """
mapping: mem/{object}.out
source: crm.customer
target: mem.{object}
fields:
  number: business_key()
  name: name
  phone: phone
  street: street
  remark: remark
"""
CUSTOMER_IN = """
mapping: mem/{object}.in
source: mem.{object}
target: crm.customer
key: [id]
fields:
  name: name
  phone: phone
  street: street
  remark: remark
"""
RECEIPT_OUT = """
mapping: mem/receipt.out
source: crm.payment
target: mem.receipt
fields:
  ref: no
  customer: xref("mem.customer", customer)
  amount: amount
  remark: remark
"""


def schemas() -> Schemas:
    """Return both sides' schemas."""
    crm = crm_schemas()
    sources = {**crm, **{f"mem.{name}": dict(stream.fields) for name, stream in SPEC.streams.items()}}
    targets = {**crm, **{f"mem.{name}": dict(obj.fields) for name, obj in SPEC.objects.items()}}
    return Schemas(sources, targets)


def sync(name: str, direction: str, object_: str, text: str, **known: Any) -> Sync:
    """Make a sync of the memory vendor."""
    known.setdefault("mode", "write")
    mapping = compile_mapping(text.format(object=object_), schemas(), file=f"{name}.yaml")
    return Sync(
        name=name,
        direction=direction,  # type: ignore[arg-type]  # "in" or "out"
        connection="mem",
        object=object_,
        stream=object_ if direction == "in" else None,
        kind=known.pop("kind", "customer"),
        mapping=mapping,
        accept_window=True,
        retry=known.pop("retry", Retry(max_attempts=12, initial_interval=2.0, max_interval=30.0)),
        **known,
    )


def project(objects: tuple[str, ...] = ("customer", "receipt"), **known: Mapping[str, Any]) -> Project:
    """Return a project that writes these objects (and reads those that have a stream)."""
    syncs: dict[str, Sync] = {}
    for name in objects:
        if name == "receipt":
            made = sync(
                "receipt.out",
                "out",
                name,
                RECEIPT_OUT,
                kind="payment",
                lane=LANE_MONEY,
                **known.get(name, {}),
            )
        else:
            made = sync(f"{name}.out", "out", name, CUSTOMER_OUT, **known.get(name, {}))
        syncs[made.name] = made
        if name in SPEC.streams:
            syncs[f"{name}.in"] = sync(f"{name}.in", "in", name, CUSTOMER_IN)
    rules = KindRules(
        "customer",
        (MatchRule(("phone",), "sure"), MatchRule(("name",), "unsure", within_region=True)),
    )
    return Project(
        connections={
            "crm": Connection("crm", "api", kind="api", region="cn/south/"),
            "mem": Connection("mem", "mem"),
        },
        syncs=syncs,
        entities={},
        regions=("", "cn/", "cn/south/"),
        owners={},
        kinds={"customer": rules},
    )


def world(store: Store, vault: Vault, made: Project | None = None, *, timing: Timing | None = None) -> World:
    """Return a world over a store."""
    return World(
        project=made or project(),
        specs={"mem": SPEC},
        vault=vault,
        epoch=store.epoch,
        timing=timing or Timing(),
    )


def with_mode(made: Project, name: str, mode: str) -> Project:
    """Return the project with one sync in another mode."""
    return replace(made, syncs={**made.syncs, name: replace(made.syncs[name], mode=mode)})
