"""The merge table of pipe.md 5, line by line."""

from __future__ import annotations

from typing import Any

import pytest

from hub.crm.merge import FLIPS, Merged, agree, due_fields, merge


def digest(name: str, value: Any) -> str:
    return f"{name}={value}"


def pair(ours: Any, theirs: Any, flips: int = 0, before: Any = None) -> list[Any]:
    made = [None if side is None else digest("street", side) for side in (ours, theirs)]
    return [*made, flips, None if before is None else digest("street", before)]


def merged(crm: Any, vendor: Any, known: list[Any] | None, authority: str = "crm", **rest: Any) -> Merged:
    return merge(
        {"street": crm},
        {"street": vendor},
        {"street": known} if known else {},
        digest=digest,
        authority=lambda name: authority,
        **rest,
    )


def test_a_vendor_value_that_was_agreed_before_is_an_echo():
    result = merged("ours now", "as agreed", pair("as agreed", "as agreed"))
    assert (result.taken, result.pairs, result.conflicts) == ({}, {}, [])


def test_what_was_agreed_before_the_last_change_is_our_own_late_copy_while_one_may_land():
    known = pair("user's", "user's", before="ours")
    late = merged("user's", "ours", known, "source", late=True)
    assert (late.taken, late.owe_back, [one.winner for one in late.conflicts]) == ({}, ["street"], ["crm"])
    assert merged("user's", "ours", known, "source").taken == {"street": "ours"}
    assert merged("user's", "another", known, late=True).taken == {"street": "another"}


def test_both_sides_at_the_same_value_agree_without_a_change():
    result = merged("same", "same", pair("old", "old"))
    assert result.taken == {}
    assert result.pairs["street"][:2] == pair("same", "same")[:2]


def test_when_only_the_vendor_moved_its_value_is_taken():
    result = merged("old", "new", pair("old", "old"))
    assert result.taken == {"street": "new"}
    assert result.conflicts == []


def test_when_both_moved_and_the_crm_has_authority_the_vendors_value_is_noted_and_ours_is_owed():
    result = merged("crm new", "vendor new", pair("old", "old"))
    assert result.taken == {}
    assert [(c.winner, c.loser) for c in result.conflicts] == [("crm", "vendor new")]
    assert result.pairs["street"][:2] == pair(None, "vendor new")[:2]
    assert result.owe_back == ["street"]


def test_when_both_moved_and_the_source_has_authority_the_crms_value_is_noted():
    result = merged("crm new", "vendor new", pair("old", "old"), "source")
    assert result.taken == {"street": "vendor new"}
    assert [(c.winner, c.loser) for c in result.conflicts] == [("source", "crm new")]


@pytest.mark.parametrize(("newer", "taken"), [(True, {"street": "vendor new"}), (False, {}), (None, {})])
def test_newest_follows_the_change_time_and_without_one_the_crm_wins(newer, taken):
    assert merged("crm new", "vendor new", pair("old", "old"), "newest", newer=newer).taken == taken


def test_manual_authority_leaves_the_field_to_a_person():
    result = merged("crm new", "vendor new", pair("old", "old"), "manual")
    assert result.manual == "street"
    assert result.taken == {}


def test_a_field_never_agreed_counts_as_empty_on_both_sides():
    assert merged(None, "first", None).taken == {"street": "first"}
    assert merged("ours", None, None).pairs == {}


def test_a_first_link_of_two_different_values_is_a_conflict():
    assert merged("ours", "theirs", None).conflicts != []


@pytest.mark.parametrize("authority", ["crm", "source", "newest", "manual"])
def test_at_a_first_link_an_opt_out_of_the_crm_outweighs_a_vendor_that_knows_of_none(authority: str):
    found = merged(True, False, None, authority, newer=True)
    assert (found.taken, found.owe_back, found.manual) == ({}, ["street"], None)
    assert merged(True, False, pair(True, True), "source").taken == {"street": False}  # later it is a change


def test_a_field_that_flips_back_and_forth_is_stopped():
    known, value = None, "a"
    crm: Any = None
    for _ in range(2 + FLIPS):
        result = merged(crm, value, known)
        known, crm = result.pairs["street"], value
        value = "b" if value == "a" else "a"
    assert result.flipping == "street"


def test_a_field_that_keeps_moving_on_is_not_a_flip():
    known: Any = None
    for number in range(8):
        result = merged(f"v{number - 1}" if number else None, f"v{number}", known)
        assert result.flipping is None
        known = result.pairs["street"]


def settled(crm: Any, stored: Any, *, sent: Any, known: list[Any], normalises: bool = False) -> Merged:
    return agree(
        {"street": crm},
        None if stored is ... else {"street": stored},
        {"street": known},
        sent={"street": digest("street", sent)},
        normalises=normalises,
        digest=digest,
        authority=lambda name: "crm",
    )


def test_a_write_that_took_effect_is_agreed_on_both_sides():
    assert (
        settled("sent", ..., sent="sent", known=pair(None, "old")).pairs["street"][:2]
        == pair("sent", "sent")[:2]
    )


def test_an_edit_at_the_vendor_in_the_meantime_is_taken_not_absorbed():
    result = settled("sent", "edited there", sent="sent", known=pair(None, "old"))
    assert result.taken == {"street": "edited there"}


def test_an_edit_in_the_crm_in_the_meantime_stays_due():
    result = settled("newer here", "sent", sent="sent", known=pair(None, "old"))
    assert result.taken == {}
    assert due_fields({"street": "newer here"}, result.pairs, ["street"], digest) == {"street"}


def test_a_vendors_own_form_of_what_we_sent_is_no_edit():
    result = settled("Sent", "SENT", sent="Sent", known=pair(None, "old"), normalises=True)
    assert result.taken == {}
    assert result.pairs["street"][:2] == pair("Sent", "SENT")[:2]
    assert due_fields({"street": "Sent"}, result.pairs, ["street"], digest) == set()


def test_only_fields_that_neither_side_knows_are_due():
    snapshot = {"street": pair("a", "b")}
    assert due_fields({"street": "a"}, snapshot, ["street"], digest) == set()
    assert due_fields({"street": "b"}, snapshot, ["street"], digest) == set()
    assert due_fields({"street": "c"}, snapshot, ["street"], digest) == {"street"}
    assert due_fields({}, {}, ["street"], digest) == set()
