"""The three-way merge, one rule per field (pipe.md section 5): the table as data, and what holds for any values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.crm.merge import Conflict, due_fields, merge


def digest(_name: str, value: Any) -> str:
    return "-" if value is None else str(value)


def one(crm: Any, vendor: Any, pair: list[Any] | None, authority: str = "crm") -> Any:
    snapshot = {} if pair is None else {"f": [*pair, 0, None]}
    return merge({"f": crm}, {"f": vendor}, snapshot, digest=digest, authority=lambda _: authority)


def told(result: Any) -> dict[str, Any]:
    pair = result.pairs.get("f")
    return {
        "taken": result.taken.get("f"),
        "pair": pair and pair[:2],
        "owed": result.owe_back == ["f"],
        "lost": [(c.winner, c.loser) for c in result.conflicts],
    }


NOTHING: dict[str, Any] = {"taken": None, "pair": None, "owed": False, "lost": []}
CRM_WINS: dict[str, Any] = {"taken": None, "pair": [None, "b"], "owed": True, "lost": [("crm", "b")]}
TAKEN: dict[str, Any] = {**NOTHING, "taken": "b", "pair": ["b", "b"]}

TABLE = [
    # crm, vendor, (ours, theirs), authority -> what happens
    ("a", "a", ["a", "a"], "crm", NOTHING),
    ("b", "a", ["a", "a"], "crm", NOTHING),  # v = theirs: only we moved; our delivery is owed already
    ("a", "A", ["a", "A"], "crm", NOTHING),  # v = theirs, in the vendor's own form
    ("b", "b", ["a", "a"], "crm", {**NOTHING, "pair": ["b", "b"]}),  # v = crm: both := v
    (
        "b",
        "b",
        [None, "a"],
        "crm",
        {**NOTHING, "pair": ["b", "b"]},
    ),  # our write landed although nobody said so
    ("a", "b", ["a", "a"], "crm", TAKEN),  # only the vendor moved
    ("a", "b", ["a", "A"], "crm", TAKEN),
    ("c", "b", ["a", "a"], "crm", CRM_WINS),
    ("c", "b", [None, "a"], "crm", CRM_WINS),
    ("a", "b", [None, "a"], "crm", CRM_WINS),  # nobody knows what landed: nothing of ours was agreed
    ("c", "b", ["a", "a"], "source", {**TAKEN, "lost": [("source", "c")]}),
    ("c", "b", ["a", "a"], "newest", CRM_WINS),
    # never agreed: both sides count as empty
    (None, "b", None, "crm", TAKEN),
    ("b", "b", None, "crm", {**NOTHING, "pair": ["b", "b"]}),
    ("c", "b", None, "crm", CRM_WINS),
    ("c", None, None, "crm", NOTHING),
    # an emptied field is a value like any other
    ("a", None, ["a", "a"], "crm", {**NOTHING, "pair": ["-", "-"]}),
]


@pytest.mark.parametrize(("crm", "vendor", "pair", "authority", "expected"), TABLE)
def test_the_rule_of_a_field(crm: Any, vendor: Any, pair: Any, authority: str, expected: dict[str, Any]):
    assert told(one(crm, vendor, pair, authority)) == expected


def test_a_field_that_the_vendor_empties_is_emptied():
    assert one("a", None, ["a", "a"]).taken == {"f": None}


VALUE = st.sampled_from([None, "a", "b", "c"])
PAIR = st.none() | st.tuples(
    st.none() | st.sampled_from(["-", "a", "b"]), st.sampled_from(["-", "a", "b"])
).map(list)


@given(VALUE, VALUE, PAIR, st.sampled_from(["crm", "source"]))
def test_after_a_merge_both_sides_agree_or_exactly_one_is_owed(
    crm: Any, vendor: Any, pair: Any, authority: str
):
    snapshot = {} if pair is None else {"f": [*pair, 0, None]}
    result = one(crm, vendor, pair, authority)
    now = result.taken.get("f") if "f" in result.taken else crm
    after = {**snapshot, **result.pairs}
    due = due_fields({"f": now}, after, ["f"], digest)
    if result.owe_back:
        assert due == {"f"}
        assert "f" not in result.taken
    if "f" in result.taken:
        assert digest("f", now) == digest("f", vendor)
        assert due == set()
    again = merge({"f": now}, {"f": vendor}, after, digest=digest, authority=lambda _: authority)
    assert (again.taken, again.conflicts, again.owe_back) == (
        {},
        [],
        [],
    )  # the same read twice says nothing new


@given(VALUE, VALUE, PAIR, st.sampled_from(["crm", "source"]))
def test_no_value_is_lost_without_being_named(crm: Any, vendor: Any, pair: Any, authority: str):
    result = one(crm, vendor, pair, authority)
    ours = pair[0] if pair else "-"
    if "f" in result.taken and digest("f", crm) not in (ours, digest("f", vendor)):
        assert result.conflicts == [Conflict("f", "source", crm)]
    if result.owe_back:
        assert result.conflicts == [Conflict("f", "crm", vendor)]
