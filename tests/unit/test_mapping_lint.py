"""What a mapping that compiles cannot mean: certain findings, and silence where something may hold."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.mapping import Context, Failed, compile, lint, load_value_map  # noqa: A004 - the border's name
from hub.model.kinds import KINDS
from tests.mapping_site import SCHEMAS, inbound, made, outbound, refusals

TYPES = KINDS["customer"].fields["type"].choices
LONG = "长" * 101
"""One character more than a short name takes."""
STATES = load_value_map(
    f'value_map: acme.state\nvalues: {{a: {TYPES[0]}, b: nonsense, e: ""}}', file="s.map.yaml"
)
TYPE_MAP = load_value_map(
    "value_map: acme.type\nvalues: {" + ", ".join(f"{one}: x" for one in TYPES[1:]) + "}", file="t.map.yaml"
)
KNOWN = dataclasses.replace(
    SCHEMAS, value_maps={**SCHEMAS.value_maps, "acme.state": STATES, "acme.type": TYPE_MAP}
)


def doubts(text: str, *, required: tuple[str, ...] = ()) -> list[str]:
    """Return the warnings about a mapping that compiles."""
    compile(text, KNOWN, file="acme.yaml")
    return [str(problem) for problem in lint(text, KNOWN, file="acme.yaml", required=required)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"name_short: '\"{LONG}\"'", "acme.yaml:6:16: fields.name_short: this field refuses '长长"),
        (
            "type: '\"nonsense\"'",
            "acme.yaml:6:10: fields.type: this field refuses 'nonsense': must be one of",
        ),
        ("uscc: '\"123\"'", "acme.yaml:6:10: fields.uscc: this field refuses '123'"),
    ],
)
def test_a_constant_that_its_field_refuses_does_not_compile(line, said):
    (found,) = refusals(inbound(line))
    assert found.startswith(said)


def test_a_constant_of_the_greatest_length_compiles():
    made(inbound(f"name_short: '\"{LONG[:-1]}\"'"))


def test_a_vendor_takes_no_date_that_is_none():
    (found,) = refusals(outbound("Day: '\"2024-02-30\"'"))
    assert found.startswith("acme.yaml:5:9: fields.Day: this field refuses '2024-02-30'")


def test_a_text_that_only_some_records_get_and_the_field_refuses_is_a_warning():
    text = inbound(f"name_short: 'name if active else \"{LONG}\"'")
    (found,) = doubts(text)
    assert found.startswith("acme.yaml:6:36: fields.name_short: this field refuses")
    failed = made(text).run({"id": 1, "active": False}, Context())
    assert isinstance(failed, Failed)
    assert failed.field == "name_short"


@pytest.mark.parametrize("expression", ['name or "nonsense"', '"nonsense" if active else name'])
def test_a_text_that_is_no_choice_is_a_warning_where_it_may_come_out(expression):
    assert "'nonsense'" in doubts(inbound(f"type: '{expression}'"))[0]


@pytest.mark.parametrize(
    "expression",
    [
        f'name or "{TYPES[0]}"',
        '"" or name',
        'name and "" or name',
        '("" and name) or name',
        'name if name == "nonsense" else phone',
    ],
)
def test_a_text_that_fits_or_never_comes_out_is_none(expression):
    assert doubts(inbound(f"type: '{expression}'")) == []


def test_what_a_value_map_gives_and_the_field_refuses_is_named_with_its_key():
    found = doubts(inbound("type: value_map('acme.state', name)"))
    assert len(found) == 2
    assert (
        "acme.yaml:6:19: fields.type: value map acme.state gives 'nonsense' for 'b', which this field refuses"
        in found[0]
    )
    assert "gives '' for 'e'" in found[1]


def test_an_empty_text_before_or_never_comes_out_of_a_value_map():
    found = doubts(inbound("type: value_map('acme.state', name) or name"))
    assert [line.partition(" gives ")[2][:10] for line in found] == ["'nonsense'"]


def test_a_default_that_the_field_refuses_is_a_warning():
    found = doubts(inbound("type: value_map('acme.state', name, 'unknown!')"))
    assert any("this field refuses 'unknown!'" in line for line in found)


def test_values_of_a_map_that_fit_are_none():
    assert doubts(inbound("remark: value_map('acme.state', name)")) == []


@pytest.mark.parametrize(
    "when",
    [
        "False",
        'name == "a" and name == "b"',
        'name in ("a", "b") and active and name in ("c",)',
        'name == "a" and name != "a"',
        'name is None and name == "a"',
        "name in ()",
        'active and (name == "a" and name == "b" or False)',
        'address.city == "a" and address.city not in ("a", "b")',
        "count == 1 and count in (2, 3)",
    ],
)
def test_a_condition_that_no_record_meets_is_named(when):
    (found,) = doubts(inbound("name: name", more=f"when: '{when}'\n".replace("''", "'")))
    assert found.startswith("acme.yaml:5:8: when: holds for no record")


@pytest.mark.parametrize(
    "when",
    [
        "True",
        'name == "a" or name == "b"',
        'name == "a" and phone == "b"',
        'name in ("a", "b") and name != "a"',
        'not (name == "a" and name == "b")',
        'name == phone and name == "a"',
        'name != "a" and name != "b"',
        "count == 1 and count in (True, 2)",
    ],
)
def test_a_condition_that_a_record_may_meet_is_none(when):
    assert doubts(inbound("name: name", more=f"when: '{when}'\n")) == []


VALUES = ["a", "b", None, 1, 0, True, False]
CONSTANT = st.sampled_from([*VALUES[:4], "c", 0, True])
LEAF = st.one_of(
    st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["==", "!="]), CONSTANT).map(
        lambda one: f"extra.{one[0]} {one[1]} {one[2]!r}"
    ),
    st.tuples(
        st.sampled_from(["x", "y"]), st.sampled_from(["in", "not in"]), st.lists(CONSTANT, max_size=3)
    ).map(lambda one: f"extra.{one[0]} {one[1]} {one[2]!r}"),
    st.sampled_from(["False", "True", "extra.x == extra.y", "extra.x"]),
)
CONDITION = st.recursive(
    LEAF,
    lambda inner: st.tuples(st.sampled_from([" and ", " or "]), st.lists(inner, min_size=2, max_size=3)).map(
        lambda one: one[0].join(f"({part})" for part in one[1])
    ) | inner.map(lambda part: f"not ({part})"),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=150, deadline=None, print_blob=True)
@given(CONDITION)
def test_a_condition_that_is_named_holds_for_no_values(condition):
    text = inbound("name: name", more="when: >-\n  " + condition + "\n")
    if not [line for line in doubts(text) if "holds for no record" in line]:
        return
    compiled = compile(text, KNOWN, file="acme.yaml")
    for x in VALUES:
        for y in VALUES:
            assert compiled.when({"id": 1, "extra": {"x": x, "y": y}}, Context()) is False


def test_a_comparison_with_what_a_choice_never_is_names_the_nearest_one():
    wrong = TYPES[0][:-1]
    (found,) = doubts(outbound(f"Name: 'name if type == \"{wrong}\" else account_no'"))
    assert found.startswith(f"acme.yaml:5:26: fields.Name: type is never '{wrong}'; it is one of ")
    assert found.endswith(f"did you mean '{TYPES[0]}'?")
    assert doubts(outbound(f'Name: \'name if type in ("{TYPES[0]}", "") else account_no\'')) == []


def test_an_item_of_a_list_that_is_called_like_a_field_is_no_choice():
    assert doubts(outbound("Tags: '[type for type in custom.kinds if type == \"x\"]'")) == []


def test_a_gap_of_a_value_map_before_the_choices_of_a_field_is_named():
    (found,) = doubts(outbound("Name: value_map('acme.type', type)"))
    assert (
        found
        == f"acme.yaml:5:19: fields.Name: value map acme.type has no value for {TYPES[0]}, and no default stands here"
    )


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("Name: value_map('acme.type', type, 'x')", ""),
        (f"Name: value_map('acme.type', type) if type != '{TYPES[0]}' else name", ""),
        ("Name: value_map('acme.type', type)", f"when: type != '{TYPES[0]}'\n"),
        ("Name: value_map('acme.type', name)", ""),
    ],
)
def test_a_gap_that_a_default_or_a_condition_may_cover_is_none(line, more):
    assert doubts(outbound(line, more=more)) == []


def test_fields_that_the_object_requires_and_no_rule_writes_are_named_at_the_target():
    text = outbound("Name: name\nRows:\n  - {Amount: decimal(credit_limit)}")
    needed = ("Name", "Rows[].Item.Number", "Group.Number", "Day")
    assert doubts(text, required=needed) == [
        "acme.yaml:3:9: target: acme.paper requires Group.Number, Day, which no rule writes"
    ]
