"""A company whose mapping was bad for a while: Kingdee's customers and the CRM's own, and what each must be in the end.

The model is kept by hand, in dicts: it uses neither mappings nor the pipe. ``at Kingdee``: objects there that nobody
of ours made, and those that our deliveries made or changed. ``in the CRM``: what people typed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from hub.errors import OutcomeUnknown, TryAgain
from hub.pipe.arrive import owe_reread
from hub.pipe.change import load_debts
from hub.pipe.revise import change_record
from hub.pipe.work import Worker
from hub.sdk.connector import (
    Applied,
    Failed,
    Gone,
    Next,
    SourceRecord,
    VendorKey,
    VendorRef,
    Write,
    WriteResult,
)
from hub.settings import load_settings
from hub.store.view import View
from hub.wiring import Hub, open_hub
from tests.chaos.payments import credit_code
from tests.flows.cli_site import Scripted, Site, make_site

IN, OUT = "kingdee/customer.in", "kingdee/customer.out"
SYNC = "k3.customer.in"
GOOD_REMARK, BAD_REMARK = "  remark: FDescription or None", "  remark: FADDRESS or None"
ONLY_BAD = "  level: FZIP or None\n"
GOOD_SHORT, BAD_SHORT = '  FShortName: trim(name_short) or ""', "  FShortName: name"
GOOD_TAX, BAD_TAX = '  FTAXREGISTERCODE: tax_no or ""', '  FTAXREGISTERCODE: postal_code or ""'
SHOWN = {
    "FName": "name", "FShortName": "name_short", "FSOCIALCRECODE": "uscc", "FTAXREGISTERCODE": "tax_no",
    "FADDRESS": "street", "FZIP": "postal_code", "FDescription": "remark",
}  # fmt: skip
"""Kingdee's field -> the CRM's, as the good mappings have it; what is left out here nobody fills."""


class Books(Scripted):
    """A Kingdee that keeps what it is sent and shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[str, dict[str, Any]] = {}
        self._made: dict[str, str] = {}
        self.down = False
        """Whether receipts are not taken for now."""
        self.lost = False
        """Whether answers about receipts are cut off, though they are applied."""

    def add(self, id_: str, **fields: str) -> None:
        empty = dict.fromkeys(
            ("FTEL", "FWEBSITE", "FINVOICETITLE", "FINVOICEBANKNAME", "FINVOICEBANKACCOUNT", *SHOWN), ""
        )
        known = {"FCUSTID": int(id_), "FNumber": f"K{id_}", "FDocumentStatus": "C"}
        self.bodies[id_] = {**known, **empty, **fields}

    def _one(self, write: Write) -> WriteResult:
        if self.down and write.object == "receipt":
            return Failed(TryAgain("busy"))
        id_ = (
            write.ref.vendor_id
            if write.ref
            else self._made.setdefault(write.business_key, str(500_000 + len(self._made)))
        )
        if id_ not in self.bodies:
            self.add(id_, FNumber=write.payload.get("FNumber", ""))
        if write.step == "save":
            self.booked.append(write)
            shown = self.bodies[id_]
            shown.update({name: value for name, value in write.payload.items() if name in shown})
        if self.lost and write.object == "receipt":
            return Failed(OutcomeUnknown("cut off"))
        stage = {"save": "A", "submit": "B", "audit": "C"}.get(write.step, "D")
        ref = VendorRef(id_, self.bodies[id_]["FNumber"], stage)
        return Applied(ref) if write.step == write.plan[-1] else Next(ref)

    async def fetch(self, stream: str, keys: Sequence[VendorKey]) -> Sequence[SourceRecord | Gone | Failed]:
        return [
            SourceRecord(key, dict(self.bodies[key.id]), self.now(), stage="C", stable_key=self.bodies[key.id]["FNumber"])
            for key in keys
        ]  # fmt: skip

    now: Any = staticmethod(lambda: 0)


@dataclass
class Scene:
    """The site, its Kingdee, and the model: (side, id) -> fields."""

    site: Site
    books: Books
    draw: random.Random
    there: dict[str, dict[str, str]] = field(default_factory=dict)
    """Kingdee's id -> what the CRM must show of it, by the CRM's names."""
    ours: dict[str, dict[str, str]] = field(default_factory=dict)
    """The CRM's id -> what it holds and Kingdee must show."""
    records: dict[str, str] = field(default_factory=dict)
    is_patient: bool = False
    """Whether what the connection's budget holds up is waited for."""
    extra: dict[str, dict[str, str]] = field(default_factory=dict)
    """Kingdee's id -> fields that somebody typed into the CRM, which no mapping fills."""

    # ------------------------------------------------------------------------------------------- what happens

    def meet(self, count: int) -> None:
        """Kingdee has customers, which come in; the CRM makes others, which go out."""
        for number in range(count):
            id_ = str(100_000 + number)
            made = {
                "name": f"星空客户{number}有限公司", "name_short": f"星空{number}", "uscc": credit_code(number),
                "street": f"深南大道{number}号", "postal_code": f"{518000 + number}", "remark": f"老客户{number}",
            }  # fmt: skip
            self.there[id_] = made
            self._show(id_)
        self.read(self.there)

    def make(self, count: int) -> None:
        """The CRM makes customers of its own, which go out."""
        for number in range(count):
            id_ = f"C-{number}"
            made = {
                "name": f"本地客户{number}有限公司", "name_short": f"本地{number}", "uscc": credit_code(500_000 + number),
                "street": f"科技路{number}号", "postal_code": f"{710000 + number}",
            }  # fmt: skip
            self.ours[id_] = made
            self.records[id_] = self.site.customer(id_, **made)
        self.work()

    def _show(self, id_: str) -> None:
        self.books.add(
            id_, **{there: self.there[id_][ours] for there, ours in SHOWN.items() if ours in self.there[id_]}
        )

    def changes_there(self, ids: Iterable[str], name: str, value: str) -> None:
        """Kingdee's people change a field of objects, and we read them."""
        wanted = list(ids)
        for id_ in wanted:
            self.there[id_][name] = f"{value} {id_}"
            self.books.bodies[id_][next(there for there, ours in SHOWN.items() if ours == name)] = (
                f"{value} {id_}"
            )
        self.read(wanted)

    def edits(self, ids: Iterable[str], name: str, value: str) -> None:
        """The CRM's people edit a field of what came from Kingdee."""
        with self.hub() as hub:
            for id_ in ids:
                typed = f"{value} {id_}"
                (self.there[id_] if name in SHOWN.values() else self.extra.setdefault(id_, {}))[name] = typed
                hub.store.run_now(_edited, self.record_of(hub, id_), {name: typed}, hub.world)

    def read(self, ids: Iterable[str]) -> None:
        """Have objects read, and everything that is due worked off."""
        with self.hub() as hub:
            hub.store.run_now(_hinted, list(ids), hub.world)
        self.work()

    def work(self) -> None:
        with self.hub() as hub:
            self.books.now = hub.clock.now
            asyncio.run(self._work(hub))

    async def _work(self, hub: Hub) -> None:
        worker = Worker(hub.store, hub.world, hub.clock, "w1", "k3", self.books)
        while any([await worker.turn(lane, 200) for lane in (0, 1, 2)]) or self._is_held_up(hub):
            pass

    def _is_held_up(self, hub: Hub) -> bool:
        """Wait a moment while the connection's budget is used up and something is owed."""
        held = self.is_patient and hub.store.read_now(
            _ask, "SELECT 1 FROM owed WHERE state = 'ready' LIMIT 1"
        )
        if held:
            time.sleep(0.2)
        return bool(held)

    def publish(self, name: str, *changes: tuple[str, str]) -> None:
        file = self.site.folder / f"mappings/{name}.yaml"
        text = file.read_text("utf-8")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        file.write_text(text, "utf-8")
        (self.site.folder / f"mappings/{name}.tests.yaml").unlink(missing_ok=True)
        self.site.cli("mapping", "publish", name, "--note", "a change")

    # ------------------------------------------------------------------------------------------- looking

    def hub(self) -> Any:
        return self.site.hub()

    def record_of(self, hub: Hub, id_: str) -> bytes:
        return hub.store.read_now(_record, id_)

    def body(self, id_: str) -> dict[str, Any]:
        """Return the CRM's record of one of Kingdee's objects."""
        with self.hub() as hub:
            record = self.record_of(hub, id_)
            return hub.store.read_now(_bodies, [record])[record]

    def differences(self) -> list[str]:
        """Return where CRM or Kingdee are not as the model says."""
        wrong = []
        with self.hub() as hub:
            records = {id_: self.record_of(hub, id_) for id_ in self.there}
            records |= {id_: bytes.fromhex(record) for id_, record in self.records.items()}
            bodies = hub.store.read_now(_bodies, list(records.values()))
            numbers = hub.store.read_now(_numbers, list(records.values()))
        fields = [*SHOWN.values(), "level"]
        for id_, record in records.items():
            must = {**(self.there.get(id_) or self.ours[id_]), **self.extra.get(id_, {})}
            held = bodies[record]
            wrong += [
                f"CRM {id_}.{name}: {held.get(name)!r}, must be {must.get(name)!r}"
                for name in fields
                if (held.get(name) or None) != must.get(name)
            ]
            shown = self.books.bodies[numbers[record]]
            wrong += [
                f"Kingdee {id_}.{there}: {shown[there]!r}, must be {must.get(ours, '')!r}"
                for there, ours in SHOWN.items()
                if shown[there] != must.get(ours, "")
            ]
        return wrong


def make_scene(folder: Path, seed: int, *changes: tuple[str, str]) -> Scene:
    """Return a company that was started once, with the good mappings in force; ``changes``: of its hub.yaml."""
    site = make_site(folder)
    for old, new in changes:
        text = (folder / "hub.yaml").read_text("utf-8")
        assert old in text, old
        (folder / "hub.yaml").write_text(text.replace(old, new), "utf-8")
    open_hub(load_settings(project_dir=site.folder, data_dir=site.data), start=True).close()
    books = Books()
    site.kingdee = books
    return Scene(site, books, random.Random(seed))


def _hinted(tx: Any, ids: list[str], world: Any) -> None:
    view, sync = View(tx, world.vault), world.project.syncs["k3.customer.out"]
    for id_ in ids:
        owe_reread(view, sync, id_, world, at=view.now)
    view.flush("test", "hint")


def _edited(tx: Any, record: bytes, fields: dict[str, Any], world: Any) -> None:
    view = View(tx, world.vault)
    load_debts(view, [record], world)
    change_record(view, view.records[record], fields, world, by="user:li.lei")
    view.flush("user:li.lei", "edit")


def _ask(tx: Any, text: str, *params: Any) -> list[tuple[Any, ...]]:
    tx.cursor.execute(text if tx.dialect == "sqlite" else text.replace("?", "%s"), params)
    return list(tx.cursor.fetchall())


def _record(tx: Any, id_: str) -> bytes:
    ((record,),) = _ask(
        tx, "SELECT record FROM xrefs WHERE connection = 'k3' AND object = 'customer' AND vendor_id = ?", id_
    )
    return bytes(record)


def _bodies(tx: Any, ids: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
    return {id_: orjson.loads(_ask(tx, "SELECT body FROM records WHERE id = ?", id_)[0][0]) for id_ in ids}


def _numbers(tx: Any, ids: Sequence[bytes]) -> dict[bytes, str]:
    return {
        id_: _ask(
            tx,
            "SELECT vendor_id FROM xrefs WHERE connection = 'k3' AND object = 'customer' AND record = ?",
            id_,
        )[0][0]
        for id_ in ids
    }
