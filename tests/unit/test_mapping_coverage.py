"""What the cases beside a mapping cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.mapping import Coverage, coverage_of, run_tests
from tests.mapping_site import SCHEMAS, inbound, outbound

PERSON = inbound(
    "name: name\nphone: phone\ncredit_limit: decimal(amount) if amount else missing\ncustom.x: name",
    more="when: active\n",
)
REGIONS = (
    PERSON
    + "regions:\n  cn/southwest: {fields: {custom.x: phone, custom.local: name}}\n  sg: {let: {a: name}}\n"
)


def covered(folder: Path, text: str, cases: str) -> Coverage:
    name = "person.in" if ".in\n" in text else "paper.out"
    file = folder / f"{name}.yaml"
    file.write_text(text, "utf-8")
    (folder / f"{name}.tests.yaml").write_text(cases, "utf-8")
    return coverage_of(text, run_tests(file, SCHEMAS), file=str(file))


def test_a_field_that_no_case_fills_is_named_and_one_that_is_null_or_empty_is_not_filled(tmp_path):
    cases = (
        '- {name: a, source: {id: 1, active: true, name: A, phone: ""}, '
        'expect: {name: A, phone: "", custom.x: A}}\n'
    )
    found = covered(tmp_path, PERSON, cases)
    assert (found.filled, found.fields) == (2, 4)
    assert found.never_filled == ("phone", "credit_limit")


def test_zero_and_false_fill_a_field(tmp_path):
    text = outbound("Count: payment_term_days\nActive: name == 'B'")
    cases = "- {name: a, source: {name: A, payment_term_days: 0}, expect: {Count: 0, Active: false}}\n"
    assert covered(tmp_path, text, cases).never_filled == ()


@pytest.mark.parametrize(
    ("cases", "untouched"),
    [
        (["{name: a, source: {id: 1, active: true}, only: [name], expect: {}}"], ("outside",)),
        (["{name: b, source: {id: 1, active: false}, left: true}"], ("inside",)),
        (
            [
                "{name: a, source: {id: 1, active: true}, only: [name], expect: {}}",
                "{name: b, source: {id: 1, active: false}, left: true}",
            ],
            (),
        ),
    ],
)
def test_an_outcome_of_when_that_no_case_touches_is_named(tmp_path, cases, untouched):
    assert covered(tmp_path, PERSON, "".join(f"- {one}\n" for one in cases)).untouched_when == untouched


def test_a_mapping_without_when_has_no_outcomes_of_it(tmp_path):
    cases = "- {name: a, source: {id: 1, name: A}, expect: {name: A}}\n"
    assert covered(tmp_path, inbound("name: name"), cases).untouched_when == ()


def test_a_region_that_no_case_uses_is_named_and_its_rules_count_for_themselves(tmp_path):
    case = '- {{name: a, source: {{id: 1, active: true, name: A, phone: "1"}}, context: {{region: "{0}"}}, only: [custom.x], expect: {{custom.x: {1}}}}}\n'
    here = covered(tmp_path, REGIONS, case.format("", "A"))
    assert here.unused_regions == ("cn/southwest", "sg")
    assert {"custom.x (cn/southwest)", "custom.local (cn/southwest)"} <= set(here.never_filled)
    assert "custom.x" not in here.never_filled
    below = covered(tmp_path, REGIONS, case.format("cn/southwest/yunnan/", '"1"'))
    assert below.unused_regions == ("sg",)
    assert "custom.x" in below.never_filled
    assert "custom.x (cn/southwest)" not in below.never_filled


def test_a_case_that_fails_proves_nothing(tmp_path):
    cases = "- {name: a, source: {id: 1, name: A}, expect: {name: B}}\n"
    assert covered(tmp_path, inbound("name: name"), cases).never_filled == ("name",)


def test_each_cell_of_a_row_and_each_nested_field_counts(tmp_path):
    text = outbound(
        "Name: name\nGroup.Number: account_no\nRows:\n  - {Item.Number: name, Amount: decimal(credit_limit)}"
    )
    cases = (
        "- {name: a, source: {name: A, account_no: C1, credit_limit: null}, "
        "expect: {Name: A, Group: {Number: C1}, Rows: [{Item: {Number: A}, Amount: null}]}}\n"
    )
    found = covered(tmp_path, text, cases)
    assert (found.fields, found.never_filled) == (4, ("Rows[0].Amount",))


def test_a_share_is_reached_without_rounding():
    two_of_three = Coverage(3, ("x",), (), ())
    assert two_of_three.reaches(66)
    assert not two_of_three.reaches(67)
    assert Coverage(0, (), (), ()).reaches(100)
