"""What operators are shown: states in words, where a fix belongs, and nothing outside their scope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub import registry
from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.errors import Cause
from hub.model.record import Scope
from hub.pipe.accept import accept
from hub.pipe.advice import Origin, Place, origin_of, place_of
from hub.pipe.queries import Filters, dead_letter, dead_letters, status, trace
from hub.pipe.shown import Shown, shown_state
from hub.pipe.work import Worker
from hub.pipe.world import World
from hub.project.values import ProjectFile
from hub.store import Store
from hub.store.rows import Owed
from hub.vault import Vault
from tests.people_stand import PeopleStand
from tests.stores import ask, new_store_url
from tests.vendor import Fate, MemoryConnector, MemoryVendor
from tests.worlds import project, world

SOUTH, NORTH = Scope(("cn/south/",)), Scope(("cn/north/",))
TEXT = """\
mapping: acme/bill.out
source: crm.payment
target: acme.bill
let:
  iso: value_map("acme.currency", currency)
  net: money(amount, currency)
fields:
  Currency.Number: iso                  # 币别
  Sum: net
  Lines:
    - Kind.Number: value_map("acme.kind", method or "bank")
      Account.Number: missing if method == "cash" else account_no
  Date: {value: received_on, with: Sum}
  Note: remark or ""
"""


@pytest.fixture(params=["memory", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = Store.open(new_store_url(request.param, request), SystemClock(), inline=True)
    yield opened
    opened.close()


@pytest.fixture
def made(store: Store) -> World:
    return world(store, Vault.in_memory(SystemClock()), project(("customer", "receipt")))


def put(store: Store, made: World, kind: str, id_: str, **body: Any) -> Any:
    answer = store.run_now(accept, ExternalWrite("crm", kind, id_, body, "cn/south/"), made)
    return answer.record_id if isinstance(answer, WriteAnswer) else answer


async def refused(store: Store, made: World) -> bytes:
    """Have the vendor refuse a customer; return the record."""
    record = put(store, made, "customer", "C-1", name="示例科技有限公司")
    clock = SystemClock()
    vendor = MemoryVendor(clock, fate=lambda write: Fate.REFUSE if write else Fate.OK)
    worker = Worker(store, made, clock, "w1", "mem", MemoryConnector(vendor))
    while any([await worker.turn(lane, 50) for lane in (0, 1, 2)]):
        pass
    return record


async def test_nobody_sees_what_lies_outside_the_scope(store: Store, made: World) -> None:
    record = await refused(store, made)
    (row,) = store.read_now(dead_letters, made, SOUTH, Filters()).rows
    assert row.record == record
    assert store.read_now(dead_letters, made, NORTH, Filters()).rows == ()
    assert store.read_now(dead_letter, made, SOUTH, row.id) is not None
    assert store.read_now(dead_letter, made, NORTH, row.id) is None
    for id_ in (record.hex(), row.id.hex(), "C-1", "示例科技有限公司"):
        assert store.read_now(trace, made, SOUTH, id_) is not None
        assert store.read_now(trace, made, NORTH, id_) is None


def test_an_arrival_without_a_record_lies_where_its_connection_puts_it(store: Store, made: World) -> None:
    put(store, made, "customer", "C-1", street="深圳")
    (row,) = store.read_now(dead_letters, made, SOUTH, Filters()).rows
    assert (row.inbound, row.record, row.cause and row.cause.code) == (True, None, Cause.MISSING_FIELD)
    assert store.read_now(dead_letters, made, NORTH, Filters()).rows == ()
    found = store.read_now(trace, made, SOUTH, "C-1")
    assert found is not None
    assert found.record is None
    assert [hop.outcome for hop in found.hops] == ["parked"]
    assert store.read_now(trace, made, NORTH, "C-1") is None


@pytest.mark.parametrize("typed", ["lilei/wmX", "LiLei/wmX", "LILEI/wmX", "wx/LiLei/wmX"])
def test_an_id_is_found_as_the_vendor_or_a_person_writes_it(typed: str) -> None:
    stand = PeopleStand()
    specs = dict(stand.world.specs)
    follow = replace(specs["wx"].streams["follow"], folds=("user",))
    specs["wx"] = replace(specs["wx"], streams={**specs["wx"].streams, "follow": follow})
    made = replace(stand.world, specs=specs)
    stand.take_items([stand.item("follow", "lilei/wmX", body=None)])
    found = stand.store.read_now(trace, made, Scope.ALL, typed)
    assert found is not None
    assert [row.subject for row in found.owed] == ["/lilei/wmX"]
    assert stand.store.read_now(trace, made, Scope.ALL, "lilei/WMX") is None, "the other half is not folded"
    stand.close()


def test_wecom_folds_the_employee_s_half_of_a_relation() -> None:
    streams = registry.specs()["wecom"].streams
    assert streams["follow"].folded("LiLei/wmX") == "lilei/wmX"
    assert streams["user"].folded("LiLei") == "lilei"
    assert streams["contact"].folded("wmX") == "wmX"


async def test_letters_are_filtered_by_sync_connection_and_cause(store: Store, made: World) -> None:
    await refused(store, made)
    put(store, made, "customer", "C-2", street="深圳")

    def syncs(**known: Any) -> list[str]:
        return sorted(
            row.sync for row in store.read_now(dead_letters, made, Scope.ALL, Filters(**known)).rows
        )

    assert syncs() == ["api:crm:customer", "customer.out"]
    assert syncs(sync="customer.out") == ["customer.out"]
    assert syncs(connection="crm") == ["api:crm:customer"]
    assert syncs(cause=Cause.INVALID) == ["customer.out"]
    assert syncs(cause=Cause.DOUBT) == []


async def test_a_listing_goes_on_past_what_the_reader_may_not_see(store: Store, made: World) -> None:
    await refused(store, made)
    copies = "INSERT INTO owed (id, sync, subject, connection, target, lane, state, due, want, attempts, deaths, step, cause, act, since) "
    for number in range(5):
        subject = number.to_bytes(16, "big")
        values = (
            subject,
            "gone.out",
            subject.hex(),
            "mem",
            f"mem/gone//{subject.hex()}",
            '{"code":"invalid"}',
        )
        store.run_now(ask, copies + "VALUES (?, ?, ?, ?, ?, 1, 'parked', 0, 1, 0, 0, 0, ?, 1, 0)", *values)
    page = store.read_now(dead_letters, made, SOUTH, Filters(limit=1))
    assert [row.sync for row in page.rows] == ["customer.out"]


async def test_status_counts_what_no_sync_is_configured_for(store: Store, made: World) -> None:
    await refused(store, made)
    store.run_now(ask, "UPDATE owed SET sync = 'gone.out'")
    found = store.read_now(status, made.project)
    assert [(one.name, one.counts[Shown.FAILED]) for one in found.strays] == [("gone.out", 1)]
    assert found.audit.unsealed > 0
    assert found.audit.last_seal is None


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"state": "ready", "due": 5}, Shown.SCHEDULED),
        ({"state": "ready", "due": 50}, Shown.RETRYING),
        ({"state": "ready", "due": 5, "generation": 1}, Shown.PROCESSING),
        ({"state": "claimed", "generation": 1}, Shown.PROCESSING),
        ({"state": "in_doubt", "generation": 1}, Shown.IN_DOUBT),
        ({"state": "waiting", "waits_for": "xref:x"}, Shown.WAITING),
        ({"state": "waiting", "waits_for": "xref:x", "cause": {"code": "blocked"}}, Shown.BLOCKED),
        ({"state": "parked", "cause": {"code": "invalid"}}, Shown.FAILED),
    ],
)
def test_a_row_is_shown_in_the_words_people_know(known: dict[str, Any], expected: Shown) -> None:
    row = Owed(
        id=b"", sync="s", subject="x", connection="c", target="t", lane=1, **{"due": 0, "want": 1, **known}
    )
    assert shown_state(row, 10) is expected


def test_every_cause_has_a_place_where_its_fix_belongs() -> None:
    assert {cause: place_of(cause) for cause in Cause if place_of(cause) is Place.PROGRAM}.keys() == {
        Cause.BUG, Cause.CRASHED, Cause.CURSOR, Cause.FENCED, Cause.SEAL, Cause.KEY, Cause.TAMPERED, Cause.EPOCH,
        Cause.POSITION, Cause.DEADLINE, Cause.SIGNATURE, Cause.OPERATOR, Cause.CLOCK, Cause.CIPHER, Cause.RECEIVER,
            Cause.DISK, Cause.REPLACED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "line", "reads", "value_map"),
    [
        ("Currency.Number", 8, ("currency",), "acme.currency"),
        ("Currency", 8, ("currency",), "acme.currency"),
        ("Sum", 9, ("amount", "currency"), None),
        ("Kind", 11, ("method",), "acme.kind"),
        ("Lines[].Account.Number", 12, ("account_no", "method"), None),
        ("Date", 13, ("received_on",), None),
        ("Note", 14, ("remark",), None),
    ],
)
def test_a_vendor_field_leads_to_the_rule_that_made_it(
    field: str, line: int, reads: tuple[str, ...], value_map: str | None
) -> None:
    from dataclasses import replace

    from hub.mapping import Schemas, ValueMap, crm_schemas
    from hub.mapping import compile as compile_mapping

    names = ("Currency.Number", "Sum", "Lines[].Kind.Number", "Lines[].Account.Number", "Date", "Note")
    maps = {name: ValueMap(name, {"x": "y"}, "0") for name in ("acme.currency", "acme.kind")}
    schemas = Schemas(crm_schemas(), {"acme.bill": dict.fromkeys(names, "text") | {"Sum": "decimal"}}, maps)
    known = project(("receipt",))
    sync = replace(known.syncs["receipt.out"], mapping=compile_mapping(TEXT, schemas, file="x"))
    known = replace(known, files=(ProjectFile("mapping", "acme/bill.out", TEXT),))
    found = origin_of(sync, field, known)
    assert found == Origin("mappings/acme/bill.out.yaml", line, reads, value_map)
    assert place_of(Cause.NOT_FOUND, found) is (Place.VALUE_MAP if value_map else Place.VENDOR)
    assert origin_of(sync, "Elsewhere", known) is None
