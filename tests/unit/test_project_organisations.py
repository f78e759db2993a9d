"""One sync for each organisation, generated from the table of legal entities."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.project import ProjectInvalid
from tests.project_folder import HUB_YAML, load, write_project

TWO = '  demo: {title: 示例, connection: erp, orgs: {use: "100"}}\n  north: {title: 北方, connection: erp, orgs: {use: "200"}}\n'
ENTITIES = '  demo: {title: 示例, connection: erp, orgs: {use: "100"}}\n'
PER = HUB_YAML.replace(
    "    mode: write\n    entity: demo\n", "    mode: write\n    per: organisation\n"
).replace(
    "    mapping: acme/bill.out\n    entity: demo\n", "    mapping: acme/bill.out\n    per: organisation\n"
)


def syncs_of(root: Path, text: str) -> dict[str, tuple[str | None, str, str]]:
    """Return the outbound syncs: name -> legal entity, organisation, mode."""
    found = load(write_project(root, text)).syncs.values()
    return {one.name: (one.entity, one.org, one.mode) for one in found if one.direction == "out"}


def message_of(root: Path, text: str) -> str:
    with pytest.raises(ProjectInvalid) as caught:
        load(write_project(root, text))
    return str(caught.value)


def test_a_sync_per_organisation_is_one_for_each_row_of_the_table(tmp_path: Path):
    assert syncs_of(tmp_path, PER.replace(ENTITIES, TWO)) == {
        "erp.client.out@100": ("demo", "100", "write"),
        "erp.client.out@200": ("north", "200", "write"),
        "erp.bill.out@100": ("demo", "100", "observe"),
        "erp.bill.out@200": ("north", "200", "observe"),
    }


def test_a_row_more_changes_the_name_of_no_other_sync(tmp_path: Path):
    one = syncs_of(tmp_path / "one", PER)
    two = syncs_of(tmp_path / "two", PER.replace(ENTITIES, TWO))
    assert one.items() <= two.items()


def test_entities_that_are_booked_elsewhere_have_no_sync_here(tmp_path: Path):
    elsewhere = TWO.replace('connection: erp, orgs: {use: "200"}', 'connection: crm, orgs: {use: "200"}')
    assert set(syncs_of(tmp_path, PER.replace(ENTITIES, elsewhere))) == {
        "erp.client.out@100",
        "erp.bill.out@100",
    }


def test_documents_of_one_organisation_name_the_customers_of_that_one(tmp_path: Path):
    text = PER.replace(ENTITIES, TWO).replace(
        "    mode: write\n    per: organisation\n", '    mode: write\n    org: "100"\n'
    )
    message = message_of(tmp_path, text)
    assert "can produce it for organisation 200" in message
    assert "hub.yaml:" in message


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (ENTITIES, TWO.replace('"200"', '"100"'), "demo and north share organisation 100"),
        (ENTITIES, ENTITIES.replace('"100"', '"深圳 1"'), "cannot end a sync's name"),
        (ENTITIES, ENTITIES.replace(', orgs: {use: "100"}', ""), "demo has no number there"),
        (ENTITIES, ENTITIES.replace("connection: erp, ", ""), "no legal entity is booked through erp"),
        ("    per: organisation\n", "    per: organisation\n    entity: demo\n", "takes entity and organisation from the table"),
        ("    per: organisation\n", '    per: organisation\n    org: "7"\n', "takes entity and organisation from the table"),
        ("    per: organisation\n", "    per: region\n", "is not one of organisation"),
        ("    schedule: 5m\n", "    schedule: 5m\n    per: organisation\n", "belongs to a sync with a target"),
        ("  erp.client.out:", "  erp.client.out@100:", "a sync's name is"),
    ],
)  # fmt: skip
def test_what_cannot_be_one_sync_per_organisation_is_refused_with_its_line(
    tmp_path: Path, before: str, after: str, why: str
):
    assert before in PER
    message = message_of(tmp_path, PER.replace(before, after, 1))
    assert why in message
    assert message.startswith("hub.yaml:")
