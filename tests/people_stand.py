"""People by hand: a vendor whose employees have contacts, the smallest there is, and the pipe step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from hub.clock import SECOND
from hub.mapping import Schemas, crm_schemas
from hub.mapping import compile as compile_mapping
from hub.pipe import desk
from hub.pipe.change import load_debts
from hub.pipe.items import Item
from hub.pipe.revise import change_record
from hub.project.values import Connection, ContactRules, Project, Sync
from hub.sdk.connector import Failed, Gone, SourceRecord, VendorKey
from hub.sdk.spec import ConnectorSpec, Delivery, ObjectSpec, Step, StreamSpec
from hub.store.view import View
from tests.pipe_stand import Stand
from tests.worlds import project

__all__ = ["PeopleStand"]

_STREAMS = {
    "contact": StreamSpec("contact", "联系人", "Contact", ("id",), {"id": "text", "name": "text", "company": "text"}),
    "follow": StreamSpec(
        "follow",
        "跟进",
        "Follow",
        ("user", "id"),
        {
            "user": "text", "id": "text", "remark": "text", "mobiles": "texts", "company": "text", "tags": "texts",
            "since": "instant", "left": "instant",
        },
        object="follow",
        parent="contact",
    ),
    "user": StreamSpec("user", "成员", "Member", ("user",), {"user": "text", "region": "text"}),
}  # fmt: skip
_FOLLOW = ObjectSpec(
    "follow",
    "跟进",
    "Follow",
    {"remark": "text", "tags": "texts"},
    {"save": Step("save", Delivery.PUT)},
    settle_after=20.0,
    stream="follow",
)
SPEC = ConnectorSpec("wx", "人", "People", (), _STREAMS, {"follow": _FOLLOW})
MAPPINGS = {
    "contact.in": "mapping: wx/contact.in\nsource: wx.contact\ntarget: crm.contact\nkey: [id]\n"
    "fields:\n  name: name\n  company_name: company\n",
    "follow.in": "mapping: wx/follow.in\nsource: wx.follow\ntarget: crm.follow\nkey: [user, id]\n"
    'fields:\n  contact: xref("wx.contact", id)\n  employee: user_ref(user)\n  remark: remark\n'
    "  mobiles: '[phone(m) for m in mobiles]'\n  company_name: company\n  tags: tags\n  since: since\n"
    "  deleted_by_contact_at: left\n",
    "user.in": "mapping: wx/user.in\nsource: wx.user\ntarget: crm.employee\nkey: [user]\n"
    "fields:\n  code: user_ref(user)\n  region: region\n",
}


def _sync(name: str) -> Sync:
    stream = name.partition(".")[0]
    crm = crm_schemas()
    schemas = Schemas({**crm, **{f"wx.{one}": dict(spec.fields) for one, spec in _STREAMS.items()}}, crm)
    kind = "employee" if stream == "user" else stream
    mapping = compile_mapping(MAPPINGS[name], schemas, file=f"{name}.yaml")
    return Sync(f"wx.{name}", "in", "wx", stream, stream, kind, mapping, mode="write")


class PeopleStand(Stand):
    """Adds to the stand a connection ``wx`` whose relations are ``held``: (user, contact) → body."""

    def __init__(self, rules: ContactRules | None = None, **known: Any) -> None:
        made = project(("customer",))
        syncs = {**made.syncs, **{f"wx.{name}": _sync(name) for name in MAPPINGS}}
        people: Project = replace(
            made,
            syncs=syncs,
            connections={**made.connections, "wx": Connection("wx", "wx", region="cn/")},
            regions=("", "cn/", "cn/south/", "cn/north/"),
            owners={"li.lei": "cn/south/", "han.mei": "cn/north/"},
            users={("wx", "lilei"): "li.lei", ("wx", "hanmei"): "han.mei"},
            contacts=rules or ContactRules(),
        )
        super().__init__(made=people, **known)
        self.world = replace(self.world, specs={**self.world.specs, "wx": SPEC})
        self.people: dict[str, dict[str, Any]] = {}
        self.held: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, user: str, person: str, *, name: str = "王小明", **fields: Any) -> None:
        """An employee adds a person; times are given as days of January 2026."""
        self.people.setdefault(person, {"id": person, "name": name, "company": fields.pop("full_name", None)})
        day = fields.pop("day", 1)
        plain = {"remark": None, "mobiles": [], "company": None, "tags": []}
        self.held[user, person] = {
            "user": user,
            "id": person,
            "since": f"2026-01-{day:02d}T00:00:00Z",
            **plain,
            **fields,
        }

    def item(self, stream: str, id_: str, **known: Any) -> Item:
        """Return what a page shows of an object now; ``body=None``: a hint."""
        body = known.pop("body", self._body(stream, id_))
        source = None
        if body is not None:
            source = SourceRecord(
                VendorKey("", id_), body, known.pop("observed_at", self.clock.now()), **known
            )
        return Item("wx", stream, VendorKey("", id_), source, self.world.inbound("wx", stream), event="e")

    def _body(self, stream: str, id_: str) -> dict[str, Any] | None:
        return self.people.get(id_) if stream == "contact" else self.held.get(tuple(id_.split("/", 1)))  # type: ignore[arg-type]

    def page(self, *pairs: tuple[str, str]) -> None:
        """Take in what one page shows: the people, then who has them."""
        wanted = pairs or tuple(self.held)
        people = [self.item("contact", person) for person in dict.fromkeys(person for _, person in wanted)]
        self.take_items([*people, *(self.item("follow", f"{user}/{person}") for user, person in wanted)])

    def send(self, attempt: Any, *fate: Any) -> Any:
        if attempt.send is None and attempt.source is None and attempt.sync.startswith("wx."):
            body = self._body(attempt.stream, attempt.key.id)
            return Gone(attempt.key) if body is None else SourceRecord(attempt.key, body, self.clock.now())
        return super().send(attempt, *fate)

    def work(self) -> None:
        """Work off what is due at this vendor; a read begins a moment after what was before it."""
        for _ in range(20):
            self.clock.at += SECOND // 100
            attempts = self.claim(connection="wx")
            if not attempts:
                return
            for attempt in attempts:
                result = self.send(attempt)
                assert not isinstance(result, Failed)
                self.settle(attempt, result)
        raise AssertionError(f"still busy: {self.rows()}")

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind: body with ``_id``, ``_owner`` and ``_region``."""
        found = self.ask("SELECT id, owner, region, body FROM records WHERE kind = ? ORDER BY id", kind)
        return [{**orjson.loads(b), "_id": bytes(i).hex(), "_owner": o, "_region": r} for i, o, r, b in found]

    def one(self, kind: str) -> dict[str, Any]:
        """Return the only record of a kind."""
        (found,) = self.records(kind)
        return found

    def change(self, record: str, **fields: Any) -> None:
        """Change a record by hand."""

        def transaction(tx: Any) -> None:
            view = View(tx, self.world.vault)
            load_debts(view, [bytes.fromhex(record)], self.world)
            change_record(view, view.records[bytes.fromhex(record)], fields, self.world, by="operator")
            view.flush("operator", "edit")

        self.store.run_now(transaction)

    def choose(self, row: bytes, chosen: str | None) -> None:
        self.store.run_now(
            desk.choose, row, bytes.fromhex(chosen) if chosen else None, self.world, by="operator"
        )
