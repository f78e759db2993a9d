"""What no single sync can see: refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.project import ProjectInvalid
from hub.sdk.spec import ConnectorSpec
from tests.project_folder import HUB_YAML, SPEC, load, with_object, write_project

SECOND_OUT = """\
  erp.client.again:
    target: erp.client
    mapping: acme/client.out
    entity: demo
    accept_window: true
"""
SECOND_IN = """\
  erp.client.again:
    source: erp.client
    mapping: acme/client.in
"""
WITHOUT_CLIENTS = (
    HUB_YAML[: HUB_YAML.index("  erp.client.out:")] + HUB_YAML[HUB_YAML.index("  erp.bill.out:") :]
)
NO_WINDOW = HUB_YAML.replace("    accept_window: true\n", "")


def message_of(root: Path, text: str, spec: ConnectorSpec = SPEC, **mappings: str) -> str:
    with pytest.raises(ProjectInvalid) as caught:
        load(write_project(root, text, **mappings), spec)
    return str(caught.value)


def test_two_syncs_on_one_target_are_refused(tmp_path: Path) -> None:
    message = message_of(tmp_path, HUB_YAML + SECOND_OUT)
    assert "syncs.erp.client.again.target: erp.client.out writes the same target" in message


def test_one_target_in_two_organisations_is_two_targets(tmp_path: Path) -> None:
    text = HUB_YAML + SECOND_OUT.replace("    entity: demo\n", '    org: "200"\n')
    assert len(load(write_project(tmp_path, text)).syncs_out("customer")) == 2


def test_two_inbound_syncs_on_one_stream_are_refused_whatever_their_organisation(tmp_path: Path) -> None:
    assert "erp.client.in reads the same stream" in message_of(
        tmp_path, HUB_YAML + SECOND_IN + '    org: "200"\n'
    )


def test_a_field_that_goes_both_ways_without_a_guard_must_be_accepted(tmp_path: Path) -> None:
    message = message_of(tmp_path, NO_WINDOW)
    assert "name, uscc go both ways with erp.client.in" in message
    assert "write accept_window: true" in message
    assert load(write_project(tmp_path, NO_WINDOW), with_object(guard="version"))
    assert "go both ways" in message_of(tmp_path, NO_WINDOW, with_object(guard="version", writes="whole"))


def test_fields_that_go_one_way_need_no_acceptance(tmp_path: Path) -> None:
    one_way = "mapping: acme/client.in\nsource: acme.client\ntarget: crm.customer\nkey: [No]\nfields: {remark: Tax}\n"
    assert load(write_project(tmp_path, NO_WINDOW, acme_client_in=one_way))


def test_an_xref_that_no_sync_can_produce_is_refused(tmp_path: Path) -> None:
    message = message_of(tmp_path, WITHOUT_CLIENTS)
    assert (
        "syncs.erp.bill.out.mapping: xref('acme.client'): no sync of this connection can produce it"
        in message
    )


def test_an_xref_of_another_organisation_is_not_enough(tmp_path: Path) -> None:
    bill = HUB_YAML.index("  erp.bill.out:")
    text = HUB_YAML[:bill] + HUB_YAML[bill:].replace("    entity: demo", '    org: "200"')
    assert "can produce it for organisation 200" in message_of(tmp_path, text)


def test_syncs_that_depend_on_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    client = 'mapping: acme/client.out\nsource: crm.customer\ntarget: acme.client\nfields:\n  Name: name\n  Tax: xref("acme.bill", remark)\n'
    message = message_of(tmp_path, HUB_YAML, acme_client_out=client)
    assert "in a circle: erp.client.out -> erp.bill.out -> erp.client.out" in message


def test_a_sync_that_depends_on_itself_is_a_circle(tmp_path: Path) -> None:
    client = 'mapping: acme/client.out\nsource: crm.customer\ntarget: acme.client\nfields:\n  Name: name\n  Tax: xref("acme.client", remark)\n'
    assert "in a circle: erp.client.out -> erp.client.out" in message_of(
        tmp_path, HUB_YAML, acme_client_out=client
    )


def test_an_object_that_is_only_taken_in_can_be_named_too(tmp_path: Path) -> None:
    text = HUB_YAML[: HUB_YAML.index("  erp.client.out:")] + HUB_YAML[HUB_YAML.index("  erp.client.in:") :]
    assert load(write_project(tmp_path, text)).syncs_out("customer") == ()


def test_a_field_the_vendor_requires_must_be_written(tmp_path: Path) -> None:
    client = "mapping: acme/client.out\nsource: crm.customer\ntarget: acme.client\nfields: {Tax: uscc}\n"
    assert "client requires Name; acme/client.out does not write it" in message_of(
        tmp_path, HUB_YAML, acme_client_out=client
    )


def test_an_entity_booked_through_another_connection_is_refused(tmp_path: Path) -> None:
    other = "  erp2: {connector: acme, settings: {url: https://x.example.com, key: '${env:K}'}}\nsyncs:"
    text = HUB_YAML.replace("syncs:", other, 1).replace("connection: erp,", "connection: erp2,")
    assert "demo is booked through connection erp2, not erp" in message_of(tmp_path, text)
