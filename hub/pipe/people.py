"""What a decision about follows looks at beside them: their contacts, those contacts' follows, customers, employees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hub.crm.decide import People
from hub.crm.relate import follows_of
from hub.crm.tie import tie_keys
from hub.mapping import Mapped
from hub.model.region import region_path
from hub.pipe.change import load_debts
from hub.pipe.items import Item
from hub.pipe.world import World
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = [
    "FOLLOW",
    "contacts_named",
    "load_around",
    "load_people",
    "people_of",
    "rules_of",
]

FOLLOW = "follow"


def _is_follow(item: Item) -> bool:
    return item.sync is not None and item.sync.kind == FOLLOW


def contacts_named(items: Iterable[Item]) -> set[bytes]:
    """Return the contacts that mapped follows name: they are locked with everything else, by id."""
    fields = [item.outcome.fields for item in items if _is_follow(item) and isinstance(item.outcome, Mapped)]
    return {bytes.fromhex(named) for one in fields if isinstance(named := one.get("contact"), str)}


def load_people(view: View, items: Sequence[Item], world: World) -> None:
    """Load what the follows among the items need; their own records and named contacts are locked already."""
    follows = [_body(view, item) for item in items if _is_follow(item)]
    if follows:
        load_around(view, follows, world)


def load_around(view: View, follows: Sequence[Mapping[str, Json]], world: World) -> None:
    """Load the contacts of these follows (bodies), all their follows, customers and employees.

    A contact's follows change only under its lock, so they are read without one. Two partitions that would make one
    customer of one name meet at the lock of its key.
    """
    coming: dict[bytes, list[Mapping[str, Json]]] = {}
    for body in follows:
        if body.get("contact"):
            coming.setdefault(bytes.fromhex(str(body["contact"])), []).append(body)
    load_debts(view, sorted(coming.keys() - view.records.keys()), world)
    _load_siblings(view, coming)
    keys: set[tuple[str, str]] = set()
    codes: set[str] = set()
    for id_ in coming.keys() & view.records.keys():
        around = [*follows_of(view, id_), *coming[id_]]
        codes |= {str(one["employee"]) for one in around if one.get("employee")}
        if not view.records[id_].body.get("customer"):
            keys |= set(tie_keys(view.records[id_].body, around))
    _load_ties(view, keys)
    _load_employees(view, codes - world.project.owners.keys())


def _load_siblings(view: View, contacts: Iterable[bytes]) -> None:
    """Load every follow of these contacts."""
    keys = [("follow.contact", id_.hex()) for id_ in contacts]
    view.load_keys(keys)
    view.load_records({record for key in keys for record, _ in view.keys.get(key, ())}, lock=False)


def _load_ties(view: View, keys: Iterable[tuple[str, str]]) -> None:
    """Load who holds the keys by which a contact finds its customer, and the customers of contacts among them."""
    wanted = sorted(keys)
    view.lock_keys(wanted)
    view.load_keys(wanted)
    holders = {record for key in wanted for record, _ in view.keys.get(key, ())}
    view.load_records(holders, lock=False)
    bodies = [view.records[id_].body for id_ in holders if id_ in view.records]
    view.load_records(
        {bytes.fromhex(body["customer"]) for body in bodies if body.get("customer")}, lock=False
    )


def _load_employees(view: View, codes: Iterable[str]) -> None:
    keys = [("employee.code", code) for code in sorted(codes)]
    view.load_keys(keys)
    view.load_records({record for key in keys for record, _ in view.keys.get(key, ())}, lock=False)


def _body(view: View, item: Item) -> Mapping[str, Json]:
    """Return what the follow will be: the fields that came over those that are known."""
    xref = view.xrefs.get(item.at)
    record = view.records.get(xref.record) if xref else None
    known = record.body if record else {}
    return {**known, **item.outcome.fields} if isinstance(item.outcome, Mapped) else known


def people_of(view: View, item: Item, world: World) -> People | None:
    """Return the rules of contacts and where employees belong; None for what is no follow."""
    return rules_of(view, item.connection, world) if _is_follow(item) else None


def rules_of(view: View, name: str, world: World) -> People:
    """Return the rules of contacts that come by a connection ("": by a person's hand)."""
    connection = world.project.connections.get(name)

    def region_of(owner: str | None) -> str:
        if owner is not None and owner not in world.project.owners:
            for id_, _ in view.keys.get(("employee.code", owner), ()):
                record = view.records.get(id_)
                if record is not None and record.body.get("region"):
                    return region_path(str(record.body["region"]))
        return world.project.region_of(name, owner)

    return People(world.project.contacts, region_of, connection.entity if connection else None)
