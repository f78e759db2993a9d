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
from hub.pipe.recheck import _as_create
from hub.project import ProjectInvalid
from hub.project.sections import DEFAULT_RULES
from hub.project.values import LANE_MONEY, LegalEntity
from tests.pipe_stand import Stand
from tests.project_folder import HUB_YAML, load, write_project
from tests.vendor import Fate
from tests.worlds import CUSTOMER_OUT, project, sync, with_mode

BOOKS = {
    "south": LegalEntity("south", "示例科技（深圳）有限公司", accounts=("ACC-S",)),
    "north": LegalEntity("north", "示例科技（北京）有限公司", accounts=("ACC-N",)),
}
SLIP_OUT = """
mapping: mem/slip.out
source: crm.payment
target: mem.mail
fields:
  name: no
  remark: xref("mem.card", customer)
"""


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = project(("customer", "receipt"))
    opened = Stand(made=replace(made, entities=BOOKS, kinds={**DEFAULT_RULES, **made.kinds}))
    yield opened
    opened.close()


@pytest.fixture
def two_books() -> Iterator[Stand]:
    """Two legal entities: the south books receipts of customers, the north slips (mails) of cards."""
    made = project(("customer", "receipt"), customer={"entity": "south"}, receipt={"entity": "south"})
    north = (
        sync("card.north", "out", "card", CUSTOMER_OUT, entity="north", org="N"),
        sync("slip.north", "out", "mail", SLIP_OUT, kind="payment", lane=LANE_MONEY, entity="north", org="N"),
    )
    syncs = {**made.syncs, **{one.name: one for one in north}}
    opened = Stand(made=replace(made, syncs=syncs, entities=BOOKS, kinds={**DEFAULT_RULES, **made.kinds}))
    yield opened
    opened.close()


def test_a_customer_whom_both_companies_serve_is_in_both_books_and_kept_in_step(two_books: Stand) -> None:
    stand = two_books
    customer = stand.put("C-1", entity="south", name="示例科技有限公司")
    stand.run()
    assert stand.effects("customer")
    assert stand.effects("card") == [], "the north has no use for it yet"
    assert not isinstance(pay(stand, customer, entity="north", account_no="ACC-N"), WriteRefused)
    stand.run()
    (card,) = {one.id for one in stand.vendor.effects if one.object == "card"}
    assert [dict(one.fields)["remark"] for one in stand.vendor.effects if one.object == "mail"] == [card]
    stand.put("C-1", entity="south", name="示例科技（集团）有限公司")
    stand.run()
    names = [dict(effect.fields)["name"] for effect in stand.vendor.effects if "name" in dict(effect.fields)]
    assert names[-2:] == ["示例科技（集团）有限公司"] * 2, "one change, both books"
    assert stand.ask("SELECT count(*) FROM owed") == [(0,)]


def test_a_customer_whom_the_second_books_refused_goes_again_when_the_crm_corrects_it(
    two_books: Stand,
) -> None:
    stand = two_books
    customer = stand.put("C-1", entity="south", name="示例科技有限公司")
    stand.run()
    pay(stand, customer, entity="north", account_no="ACC-N")
    for attempt in (one for _ in range(4) for one in stand.claim()):
        stand.settle(attempt, stand.send(attempt, Fate.REFUSE if attempt.sync == "card.north" else Fate.OK))
    assert stand.row("card.north")["state"] == "parked"
    stand.put("C-1", entity="south", name="示例科技（集团）有限公司")
    stand.run()
    assert [one.object for one in stand.vendor.effects if one.object == "mail"] == ["mail"]
    assert stand.ask("SELECT count(*) FROM owed") == [(0,)]


def test_the_look_for_doubles_asks_about_what_the_second_books_have(two_books: Stand) -> None:
    stand = two_books
    customer = stand.put("C-1", entity="south", name="示例科技有限公司")
    pay(stand, customer, entity="north", account_no="ACC-N")
    stand.run()
    write = stand.store.read_now(
        _as_create, stand.world, stand.world.project.syncs["card.north"], bytes.fromhex(customer)
    )
    assert write is not None
    assert write.payload["name"] == "示例科技有限公司"


def test_what_is_only_observed_puts_nobody_into_the_second_books(two_books: Stand) -> None:
    stand = two_books
    stand.world = replace(stand.world, project=with_mode(stand.world.project, "slip.north", "observe"))
    customer = stand.put("C-1", entity="south", name="示例科技有限公司")
    pay(stand, customer, entity="north", account_no="ACC-N")
    stand.run()
    assert {one.object for one in stand.vendor.effects} == {"customer"}


@pytest.mark.parametrize("named", [{"account_no": "ACC-N"}, {"contract_no": "HT-1"}])
def test_a_payment_that_names_no_company_is_booked_where_its_account_or_contract_is(
    two_books: Stand, named: dict[str, Any]
) -> None:
    customer, _ = sign(two_books, "north")
    assert not isinstance(pay(two_books, customer, **named), WriteRefused)
    two_books.run()
    assert [one.object for one in two_books.vendor.effects if one.object in ("mail", "receipt")] == ["mail"]


def test_a_document_whose_customer_no_sync_may_send_is_a_dead_letter_and_does_not_wait_for_ever(
    stand: Stand,
) -> None:
    made = stand.world.project
    elsewhere = {**made.syncs, "customer.out": replace(made.syncs["customer.out"], region="cn/north/")}
    stand.world = replace(stand.world, project=replace(made, syncs=elsewhere))
    customer = stand.put("C-1", name="示例科技有限公司")
    pay(stand, customer)
    stand.run()
    (found,) = stand.ask("SELECT state, cause FROM owed")
    assert found[0] == "parked"
    assert Cause.NO_SYNC.value in found[1]


def test_a_document_that_waits_for_a_customer_who_leaves_meanwhile_is_a_dead_letter_too(stand: Stand) -> None:
    customer = stand.put("C-1", name="示例科技有限公司")
    pay(stand, customer)
    assert stand.claim(LANE_MONEY) == []
    assert stand.row("receipt.out")["waits_for"] == f"xref:mem/customer//{customer}"
    made = stand.world.project
    north = replace(made.syncs["customer.out"], region="cn/north/")
    stand.world = replace(stand.world, project=replace(made, syncs={**made.syncs, "customer.out": north}))
    stand.run()
    row = stand.row("receipt.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", Cause.NO_SYNC.value)
    assert not stand.owes("customer.out")


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
