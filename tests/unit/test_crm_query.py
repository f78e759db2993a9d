"""Queries over records: the scope comes first, and what lies outside it is not there; the same on both engines."""

from __future__ import annotations

import pytest

from hub.crm import query
from hub.crm.external import external_key
from hub.model.record import Scope
from hub.store import Store, Tx, schema, sql
from tests.stores import any_store

__all__ = ["any_store"]  # fixture

insert_records = sql.bulk_insert(
    schema.records, "id kind version region entity owner body merged_into deleted act"
)
insert_xrefs = sql.bulk_insert(
    schema.xrefs, "connection object org vendor_id record is_primary snapshot seen rest_until gone sent act"
)

REGIONS = ("", "cn/", "cn/south/", "cn/south/shenzhen/", "cn/southwest/", "cn/north/")


def rid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def record(number: int, region: str, **changed: object) -> tuple[object, ...]:
    row = {
        "kind": "customer",
        "version": 1,
        "region": region,
        "entity": None,
        "owner": None,
        "body": '{"name":"甲"}',
    }
    row |= {"merged_into": None, "deleted": None, "act": 1} | changed
    return (rid(number), *row.values())


def fill(tx: Tx) -> None:
    """Six regions, three records each, numbered so that the order of ids is not that of the regions."""
    rows = [record(number, REGIONS[number % 6]) for number in range(18)]
    rows += [
        record(100, "cn/south/", deleted=5),
        record(101, "cn/south/", merged_into=rid(2)),
        record(102, "cn/south/", kind="payment"),
        record(103, "cn/south/", entity="demo", owner="li.lei"),
    ]
    insert_records(tx, rows)
    key = external_key("crm", "customer", "C-2")
    insert_xrefs(
        tx,
        [
            (*key, rid(2), True, "{}", 1, 1, None, "{}", 1),
            ("crm", "customer", "", "C-old", rid(101), True, "{}", 1, 1, None, "{}", 1),
            ("crm", "customer", "", "C-gone", rid(3), True, "{}", 1, 1, 9, "{}", 1),
        ],
    )


@pytest.fixture
def store(any_store: Store) -> Store:
    any_store.run_now(fill)
    return any_store


def listed(store: Store, scope: Scope, limit: int = 4) -> list[int]:
    """Return every record of the listing, page by page."""
    found: list[int] = []
    after = None
    while True:
        page = store.read_now(query.find, scope, "customer", after=after, limit=limit)
        assert len(page) <= limit
        if not page:
            return found
        found += [int.from_bytes(item.id, "big") for item in page]
        after = page[-1].after


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 200])
def test_pages_together_hold_everything_once(store: Store, limit: int) -> None:
    found = listed(store, Scope.ALL, limit)
    assert sorted(found) == [*range(18), 103]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("roots", "regions"),
    [
        (("cn/south/",), {2, 3}),
        (("cn/south/", "cn/north/"), {2, 3, 5}),
        (("cn/north/", "cn/south/", "cn/south/shenzhen/"), {2, 3, 5}),
        (("cn/southwest/",), {4}),
        (("cn/",), {1, 2, 3, 4, 5}),
        ((), set()),
        (("us/",), set()),
    ],
)
def test_a_subtree_holds_its_root_and_no_sibling(
    store: Store, roots: tuple[str, ...], regions: set[int]
) -> None:
    expected = {number for number in range(18) if number % 6 in regions} | ({103} if 2 in regions else set())
    for limit in (1, 3, 50):
        found = listed(store, Scope(roots), limit)
        assert set(found) == expected
        assert len(found) == len(expected)


def test_entity_and_owner_narrow_the_scope(store: Store) -> None:
    assert listed(store, Scope(("",), entities=("demo",)), 2) == [103]
    assert listed(store, Scope(("",), owner="li.lei"), 1) == [103]
    assert listed(store, Scope(("cn/north/",), owner="li.lei"), 1) == []


def test_one_record_outside_the_scope_is_not_found(store: Store) -> None:
    south = Scope(("cn/south/",))
    assert store.read_now(query.get, south, rid(2))
    assert store.read_now(query.get, south, rid(4)) is None
    assert store.read_now(query.get, south, rid(99)) is None
    assert store.read_now(query.get, south, rid(2), kind="payment") is None
    assert store.read_now(query.get, Scope(()), rid(2)) is None


def test_a_merged_record_leads_to_its_survivor(store: Store) -> None:
    found = store.read_now(query.get, Scope.ALL, rid(101))
    assert found is not None
    assert found.id == rid(2)
    assert store.read_now(query.get, Scope(("cn/north/",)), rid(101)) is None


def test_records_merged_in_a_circle_are_nobody(store: Store) -> None:
    store.run_now(
        insert_records, [record(200, "", merged_into=rid(201)), record(201, "", merged_into=rid(200))]
    )
    assert store.read_now(query.get, Scope.ALL, rid(200)) is None


def test_a_record_is_found_by_the_id_of_the_system_that_sent_it(store: Store) -> None:
    def ask(
        external_id: str, scope: Scope = Scope.ALL, kind: str = "customer", system: str = "crm"
    ) -> object:
        found = store.read_now(query.by_external, scope, kind, system=system, external_id=external_id)
        return found and found.id

    assert ask("C-2") == rid(2)
    assert ask("C-old") == rid(2)
    assert ask("C-gone") is None
    assert ask("C-2", Scope(("cn/north/",))) is None
    assert ask("C-2", kind="payment") is None
    assert ask("C-2", system="shop") is None


def test_a_deep_page_begins_at_its_place_in_the_index(store: Store) -> None:
    (page,) = [
        one for one in sql.statements() if one.module == query.__name__ and "(region, id) >" in one.sqlite
    ]

    def plan(tx: Tx) -> str:
        if tx.dialect == "sqlite":
            text, marks = f"EXPLAIN QUERY PLAN {page.sqlite}", [None] * page.sqlite.count("?")
            return str([row[3] for row in tx.cursor.execute(text, marks)])
        tx.cursor.execute("SET LOCAL enable_seqscan = off")
        tx.cursor.execute(f"EXPLAIN {page.postgresql}", ("customer", "cn/", rid(1), "cn0", 50))
        return next(row[0] for row in tx.cursor.fetchall() if "Index Cond" in row[0])

    assert "(region,id)>(" in store.read_now(plan).replace(" ", "").replace("ROW", "").replace("::text", "")
