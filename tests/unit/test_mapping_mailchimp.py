"""The shipped Mailchimp mappings against the connector's own spec: cases as data, consent, and the way out and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.mailchimp.objects import SPEC
from hub.mapping import (
    Context,
    Schemas,
    compile,  # noqa: A004 - the border's name
    crm_schemas,
    load_value_maps,
    run_tests,
)
from hub.model import KINDS, digest_form

FOLDER = Path(__file__).parents[2] / "mappings" / "mailchimp"
MAPPINGS = sorted(path for path in FOLDER.glob("*.yaml") if path.name.endswith((".in.yaml", ".out.yaml")))
STATES = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")


def named(specs: dict) -> dict:
    return {f"mailchimp.{name}": spec.fields for name, spec in specs.items()}


SCHEMAS = Schemas(
    {**crm_schemas(), **named(SPEC.streams)},
    {**crm_schemas(), **named(SPEC.objects)},
    load_value_maps(FOLDER),
)


def shipped(name: str):
    path = FOLDER / name
    return compile(path.read_text(encoding="utf-8"), SCHEMAS, file=str(path))


@pytest.mark.parametrize("path", MAPPINGS, ids=lambda path: path.name)
def test_every_shipped_mapping_compiles_and_passes_its_cases(path):
    outcomes = run_tests(path, SCHEMAS)
    assert len(outcomes) >= 3
    assert [outcome for outcome in outcomes if not outcome.passed] == []


def test_every_status_has_a_state_of_consent():
    assert tuple(sorted(SCHEMAS.value_maps["mailchimp.consent_state"].values)) == tuple(sorted(STATES))


@pytest.mark.parametrize("opted_in", [True, False, None])
@pytest.mark.parametrize("opted_out", [True, False, None])
def test_no_contact_whatever_it_says_writes_a_status_but_unsubscribed(opted_in, opted_out):
    body = {
        "name": "Lin",
        "email": "lin@acme-asia.sg",
        "email_opt_out": opted_out,
        "custom.email_opt_in": opted_in,
    }
    sent = (
        shipped("contact.out.yaml")
        .run({name: one for name, one in body.items() if one is not None}, Context())
        .fields
    )
    assert sent.get("status") == ("unsubscribed" if opted_out else None)
    assert sent["status_if_new"] == ("subscribed" if opted_in and not opted_out else "transactional")


@pytest.mark.parametrize("name", ["Lin Wei", "王小明", "Ada"])
def test_m12_what_goes_out_and_comes_back_is_no_change(name):
    body = {"name": name, "email": "lin@acme-asia.sg", "email_opt_out": True, "tags": ["VIP", "客户"]}
    sent = shipped("contact.out.yaml").run(body, Context()).fields
    stored = {
        "contact_id": "c1", "email_address": sent["email_address"], "status": sent["status"],
        "merge_fields": {tag: one or None for tag, one in sent["merge_fields"].items()}, "tags": sent["tags"],
    }  # fmt: skip
    back = shipped("contact.in.yaml").run(stored, Context()).fields
    kind = KINDS["contact"]
    assert {one: digest_form(kind, one, back.get(one)) for one in body} == {
        one: digest_form(kind, one, value) for one, value in body.items()
    }
