"""States of an approval only go forward: whatever way its events come, it ends where the approval system ended."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.crm.decide import Change, Same, change_of
from hub.crm.merge import Merged
from hub.model import KINDS
from hub.model.lattice import LATTICES, forward
from hub.store.rows import Record

APPROVAL = LATTICES["approval"]
STATES = KINDS["approval"].fields["status"].choices
FINAL = ("rejected", "withdrawn", "terminated", "revoked")
Body = dict[str, Any]


def take(known: Body, event: Body) -> Body:
    return {**known, **forward("approval", known, event).fields}


@st.composite
def histories(draw: st.DrawFn) -> list[Body]:
    """Return what an approval system really went through, each moment with the steps taken by then."""
    state, nodes = "draft", []
    moments: list[Body] = [{"status": state, "nodes": []}]
    while following := APPROVAL.steps.get(state, ()):
        for _ in range(draw(st.integers(0, 2)) if state == "in_progress" else 0):
            nodes = [*nodes, {"seq": len(nodes), "action": "agree"}]
            moments.append({"status": state, "nodes": nodes})
        if state == "approved" and draw(st.booleans()):
            break
        state = draw(st.sampled_from(following))
        nodes = [*nodes, {"seq": len(nodes), "action": state}]
        moments.append({"status": state, "nodes": nodes})
    return moments


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Body], list[Body]]:
    """Return a history and its events shuffled, repeated, delayed, some lost; the last one comes at some time."""
    history = draw(histories())
    events = draw(st.lists(st.sampled_from(history), max_size=12))
    events.insert(draw(st.integers(0, len(events))), history[-1])
    return history, events


@given(deliveries())
def test_shuffled_repeated_late_and_lost_events_end_where_the_approval_ended(
    came: tuple[list[Body], list[Body]],
):
    history, events = came
    known: Body = {"status": "draft"}
    for event in events:
        known = take(known, event)
    assert known["status"] == history[-1]["status"]
    assert known.get("nodes") == history[-1]["nodes"]


@pytest.mark.parametrize("final", FINAL)
@given(events=st.lists(st.sampled_from(STATES), max_size=20))
def test_nothing_follows_a_final_state(final: str, events: list[str]):
    known: Body = {"status": final, "opinion": "不同意", "nodes": [{"seq": 0}]}
    for event in events:
        assert take(known, {"status": event, "opinion": "late", "nodes": []}) == known


def test_every_state_of_the_kind_is_in_the_table_and_the_table_has_no_circle():
    assert set(APPROVAL.reach) == set(STATES)
    for state, following in APPROVAL.reach.items():
        assert state not in following
    assert {state for state, following in APPROVAL.reach.items() if not following} == set(FINAL)
    assert APPROVAL.reach["approved"] == {"revoked"}
    assert {APPROVAL.field, APPROVAL.growing, *APPROVAL.told, *APPROVAL.fixed} <= KINDS[
        "approval"
    ].fields.keys()


@pytest.mark.parametrize(("was", "now"), list(itertools.product(STATES, STATES)))
def test_two_ends_of_one_approval_are_told_to_a_person_and_a_late_state_to_nobody(was: str, now: str):
    found = forward("approval", {"status": was}, {"status": now})
    contradicts = now != was and now not in APPROVAL.reach[was] and was not in APPROVAL.reach[now]
    assert (found.refused is not None) == contradicts
    assert found.fields == ({"status": now} if now in APPROVAL.reach[was] else {})
    if contradicts:
        assert found.refused == ("status", f"is {was} here and {now} there: both are final")


def test_what_is_being_decided_is_not_changed_and_the_decision_is_still_taken():
    known = {"status": "in_progress", "amount": "150000.00", "currency": "CNY", "reason": "a"}
    event = {"status": "approved", "amount": "900000.00", "currency": "CNY", "reason": "b"}
    found = forward("approval", known, event)
    assert found.fields == {"status": "approved", "currency": "CNY", "reason": "b"}
    assert found.refused is not None
    assert found.refused[0] == "amount"
    assert forward("approval", {**known, "status": "draft"}, event).refused is None


def test_a_field_that_was_open_may_still_be_filled_and_a_state_is_never_taken_away():
    found = forward("approval", {"status": "submitted"}, {"amount": "1.00", "status": None})
    assert (found.fields, found.refused) == ({"amount": "1.00"}, None)


def test_kinds_without_such_a_state_are_left_alone():
    assert forward("customer", {"status": "lost"}, {"status": "active"}).fields == {"status": "active"}


def test_the_answer_to_a_write_undoes_nothing_that_came_meanwhile():
    record = Record(b"", "approval", 3, "cn/", None, None, {"no": "A-1", "status": "approved"})
    assert isinstance(change_of(record, Merged(taken={"status": "in_progress"})), Same)
    later = change_of(record, Merged(taken={"status": "revoked"}))
    assert isinstance(later, Change)
    assert later.records[0].body["status"] == "revoked"
