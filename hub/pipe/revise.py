"""A record changes other than by an arrival: by a person's hand, or by what a settle found at the vendor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hub.crm.dealings import follow_from
from hub.crm.decide import Change, Park, RecordChange
from hub.crm.relate import follow_on, follows_of, new_customer
from hub.crm.tie import companies
from hub.pipe.change import Told, write_records
from hub.pipe.dealings import dealings_of, load_beside
from hub.pipe.people import FOLLOW, load_around, rules_of
from hub.pipe.world import World
from hub.store.rows import Record
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["apply_merge", "change_record", "join_customer"]


def apply_merge(view: View, change: Change, world: World, *, by: str, origin: tuple[str, ...]) -> None:
    """Write what a settle took from the vendor: a user's edit that came in between. Owe the other syncs."""
    own = change.records[0]
    told = Told(by, own.record.id.hex() if own.record else "")
    records = _with_what_follows(view, change.records, world, origin[0])
    write_records(view, records, world, told, origin=origin, conflicts=change.conflicts)


def change_record(view: View, record: Record, fields: dict[str, Json], world: World, *, by: str) -> list[str]:
    """Change a record by hand: an ordinary new version that owes every sync. Returns their names."""
    body = {name: value for name, value in {**record.body, **fields}.items() if value is not None}
    changed = frozenset(name for name in fields if record.body.get(name) != body.get(name))
    before = {name: record.body.get(name) for name in changed}
    stated = body.get("entity")
    entity = stated if isinstance(stated, str) else record.entity
    one = RecordChange(record, record.kind, body, changed, before, record.region, entity, record.owner)
    records = _with_what_follows(view, [one], world, "")
    _, owed = write_records(view, records, world, Told(by), origin=None)
    return owed


def join_customer(
    view: View, contact: Record, customer: bytes | None, world: World, *, by: str, connection: str
) -> Record | None:
    """Give a contact its customer; None makes one of the company's name that is known of it (no name: nothing happens).

    The view must hold the contact's follows.
    """
    made: list[RecordChange] = []
    named: dict[str, Json] = {} if customer is None else {"customer": customer.hex()}
    if customer is None:
        known = companies(contact.body, follows_of(view, contact.id))
        names = [*known["company_name"], *known["remark_company"]]
        if not names:
            return None
        entity = rules_of(view, connection, world).entity
        made = [new_customer(names[0], owner=contact.owner, region=contact.region, entity=entity)]
    one = RecordChange(
        contact,
        contact.kind,
        {**contact.body, **named},
        frozenset({"customer"}),
        {"customer": contact.body.get("customer")},
        contact.region,
        contact.entity,
        contact.owner,
        (("customer", 1),) if made else (),
    )
    return write_records(view, [one, *made], world, Told(by), origin=None)[0]


def _with_what_follows(
    view: View, change: Sequence[RecordChange], world: World, connection: str
) -> Sequence[RecordChange]:
    """Return a change with what hangs on it: on a follow its contact, on an approval what was decided.

    Who is unsure parks nothing here: the next arrival does.
    """
    own = change[0]
    if (rules := dealings_of(own.kind, connection, world)) is not None:
        load_beside(view, [(own.kind, own.body)], world)
        found = follow_from(view, own, rules)
        return change if isinstance(found, Park) else [*found[0], *change[1:]]
    return [*change, *_follow_on(view, own, world, connection)]


def _follow_on(view: View, own: RecordChange, world: World, connection: str) -> Sequence[RecordChange]:
    if own.kind != FOLLOW:
        return ()
    load_around(view, [own.body], world)
    records, _ = follow_on(view, own, rules_of(view, connection, world))
    return records
