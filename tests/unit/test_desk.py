"""The repair desk: what a person may do about a dead letter, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from hub.clock import SECOND, SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.errors import Cause
from hub.pipe import desk, rows
from hub.pipe.accept import accept
from hub.pipe.desk import NotPossible, NotThere, Reason
from hub.pipe.work import Worker
from hub.pipe.world import World
from hub.sdk.connector import VendorRef
from hub.store import Store, Tx
from hub.store.view import View
from hub.vault import Vault
from tests.stores import ask, new_store_url
from tests.vendor import SETTLE_AFTER, Fate, MemoryConnector, MemoryVendor
from tests.worlds import project, world

BY = "user:li.lei"
NAME = "示例科技有限公司"


class Hands(SystemClock):
    """A clock that a test moves; sleeping takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead / SECOND

    async def sleep(self, seconds: float) -> None:
        self.ahead += int(seconds * SECOND) if seconds < 1 else 0
        if seconds >= 1:  # leases are renewed for as long as the call lasts
            await super().sleep(seconds)


@dataclass
class Site:
    """A store, a vendor in memory and the workers of both connections."""

    store: Store
    world: World
    clock: Hands
    vendor: MemoryVendor

    def put(self, kind: str, id_: str, **body: Any) -> Any:
        write = ExternalWrite("crm", kind, id_, body, "cn/south/")
        answer = self.store.run_now(accept, write, self.world)
        return answer.record_id if isinstance(answer, WriteAnswer) else answer

    def pay(self, customer: bytes, **body: Any) -> Any:
        known = {
            "no": "PAY-1",
            "customer": customer.hex(),
            "amount": "1000.00",
            "currency": "CNY",
            "received_on": "2026-01-10",
        }
        return self.put("payment", "P-1", **{**known, **body})

    async def work(self, *, ahead: float = 0.0) -> None:
        """Work off what is due, then move on and again, until nothing is claimed."""
        self.clock.ahead += int(ahead * SECOND)
        workers = [
            Worker(self.store, self.world, self.clock, "w1", "mem", MemoryConnector(self.vendor)),
            Worker(self.store, self.world, self.clock, "w1", "crm", None),
        ]
        for _ in range(20):
            if not any([await worker.turn(lane, 50) for worker in workers for lane in (0, 1, 2)]):
                return
            self.clock.ahead += SECOND // 5

    def rows(self) -> dict[str, dict[str, Any]]:
        names = "id sync subject state want generation force cause attempts deaths absent_after waits_for"
        found = self.store.read_now(ask, f"SELECT {', '.join(names.split())} FROM owed")
        made = [dict(zip(names.split(), row, strict=True)) for row in found]
        return {row["sync"]: {**row, "cause": orjson.loads(row["cause"] or "null")} for row in made}

    def acts(self) -> list[tuple[str, str, dict[str, Any]]]:
        found = self.store.read_now(ask, "SELECT actor, verb, body FROM acts ORDER BY id")
        return [(actor, verb, orjson.loads(body)) for actor, verb, body in found]

    def said(self, outcome: str) -> dict[str, Any]:
        """Return the newest item of that outcome."""
        return next(
            item
            for _, _, body in reversed(self.acts())
            for item in body["items"]
            if item.get("outcome") == outcome
        )

    def receipts(self) -> list[Any]:
        return [effect for effect in self.vendor.effects if effect.object == "receipt"]


@pytest.fixture(params=["memory", "postgresql"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    clock = Hands()
    store = Store.open(new_store_url(request.param, request), clock, inline=True)
    vault = Vault.in_memory(clock)
    yield Site(store, world(store, vault, project(("customer", "receipt"))), clock, MemoryVendor(clock))
    store.close()


async def _refused(site: Site) -> bytes:
    """Let the vendor refuse a receipt; return the dead letter."""
    customer = site.put("customer", "C-1", name=NAME)
    await site.work()
    site.vendor.fate = lambda write: Fate.REFUSE if write and write.object == "receipt" else Fate.OK
    site.pay(customer)
    await site.work()
    row = site.rows()["receipt.out"]
    assert (row["state"], row["cause"]["code"], row["cause"]["field"]) == ("parked", "invalid", "remark")
    return row["id"]


async def test_a_refused_receipt_is_delivered_after_an_edit(site: Site) -> None:
    row = await _refused(site)
    site.vendor.fate = lambda write: (
        Fate.OK if not write or write.payload.get("remark") == "定金" else Fate.REFUSE
    )
    done = site.store.run_now(desk.edit, row, {"remark": "定金"}, site.world, by=BY)
    assert (done.state, done.syncs) == ("ready", ("receipt.out",))
    await site.work()
    assert site.rows() == {}
    assert [dict(effect.fields)["remark"] for effect in site.receipts()] == ["定金"]
    actor, verb, body = next(act for act in site.acts() if act[1] == "edit")
    assert (actor, verb) == (BY, "edit")
    assert [item["outcome"] for item in body["items"]] == ["changed", "owed", "edited"]


async def test_a_replay_of_a_refused_row_sends_it_again_with_everything(site: Site) -> None:
    row = await _refused(site)
    site.vendor.fate = lambda write: Fate.OK
    done = site.store.run_now(desk.replay, row, site.world, by=BY)
    assert done.state == "ready"
    known = site.rows()["receipt.out"]
    assert known["force"] == known["want"]
    assert (known["attempts"], known["deaths"], known["cause"]) == (0, 0, None)
    await site.work()
    assert site.rows() == {}
    assert len(site.receipts()) == 1
    assert site.said("replayed")["cause"] == "invalid"


async def test_only_a_dead_letter_is_replayed(site: Site) -> None:
    site.put("customer", "C-1", name=NAME)
    row = site.rows()["customer.out"]["id"]
    before = site.acts()
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.replay, row, site.world, by=BY)
    assert refusal.value.reason is Reason.NOT_PARKED
    assert site.acts() == before


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({}, Reason.FIELDS, "none"),
        ({"remrak": "x"}, Reason.FIELDS, "remrak"),
        ({"amount": "viel"}, Reason.FIELDS, "amount"),
        ({"no": None}, Reason.FIELDS, "required"),
        ({"customer": "0" * 32}, Reason.FIELDS, "no customer with this id"),
        ({"no": "PAY-1"}, Reason.SAME, ""),
    ],
)
async def test_an_edit_that_does_not_fit_changes_nothing(
    site: Site, fields: dict[str, Any], reason: Reason, said: str
) -> None:
    row = await _refused(site)
    before = (site.rows(), site.acts())
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.edit, row, fields, site.world, by=BY)
    assert refusal.value.reason is reason
    assert said in str(refusal.value)
    assert (site.rows(), site.acts()) == before


async def test_an_edit_does_not_take_the_credit_code_of_another_customer(site: Site) -> None:
    other = site.put("customer", "C-2", name="另一家公司", uscc="91440300708461136T")
    site.vendor.fate = lambda write: Fate.REFUSE if write else Fate.OK
    site.put("customer", "C-1", name=NAME)
    await site.work()
    rows = site.store.read_now(ask, "SELECT id, subject FROM owed WHERE state = 'parked'")
    mine = next(id_ for id_, subject in rows if subject != other.hex())
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.edit, mine, {"uscc": "91440300708461136T"}, site.world, by=BY)
    assert refusal.value.reason is Reason.TAKEN
    assert other.hex() in refusal.value.detail


async def _in_doubt(site: Site, fate: Fate) -> bytes:
    """Park a receipt whose write has no known outcome: nobody can look it up."""
    customer = site.put("customer", "C-1", name=NAME)
    await site.work()
    site.vendor.fate = lambda write: (
        fate if write and write.object == "receipt" else Fate.DOWN if write is None else Fate.OK
    )
    site.pay(customer)
    await site.work()
    row = site.rows()["receipt.out"]
    assert row["state"] == "in_doubt"
    _park_open(site, row["id"])
    return row["id"]


def _park_open(site: Site, row: bytes) -> None:
    """Spend the look-ups as a long outage would."""
    cause = orjson.dumps({"code": "doubt", "at": 1}).decode()
    site.store.run_now(ask, "UPDATE owed SET state = 'parked', cause = ? WHERE id = ?", cause, row)


async def test_a_row_in_doubt_is_not_discarded(site: Site) -> None:
    row = await _in_doubt(site, Fate.LOST)
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.discard, row, "no longer needed", site.world, by=BY)
    assert refusal.value.reason is Reason.OPEN
    assert site.rows()["receipt.out"]["id"] == row


async def test_nobody_resolves_while_the_write_may_still_take_effect(site: Site) -> None:
    row = await _in_doubt(site, Fate.LATE)
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.resolve, row, site.world, ref=None, evidence="looked", by=BY)
    assert refusal.value.reason is Reason.TOO_EARLY


async def test_resolved_as_applied_agrees_with_the_object_named(site: Site) -> None:
    row = await _in_doubt(site, Fate.LOST)
    site.clock.ahead += int((SETTLE_AFTER + 20) * SECOND)
    made = next(effect for effect in site.receipts())
    done = site.store.run_now(
        desk.resolve, row, site.world, ref=VendorRef(made.id), evidence="seen in the ledger", by=BY
    )
    assert done.state is None
    told = site.said("resolved")
    assert (told["answer"], told["evidence"], told["vendor_id"]) == ("applied", "seen in the ledger", made.id)
    found = site.store.read_now(ask, "SELECT vendor_id, complete FROM xrefs WHERE object = 'receipt'")
    assert [(vendor_id, complete is not None) for vendor_id, complete in found] == [(made.id, True)]
    site.vendor.fate = lambda write: Fate.OK
    await site.work(ahead=60)
    assert len(site.receipts()) == 1


async def test_resolved_as_not_applied_is_sent_once_more_under_a_new_key(site: Site) -> None:
    row = await _in_doubt(site, Fate.NEVER)
    site.clock.ahead += int((SETTLE_AFTER + 20) * SECOND)
    before = site.rows()["receipt.out"]["want"]
    done = site.store.run_now(desk.resolve, row, site.world, ref=None, evidence="not in the ledger", by=BY)
    assert done.state == "ready"
    known = site.rows()["receipt.out"]
    assert known["generation"] is None
    assert known["want"] > before
    site.vendor.fate = lambda write: Fate.OK
    await site.work()
    assert site.rows() == {}
    assert len(site.receipts()) == 1


async def test_a_resolve_needs_evidence_and_the_right_object(site: Site) -> None:
    row = await _in_doubt(site, Fate.LOST)
    site.clock.ahead += int((SETTLE_AFTER + 20) * SECOND)
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.resolve, row, site.world, ref=None, evidence=" ", by=BY)
    assert refusal.value.reason is Reason.NO_WORDS
    before = site.rows()
    with pytest.raises(NotPossible):  # that row's write is known
        site.store.run_now(desk.resolve, await _other(site), site.world, ref=None, evidence="x", by=BY)
    assert site.rows()["receipt.out"] == before["receipt.out"]


async def _other(site: Site) -> bytes:
    site.put("customer", "C-9", name="第九家公司")
    return next(iter(site.store.read_now(ask, "SELECT id FROM owed WHERE sync = 'customer.out'")))[0]


async def test_an_object_of_another_record_is_no_answer(site: Site) -> None:
    row = await _in_doubt(site, Fate.LOST)
    site.clock.ahead += int((SETTLE_AFTER + 20) * SECOND)
    taken = "INSERT INTO xrefs SELECT connection, 'receipt', org, 'R-OTHER', record, is_primary, stable_key, snapshot, "
    taken += "stored_version, seen, rest_until, complete, stage, gone, sent, act FROM xrefs WHERE object = 'customer' AND connection = 'mem'"
    site.store.run_now(ask, taken)
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.resolve, row, site.world, ref=VendorRef("R-OTHER"), evidence="x", by=BY)
    assert refusal.value.reason is Reason.TAKEN


async def test_a_discarded_customer_is_raised_again_by_the_receipt_that_needs_it(site: Site) -> None:
    site.vendor.fate = lambda write: Fate.REFUSE if write and write.object == "customer" else Fate.OK
    customer = site.put("customer", "C-1", name=NAME)
    site.pay(customer)
    await site.work()
    rows = site.rows()
    assert rows["customer.out"]["state"] == "parked"
    assert rows["receipt.out"]["state"] == "waiting"
    done = site.store.run_now(desk.discard, rows["customer.out"]["id"], "a mistake", site.world, by=BY)
    assert done.state is None
    assert site.rows()["receipt.out"]["state"] == "ready"
    assert site.said("discarded")["reason"] == "a mistake"
    site.vendor.fate = lambda write: Fate.OK
    await site.work()
    await site.work()
    assert len(site.receipts()) == 1


async def test_a_discard_needs_a_reason(site: Site) -> None:
    row = await _refused(site)
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.discard, row, "  ", site.world, by=BY)
    assert refusal.value.reason is Reason.NO_WORDS


def _candidate(site: Site) -> tuple[bytes, bytes]:
    """Send a customer that may be one we have; return the dead letter and the record it may be."""
    mine = site.put("customer", "C-1", name=NAME)
    theirs = site.put("customer", "C-2", name=NAME)
    assert theirs.cause is Cause.CANDIDATE
    return _stopped(site), mine


def _stopped(site: Site) -> bytes:
    """Return the one dead letter of the CRM's customers."""
    return site.rows()["api:crm:customer"]["id"]


async def test_a_candidate_that_a_person_recognises_becomes_an_alias(site: Site) -> None:
    row, mine = _candidate(site)
    done = site.store.run_now(desk.choose, row, mine, site.world, by=BY)
    assert done.state == "ready"
    await site.work()
    found = site.store.read_now(
        ask, "SELECT vendor_id, record FROM xrefs WHERE connection = 'crm' ORDER BY vendor_id"
    )
    assert [(vendor_id, bytes(record)) for vendor_id, record in found] == [("C-1", mine), ("C-2", mine)]
    assert site.said("chosen")["choice"] == mine.hex()


async def test_a_candidate_that_is_somebody_new_becomes_a_record(site: Site) -> None:
    row, mine = _candidate(site)
    site.store.run_now(desk.choose, row, None, site.world, by=BY)
    await site.work()
    found = site.store.read_now(
        ask, "SELECT record FROM xrefs WHERE connection = 'crm' AND vendor_id = 'C-2'"
    )
    assert len(found) == 1
    assert bytes(found[0][0]) != mine


async def test_nobody_chooses_a_record_that_is_no_candidate(site: Site) -> None:
    row, _ = _candidate(site)
    stranger = site.put("customer", "C-3", name="别的公司")
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.choose, row, stranger, site.world, by=BY)
    assert refusal.value.reason is Reason.NOT_CANDIDATE
    refused = await _refused_customer(site)
    with pytest.raises(NotPossible):
        site.store.run_now(desk.choose, refused, None, site.world, by=BY)


async def _refused_customer(site: Site) -> bytes:
    site.vendor.fate = lambda write: Fate.REFUSE if write else Fate.OK
    await site.work()
    return next(
        iter(site.store.read_now(ask, "SELECT id FROM owed WHERE sync = 'customer.out' AND state = 'parked'"))
    )[0]


async def test_an_arrival_is_repaired_in_its_source_body(site: Site) -> None:
    made = site.put("customer", "C-1", street="深圳")  # no name
    assert made.cause is Cause.MISSING_FIELD
    done = site.store.run_now(desk.edit, _stopped(site), {"name": NAME}, site.world, by=BY)
    assert done.state == "ready"
    await site.work()
    bodies = site.store.read_now(ask, "SELECT body FROM records")
    assert [orjson.loads(body) for (body,) in bodies] == [{"name": NAME, "street": "深圳"}]


async def test_an_arrival_is_not_given_a_field_its_source_does_not_have(site: Site) -> None:
    site.put("customer", "C-1", street="深圳")
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.edit, _stopped(site), {"nmae": NAME}, site.world, by=BY)
    assert refusal.value.reason is Reason.FIELDS


def test_an_unknown_row_is_not_there(site: Site) -> None:
    for act in (
        lambda: site.store.run_now(desk.replay, b"\0" * 16, site.world, by=BY),
        lambda: site.store.run_now(desk.discard, b"\0" * 16, "x", site.world, by=BY),
        lambda: site.store.run_now(desk.edit, b"\0" * 16, {"name": "x"}, site.world, by=BY),
    ):
        with pytest.raises(NotThere):
            act()
    assert site.acts() == []


async def test_a_paused_sync_keeps_its_rows_until_it_is_resumed(site: Site) -> None:
    assert site.store.run_now(desk.pause, "customer.out", site.world, by=BY) == "sync"
    site.put("customer", "C-1", name=NAME)
    await site.work()
    assert site.rows()["customer.out"]["state"] == "ready"
    assert site.store.run_now(desk.resume, "customer.out", site.world, by=BY) == "sync"
    await site.work()
    assert site.rows() == {}
    assert [(actor, verb) for actor, verb, _ in site.acts() if actor == BY] == [(BY, "pause"), (BY, "resume")]


async def test_a_paused_connection_is_not_probed_until_a_person_resumes_it(site: Site) -> None:
    assert site.store.run_now(desk.pause, "mem", site.world, by=BY) == "connection"
    site.put("customer", "C-1", name=NAME)
    await site.work(ahead=3600)
    assert site.vendor.effects == []
    site.store.run_now(desk.resume, "mem", site.world, by=BY)
    await site.work()
    assert site.rows() == {}


def test_pausing_a_sync_keeps_where_its_reader_is(site: Site) -> None:
    job = "INSERT INTO jobs (name, kind, spec, position, due, fence, progress, state, act) "
    site.store.run_now(ask, job + "VALUES ('sync:customer.in', 'sync', 'null', '7', 5, 3, 'null', 'due', 1)")
    site.store.run_now(desk.pause, "customer.in", site.world, by=BY)
    found = site.store.read_now(ask, "SELECT position, due, fence, state FROM jobs")
    assert found == [("7", 5, 3, "paused")]


@pytest.mark.parametrize("name", ["nobody", "api:x", "api:crm:nothing", ""])
def test_nothing_unknown_is_paused(site: Site, name: str) -> None:
    with pytest.raises(NotThere):
        site.store.run_now(desk.pause, name, site.world, by=BY)


async def test_a_repaired_arrival_is_not_stale_although_its_object_was_written_meanwhile(site: Site) -> None:
    customer = site.put("customer", "C-1", name=NAME)
    await site.work()
    (id_,) = [thing.id for thing in site.vendor.things.values()]
    site.vendor.edit("customer", id_, name="长" * 300)
    site.store.run_now(_hint, site.world, f"/{id_}")
    await site.work()
    row = site.rows()["customer.in"]
    assert (row["state"], row["cause"]["code"], row["cause"]["field"]) == ("parked", "mapping", "name")
    site.put("customer", "C-1", name=NAME, street="深圳")
    await site.work()  # a delivery of the same object settles: whatever was read before it is stale
    site.store.run_now(desk.edit, row["id"], {"name": "新名有限公司"}, site.world, by=BY)
    await site.work()
    assert "customer.in" not in site.rows()
    found = site.store.read_now(ask, "SELECT body FROM records WHERE id = ?", customer)
    assert orjson.loads(found[0][0])["name"] == "新名有限公司"


def _hint(tx: Tx, world: World, subject: str) -> None:
    view = View(tx, world.vault)
    rows.owe(
        view, rows.new_row(view, sync="customer.in", subject=subject, connection="mem", target=None, lane=1)
    )
    view.flush("test", "hint")


async def test_an_arrival_that_is_only_a_hint_has_no_body_to_edit(site: Site) -> None:
    site.store.run_now(_hint, site.world, "/C9")
    site.store.run_now(ask, "UPDATE owed SET state = 'parked', cause = '{\"code\":\"gave_up\"}'")
    row = site.rows()["customer.in"]["id"]
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.edit, row, {"name": NAME}, site.world, by=BY)
    assert refusal.value.reason is Reason.NO_BODY
    assert site.store.run_now(desk.replay, row, site.world, by=BY).state == "ready"


async def test_an_edit_of_a_row_in_doubt_moves_its_want_and_nothing_else(site: Site) -> None:
    row = await _in_doubt(site, Fate.NEVER)
    before = site.rows()["receipt.out"]
    done = site.store.run_now(desk.edit, row, {"remark": "定金"}, site.world, by=BY)
    after = site.rows()["receipt.out"]
    assert done.state == "parked"
    assert after["want"] > before["want"]
    same = ("state", "generation", "cause", "absent_after", "attempts")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}


async def test_a_replay_of_a_row_in_doubt_looks_before_it_sends(site: Site) -> None:
    row = await _in_doubt(site, Fate.LOST)
    assert site.store.run_now(desk.replay, row, site.world, by=BY).state == "in_doubt"
    site.vendor.fate = lambda write: Fate.OK
    await site.work()
    assert len(site.receipts()) == 1  # it was there: found, not sent again


async def test_an_arrival_that_is_being_read_is_not_discarded(site: Site) -> None:
    site.store.run_now(_hint, site.world, "/C9")
    site.store.run_now(ask, "UPDATE owed SET state = 'claimed', generation = want, lease = 1")
    row = site.rows()["customer.in"]["id"]
    with pytest.raises(NotPossible) as refusal:
        site.store.run_now(desk.discard, row, "x", site.world, by=BY)
    assert refusal.value.reason is Reason.BUSY
