"""What a decision about approvals, contracts and payments looks at beside them: loaded and locked in bulk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hub.crm.approvals import contract_key
from hub.crm.dealings import KINDS_HERE, Dealings
from hub.mapping import Mapped
from hub.model.text import key_text
from hub.pipe.change import load_debts
from hub.pipe.items import Item
from hub.pipe.world import World
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["dealings_named", "dealings_of", "load_beside", "load_dealings"]

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_NAMED: Final = {"approval": ("contract", "customer", "payment"), "payment": ("contract",), "contract": ()}


def dealings_of(kind: str, connection: str, world: World) -> Dealings | None:
    """Return the rules; None for kinds that have none."""
    if kind not in KINDS_HERE:
        return None
    project = world.project
    known = project.connections.get(connection)
    return Dealings(
        routes=project.routes,
        effects=project.effects,
        region_of=lambda owner: project.region_of(connection, owner),
        regions=project.regions,
        releases=project.releases,
        accounts=project.account_entities,
        shown_by=connection if known is not None and known.kind == "vendor" else None,
    )


def _kind(item: Item, world: World) -> str | None:
    """Return the kind of an item that needs more than itself: payments only where they wait, or books are several."""
    kind = item.sync.kind if item.sync is not None else None
    if kind not in KINDS_HERE or kind == "approval" or world.project.releases:
        return kind if kind in KINDS_HERE else None
    return kind if kind == "payment" and len(world.project.entities) > 1 else None


def dealings_named(items: Iterable[Item], world: World) -> set[bytes]:
    """Return the records that mapped approvals and payments name: they are locked with everything else, by id."""
    return {
        id_
        for item in items
        if (kind := _kind(item, world)) and isinstance(item.outcome, Mapped)
        for id_ in _ids(kind, item.outcome.fields)
    }


def _ids(kind: str, body: Mapping[str, Json]) -> list[bytes]:
    """Return the records a body names; what is no record id is refused when the decision checks the field."""
    found = (body.get(name) for name in _NAMED[kind])
    return [bytes.fromhex(id_) for id_ in found if isinstance(id_, str) and _ID.fullmatch(id_)]


def load_dealings(view: View, items: Sequence[Item], world: World) -> None:
    """Load what these items need beyond what is locked already."""
    bodies = [
        (kind, {**_known(view, item), **(item.outcome.fields if isinstance(item.outcome, Mapped) else {})})
        for item in items
        if (kind := _kind(item, world))
    ]
    if bodies:
        load_beside(view, bodies, world)


def _known(view: View, item: Item) -> Mapping[str, Json]:
    xref = view.xrefs.get(item.at)
    record = view.records.get(xref.record) if xref else None
    return record.body if record else {}


def load_beside(view: View, bodies: Sequence[tuple[str, Mapping[str, Json]]], world: World) -> None:
    """Load what approvals, contracts and payments (kind, body) name, and the payments that wait for such a contract.

    A contract and a payment that names it by its number meet at the lock of that number, whoever comes first.
    """
    numbers = sorted({key for _, body in bodies if (key := contract_key(body)) is not None})
    view.lock_keys(numbers)
    view.load_keys(numbers)
    ids = {id_ for kind, body in bodies for id_ in _ids(kind, body)}
    ids |= {id_ for key in numbers for id_, _ in view.keys.get(key, ())}
    load_debts(view, sorted(ids - view.records.keys()), world)
    if not world.project.releases:
        return
    contracts = [
        (record.id, record.body)
        for id_ in ids
        if (record := view.records.get(id_)) and record.kind == "contract"
    ]
    stated = [str(body.get("no")) for kind, body in bodies if kind == "contract"]
    own = {id_ for no in stated for id_, _ in view.keys.get(("contract.no", key_text(no)), ())}
    waiting = [
        ("payment.contract_no", key_text(no))
        for no in [*stated, *(str(body.get("no")) for _, body in contracts)]
    ]
    waiting += [("payment.contract", id_.hex()) for id_ in {*own, *(id_ for id_, _ in contracts)}]
    view.load_keys(waiting)
    payments = {id_ for key in waiting for id_, _ in view.keys.get(key, ())}
    load_debts(view, sorted(payments - view.records.keys()), world)
