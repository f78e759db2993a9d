"""What the pipe counts: once what was committed, nothing of what was not, and how long the way took."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub.clock import SECOND
from hub.errors import Cause, ConnectionDown, OutcomeUnknown, Refused, TryAgain
from hub.metrics import FAMILIES, Metrics
from hub.pipe.claim import Attempt
from hub.pipe.decide import Send
from hub.pipe.take import take
from hub.pipe.tally import answered, refused
from hub.sdk.connector import Absent, Applied, CannotTell, Failed, SourceRecord, VendorKey, VendorRef
from tests.pipe_stand import Stand
from tests.vendor import Fate
from tests.worlds import project

WAY = "hub_end_to_end_latency_seconds"


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand(made=project(("customer", "card", "mail")))
    yield made
    made.close()


def way(stand: Stand, sync: str) -> tuple[int, int]:
    """Return how many ways of a sync were measured, and the sum of their seconds."""
    *counts, seconds = stand.world.metrics.steps.get(WAY, {}).get((sync,), [0, 0.0])
    return int(sum(counts)), round(seconds)  # each call of the vendor takes 20 ms


def count(stand: Stand, name: str, *labels: str) -> float:
    return stand.world.metrics.sums.get(name, {}).get(labels, 0)


def test_what_is_taken_is_counted_with_how_long_ago_it_was_observed(stand: Stand) -> None:
    cards = [stand.vendor.add("card", name=f"公司{n}", phone=f"+861390000000{n}") for n in range(3)]
    stand.take(*cards, observed_at=stand.clock.now() - 4 * SECOND)
    assert count(stand, "hub_records_read_total", "mem", "card") == 3
    assert way(stand, "card.in") == (3, 12)


def test_a_hint_is_no_record_and_what_it_has_fetched_is(stand: Stand) -> None:
    card = stand.vendor.add("card", name="甲公司", phone="+8613900000001")
    stand.take(card.id, stream="card")
    assert stand.world.metrics.sums == {}
    stand.advance(2)
    stand.run()
    assert way(stand, "card.in") == (1, 2)


def test_a_transaction_that_is_undone_counts_nothing(stand: Stand, monkeypatch) -> None:
    class Undone(Exception):
        """It was rolled back."""

    def undone(tx, *args) -> None:
        take(tx, *args)
        raise Undone

    monkeypatch.setattr("tests.pipe_stand.take", undone)
    card = stand.vendor.add("card", name="甲公司", phone="+8613900000001")
    with pytest.raises(Undone):
        stand.take(card)
    assert (stand.world.metrics.sums, stand.world.metrics.steps) == ({}, {})


def test_the_way_out_ends_when_the_vendor_holds_it(stand: Stand) -> None:
    stand.put("C-1", name="甲公司")
    stand.advance(3)
    stand.step(Fate.TRY)
    assert way(stand, "mail.out") == (0, 0)
    assert count(stand, "hub_records_written_total", "mem", "mail.out") == 0
    stand.advance(30)
    stand.run()
    assert way(stand, "mail.out") == (1, 33)
    assert count(stand, "hub_records_written_total", "mem", "mail.out") == 1
    assert count(stand, "hub_records_written_total", "mem", "customer.out") == 1, (
        "a plan of three steps is one write"
    )
    assert way(stand, "customer.out")[0] == 1


def test_a_dead_letter_is_counted_by_sync_and_cause(stand: Stand) -> None:
    stand.put("C-1", name="甲公司")
    stand.step(Fate.REFUSE)
    assert count(stand, "hub_records_failed_total", "mail.out", "invalid") == 1
    assert count(stand, "hub_records_failed_total", "customer.out", "invalid") == 1


def test_a_write_in_doubt_is_neither_written_nor_failed(stand: Stand) -> None:
    stand.put("C-1", name="甲公司")
    stand.step(Fate.LOST)
    for name in ("hub_records_written_total", "hub_records_failed_total"):
        assert stand.world.metrics.sums.get(name, {}) == {}
    assert way(stand, "customer.out") == (0, 0)


def attempt(send: Send | None, **known) -> Attempt:
    return Attempt(b"r", "s", "1", 1, b"e", 1, send, stream="card", **known)


@pytest.mark.parametrize(
    ("send", "result", "verb", "word"),
    [
        (None, SourceRecord(VendorKey("", "1"), {}, 0), "fetch", "source_record"),
        (None, Failed(ConnectionDown("x")), "fetch", "connection_down"),
        (Send.FIRST, Applied(VendorRef("1")), "write", "applied"),
        (Send.REPEAT, Failed(OutcomeUnknown("x")), "write", "outcome_unknown"),
        (Send.FIRST, Failed(Refused("x")), "write", "refused"),
        (Send.FIND, Absent(), "find", "absent"),
        (Send.FIND, CannotTell("x", TryAgain("x")), "find", "try_again"),
        (Send.FIND, CannotTell("x", None), "find", "cannot_tell"),
    ],
)
def test_an_answer_is_counted_by_what_it_was(send, result, verb, word) -> None:
    metrics = Metrics()
    answered(metrics, "mem", "fetch" if send is None else "write", [attempt(send)], [result])
    assert metrics.sums["hub_attempts_total"] == {("mem", verb, word): 1}
    assert ("hub_records_read_total" in metrics.sums) == isinstance(result, SourceRecord)


def test_a_row_that_is_its_own_answer_asked_nobody() -> None:
    metrics = Metrics()
    answered(
        metrics,
        "mem",
        "fetch",
        [attempt(None, source={"id": "1"})],
        [SourceRecord(VendorKey("", "1"), {}, 0)],
    )
    assert metrics.sums == {}


@pytest.mark.parametrize(("cause", "limited"), [(Cause.RATE, 1), (Cause.QUOTA, 1), (Cause.UNAVAILABLE, 0)])
def test_a_vendor_that_says_too_many_calls_is_counted_as_that(cause: Cause, limited: int) -> None:
    metrics = Metrics()
    error = TryAgain("x", cause=cause)
    answered(metrics, "mem", "write", [attempt(Send.FIRST)], [Failed(error)])
    refused(metrics, "mem", error)
    assert metrics.sums.get("hub_rate_limited_total", {}).get(("mem",), 0) == 2 * limited


def test_nothing_is_counted_that_is_not_declared(stand: Stand) -> None:
    stand.put("C-1", name="甲公司")
    stand.run()
    for name, sets in stand.world.metrics.sums.items():
        assert {len(labels) for labels in sets} == {len(FAMILIES[name].labels)}
