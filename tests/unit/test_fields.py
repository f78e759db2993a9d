"""Custom fields as a project declares them: the files, their mistakes, and what a record of each region may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.mapping import MappingInvalid, compile, crm_schemas  # noqa: A004 - the name of the border
from hub.mapping.schema import Schemas
from hub.model import KINDS, InvalidFields, check_body, digest_form, normal_form, normalise
from hub.model.kind import Kind
from hub.project import ProjectInvalid
from hub.project.fields import TYPES
from hub.project.load import kinds_of
from tests.project_folder import load, write_project

CUSTOMER = """\
kind: customer
fields:
  segment:
    type: choice
    label: {zh: 客户分层, en: Segment}
    options:
      gold: {zh: 金牌, en: Gold}
      silver: {zh: 银牌, en: Silver}
    personal: false
  halls:
    type: texts
    label: {zh: 服务网点, en: Service halls}
    options:
      futian: {zh: 福田, en: Futian}
      nanshan: {zh: 南山, en: Nanshan}
    personal: false
    regions: [cn/south]
  tender_no:
    type: text
    label: {zh: 招标编号, en: Tender number}
    personal: true
    max_length: 5
    required: true
    regions: [cn/north]
"""
FOLLOW = """\
kind: follow
tags:
  everywhere: [VIP]
  cn/south: [本地化]
"""
REGIONS = "regions: [cn, cn/south, cn/south/shenzhen, cn/north]"
IN = """\
mapping: acme/client.in
source: acme.client
target: crm.customer
key: [No]
fields:
  name: Name
"""


def written(root: Path, text: str = CUSTOMER, *, kind: str = "customer", **mappings: str) -> Path:
    write_project(root, (root_yaml := _hub_yaml()), **mappings)
    assert REGIONS in root_yaml
    (root / "fields").mkdir(exist_ok=True)
    (root / "fields" / f"{kind}.yaml").write_text(text, "utf-8")
    return root


def _hub_yaml() -> str:
    from tests.project_folder import HUB_YAML

    return HUB_YAML.replace("regions: [cn, cn/south]", REGIONS)


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    return kinds_of(written(tmp_path_factory.mktemp("p")))["customer"]


@pytest.fixture(scope="module")
def follow(tmp_path_factory: pytest.TempPathFactory) -> Kind:
    return kinds_of(written(tmp_path_factory.mktemp("p"), FOLLOW, kind="follow"))["follow"]


def refused(kind: Kind, region: str | None = None, **custom: object) -> dict[str, str]:
    """Return what is wrong with custom values, by the field's short name."""
    body = {"name": "示例公司", **{f"custom.{name}": value for name, value in custom.items()}}
    try:
        check_body(kind, body, region=region)  # type: ignore[arg-type]  # JSON of the table
    except InvalidFields as error:
        return {field.removeprefix("custom."): message for field, message in error.problems}
    return {}


def test_the_texts_of_fields_are_texts_of_the_project_and_move_its_digest(tmp_path: Path):
    project = load(written(tmp_path))
    assert ("field", "customer") in {(one.kind, one.name) for one in project.files}
    written(tmp_path, CUSTOMER.replace("金牌", "黄金"))
    assert load(tmp_path).digest != project.digest


def test_a_kind_without_a_file_takes_any_custom_field_and_counts_it_as_personal(tmp_path: Path):
    kinds = kinds_of(written(tmp_path))
    assert kinds["contact"] == KINDS["contact"]
    assert normalise(kinds["contact"], "custom.whatever", [1, {"a": None}]) == [1, {"a": None}]
    assert kinds["contact"].is_personal("custom.whatever")
    assert not kinds["customer"].is_personal("custom.segment")
    assert kinds["customer"].is_personal("custom.tender_no")
    assert kinds["customer"].is_personal("custom.removed")


def test_a_folder_without_hub_yaml_declares_nothing(tmp_path: Path):
    assert kinds_of(tmp_path) == KINDS


def test_the_shipped_projects_declare_every_custom_field_their_mappings_use():
    root = Path(__file__).parents[2]
    used = {
        (kind, name.strip())
        for kind, file in (("contact", "mailchimp/contact.in"), ("contact", "mailchimp/result.in"), ("follow", "wecom/follow.in"))
        for line in (root / "mappings" / f"{file}.yaml").read_text("utf-8").splitlines()
        if (name := line.partition(":")[0]).strip().startswith("custom.")
    }  # fmt: skip
    kinds = kinds_of(root / "demo")
    assert used
    assert all(kinds[kind].field(name) is not None for kind, name in used)
    assert {"cn/south/", "cn/north/"} <= {
        one for field in kinds["customer"].regional.values() for one in field.regions
    }


@pytest.mark.parametrize(
    ("change", "to", "place", "said"),
    [
        ("kind: customer", "kind: custmer", "1:7: kind", "the file's name says customer; did you mean 'customer'"),
        ("fields:", "felds:", "2:1: felds", "unknown key 'felds'"),
        ("type: choice", "type: option", "4:11: fields.segment.type", "that is choice here"),
        ("type: choice", "type: chioce", "4:11: fields.segment.type", "did you mean 'choice'"),
        ("type: choice", "type: reference", "4:11: fields.segment.type", "'reference' is not one of choice"),
        ("    type: choice\n", "", "3:3: fields.segment", "type is missing"),
        ("  segment:", "  Segment:", "3:3: fields.Segment", "a name is lower-case letters"),
        ("  segment:", "  custom.segment:", "3:3: fields.custom.segment", "a name is lower-case letters"),
        (", en: Segment}", "}", "5:5: fields.segment.label", "en is missing"),
        (", en: Segment}", ", en: Segment, fr: Segment}", "5:36: fields.segment.label.fr", "unknown key 'fr'"),
        ("{zh: 银牌, en: Silver}", "银牌", "8:7: fields.segment.options.silver", "a mapping is expected"),
        ("    personal: false\n  halls", "  halls", "3:3: fields.segment", "personal is missing"),
        ("personal: true", "personal: maybe", "21:15: fields.tender_no.personal", "is not one of true, false"),
        ("max_length: 5", "max_length: 0", "22:17: fields.tender_no.max_length", "from 1 to 4000"),
        ("max_length: 5", "regoins: [cn]", "22:5: fields.tender_no.regoins", "did you mean 'regions'"),
        ("[cn/south]", "[cn/suoth]", "17:5: fields.halls.regions", "did you mean 'cn/south/'"),
        ("[cn/south]", "[]", "17:5: fields.halls.regions", "names no region"),
        ("[cn/south]", "[cn, cn/south]", "17:5: fields.halls.regions", "lies in 'cn/' already"),
        ("type: texts", "type: flag", "13:5: fields.halls.options", "only a field of type choice or texts has options"),
        ("type: text\n", "type: date\n", "22:17: fields.tender_no.max_length", "only a field of type text or texts"),
        ("required: true", "required: true\n    required: true", "24:5", "is there twice"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_refused_with_its_place(
    tmp_path: Path, change: str, to: str, place: str, said: str
):
    assert change in CUSTOMER
    with pytest.raises(ProjectInvalid) as error:
        kinds_of(written(tmp_path, CUSTOMER.replace(change, to, 1)))
    assert f"fields/customer.yaml:{place}" in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("custmer", CUSTOMER, "did you mean 'customer'"),
        ("customer", "kind: customer\ntags: {cn: [a]}", "a customer has no tags"),
        ("follow", "kind: follow\ntags: {cn/suoth: [a]}", "did you mean 'cn/south'"),
        ("follow", "kind: follow\ntags: {cn: a}", "a list of texts is expected"),
        ("follow", "kind: &a follow", "anchors"),
        ("follow", "- follow", "a mapping is expected"),
        ("customer", CUSTOMER + "\n".join(
            f"  f{index}: {{type: flag, label: {{zh: 一, en: One}}, personal: false}}" for index in range(198)
        ), "more than 200 custom fields"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_for_a_kind_is_refused(tmp_path: Path, kind: str, text: str, said: str):
    with pytest.raises(ProjectInvalid, match=said.replace("(", r"\(")):
        kinds_of(written(tmp_path, text, kind=kind))


def test_every_type_that_a_file_may_name_can_be_stored(tmp_path: Path):
    shown = {"date": "2026-01-10", "decimal": "1.5", "flag": True, "instant": "2026-01-10T00:00:00Z", "integer": 3,
             "json": {"a": [1]}, "money": "10.00", "phone": "13800138000", "phones": ["13800138000"],
             "texts": ["a"], "choice": "a", "email": "a@b.cn", "text": "x"}  # fmt: skip
    fields = "".join(
        f"  x_{name}: {{type: {name}, label: {{zh: 一, en: One}}, personal: false{', options: {a: {zh: 甲, en: A}}' if name == 'choice' else ''}}}\n"
        for name in TYPES
    )
    kind = kinds_of(written(tmp_path, f"kind: customer\nfields:\n{fields}"))["customer"]
    body = check_body(kind, {"name": "x", **{f"custom.x_{name}": shown[name] for name in TYPES}})
    assert set(shown) == set(TYPES)
    assert body["custom.x_phone"] == "+8613800138000"


@pytest.mark.parametrize(
    ("region", "custom", "field", "said"),
    [
        ("cn/south/", {"segment": "bronze"}, "segment", "must be one of gold, silver"),
        ("cn/south/", {"segment": "glod"}, "segment", "did you mean 'gold'"),
        ("cn/south/", {"segment": ["gold"]}, "segment", "must be one of gold, silver"),
        ("cn/south/", {"halls": ["futian", "luohu"]}, "halls", "must be one of futian, nanshan"),
        ("cn/south/", {"halls": "futian"}, "halls", "a list of texts is expected"),
        ("cn/south/", {"segmnet": "gold"}, "segmnet", "did you mean 'custom.segment'"),
        ("cn/south/", {"removed": 1}, "removed", "declare it in fields/customer.yaml, or send null"),
        ("cn/south/", {"tender_no": "ZB-1"}, "tender_no", "exists only in cn/north/; this record lies in cn/south/"),
        ("cn/north/", {"tender_no": "ZB-123"}, "tender_no", "longer than 5 characters"),
        ("cn/north/", {}, "tender_no", "is required"),
        ("cn/north/", {"tender_no": " "}, "tender_no", "is required"),
        ("cn/north/", {"tender_no": "ZB-1", "halls": ["futian"]}, "halls", "exists only in cn/south/"),
        ("cn/", {"halls": ["futian"]}, "halls", "exists only in cn/south/"),
    ],
)  # fmt: skip
def test_a_value_that_a_field_or_its_region_does_not_take_is_refused(
    customer: Kind, region: str, custom: dict[str, object], field: str, said: str
):
    found = refused(customer, region, **custom)
    assert list(found) == [field]
    assert said in found[field]


@pytest.mark.parametrize(
    ("region", "custom"),
    [
        ("cn/south/", {"segment": "gold", "halls": ["futian", "nanshan"]}),
        ("cn/south/shenzhen/", {"halls": []}),
        ("cn/north/", {"tender_no": "ZB-1", "halls": None}),
        ("cn/south/", {"removed": None}),
        ("", {}),
    ],
)
def test_what_fits_is_taken_and_regions_below_have_the_field_too(
    customer: Kind, region: str, custom: dict[str, object]
):
    assert refused(customer, region, **custom) == {}


def test_tags_are_those_of_a_region_and_of_everything_above_it(follow: Kind):
    assert follow.tags_of("cn/south/shenzhen/") == ("VIP", "本地化")
    assert follow.tags_of("cn/north/") == ("VIP",)
    assert KINDS["follow"].tags_of("cn/north/") is None
    body = {"contact": "0" * 32, "employee": "li.lei", "tags": ["VIP", "本地化"]}
    assert check_body(follow, body, region="cn/south/")["tags"] == ["VIP", "本地化"]
    with pytest.raises(InvalidFields, match="'本地化' is no tag of cn/north/"):
        check_body(follow, body, region="cn/north/")


def test_a_value_kept_from_before_its_field_changed_is_compared_as_it_stands(customer: Kind):
    assert normal_form(customer, "custom.tender_no", 7) == 7
    assert normal_form(customer, "custom.halls", "futian") == "futian"
    assert normal_form(customer, "custom.removed", {"a": 1}) == {"a": 1}
    assert digest_form(customer, "custom.halls", ["b", "a"]) == digest_form(
        customer, "custom.halls", ["a", "b"]
    )


# mappings ---------------------------------------------------------------------------------------------------


def made(kind: Kind, fields: str, *, overlay: str = ""):
    kinds = {**KINDS, "customer": kind}
    crm = crm_schemas(kinds)
    acme = {"No": "text", "Name": "text", "Count": "integer", "Tags": "texts"}
    schemas = Schemas({"acme.client": acme, **crm}, {"acme.client": acme, **crm}, kinds=kinds)
    text = f"{IN}{''.join(f'  {line}{chr(10)}' for line in fields.splitlines())}{overlay}"
    return compile(text, schemas, file="client.in.yaml")


@pytest.mark.parametrize(
    ("fields", "overlay", "said"),
    [
        ("custom.segmnet: Name", "", "7:3: fields.custom.segmnet: is not a field of crm.customer; did you mean 'custom.segment'"),
        ("custom.segment: Count", "", "a number does not go into a field of type choice"),
        ("custom.segment: Tags", "", "a list does not go into a field of type choice"),
        ("custom.halls: Tags", "", "exists only in cn/south, not everywhere: write it under regions: {cn/south: {fields: …}}"),
        ("", "regions:\n  cn/north: {fields: {custom.halls: Tags}}\n", "exists only in cn/south, not in cn/north"),
        ("", "regions:\n  cn: {fields: {custom.halls: Tags}}\n", "exists only in cn/south, not in cn"),
    ],
)  # fmt: skip
def test_a_mapping_that_writes_what_a_field_or_region_does_not_take_is_refused(
    customer: Kind, fields: str, overlay: str, said: str
):
    with pytest.raises(MappingInvalid) as error:
        made(customer, fields, overlay=overlay)
    assert said in str(error.value)


def test_an_overlay_writes_the_fields_of_its_region_and_a_value_outside_the_options_fails_by_name(
    customer: Kind,
):
    from hub.mapping import Context, Failed, Mapped

    compiled = made(
        customer,
        "custom.segment: Name",
        overlay="regions:\n  cn/south/shenzhen: {fields: {custom.halls: Tags}}\n",
    )
    source = {"No": "1", "Name": "gold", "Tags": ["futian"]}
    assert compiled.run(source, Context(region="cn/south/shenzhen/")) == Mapped(
        "1", {"name": "gold", "custom.segment": "gold", "custom.halls": ["futian"]}
    )
    for change, field in (({"Name": "glod"}, "custom.segment"), ({"Tags": ["luohu"]}, "custom.halls")):
        found = compiled.run({**source, **change}, Context(region="cn/south/shenzhen/"))
        assert isinstance(found, Failed)
        assert found.field == field
        assert "must be one of" in found.message


def test_hub_yaml_may_name_declared_custom_fields_alone(tmp_path: Path):
    root = written(tmp_path)
    text = (root / "hub.yaml").read_text("utf-8")
    (root / "hub.yaml").write_text(text + "kinds: {customer: {admission: [name, custom.segmnet]}}\n", "utf-8")
    with pytest.raises(ProjectInvalid, match=r"did you mean 'custom\.segment'"):
        load(root)
