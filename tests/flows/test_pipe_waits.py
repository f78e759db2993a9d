"""A receipt that names its customer: what it waits for, who wakes it, whose fault a refusal is (pipe.md 2 to 4)."""

from __future__ import annotations

from hub.pipe import desk
from tests.pipe_stand import Stand
from tests.vendor import Fate
from tests.worlds import project


def both() -> tuple[Stand, str, str]:
    stand = Stand("customer", "receipt")
    customer = stand.put("C-1", name="示例科技有限公司")
    return stand, customer, stand.pay("P-1", customer)


def audited() -> tuple[Stand, str]:
    stand = Stand("customer", "receipt")
    record = stand.put("C-1", name="示例科技有限公司", street="一号路")
    stand.run()
    return stand, record


def test_a_receipt_waits_until_its_customer_is_audited_and_is_then_sent_once():
    stand, customer, receipt = both()
    stand.step()  # the customer is saved, so its xref is there
    assert stand.xref("customer", customer)["complete"] is None
    row = stand.row("receipt.out", receipt)
    assert (row["state"], row["waits_for"]) == ("waiting", f"xref:mem/customer//{customer}")
    stand.pay("P-2", customer)
    assert stand.claim(0) == []
    assert stand.effects("receipt") == []
    stand.run()
    assert stand.effects("customer") == ["save", "submit", "audit"]
    assert stand.effects("receipt") == ["save", "save"]
    assert stand.rows() == []


def test_a_wait_raises_the_debt_that_nobody_owes_and_moves_no_want():
    stand, customer, _ = both()
    wanted = stand.row("customer.out", customer)["want"]
    stand.claim(0)
    assert stand.row("customer.out", customer)["want"] == wanted
    stand.store.run_now(desk.discard, stand.row("customer.out")["id"], "a test", stand.world, by="me")
    assert stand.row("receipt.out")["state"] == "ready"  # woken: it raises the row again, visibly
    stand.run()
    assert stand.rows() == []


def test_what_no_sync_can_make_parks_at_once():
    stand = Stand(made=project(("receipt",)))
    customer = stand.put("C-1", name="示例科技有限公司")
    stand.pay("P-1", customer)
    stand.run()
    assert stand.row("receipt.out")["cause"]["code"] == "no_sync"


def test_a_row_says_when_what_it_waits_for_is_a_dead_letter():
    stand, customer, _ = both()
    stand.settle(attempt := stand.claim(1)[0], stand.send(attempt, Fate.REFUSE))
    stand.run()
    assert stand.row("receipt.out")["cause"] == {"code": "blocked", "by": f"customer.out/{customer}"}
    stand.replay(stand.row("customer.out")["id"])
    stand.run()
    assert stand.rows() == []


def test_a_receipt_waits_while_its_customer_is_re_opened():
    stand, record = audited()
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step()  # un-audited
    assert stand.xref("customer", record)["complete"] is None
    stand.pay("P-1", record)
    stand.claim(0)
    assert stand.row("receipt.out")["state"] == "waiting"
    stand.run()
    assert stand.rows() == []
    assert [fate for fate, step in stand.sent()] == ["ok"] * len(stand.sent())


def test_a_receipt_waits_while_nobody_knows_whether_its_customer_is_re_opened():
    stand, record = audited()
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step(Fate.LOST)  # un-audited there; here the xref still says complete
    assert stand.xref("customer", record)["complete"] is not None
    stand.pay("P-1", record)
    assert stand.claim(0) == []
    assert stand.row("receipt.out")["state"] == "waiting"
    stand.drain()
    assert stand.effects("receipt") == ["save"]


def test_a_plan_that_ends_without_having_re_opened_anything_wakes_who_waits():
    stand, record = audited()
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    attempt = stand.claim(1)[0]  # the un-audit is under way
    stand.pay("P-1", record)
    stand.claim(0)
    assert stand.row("receipt.out")["state"] == "waiting"
    stand.settle(attempt, stand.send(attempt, Fate.REFUSE))
    assert stand.row("receipt.out")["state"] == "ready"
    stand.run()
    assert stand.effects("receipt") == ["save"]


def test_a_plan_that_ends_after_its_re_opening_leaves_the_object_unusable():
    stand, record = audited()
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step()  # un-audited
    stand.step(Fate.REFUSE)  # not saved: parked, in status D
    stand.pay("P-1", record)
    stand.run()
    assert stand.row("receipt.out")["state"] == "waiting"
    assert stand.effects("receipt") == []


def test_a_refusal_that_our_own_re_opening_caused_parks_nothing():
    stand, record = audited()
    stand.pay("P-1", record)
    receipt = stand.claim(0)[0]  # it names the audited customer
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    opening = stand.claim(1)[0]
    stand.settle(opening, stand.send(opening))  # un-audited before the receipt's bytes arrive
    answer = stand.send(receipt)
    assert answer.error.cause == "not_found"
    stand.settle(receipt, answer)
    row = stand.row("receipt.out")
    assert row["state"] == "ready"
    assert (
        row["want"] > receipt.write.generation
    )  # another key: the vendor may answer the old one with the old refusal
    stand.run()
    assert stand.effects("receipt") == ["save"]
    assert stand.rows() == []


def test_a_refusal_of_what_a_user_re_opened_is_innocent_once_a_read_touched_it_and_parks_before_that():
    stand, record = audited()
    stand.pay("P-1", record)
    receipt = stand.claim(0)[0]
    stand.thing("customer", record).stage = "D"  # a user of the vendor
    stand.settle(receipt, stand.send(receipt))
    assert stand.row("receipt.out")["cause"]["code"] == "not_found"


def test_a_read_that_shows_a_lower_status_makes_who_names_it_wait_and_the_waiting_row_raises_it_again():
    stand, record = audited()
    thing = stand.thing("customer", record)
    thing.stage = "D"
    stand.take(thing)
    assert stand.xref("customer", record)["complete"] is None
    assert not stand.owes("customer.out")  # it owes nothing by itself
    stand.pay("P-1", record)
    stand.run()
    assert stand.rows() == []
    assert stand.effects("customer")[-2:] == ["submit", "audit"]
    assert stand.effects("receipt") == ["save"]


def test_a_repeat_is_not_sent_while_what_it_names_is_re_opened():
    stand = Stand("customer", "receipt")
    record = stand.put("C-1", name="示例科技有限公司", street="一号路")
    stand.run()
    stand.pay("P-1", record)
    stand.step(Fate.NEVER)
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    stand.drain()
    assert stand.effects("receipt") == ["save"]


def test_who_waits_too_long_is_looked_at_again_woken_or_not():
    stand, _customer, _receipt = both()
    stand.claim(0)
    assert stand.row("receipt.out")["state"] == "waiting"
    stand.advance(61)
    stand.sweep()
    assert stand.row("receipt.out")["state"] == "ready"


def test_a_customer_that_is_gone_is_made_again_for_its_receipt():
    stand, record = audited()
    old = stand.thing("customer", record)
    stand.vendor.remove("customer", old.id)
    stand.take(old.id)
    stand.run()
    stand.pay("P-1", record)
    stand.run()
    assert stand.rows() == []
    assert stand.thing("customer", record).id != old.id
    assert stand.effects("receipt") == ["save"]


def test_two_receipts_of_one_customer_wait_together_and_raise_one_debt():
    stand = Stand("customer", "receipt")
    customer = stand.put("C-1", name="示例科技有限公司")
    for number in range(3):
        stand.pay(f"P-{number}", customer)
    stand.claim(0)
    assert [row["state"] for row in stand.rows() if row["sync"] == "receipt.out"] == ["waiting"] * 3
    stand.run()
    assert stand.effects("customer") == ["save", "submit", "audit"]
    assert stand.effects("receipt") == ["save"] * 3
