"""Whose books: money on one legal entity's account for another one's contract is booked by nobody until a person looked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.crm.external import ExternalWrite, WriteRefused
from hub.errors import Cause
from hub.pipe.accept import accept
from hub.project import ProjectInvalid
from hub.project.sections import DEFAULT_RULES
from hub.project.values import LegalEntity
from tests.pipe_stand import Stand
from tests.project_folder import HUB_YAML, load, write_project
from tests.worlds import project

BOOKS = {
    "south": LegalEntity("south", "示例科技（深圳）有限公司", accounts=("ACC-S",)),
    "north": LegalEntity("north", "示例科技（北京）有限公司", accounts=("ACC-N",)),
}


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = project(("customer", "receipt"))
    opened = Stand(made=replace(made, entities=BOOKS, kinds={**DEFAULT_RULES, **made.kinds}))
    yield opened
    opened.close()


def sign(stand: Stand, entity: str) -> tuple[str, str]:
    """Return a customer and a contract of a legal entity."""
    customer = stand.put("C-1", name="示例科技有限公司")
    deal = {
        "no": "HT-1",
        "customer": customer,
        "amount_total": "100.00",
        "currency": "CNY",
        "status": "active",
    }
    return customer, stand.put("HT-1", "contract", entity=entity, **deal)


def pay(stand: Stand, customer: str, **fields: Any) -> WriteRefused | Any:
    body = {
        "no": "P-1",
        "customer": customer,
        "amount": "1.00",
        "currency": "CNY",
        "received_on": "2026-01-10",
    }
    return stand.store.run_now(
        accept, ExternalWrite("crm", "payment", "P-1", {**body, **fields}, "cn/south/"), stand.world
    )


@pytest.mark.parametrize(
    ("named", "field"),
    [
        ({"account_no": "ACC-S", "contract_no": "HT-1"}, "account_no"),
        ({"account_no": "ACC-S", "entity": "north"}, "account_no"),
        ({"entity": "south", "contract_no": "ht-1"}, "entity"),
        ({"account_no": "ACC-S", "entity": "south", "contract": "its id"}, "account_no"),
    ],
)
def test_a_payment_whose_account_and_contract_are_of_two_legal_entities_is_a_dead_letter(
    stand: Stand, named: Any, field: str
):
    customer, contract = sign(stand, "north")
    fields = {name: contract if value == "its id" else value for name, value in named.items()}
    held = pay(stand, customer, **fields)
    assert isinstance(held, WriteRefused)
    assert (held.cause, held.field) == (Cause.ENTITY, field)
    stand.run()
    assert stand.effects("receipt") == []
    assert not isinstance(
        pay(stand, customer, account_no="ACC-N", entity="north", contract=contract), WriteRefused
    )
    stand.run()
    assert len(stand.effects("receipt")) == 1


@pytest.mark.parametrize(
    "named",
    [
        {"account_no": "ACC-N", "entity": "north", "contract_no": "HT-1"},
        {"account_no": "ACC-N"},
        {"account_no": "somebody else's", "contract_no": "HT-1"},
        {"contract_no": "HT-404", "entity": "south"},
    ],
)
def test_a_payment_within_one_legal_entity_is_booked(stand: Stand, named: dict[str, Any]):
    customer, _ = sign(stand, "north")
    assert not isinstance(pay(stand, customer, **named), WriteRefused)
    stand.run()
    assert len(stand.effects("receipt")) == 1


def test_an_account_belongs_to_one_legal_entity(tmp_path: Path):
    line = '  demo: {title: 示例, connection: erp, orgs: {use: "100"}}\n'
    assert line in HUB_YAML
    one, two = line.replace("}}", "}, accounts: [A-1]}"), "  north: {title: 北方, accounts: [A-1, A-2]}\n"
    with pytest.raises(ProjectInvalid, match="'A-1' is an account of demo already"):
        load(write_project(tmp_path, HUB_YAML.replace(line, one + two)))
