"""`hub mapping check`, `test` and `schema` as people and programs read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.cli_site import ROOT, Site, make_site

SMALL = """\
mapping: kingdee/small.in
source: kingdee.customer
target: crm.customer
key: [FCUSTID]
fields:
  name: FName
  remark: FName
"""
CASE = "- {name: one, source: {FCUSTID: 1, FName: 示例}, only: [name], expect: {name: 示例}}\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture
def small(site: Site) -> Path:
    """A mapping of two fields whose only case fills one."""
    file = site.folder / "mappings/kingdee/small.in.yaml"
    file.write_text(SMALL, "utf-8")
    file.with_name("small.in.tests.yaml").write_text(CASE, "utf-8")
    return file


def test_fields_that_no_case_fills_are_named_to_people_and_programs(site: Site, small: Path) -> None:
    assert f"{small}: fields 1 of 2; never filled: remark\n" in site.cli("mapping", "test", str(small))
    told = site.cli("--lang", "zh", "mapping", "test", str(small), lang="zh")
    assert "字段 1/2；从未填写：remark" in told
    (found,) = site.json("mapping", "test", str(small))["coverage"]
    assert (found["fields"], found["filled"], found["never_filled"]) == (2, 1, ["remark"])


@pytest.mark.parametrize(("percent", "code"), [("50", 0), ("51", 1)])
def test_a_share_that_is_asked_for_and_not_reached_fails(
    site: Site, small: Path, percent: str, code: int
) -> None:
    told = site.cli("mapping", "test", str(small), "--require-coverage", percent, code=code)
    assert ("below 51 percent (1 of 2)" in told) == bool(code)
    found = site.json("mapping", "test", str(small), "--require-coverage", percent, code=code)
    assert found["ok"] is not bool(code)


def test_a_mapping_without_cases_reaches_no_share(site: Site, small: Path) -> None:
    small.with_name("small.in.tests.yaml").unlink()
    site.cli("mapping", "test", str(small))
    assert "below 1 percent (0 of 2)" in site.cli(
        "mapping", "test", str(small), "--require-coverage", "1", code=1
    )


def _break(file: Path) -> None:
    bad = SMALL.replace("name: FName", "name: '\"客户\" + FNmae'").replace("remark", "remakr")
    file.write_text(bad, "utf-8")


PLACES = [(6, 17, "fields.name", "FName"), (7, 3, "fields.remakr", "remark")]


def test_json_names_the_place_of_every_problem_beside_its_sentence(site: Site, small: Path) -> None:
    _break(small)
    told = site.json("mapping", "check", str(small), code=1)
    found = told["found"]
    assert [(one["line"], one["column"], one["field"], one["nearest"]) for one in found] == PLACES
    assert {one["file"] for one in found} == {str(small)}
    assert [line.startswith(f"{small}:{line_}:{column}: ") for line, (line_, column, *_) in
            zip(told["problems"], PLACES, strict=True)] == [True, True]  # fmt: skip


def test_sarif_shows_every_problem_where_it_stands(site: Site, small: Path) -> None:
    _break(small)
    log = json.loads(site.cli("mapping", "check", str(small), "--output", "sarif", code=1))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert run["columnKind"] == "unicodeCodePoints"
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert [(one["region"]["startLine"], one["region"]["startColumn"]) for one in places] == [
        (line, column) for line, column, *_ in PLACES
    ]
    assert {one["artifactLocation"]["uri"] for one in places} == {small.as_uri()}
    assert {one["level"] for one in run["results"]} == {"error"}
    assert {one["ruleId"] for one in run["results"]} == {one["id"] for one in run["tool"]["driver"]["rules"]}


def test_sarif_of_files_without_problems_is_a_run_without_results(site: Site, small: Path) -> None:
    log = json.loads(site.cli("--output", "sarif", "mapping", "check", str(small)))
    assert log["runs"][0]["results"] == []


@pytest.mark.parametrize("command", [["mapping", "test"], ["status"], ["dlq", "list"]])
def test_a_command_without_sarif_says_so(site: Site, command: list[str]) -> None:
    assert "no --output sarif, only table | json" in site.cli(*command, "--output", "sarif", code=2)
    assert "没有 --output sarif" in site.cli("--lang", "zh", "--output", "sarif", *command, code=2, lang="zh")


@pytest.mark.parametrize("name", ["mapping", "map", "tests"])
def test_the_schema_of_each_file_is_printed_as_it_is_published(site: Site, name: str) -> None:
    published = (ROOT / f"docs/schema/{name}.schema.json").read_text("utf-8")
    assert site.cli("mapping", "schema", name) == published


def test_the_mapping_file_is_the_schema_meant_and_an_unknown_one_is_refused(site: Site) -> None:
    assert site.cli("mapping", "schema") == site.cli("mapping", "schema", "mapping")
    assert "'mpa' is not one of" in site.cli("mapping", "schema", "mpa", code=2)


def test_a_warning_is_shown_and_fails_nothing(site: Site, small: Path) -> None:
    small.write_text(SMALL.replace("fields:", "when: FName == 'a' and FName == 'b'\nfields:"), "utf-8")
    said = "holds for no record"
    assert f"warning: {small}:5:7: when: {said}" in site.cli("mapping", "check", str(small))
    assert f"提醒：{small}:5:7" in site.cli("--lang", "zh", "mapping", "check", str(small), lang="zh")
    told = site.json("mapping", "check", str(small))
    assert (told["ok"], told["problems"], len(told["warnings"])) == (True, [], 1)
    (run,) = json.loads(site.cli("mapping", "check", str(small), "--output", "sarif"))["runs"]
    assert [one["level"] for one in run["results"]] == ["warning"]


def test_a_field_that_the_vendor_requires_is_missed_before_the_mapping_is_used(site: Site) -> None:
    file = site.folder / "mappings/kingdee/customer.out.yaml"
    kept = [line for line in file.read_text("utf-8").splitlines() if not line.strip().startswith("FName:")]
    file.write_text("\n".join(kept) + "\n", "utf-8")
    assert "kingdee.customer requires FName, which no rule writes" in site.cli("mapping", "check", str(file))


def test_what_ships_has_no_warnings(site: Site) -> None:
    assert site.json("mapping", "check")["warnings"] == []
