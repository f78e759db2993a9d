"""What becomes of one write, whatever the vendor answers or does not: section 4 of pipe.md over the real transactions."""

from __future__ import annotations

import pytest

from hub.pipe import desk
from hub.pipe.desk import NotPossible
from hub.sdk.connector import Applied, VendorRef
from tests.pipe_stand import Stand
from tests.vendor import KEY_WINDOW, SETTLE_AFTER, Fate, Thing
from tests.worlds import project

ABSENT = SETTLE_AFTER + 11.0
"""Seconds after a claim when none of its bytes can land any more."""


def customer(*objects: str) -> tuple[Stand, str]:
    stand = Stand(*objects)
    return stand, stand.put("C-1", name="示例科技有限公司", street="一号路")


def agreed(*objects: str) -> tuple[Stand, str]:
    stand, record = customer(*objects)
    stand.run()
    assert stand.rows() == []
    return stand, record


# an answer that never came ------------------------------------------------------------------------------------


def test_a_create_whose_answer_was_lost_is_found_and_not_made_twice():
    stand, record = customer("customer")
    assert stand.step(Fate.LOST) == 1
    assert stand.row("customer.out")["state"] == "in_doubt"
    stand.drain()
    assert stand.rows() == []
    assert stand.effects("customer") == ["save", "submit", "audit"]
    assert stand.xref("customer", record)["stage"] == "C"


def test_what_a_look_up_does_not_find_yet_is_not_sent_again_before_it_can_no_longer_land():
    stand, record = customer("receipt", "customer")
    stand.run()
    stand.pay("P-1", record)
    stand.vendor.late_by = lambda: 19_000_000
    assert stand.step(Fate.LATE) == 1
    assert stand.step() == 1  # a look-up: nothing there
    row = stand.row("receipt.out")
    assert row["state"] == "in_doubt"
    assert row["due"] == row["absent_after"]
    stand.run()
    stand.advance(19.5)
    stand.drain()
    assert stand.effects("receipt") == ["save"]


def test_what_never_took_effect_is_sent_again_after_the_wait():
    stand, record = customer("customer", "receipt")
    stand.run()
    stand.pay("P-1", record)
    stand.step(Fate.NEVER)
    stand.run()
    assert stand.effects("receipt") == []
    stand.advance(ABSENT)
    stand.run()
    assert stand.effects("receipt") == ["save"]
    assert stand.rows() == []


def test_a_look_up_that_cannot_tell_is_repeated_and_parks_open_once_the_budget_is_spent():
    stand, _ = customer("customer")
    stand.step(Fate.LOST)
    for _ in range(40):
        stand.advance(40)
        if stand.row("customer.out")["state"] == "parked":
            break
        stand.step(Fate.NEVER)
    row = stand.row("customer.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", "doubt")
    assert row["generation"] is not None  # open: nothing newer may go out before a person has looked
    stand.replay(row["id"])
    stand.drain()
    assert stand.rows() == []
    assert len(stand.vendor.things) == 1


def test_a_keyed_write_is_repeated_with_the_same_key():
    stand, _ = customer("keyed")
    stand.step(Fate.LOST)
    stand.run()
    assert stand.effects("keyed") == ["save"]
    first, second = [write for _, write in stand.connector.calls]
    assert (first.key, first.payload) == (second.key, second.payload)


def test_a_key_that_the_vendor_may_have_forgotten_is_not_used_again_a_person_decides():
    stand, record = customer("keyed")
    stand.step(Fate.LOST)
    stand.advance(KEY_WINDOW)
    stand.run()
    row = stand.row("keyed.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", "doubt")
    assert len(stand.sent()) == 1
    thing = next(iter(stand.vendor.things.values()))
    stand.store.run_now(
        desk.resolve, row["id"], stand.world, ref=VendorRef(thing.id), evidence="seen there", by="me"
    )
    stand.run()
    assert stand.rows() == []
    assert stand.effects("keyed") == ["save"]
    assert stand.xref("keyed", record)["vendor_id"] == thing.id


def test_a_person_who_says_not_applied_gets_a_new_key():
    stand, _ = customer("keyed")
    stand.step(Fate.NEVER)
    stand.advance(KEY_WINDOW)
    stand.run()
    stand.store.run_now(
        desk.resolve, stand.row("keyed.out")["id"], stand.world, ref=None, evidence="looked", by="me"
    )
    stand.run()
    assert stand.effects("keyed") == ["save"]
    assert len({write.key for _, write in stand.connector.calls}) == 2


def test_nobody_may_resolve_while_the_send_may_still_land():
    stand, _ = customer("keyed")
    stand.step(Fate.NEVER)
    row = stand.row("keyed.out")
    stand.store.run_now(
        lambda tx: tx.cursor.execute("UPDATE owed SET state = 'parked', cause = '{\"code\":\"doubt\"}'")
    )
    with pytest.raises(NotPossible) as stopped:
        stand.store.run_now(desk.resolve, row["id"], stand.world, ref=None, evidence="looked", by="me")
    assert stopped.value.reason is desk.Reason.TOO_EARLY


def test_a_put_is_repeated_at_once_and_what_comes_next_waits_until_the_first_copy_can_no_longer_land():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.vendor.late_by = lambda: 18_000_000
    stand.step(Fate.LATE)
    stand.step()
    assert not stand.owes("card.out")
    stand.put("C-1", name="示例科技有限公司", street="三号路")
    stand.drain()
    stand.advance(ABSENT)
    stand.drain()
    assert stand.thing("card", record).fields["street"] == "三号路"
    generations = [effect.generation for effect in stand.vendor.effects]
    assert generations == sorted(generations)


def test_a_late_copy_of_our_own_write_over_a_user_s_edit_is_not_taken_for_the_user_s_word():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.vendor.late_by = lambda: 18_000_000
    stand.step(Fate.LATE)
    thing = stand.thing("card", record)
    stand.take(
        thing.id, stream="card"
    )  # a hint that waits for the attempt: it is read at once, not when copies have landed
    stand.run()  # the repeat is applied; the first copy may still land
    stand.advance(1.0)
    stand.vendor.edit("card", thing.id, street="用户改的路")
    stand.take(thing)
    assert stand.body(record)["street"] == "用户改的路"
    stand.advance(18.0)
    assert stand.thing("card", record).fields["street"] == "二号路", "the late copy has landed"
    stand.advance(ABSENT)
    stand.take(stand.thing("card", record))
    stand.drain()
    stand.advance(ABSENT)
    stand.drain()
    assert stand.body(record)["street"] == "用户改的路"
    assert stand.thing("card", record).fields["street"] == "用户改的路"


def test_a_user_who_goes_back_to_an_earlier_value_once_no_copy_can_land_is_believed():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    thing = stand.thing("card", record)
    for street in ("用户改的路", "二号路"):
        stand.advance(ABSENT)
        stand.vendor.edit("card", thing.id, street=street)
        stand.take(thing)
    assert stand.body(record)["street"] == "二号路"


def test_a_refusal_of_a_repeat_says_nothing_about_the_send_before():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.vendor.late_by = lambda: 18_000_000
    stand.step(Fate.LATE)
    stand.step(Fate.REFUSE)
    row = stand.row("card.out")
    assert row["state"] == "in_doubt"
    assert row["due"] == row["absent_after"]
    stand.put("C-1", name="示例科技有限公司", street="三号路")
    stand.drain()
    assert stand.thing("card", record).fields["street"] == "三号路"
    generations = [effect.generation for effect in stand.vendor.effects]
    assert generations == sorted(generations)


def test_an_edit_that_is_undone_while_nobody_knows_what_landed_is_looked_at_once_more():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step(Fate.LOST)  # the vendor has it
    stand.put("C-1", name="示例科技有限公司", street="一号路")
    stand.advance(ABSENT)
    stand.step(Fate.TRY)  # "nothing was done": about this copy alone
    stand.drain()
    assert stand.thing("card", record).fields["street"] == "一号路"
    assert stand.body(record)["street"] == "一号路"


def test_at_least_once_waits_then_repeats_and_counts_a_possible_duplicate():
    stand = Stand(made=project(("mail",), mail={"options": {"on_doubt": "repeat"}}))
    stand.put("C-1", name="示例科技有限公司")
    stand.step(Fate.LOST)
    stand.run()
    assert stand.outcomes().count("possible_duplicate") == 0
    stand.advance(ABSENT)
    stand.run()
    assert stand.outcomes().count("possible_duplicate") == 1
    assert stand.effects("mail") == ["save", "save"]
    assert stand.rows() == []


def test_at_least_once_parks_open_where_the_sync_says_so():
    stand, _ = customer("mail")
    stand.step(Fate.LOST)
    stand.advance(ABSENT)
    stand.run()
    assert stand.row("mail.out")["cause"]["code"] == "doubt"
    assert stand.effects("mail") == ["save"]


def test_of_two_objects_under_our_key_a_person_names_the_one():
    stand, record = customer("customer", "receipt")
    stand.run()
    stand.pay("P-1", record)
    stand.step(Fate.LOST)
    first = next(thing for thing in stand.vendor.things.values() if thing.object == "receipt")
    stand.vendor.things["receipt", "R9"] = Thing(
        "receipt", "R9", dict(first.fields), business_key=first.business_key
    )
    stand.run()
    stand.advance(ABSENT)
    stand.run()
    row = stand.row("receipt.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", "doubled")
    assert row["generation"] is not None
    assert stand.effects("receipt") == ["save"]
    stand.store.run_now(
        desk.resolve, row["id"], stand.world, ref=VendorRef(first.id), evidence="R9 was removed", by="me"
    )
    stand.vendor.remove("receipt", "R9")
    stand.run()
    assert stand.rows() == []


def test_an_object_that_is_gone_is_made_again():
    stand, record = agreed("card")
    old = stand.thing("card", record)
    stand.vendor.remove("card", old.id)
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    assert stand.rows() == []
    assert stand.thing("card", record).id != old.id
    assert stand.thing("card", record).fields["name"] == "示例科技有限公司"  # whole, not only what was due


def test_an_object_made_again_waits_until_a_late_copy_for_the_old_one_can_no_longer_land():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.vendor.late_by = lambda: 18_000_000
    stand.step(Fate.LATE)
    stand.step()
    rests = stand.xref("card", record)["rest_until"]
    assert rests > stand.clock.now()
    stand.vendor.remove("card", stand.thing("card", record).id)

    def shown_gone(tx):
        tx.cursor.execute("DELETE FROM owed WHERE sync = 'card.in'")
        tx.cursor.execute(
            "UPDATE xrefs SET gone = 1, is_primary = 0, complete = NULL WHERE connection = 'mem'"
        )

    stand.store.run_now(shown_gone)
    stand.put("C-1", name="示例科技有限公司", street="三号路")
    stand.run()
    assert stand.owes("card.out")
    assert stand.clock.now() < rests
    stand.drain()
    assert stand.thing("card", record).fields["street"] == "三号路"


def test_an_answer_about_another_record_s_object_parks():
    stand = Stand("card")
    mine = stand.put("C-1", name="甲有限公司")
    stand.put("C-2", name="乙有限公司")
    one, other = stand.claim()
    stand.settle(one, stand.send(one))
    stand.settle(other, Applied(VendorRef(stand.thing("card", mine).id)))
    assert stand.row("card.out")["cause"]["code"] == "foreign"


# a definite answer ----------------------------------------------------------------------------------------------


def test_a_refused_write_parks_with_what_the_vendor_said_and_an_edit_repairs_it():
    stand, _ = customer("card")
    stand.step(Fate.REFUSE)
    row = stand.row("card.out")
    assert (row["state"], row["cause"]["field"], row["cause"]["message"]) == (
        "parked",
        "remark",
        "not like this",
    )
    assert row["generation"] is None
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    assert stand.row("card.out")["state"] == "ready"
    stand.run()
    assert stand.rows() == []


def test_an_edit_made_while_a_refused_write_was_under_way_is_sent_at_once():
    stand, _ = customer("card")
    (attempt,) = stand.claim()
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.settle(attempt, stand.send(attempt, Fate.REFUSE))
    assert stand.row("card.out")["state"] == "ready"


def test_an_edit_made_while_a_write_is_under_way_is_a_second_write():
    stand, record = customer("card")
    (attempt,) = stand.claim()
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.settle(attempt, stand.send(attempt))
    assert stand.row("card.out")["state"] == "ready"
    stand.run()
    assert stand.thing("card", record).fields["street"] == "二号路"
    assert stand.effects("card") == ["save", "save"]


def test_five_edits_during_an_outage_become_one_write():
    stand, record = agreed("card")
    stand.step()
    for number in range(5):
        stand.put("C-1", name="示例科技有限公司", street=f"{number}号路")
        stand.step(Fate.DOWN)
    assert stand.row("card.out")["attempts"] == 0
    stand.advance(120)
    stand.run()
    assert stand.effects("card") == ["save", "save"]
    assert stand.thing("card", record).fields["street"] == "4号路"


def test_a_busy_vendor_spends_the_budget_an_outage_does_not():
    stand, _ = customer("card")
    for _ in range(20):
        stand.step(Fate.DOWN)
        stand.advance(60)
    assert stand.row("card.out")["attempts"] == 0
    for _ in range(20):
        stand.step(Fate.TRY)
        stand.advance(60)
    row = stand.row("card.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", "gave_up")
    assert stand.effects("card") == []


def test_bytes_are_not_sent_after_the_deadline_and_the_claim_is_given_back():
    stand, _ = customer("card")
    (attempt,) = stand.claim()
    stand.advance(11)
    stand.settle(attempt, stand.send(attempt))
    assert stand.sent() == []
    row = stand.row("card.out")
    assert (row["state"], row["attempts"], row["generation"]) == ("ready", 0, None)


def test_a_refusal_at_a_later_step_plans_anew_from_the_stage_the_object_has():
    stand, record = customer("customer")
    stand.step()
    stand.step()  # saved and submitted
    stand.step(Fate.REFUSE)
    assert stand.row("customer.out")["state"] == "parked"
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    assert stand.effects("customer") == ["save", "submit", "cancel", "save", "submit", "audit"]
    assert stand.rows() == []
    assert stand.xref("customer", record)["complete"] is not None


def test_a_later_step_that_was_not_done_is_done_again_alone():
    stand, _ = customer("customer")
    stand.step()
    stand.step(Fate.TRY)
    stand.advance(5)
    stand.run()
    assert stand.effects("customer") == ["save", "submit", "audit"]


def test_nothing_is_due_but_the_plan_is_not_at_its_end_so_it_goes_on():
    stand, record = customer("customer", "receipt")
    stand.step()
    stand.step(Fate.REFUSE)  # saved, not submitted
    stand.store.run_now(desk.discard, stand.row("customer.out")["id"], "a test", stand.world, by="me")
    receipt = stand.pay("P-1", record)
    stand.run()  # the receipt waits for the customer and raises its debt: nothing of it is due
    assert stand.effects("customer") == ["save", "submit", "audit"]
    assert not stand.owes("receipt.out", receipt)


# force, fences, deaths -------------------------------------------------------------------------------------------


def test_a_replay_sends_everything_even_if_its_first_try_was_not_done():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step(Fate.REFUSE)
    stand.replay(stand.row("card.out")["id"])
    stand.step(Fate.TRY)
    stand.advance(5)
    stand.run()
    assert stand.rows() == []
    last = stand.vendor.effects[-1]
    assert {"name", "street", "phone"} <= {name for name, _ in last.fields}
    assert stand.thing("card", record).fields["street"] == "二号路"


def test_a_worker_that_comes_back_after_its_claim_was_taken_over_changes_nothing():
    stand, _ = customer("card")
    (old,) = stand.claim()
    answer = stand.send(old, Fate.REFUSE)
    stand.advance(15)
    stand.sweep()
    (new,) = stand.claim()
    assert stand.settle(old, answer) == 0
    row = stand.row("card.out")
    assert (row["state"], row["fence"]) == ("claimed", new.fence)
    assert "late" in stand.outcomes()
    stand.settle(new, stand.send(new))
    assert not stand.owes("card.out")


def test_a_worker_that_comes_back_before_anybody_took_over_settles_its_own_write():
    stand, _ = customer("card")
    (attempt,) = stand.claim()
    answer = stand.send(attempt)
    stand.advance(15)
    stand.sweep()
    assert stand.row("card.out")["state"] == "in_doubt"
    assert stand.settle(attempt, answer) == 1
    assert stand.rows() == []


def test_a_write_whose_worker_died_is_in_doubt_never_simply_sent_again():
    stand, record = customer("customer", "receipt")
    stand.run()
    stand.pay("P-1", record)
    (attempt,) = stand.claim()
    stand.send(attempt)  # it took effect; nobody settles it
    stand.advance(15)
    stand.sweep()
    assert stand.row("receipt.out")["state"] == "in_doubt"
    stand.drain()
    assert stand.effects("receipt") == ["save"]


def test_the_third_death_of_a_claim_parks_it_open():
    stand, _ = customer("card")
    for _ in range(3):
        assert len(stand.claim()) == 1
        stand.advance(15)
        stand.sweep()
    row = stand.row("card.out")
    assert (row["state"], row["cause"]["code"]) == ("parked", "crashed")
    assert row["generation"] is not None
    assert stand.claim() == []


def test_a_row_whose_claim_died_comes_alone():
    stand = Stand("card")
    for number in range(3):
        stand.put(f"C-{number}", name=f"第{number}公司")
    assert len(stand.claim(room=3)) == 3
    stand.advance(15)
    stand.sweep()
    assert len(stand.claim()) == 1


# what a user of the vendor does meanwhile ---------------------------------------------------------------------


def test_a_user_s_edit_between_our_write_and_the_look_up_is_taken_not_absorbed():
    stand, record = agreed("customer")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    for _ in range(3):
        stand.step()  # un-audit, save, submit
    stand.step(Fate.LOST)  # audit
    stand.vendor.edit("customer", stand.thing("customer", record).id, remark="电话联系")
    stand.step()  # the look-up sees both
    assert stand.body(record).get("remark") == "电话联系"
    assert stand.body(record)["street"] == "二号路"
    stand.drain()
    assert stand.rows() == []


def test_a_field_that_a_forced_write_carries_is_taken_from_the_vendor_when_that_write_was_refused():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step(Fate.REFUSE)
    stand.replay(stand.row("card.out")["id"])
    stand.step(Fate.REFUSE)  # everything was pinned, nothing was done
    thing = stand.thing("card", record)
    stand.vendor.edit("card", thing.id, name="示例科技集团有限公司")
    stand.take(thing)
    assert stand.body(record)["name"] == "示例科技集团有限公司"
    assert '"conflicts":{"name"' not in "".join(body for (body,) in stand.ask("SELECT body FROM acts"))


def test_an_update_found_neither_as_sent_nor_as_before_is_merged_as_if_both_had_moved():
    stand, record = agreed("customer")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step()  # un-audit
    stand.step(Fate.NEVER)  # save
    thing = stand.thing("customer", record)
    stand.vendor.edit("customer", thing.id, street="别人的路")
    stand.run()
    assert stand.owes("customer.out")  # not before it can no longer land
    stand.advance(ABSENT)
    stand.drain()
    assert "both_moved" in stand.outcomes()
    assert stand.thing("customer", record).fields["street"] == "二号路"  # authority: crm
    assert stand.body(record)["street"] == "二号路"


def test_a_create_found_with_a_user_s_edit_keeps_the_edit():
    stand, record = customer("customer")
    stand.step(Fate.LOST)
    thing = next(iter(stand.vendor.things.values()))
    stand.vendor.edit("customer", thing.id, street="用户的路")
    stand.drain()
    assert "adopt" in stand.outcomes()
    assert stand.body(record)["street"] == "用户的路"
    assert stand.thing("customer", record).fields["street"] == "用户的路"
    assert len(stand.vendor.things) == 1


def test_only_what_is_due_is_sent():
    stand, _ = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    assert dict(stand.vendor.effects[-1].fields) == {"street": "二号路"}


def test_an_edit_and_its_undoing_send_nothing():
    stand, _ = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.put("C-1", name="示例科技有限公司", street="一号路")
    stand.run()
    assert stand.effects("card") == ["save"]
    assert stand.rows() == []
