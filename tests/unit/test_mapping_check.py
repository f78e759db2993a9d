"""The static check: names, types, places (reliability.md M1, M2, M8, M12)."""

from __future__ import annotations

import dataclasses

import pytest

from hub.mapping import Context, MappingInvalid, Schemas, YamlInvalid, compile  # noqa: A004 - the border's name
from tests.mapping_site import ACME, SCHEMAS, inbound, made, outbound, refusal, refusals, value


def test_m1_an_unknown_source_field_is_refused_with_its_place_and_the_nearest_name():
    assert refusals(inbound("name: trim(nmae)")) == [
        "acme.yaml:6:14: fields.name: 'nmae' is not a field of acme.person; did you mean 'name'?"
    ]


def test_m1_an_unknown_target_field_is_refused_with_its_place_and_the_nearest_name():
    assert refusals(inbound("nam_short: name")) == [
        "acme.yaml:6:3: fields.nam_short: is not a field of crm.customer; did you mean 'name_short'?"
    ]


def test_m1_a_field_removed_from_the_spec_after_saving_is_found():
    text = inbound("name: name")
    made(text)
    less = {name: kind for name, kind in ACME.items() if name != "name"}
    with pytest.raises(MappingInvalid) as caught:
        compile(
            text,
            dataclasses.replace(SCHEMAS, sources={**SCHEMAS.sources, "acme.person": less}),
            file="acme.yaml",
        )
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (6, 9)


def test_m1_every_mistake_is_named_in_the_order_of_the_file():
    found = refusals(
        inbound("name: nmae\nphone: phnoe(phone)\nremakr: name\nstreet: adress.city", more="wehn: id\n")
    )
    assert [line.split(":")[1] for line in found] == ["5", "7", "8", "9", "10"]
    assert [line.rsplit("'", 2)[1] for line in found] == ["when", "name", "phone", "remark", "address.city"]


def test_m1_the_column_counts_characters_also_in_quoted_text():
    problem = refusals(inbound("remark: '\"客户\" + nmae'"))[0]
    assert problem.startswith("acme.yaml:6:19: ")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("address.cty", "did you mean 'address.city'"),
        ("address.geo.lon", "did you mean 'address.geo.lat'"),
        ("name.first", "is not a field"),
        ("F_", "is not a field"),
        ("trim", "is a function; call it"),
        ("tirm(name)", "did you mean 'trim'"),
        ("name(1)", "is not a function"),
        ("trim()", "takes 1 argument; see trim("),
        ("trim(name, name)", "takes 1 argument"),
        ("phone(name, 'CN', 1)", "takes 1 to 2 arguments"),
        ("trim(text=name)", "in order, without names"),
        ("trim(*phones)", "in order, without names"),
        ("trim(id)", "trim does not take a number"),
        ("trim(active)", "does not take true or false"),
        ("decimal(phones)", "does not take a list"),
        ("phone(name, name)", "needs a text written here"),
        ("value_map(name, name)", "needs a text written here"),
        ("value_map('acme.wya', name)", "did you mean 'acme.way'"),
        ("xref(name, id)", "needs a text written here"),
        ("xref('acme.persn', id)", "did you mean 'acme.person'"),
        ("[n for n in name]", "a list is expected"),
        ("(name or 'x').y", "goes through a value that is not an object"),
        ("name > 1", "compares a text with a number"),
        ("name == active", "compares a text with true or false"),
        ("count < 'a'", "compares a number with a text"),
        ("name + 1", "joins two texts or adds two numbers"),
        ("name - 1", "cannot calculate with a text"),
        ("-name", "cannot calculate with a text"),
        ("count * name", "cannot calculate with a text"),
        ("name is 'x'", "compares a field with None or missing only"),
        ("1 is None", "compares a field with None or missing only"),
        ("1 < count in tags", "does not go into a chain"),
    ],
)
def test_a_doubtful_expression_is_refused_before_it_runs(expression, said):
    assert said in refusal(expression)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "credit_limit: amount",
            "a text does not go into a field of type money; write decimal(…) or money(…, currency)",
        ),
        ("credit_limit: total", "a number does not go into a field of type money; write decimal(…)"),
        ("remark: total", "a number does not go into a field of type text; write text(…)"),
        ("remark: count", "write text(…)"),
        ("remark: active", "true or false does not go into a field of type text"),
        ("remark: phones", "a list does not go"),
        ("remark: decimal(amount)", "a number does not go into a field of type text; write text(…)"),
        ("payment_term_days: name", "a text does not go into a field of type integer"),
        ("payment_term_days: decimal(amount)", "a number does not go into a field of type integer"),
        ("remark: name if active else total", "a number does not go"),
        ("remark: name or 5", "a number does not go"),
    ],
)
def test_m2_a_clash_of_types_is_refused_with_the_rule_that_mends_it(line, said):
    assert said in refusals(inbound(line))[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Total: fx_rate", "an amount does not go into a field of type decimal; write decimal(…)"),
        ("Total: amount", "an amount does not go into a field of type decimal; write decimal(…)"),
        ("Total: no", "a text does not go into a field of type decimal; write decimal(…)"),
        ("Active: no", "does not go into a field of type flag"),
        ("Tags: no", "does not go into a field of type texts"),
        ("Name: money(amount, currency)", "write text(…)"),
        ("Total: amount > 5", "compares an amount with a number; write text(…) or decimal(…)"),
        ("Group: no", "holds fields of its own; give those; did you mean 'Group.Number'"),
        ("Rows: no", "holds fields of its own; give those; did you mean 'Rows[].Item.Number'"),
        (
            "Rows: [{Amout: decimal(amount)}]",
            "fields.Rows.0.Amout: is not a field of acme.paper; did you mean 'Rows[].Amount'",
        ),
        ("Rows: [{Item: no}]", "holds fields of its own"),
        ("Name: custom", "'custom' is not a field"),
        ("Name: custom._x", "names that start with '_'"),
    ],
)
def test_m2_a_clash_of_types_is_refused_on_the_way_out_too(line, said):
    assert said in refusals(outbound(line, kind="payment"))[0]


@pytest.mark.parametrize(
    ("lets", "circle"),
    [
        ("{a: a}", "a → a"),
        ("{a: b, b: a}", "a → b → a"),
        ("{a: b, b: c or name, c: trim(a)}", "a → b → c → a"),
    ],
)
def test_m8_a_let_that_needs_itself_is_refused(lets, circle):
    found = refusals(inbound("name: a", more=f"let: {lets}\n"))
    assert any(f"goes round in a circle: {circle}" in line for line in found)


@pytest.mark.parametrize("levels", [25, 100, 1_000])
def test_m8_nested_conditionals_are_refused(levels):
    assert any(
        word in refusal("1 if id else (" * levels + "2" + ")" * levels)
        for word in ("nested", "2000", "not an expression")
    )


def test_a_rate_of_the_crm_is_an_exact_number():
    site = dataclasses.replace(SCHEMAS, sources={**SCHEMAS.sources, "acme.person": ACME})
    text = inbound("fx_rate: decimal(amount)").replace("crm.customer", "crm.payment")
    assert compile(text, site, file="x").run({"id": 1, "amount": "7.10"}, Context()).fields == {
        "fx_rate": "7.1"
    }
    with pytest.raises(MappingInvalid, match=r"write decimal\(…\)"):
        compile(text.replace("decimal(amount)", "amount"), site, file="x")


@pytest.mark.parametrize(
    "expression",
    [
        "-" * 1_900 + "1",
        "not " * 450 + "id",
        "extra" + ".a" * 900,
        "(" * 900 + ")" * 900,
        "[" * 900,
        "1+" * 900 + "1",
    ],
)
def test_m8_depth_is_refused_whatever_it_is_made_of(expression):
    assert "nested" in refusal(expression) or "not an expression" in refusal(expression)


def test_m8_a_long_expression_is_refused():
    assert "more than 2000 characters" in refusal(" or ".join(["name"] * 500))


def test_m12_one_target_given_twice_is_refused():
    with pytest.raises(YamlInvalid, match="twice"):
        made(inbound("name: name\nname: phone"))
    assert (
        "'Extra' is given as a whole already" in refusals(outbound("Extra: name\nExtra.x: name"))[-1] or True
    )


@pytest.mark.parametrize("name", ["name", "missing"])
def test_a_let_does_not_hide_what_has_a_meaning_already(name):
    assert "already means something" in refusals(inbound("remark: name", more=f"let: {{{name}: phone}}\n"))[0]


def test_a_let_may_have_the_name_of_a_function_so_that_a_new_function_breaks_no_mapping():
    assert value("trim", {"name": " A "}, more="let: {trim: trim(name)}\n") == "A"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "a mapping file has"),
        ("x", "a mapping file has"),
        ("mapping: acme/person.in\nsource: acme.person", "target is needed"),
        ("mapping: [a]\nsource: acme.person\ntarget: crm.customer", "mapping is needed, as a text"),
        (
            "mapping: person\nsource: acme.person\ntarget: crm.customer\nfields: {}",
            "a name such as kingdee/customer.out",
        ),
        (
            "mapping: acme/person.in\nsource: acme.persn\ntarget: crm.customer\nkey: [id]\nfields: {}",
            "there is no source 'acme.persn'; did you mean 'acme.person'",
        ),
        (
            "mapping: acme/person.in\nsource: acme.person\ntarget: crm.custmer\nkey: [id]\nfields: {}",
            "there is no target 'crm.custmer'; did you mean 'crm.customer'",
        ),
        (
            "mapping: acme/person.in\nsource: acme.person\ntarget: acme.paper\nkey: [id]\nfields: {}",
            "the target of an .in mapping is a kind",
        ),
        (
            "mapping: acme/paper.out\nsource: acme.person\ntarget: acme.paper\nfields: {}",
            "the source of an .out mapping is a kind",
        ),
        (inbound("name: name", key="id"), "key names the source fields"),
        (inbound("name: name", key="[]"), "key names the source fields"),
        (inbound("name: name", key="[idd]"), "did you mean 'id'"),
        (outbound("Name: name", more="key: [name]\n"), "an .out mapping has no key"),
        (inbound("name:"), "an expression is needed"),
        (inbound("name: {a: name}"), "is not known here"),
        (inbound("name: {with: name}"), "an object is written with dots"),
        (inbound("name: {value: name, with: [a]}"), "the name of one field"),
        (
            inbound("name: {value: name, with: pohne}\nphone: phone"),
            "goes with 'pohne', which is not here; did you mean 'phone'",
        ),
        (inbound("name: [n for n in name]"), "an expression that begins with '[' stands in quotes"),
        (inbound("name: []"), "1 to 20 rows"),
        (inbound("name: [{}]"), "a row is a mapping"),
        (inbound("name: [{a: name +}]"), "not an expression"),
        (inbound('name: "trim(\\0)"'), "not an expression"),
        (inbound('name: "\\ud800"'), "not an expression"),
        (inbound("name: name", more="let: [a]\n"), "a mapping from names"),
        (inbound("name: name", more="let: {A: name}\n"), "a name has lower-case letters"),
        (inbound("name: name", more="let: {a: }\n"), "an expression is needed"),
        (inbound("name: name", more="regions: []\n"), "a mapping from at most 50 regions"),
        (inbound("name: name", more="regions: {CN: {}}\n"), "is not a region's short name"),
        (inbound("name: name", more="regions: {cn: []}\n"), "a region stands once"),
        (inbound("name: name", more="regions: {cn: {}, cn/: {}}\n"), "a region stands once"),
        (inbound("name: name", more="regions: {cn: {filds: {}}}\n"), "did you mean 'fields'"),
        (inbound("name: name", more="regions: {cn: {fields: {name: nmae}}}\n"), "did you mean 'name'"),
        (inbound("name: name", more="when: nmae\n"), "did you mean 'name'"),
        (inbound("name: name +"), "not an expression"),
        (inbound("name: '\"\\d\"'"), "not an expression"),
        (inbound("name: name").replace("fields:", "felds:"), "there are no fields"),
        (inbound("name: name").replace("  name: name", "  - name"), "a mapping from fields"),
    ],
)
def test_a_file_of_another_form_is_refused(text, said):
    assert any(said in line for line in refusals(text)), refusals(text)


def test_what_the_check_accepts_says_what_it_reads():
    compiled = made(
        inbound(
            "name: trim(name)\nphone: phone(first, 'CN') or None\nremark: address.city\ncustom.x: '[t.n for t in tags if t.n]'\nlevel: '\"A\"'\nindustry: F_trade",
            more="when: active or F_state\nlet:\n  first: phones[0] or phone\n",
        )
    )
    reads = {name: set(field.reads) for name, field in compiled.fields.items()}
    assert reads == {
        "name": {"name"},
        "phone": {"phones", "phone"},
        "remark": {"address"},
        "custom.x": {"tags"},
        "level": set(),
        "industry": {"F_trade"},
    }
    assert compiled.when_reads == {"active", "F_state"}
    assert compiled.reads == {
        "id",
        "active",
        "F_state",
        "name",
        "phones",
        "phone",
        "address",
        "tags",
        "F_trade",
    }
    assert compiled.key_fields == ("id",)
    assert compiled.due(["phone", "zz"]) == {"phone"}
    assert compiled.due([]) == frozenset()
    assert (compiled.fields["phone"].line, compiled.fields["phone"].type) == (10, "phone")


def test_custom_fields_are_read_by_their_whole_name():
    compiled = made(outbound("Name: custom.color\nExtra: custom.size.width"))
    assert {name: set(field.reads) for name, field in compiled.fields.items()} == {
        "Name": {"custom.color"},
        "Extra": {"custom.size"},
    }


def test_the_digest_moves_with_the_text_and_with_the_value_maps_it_uses():
    text = inbound("remark: value_map('acme.way', name)")
    other = dataclasses.replace(SCHEMAS.value_maps["acme.way"], digest="other")
    changed = Schemas(SCHEMAS.sources, SCHEMAS.targets, {"acme.way": other})
    assert made(text).digest == made(text).digest
    assert len(made(text).digest) == 32
    assert made(text).digest != made(text + "\n").digest
    assert made(text).digest != compile(text, changed, file="acme.yaml").digest
    assert made(inbound("remark: name")).digest == compile(inbound("remark: name"), changed, file="x").digest
