"""What a decision about arrivals looks at: loaded and locked in bulk, in the lock order, before anything is decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hub.mapping import Mapped, Wait
from hub.model.kinds import KINDS, key_values
from hub.pipe.change import load_debts
from hub.pipe.dealings import dealings_named, load_dealings
from hub.pipe.items import Item, map_in
from hub.pipe.people import contacts_named, load_people
from hub.pipe.unknown import load_gone
from hub.pipe.world import World
from hub.store.rows import KEEP
from hub.store.view import View

__all__ = ["in_order", "load_arrivals"]


def load_arrivals(view: View, items: Sequence[Item], world: World) -> None:
    """Map the items in, then load and lock everything a decision about them looks at, in the lock order.

    The rows owed (in) must be locked already by whoever settles; `take` locks them here.
    """
    map_in(view, items, world)
    pairs = [(item.sync_name, item.subject) for item in items]
    view.lock_owed(pairs)
    view.load_sealed(
        [view.owed[pair] for pair in pairs if pair in view.owed and view.owed[pair].source is KEEP]
    )
    at = [item.at for item in items]
    view.load_xrefs(at, lock=False)
    load_gone(view, items, world)
    view.asked.update(at)
    keys = [key for item in items for key in _match_keys(view, item, world)]
    view.lock_keys(keys)
    view.load_keys(keys)
    records = {view.xrefs[key].record for key in at if key in view.xrefs}
    records |= {record for key in keys for record, _ in view.keys.get(key, ())}
    records |= {item.chosen for item in items if item.chosen}
    records |= contacts_named(items) | dealings_named(items, world)
    load_debts(view, sorted(records), world)
    load_people(view, items, world)
    load_dealings(view, items, world)
    view.load_xrefs(at, lock=True)


def _match_keys(view: View, item: Item, world: World) -> list[tuple[str, str]]:
    """Who is not known by xref is looked for by the keys that decide; who is known may take a strong key only if it is free.

    Never by a reference: one customer has thousands of payments, and each of them would be loaded and locked.
    """
    if item.sync is None or not isinstance(item.outcome, Mapped):
        return []
    known = item.at in view.xrefs
    deciding = world.deciding_keys[item.sync.kind]
    try:
        keys = key_values(KINDS[item.sync.kind], item.outcome.fields)
        return [(name, value) for name, value, strong in keys if strong or (name in deciding and not known)]
    except ValueError:  # the decision parks it and names the field
        return []


def in_order(view: View, items: Sequence[Item], world: World) -> Iterator[Item]:
    """Give the items so that one which hangs on another of the same batch comes behind it, mapped anew.

    A new person and whoever follows it come in one page: without this every such follow would be owed, claimed and
    read again.
    """
    coming = {f"arrival:{'/'.join(item.at)}" for item in items}
    later = [item for item in items if isinstance(item.outcome, Wait) and item.outcome.key in coming]
    behind = {id(item) for item in later}
    yield from (item for item in items if id(item) not in behind)
    if later:
        load_arrivals(view, later, world)
        yield from later
