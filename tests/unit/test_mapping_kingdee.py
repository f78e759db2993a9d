"""The shipped Kingdee mappings against the connector's own spec, and tests as data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from connectors.kingdee.objects import SPEC
from hub.errors import SettingsError
from hub.mapping import (
    FUNCTIONS,
    Context,
    MappingInvalid,
    Schemas,
    compile,  # noqa: A004 - the border's name
    crm_schemas,
    load_value_map,
    load_value_maps,
    load_yaml,
    run_tests,
    typed,
)
from hub.mapping.functions import Function
from hub.model import KINDS, digest_form

FOLDER = Path(__file__).parents[2] / "mappings" / "kingdee"
MAPPINGS = sorted(path for path in FOLDER.glob("*.yaml") if path.name.endswith((".in.yaml", ".out.yaml")))
CRM = crm_schemas()


def named(specs: Iterable) -> dict:
    return {
        f"kingdee.{spec.name}": spec.fields
        for spec in (specs.values() if hasattr(specs, "values") else specs)
    }


SCHEMAS = Schemas({**CRM, **named(SPEC.streams)}, {**CRM, **named(SPEC.objects)}, load_value_maps(FOLDER))


def shipped(name):
    path = FOLDER / name
    return compile(path.read_text(encoding="utf-8"), SCHEMAS, file=str(path))


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: path.name)
def test_every_shipped_mapping_compiles_and_passes_its_cases(path):
    outcomes = run_tests(path, SCHEMAS)
    assert len(outcomes) >= 3
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def test_every_function_is_used_by_a_shipped_mapping_or_asked_for():
    texts = "".join(path.read_text(encoding="utf-8") for path in FOLDER.parent.rglob("*.yaml"))
    unused = [
        name for name, function in FUNCTIONS.items() if f"{name}(" not in texts and not function.because
    ]
    assert unused == []


OF_APPROVALS = {"with_links"}
"""Their examples read what customers do not have; tests/flows/test_file_links.py runs them in the shipped mappings."""


@pytest.mark.parametrize(
    "function",
    [function for function in FUNCTIONS.values() if function.name not in OF_APPROVALS],
    ids=lambda function: function.name,
)
def test_the_example_of_every_function_runs(function: Function):
    text = f"mapping: x/y.in\nsource: kingdee.customer\ntarget: crm.customer\nkey: [FCUSTID]\nfields:\n  custom.x: {function.example!r}\n"
    context = Context(
        org="100",
        business_key="B",
        xref=lambda _target, value: value,
        legal_entity=lambda _name, column: column,
    )
    out = compile(text, SCHEMAS, file="x").run({"FCUSTID": 1}, context)
    assert out.fields["custom.x"]
    assert function.zh
    assert function.en


FULL = {
    "name": "示例科技（上海）有限公司",
    "account_no": "C-001",
    "name_short": "示例",
    "street": "上海市示例路1号",
    "postal_code": "200000",
    "website": "https://example.com",
    "phone": "+862162123456;ext=801",
    "uscc": "91350100M000100Y43",
    "invoice_title": "示例科技（上海）有限公司",
    "tax_no": "91350100M000100Y43",
    "invoice_bank": "示例银行",
    "invoice_account_no": "6222000000000000",
    "remark": "老客户",
}


@pytest.mark.parametrize("taken_away", [None, *sorted(set(FULL) - {"name", "account_no"})])
def test_m12_what_goes_out_and_comes_back_is_no_change(taken_away):
    body = {**FULL, taken_away: None} if taken_away else FULL
    out = shipped("customer.out.yaml").run(body, Context(org="100", business_key="B-1"))
    back = shipped("customer.in.yaml").run(
        {**out.fields, "FCUSTID": 100029, "FDocumentStatus": "C"}, Context()
    )
    kind = KINDS["customer"]
    assert {name: digest_form(kind, name, found) for name, found in back.fields.items()} == {
        name: digest_form(kind, name, found) for name, found in body.items()
    }


def test_a_type_field_stands_before_its_reference_and_goes_with_it():
    receipt = shipped("payment.out.yaml")
    order = list(receipt.fields)
    for kind, reference in (
        ("FCONTACTUNITTYPE", "FCONTACTUNIT.FNumber"),
        ("FPAYUNITTYPE", "FPAYUNIT.FNumber"),
    ):
        assert order.index(kind) < order.index(reference)
        assert receipt.fields[kind].reads == receipt.fields[reference].reads == {"customer"}
    assert order[-1] == "FRECEIVEBILLENTRY"


def test_a_receipt_depends_on_the_customer():
    receipt = shipped("payment.out.yaml")
    assert receipt.xrefs == ("kingdee.customer",)
    assert receipt.when_reads == {"status"}
    assert shipped("customer.out.yaml").xrefs == ()


def test_every_field_the_vendor_requires_is_rendered():
    for name, objects in (("customer.out.yaml", "customer"), ("payment.out.yaml", "receipt")):
        specs = SPEC.objects.values() if hasattr(SPEC.objects, "values") else SPEC.objects
        required = next(spec.required for spec in specs if spec.name == objects)
        text = (FOLDER / name).read_text(encoding="utf-8")
        for field in required:
            assert f"{field.rpartition('[].')[2]}:" in text, field


# ------------------------------------------------------------------------------------------- cases


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "way.map.yaml").write_text("value_map: kingdee.way\nvalues: {a: b}\n")
    text = "mapping: kingdee/customer.in\nsource: kingdee.customer\ntarget: crm.customer\nkey: [FCUSTID]\nwhen: FDocumentStatus != 'Z'\nfields:\n  name: FName\n  account_no: xref('kingdee.customer', FNumber)\n  remark: value_map('kingdee.way', FDescription)\n"
    (tmp_path / "customer.in.yaml").write_text(text)
    return tmp_path


def cases(folder, text):
    (folder / "customer.in.tests.yaml").write_text(text, encoding="utf-8")
    return run_tests(folder / "customer.in.yaml", SCHEMAS)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("expect: {name: B}", 'name: expected "B", is "A"'),
        ("expect: {}", 'name: not expected, is "A"'),
        ("expect: {name: A, phone: x}", 'phone: expected "x", is absent'),
        ("expect: {name: null}", "name: expected null"),
        ("fails: name", "came out as mapped to"),
        ("waits: x", "came out as mapped to"),
        ("left: true", "came out as mapped to"),
    ],
)
def test_a_case_that_does_not_hold_says_what_differs(folder, case, said):
    (outcome,) = cases(folder, f"- name: one\n  source: {{FCUSTID: 1, FName: A}}\n  {case}\n")
    assert not outcome.passed
    assert said in outcome.message
    assert outcome.line == 1


@pytest.mark.parametrize(
    ("source", "case", "said"),
    [
        ("{FCUSTID: 1, FDocumentStatus: Z}", "expect: {}", "outside `when`"),
        ("{FCUSTID: 1, FNumber: '7'}", "expect: {}", "waits for 'xref:kingdee.customer/7'"),
        ("{FCUSTID: 1, FNumber: '7'}", "waits: other", "waits for 'xref:kingdee.customer/7'"),
        ("{FCUSTID: 1, FDescription: z}", "expect: {}", "failed at 'remark'"),
        ("{FCUSTID: 1, FDescription: z}", "fails: name", "failed at 'remark'"),
        ("{FCUSTID: 1, FDescription: z}", "left: true", "failed at 'remark'"),
    ],
)
def test_a_case_says_how_the_record_ended_instead(folder, source, case, said):
    (outcome,) = cases(folder, f"- name: one\n  source: {source}\n  {case}\n")
    assert not outcome.passed
    assert said in outcome.message


def test_cases_that_hold_pass(folder):
    text = """
- {name: left, source: {FCUSTID: 1, FDocumentStatus: Z}, left: true}
- {name: waits, source: {FCUSTID: 1, FNumber: "7"}, waits: xref:kingdee.customer/7}
- {name: fails, source: {FCUSTID: 1, FDescription: z}, fails: remark}
- {name: looked up, source: {FCUSTID: 1, FNumber: "7"}, context: {xrefs: {kingdee.customer: {"7": r}}}, expect: {account_no: r}}
- {name: part, source: {FCUSTID: 1, FName: A, FDescription: a}, only: [remark], expect: {remark: b}}
"""
    outcomes = cases(folder, text)
    assert [outcome.message for outcome in outcomes] == [""] * 5
    assert [outcome.line for outcome in outcomes] == [2, 3, 4, 5, 6]


def test_the_order_of_a_payload_counts(tmp_path):
    (tmp_path / "a.out.yaml").write_text(
        "mapping: kingdee/a.out\nsource: crm.customer\ntarget: kingdee.customer\nfields:\n  FName: name\n  FNumber: account_no\n"
    )
    (tmp_path / "a.out.tests.yaml").write_text(
        "- {name: one, source: {name: A, account_no: B}, expect: {FNumber: B, FName: A}}\n"
    )
    (outcome,) = run_tests(tmp_path / "a.out.yaml", SCHEMAS)
    assert outcome.message == "the order is FName, FNumber"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a list of cases is needed"),
        ("a: 1", "a list of cases is needed"),
        ("- x", "a case is a mapping"),
        ("- {name: a, source: {}, expct: {}}", "did you mean 'expect'"),
        ("- {name: a, source: {}}", "a case has one of"),
        ("- {name: a, source: {}, expect: {}, left: true}", "a case has one of"),
        ("- {source: {}, expect: {}}", "name is needed"),
        ("- {name: a, expect: {}}", "source is needed"),
        ("- {name: a, source: {}, context: {regoin: x}, expect: {}}", "did you mean 'region'"),
        ("- {name: a, source: {}, context: x, expect: {}}", "context is a mapping"),
    ],
)
def test_a_file_of_cases_of_another_form_is_refused(folder, text, said):
    with pytest.raises(MappingInvalid, match=said):
        cases(folder, text)


def test_absent_and_unreadable_files_are_told_by_name(folder):
    with pytest.raises(SettingsError, match=r"customer.in.tests.yaml: there is no such file"):
        run_tests(folder / "customer.in.yaml", SCHEMAS)
    (folder / "customer.in.yaml").write_bytes("mapping: 客户".encode("gbk"))
    with pytest.raises(SettingsError, match="not UTF-8"):
        run_tests(folder / "customer.in.yaml", SCHEMAS)


# ------------------------------------------------------------------------------------------- value maps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "a value map is a mapping"),
        ("value_map: way\nvalues: {}", "a name such as"),
        ("value_map: a.b", "a mapping of texts is needed"),
        ("value_map: a.b\nvalues: {a: [b]}", "a text is needed"),
        ("value_map: a.b\nvalus: {}\nvalues: {}", "did you mean 'values'"),
        (
            "value_map: a.b\nvalues: {" + ",".join(f"k{n}: v" for n in range(5_001)) + "}",
            "more than 5000 values",
        ),
    ],
)
def test_a_value_map_of_another_form_is_refused(text, said):
    with pytest.raises(MappingInvalid, match=said):
        load_value_map(text, file="way.map.yaml")


def test_the_digest_of_a_value_map_is_over_its_values():
    one = load_value_map("value_map: a.b\nvalues: {a: b, c: d}", file="x")
    assert one.digest == load_value_map("value_map: a.b\ntitle: T\nvalues: {c: d, a: b}", file="y").digest
    assert one.digest != load_value_map("value_map: a.b\nvalues: {a: b, c: e}", file="x").digest


def test_two_value_maps_do_not_share_a_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.map.yaml").write_text("value_map: a.b\nvalues: {}\n")
    with pytest.raises(MappingInvalid, match="there twice"):
        load_value_maps(tmp_path)


def test_shipped_cases_are_written_as_json_means_them():
    document = load_yaml((FOLDER / "payment.out.tests.yaml").read_text(encoding="utf-8"), file="x")
    assert typed(document, (0, "expect", "FEXCHANGERATE")) == 1
