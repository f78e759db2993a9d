"""What comes in from a vendor: echo, staleness, merge, conflicts, hints, candidates (pipe.md 2, 3 and 5)."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from hub.clock import SECOND
from hub.crm.external import ExternalWrite, WriteRefused
from hub.errors import Cause, IntegrityError, NotSent
from hub.pipe import desk
from hub.pipe.accept import accept
from hub.pipe.items import Item
from hub.project.values import KindRules, MatchRule
from hub.sdk.connector import Failed
from tests.pipe_stand import Stand
from tests.vendor import Fate
from tests.worlds import project


def agreed(*objects: str) -> tuple[Stand, str]:
    stand = Stand(*objects)
    record = stand.put("C-1", name="示例科技有限公司", street="一号路")
    stand.run()
    assert stand.rows() == []
    return stand, record


def by_name() -> Stand:
    """A stand where a like name anywhere is a candidate."""
    rules = KindRules("customer", (MatchRule(("phone",), "sure"), MatchRule(("name",), "unsure")))
    return Stand(made=replace(project(("card",)), kinds={"customer": rules}))


def test_our_own_write_that_comes_back_changes_nothing():
    stand, record = agreed("card")
    before = stand.body(record)
    stand.take(stand.thing("card", record))
    assert stand.body(record) == before
    assert stand.rows() == []
    assert stand.outcomes()[-1] == "same"


def test_what_a_vendor_s_user_changes_is_taken_and_owed_to_the_others_not_back():
    stand, record = agreed("customer", "card")
    thing = stand.thing("card", record)
    stand.vendor.edit("card", thing.id, street="用户的路")
    stand.take(thing)
    assert stand.body(record)["street"] == "用户的路"
    assert [row["sync"] for row in stand.rows()] == ["customer.out"]
    stand.run()
    assert stand.thing("customer", record).fields["street"] == "用户的路"
    assert stand.effects("card") == ["save"]


def test_what_comes_by_a_mapping_that_this_process_cannot_use_is_owed_until_one_that_can_takes_it():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.vendor.edit("card", thing.id, street="用户的路")
    fit = stand.world
    stand.world = replace(fit, unfit=frozenset({"card.in"}))
    stand.take(thing)
    stand.step()
    assert stand.body(record)["street"] == "一号路"
    assert stand.row("card.in")["state"] == "ready"
    stand.world = fit
    stand.advance(6)
    stand.run()
    assert stand.body(record)["street"] == "用户的路"
    assert stand.rows() == []


def test_a_read_that_began_before_the_last_settle_is_read_again():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    before = stand.clock.now()
    stand.advance(1)
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    stand.vendor.edit("card", thing.id, street="一号路")  # as the old read still shows it
    stand.take(thing, observed_at=before)
    assert stand.body(record)["street"] == "二号路"
    row = stand.row("card.in")
    assert (row["state"], row["target"]) == ("ready", None)
    stand.run()
    assert stand.body(record)["street"] == "一号路"  # the fresh read is no older than anything


def test_what_arrives_while_a_write_is_under_way_waits_for_its_end():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    (attempt,) = stand.claim()
    stand.vendor.edit("card", stand.thing("card", record).id, remark="用户的话")
    stand.take(stand.thing("card", record))
    assert stand.row("card.in")["waits_for"] == f"target:mem/card//{record}"
    stand.settle(attempt, stand.send(attempt))
    assert stand.row("card.in")["state"] == "ready"
    stand.run()
    assert stand.body(record)["remark"] == "用户的话"
    assert stand.thing("card", record).fields["street"] == "二号路"


def test_a_write_steps_aside_for_an_arrival_of_its_object():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.take(thing.id, stream="card")
    stand.vendor.edit("card", thing.id, remark="用户的话")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    attempts = stand.claim()
    assert [attempt.sync for attempt in attempts] == ["card.in"]
    for attempt in attempts:
        stand.settle(attempt, stand.send(attempt))
    stand.drain()
    assert stand.thing("card", record).fields["street"] == "二号路"
    assert stand.body(record)["remark"] == "用户的话"


def test_where_both_moved_the_crm_wins_by_default_and_the_loser_is_noted():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.vendor.edit("card", thing.id, street="用户的路")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.take(thing)
    assert stand.body(record)["street"] == "二号路"
    acts = "".join(body for (body,) in stand.ask("SELECT body FROM acts"))
    assert '"conflicts":{"street":"crm"}' in acts
    stand.run()
    assert stand.thing("card", record).fields["street"] == "二号路"


def test_an_object_nobody_knows_makes_a_record_and_is_owed_to_the_others():
    stand = Stand("customer", "card")
    thing = stand.vendor.add("card", name="新客户有限公司", phone="+8613900000001")
    stand.take(thing)
    stand.run()
    assert stand.effects("customer") == ["save", "submit", "audit"]
    assert stand.rows() == []


def test_our_own_object_seen_before_its_answer_was_settled_is_nobody_new():
    stand = Stand("card")
    record = stand.put("C-1", name="示例科技有限公司")
    (attempt,) = stand.claim()
    answer = stand.send(attempt)
    thing = next(iter(stand.vendor.things.values()))
    stand.take(thing)
    assert stand.row("card.in")["waits_for"] == f"target:mem/card//{record}"
    stand.run()  # it does not spin
    stand.settle(attempt, answer)
    stand.run()
    assert stand.rows() == []
    assert stand.ask("SELECT count(*) FROM records") == [(1,)]


def test_a_like_named_object_seen_while_a_create_is_under_way_is_no_candidate_yet():
    stand = by_name()
    record = stand.put("C-1", name="示例科技有限公司")
    (attempt,) = stand.claim()
    answer = stand.send(attempt)
    thing = next(iter(stand.vendor.things.values()))
    thing.fields["phone"] = "+8613900000009"  # only the name is left to know it by
    stand.take(thing)
    assert stand.row("card.in")["waits_for"] == f"target:mem/card//{record}"
    stand.settle(attempt, answer)
    stand.run()
    assert stand.rows() == []


def test_a_like_name_parks_as_a_candidate_and_a_person_chooses():
    stand = by_name()
    record = stand.put("C-1", name="示例科技有限公司")
    stand.run()
    thing = stand.vendor.add("card", name="示例科技有限公司", phone="+8613900000001")
    stand.take(thing)
    row = stand.row("card.in")
    assert (row["cause"]["code"], row["cause"]["candidates"]) == ("candidate", [record])
    stand.store.run_now(desk.choose, row["id"], bytes.fromhex(record), stand.world, by="me")
    stand.run()
    assert not stand.owes("card.in")
    assert stand.ask("SELECT count(*) FROM records") == [(1,)]


def test_a_hint_is_read_once_however_often_it_comes():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.vendor.edit("card", thing.id, street="用户的路")
    stand.take(thing.id, stream="card")
    stand.take(thing.id, stream="card")
    assert stand.step() == 1
    assert stand.rows() == []
    assert stand.body(record)["street"] == "用户的路"


def test_an_event_that_joins_what_is_owed_already_is_named_in_an_act():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.take(thing.id, stream="card")
    before = stand.ask("SELECT max(id) FROM acts")[0][0]
    stand.vendor.edit("card", thing.id, remark="用户的话")
    stand.take(thing)
    (body,) = stand.ask(f"SELECT body FROM acts WHERE id > {before}")[0]
    (item,) = orjson.loads(body)["items"]
    assert (item["outcome"], item["event"], item["record"], item["subject"]) == (
        "joined",
        "e",
        record,
        f"/{thing.id}",
    )


def test_an_old_page_published_late_does_not_take_a_hint_s_place():
    stand = Stand("card")
    thing = stand.vendor.add("card", name="新客户有限公司", phone="+8613900000001")
    old = stand.vendor.source(thing, stand.clock.now())
    stand.advance(5)
    stand.vendor.edit("card", thing.id, street="后来的路")
    stand.take(thing.id, stream="card")
    item = Item("mem", "card", old.key, old, stand.world.inbound("mem", "card"))
    stand.take_items([item])
    stand.run()
    ((body,),) = stand.ask("SELECT body FROM records")
    assert "后来的路" in body


@pytest.mark.parametrize("batches", [1, 2], ids=["in one batch", "in two batches"])
def test_of_two_pages_the_one_that_was_read_last_counts_not_the_one_that_was_published_last(batches: int):
    stand = Stand("card")
    stand.put("C-1", name="示例科技有限公司", phone="+8613900000001")
    (attempt,) = stand.claim()  # its own create is under way: what arrives must wait
    thing = stand.vendor.add("card", name="示例科技有限公司", phone="+8613900000001")
    sync = stand.world.inbound("mem", "card")
    old = stand.vendor.source(thing, stand.clock.now())
    stand.advance(1)
    stand.vendor.edit("card", thing.id, street="后来的路")
    new = stand.vendor.source(thing, stand.clock.now())
    items = [Item("mem", "card", one.key, one, sync) for one in (new, old)]
    for part in [items] if batches == 1 else [[one] for one in items]:
        stand.take_items(part)
    stand.settle(attempt, stand.send(attempt, Fate.REFUSE))
    while "card.in" in [row["sync"] for row in stand.rows()]:
        assert stand.step()
    ((body,),) = stand.ask("SELECT body FROM records")
    assert "后来的路" in body


def test_of_two_reads_that_overlap_the_second_is_read_again_for_it_may_have_seen_less():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.advance(10)
    began = stand.clock.now()
    early = stand.vendor.source(thing, began + SECOND)  # begun second, answered first
    stand.vendor.edit("card", thing.id, street="后来的路")
    late = stand.vendor.source(thing, began)
    sync = stand.world.inbound("mem", "card")
    stand.advance(10)
    stand.take_items([Item("mem", "card", late.key, late, sync, read_ended=began + 3 * SECOND)])
    assert stand.body(record)["street"] == "后来的路"
    stand.advance(10)
    stand.take_items([Item("mem", "card", early.key, early, sync, read_ended=began + 2 * SECOND)])
    assert stand.body(record)["street"] == "后来的路"
    assert stand.row("card.in")["state"] == "ready"  # a hint
    stand.run()
    assert stand.body(record)["street"] == "后来的路"


def test_a_read_that_began_when_the_last_one_taken_had_ended_is_newer_although_that_was_taken_later():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    sync = stand.world.inbound("mem", "card")
    pages = []
    for street in ("二号路", "三号路"):
        stand.advance(1)
        stand.vendor.edit("card", thing.id, street=street)
        pages.append(stand.vendor.source(thing, stand.clock.now()))
    stand.advance(10)
    for page in pages:
        item = Item("mem", "card", page.key, page, sync, read_ended=page.observed_at)
        stand.take_items([item])
        assert not stand.owes("card.in")
    assert stand.body(record)["street"] == "三号路"
    old = Item("mem", "card", pages[0].key, pages[0], sync, read_ended=stand.clock.now() + SECOND)
    stand.take_items([old])  # whatever it says of its end, it began before
    assert stand.body(record)["street"] == "三号路"
    assert stand.owes("card.in")


def test_a_page_read_before_our_own_write_had_ended_is_stale_whatever_was_taken_before():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    sync = stand.world.inbound("mem", "card")
    stand.advance(1)
    first = stand.vendor.source(thing, stand.clock.now())
    stand.advance(1)
    second = stand.vendor.source(thing, stand.clock.now())  # it still shows 一号路
    stand.take_items([Item("mem", "card", first.key, first, sync, read_ended=first.observed_at)])
    stand.put("C-1", name="示例科技有限公司", street="我方的路")
    stand.run()
    assert stand.thing("card", record).fields["street"] == "我方的路"
    stand.take_items([Item("mem", "card", second.key, second, sync, read_ended=second.observed_at)])
    assert stand.owes("card.in")
    stand.run()
    assert stand.body(record)["street"] == "我方的路"


def test_a_batch_at_a_position_that_has_moved_is_not_taken():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.take(thing)
    stand.vendor.edit("card", thing.id, street="用户的路")
    source = stand.vendor.source(thing, stand.clock.now())
    item = Item("mem", "card", source.key, source, stand.world.inbound("mem", "card"))
    with pytest.raises(IntegrityError) as error:
        stand.take_items([item], start=0)
    assert error.value.cause is Cause.FENCED
    assert stand.body(record)["street"] == "一号路"


def test_what_cannot_be_mapped_parks_with_its_field_and_the_next_version_takes_its_place():
    stand = Stand("card")
    thing = stand.vendor.add("card", name="新客户有限公司", phone="不是电话")
    stand.take(thing)
    row = stand.row("card.in")
    assert (row["state"], row["cause"]["code"], row["cause"]["field"]) == ("parked", "mapping", "phone")
    stand.vendor.edit("card", thing.id, phone="+8613900000001")
    stand.advance(1)
    stand.take(thing)
    assert stand.row("card.in")["state"] == "ready"
    stand.run()
    assert stand.ask("SELECT count(*) FROM records") == [(1,)]


def test_a_person_may_mend_the_body_of_an_arrival():
    stand = Stand("card")
    thing = stand.vendor.add("card", name="新客户有限公司", phone="不是电话")
    stand.take(thing)
    stand.store.run_now(
        desk.edit, stand.row("card.in")["id"], {"phone": "+8613900000001"}, stand.world, by="me"
    )
    stand.run()
    ((body,),) = stand.ask("SELECT body FROM records")
    assert "+8613900000001" in body


def test_an_object_that_a_read_shows_deleted_keeps_its_record_and_is_made_again_by_the_next_change():
    stand, record = agreed("card")
    old = stand.thing("card", record)
    stand.vendor.remove("card", old.id)
    stand.take(old.id, stream="card")
    stand.run()
    assert stand.rows() == []
    assert stand.body(record)["name"] == "示例科技有限公司"
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.run()
    assert stand.thing("card", record).id != old.id


def test_a_read_whose_worker_died_starts_over_and_is_never_in_doubt():
    stand, record = agreed("card")
    stand.take(stand.thing("card", record).id, stream="card")
    (attempt,) = stand.claim()
    answer = stand.send(attempt)
    stand.advance(15)
    stand.sweep()
    row = stand.row("card.in")
    assert (row["state"], row["deaths"], row["generation"]) == ("ready", 1, None)
    assert stand.settle(attempt, answer) == 0
    stand.run()
    assert stand.rows() == []


def test_a_read_that_fails_is_tried_again_and_parks_when_it_gives_up():
    stand, record = agreed("card")
    stand.take(stand.thing("card", record).id, stream="card")
    for _ in range(30):
        stand.step(Fate.NEVER)
        stand.advance(61)
    assert (stand.row("card.in")["state"], stand.row("card.in")["cause"]["code"]) == ("parked", "gave_up")


def test_a_read_that_was_never_sent_spends_no_attempt_and_is_no_dead_letter():
    """As when every slot of the vendor went to other workers while it waited for one."""
    stand, record = agreed("card")
    stand.take(stand.thing("card", record).id, stream="card")
    for _ in range(30):
        (attempt,) = stand.claim()
        stand.settle(attempt, Failed(NotSent()))
        assert stand.row("card.in")["attempts"] == 0
        stand.advance(61)
    stand.run()
    assert stand.rows() == []


def test_a_hint_that_comes_while_a_read_is_under_way_makes_another_read():
    stand, record = agreed("card")
    thing = stand.thing("card", record)
    stand.take(thing.id, stream="card")
    (attempt,) = stand.claim()
    answer = stand.send(attempt)
    stand.vendor.edit("card", thing.id, street="用户的路")
    stand.take(thing.id, stream="card")
    stand.settle(attempt, answer)
    assert stand.row("card.in")["state"] == "ready"
    stand.run()
    assert stand.body(record)["street"] == "用户的路"


def test_a_caller_s_newer_body_takes_the_place_of_its_dead_letter():
    stand, _ = agreed("card")
    write = ExternalWrite("crm", "customer", "C-2", {"name": "示例科技有限公司"}, "cn/south/")
    refused = stand.store.run_now(accept, write, stand.world)
    assert isinstance(refused, WriteRefused)
    assert refused.cause is Cause.CANDIDATE
    stand.put("C-2", name="另一家有限公司")
    stand.run()
    assert stand.rows() == []
    assert stand.ask("SELECT count(*) FROM records") == [(2,)]


def test_the_probe_of_a_paused_connection_is_not_spent_on_an_empty_lane():
    stand, record = agreed("card")
    stand.put("C-1", name="示例科技有限公司", street="二号路")
    stand.step(Fate.DOWN)
    stand.advance(3)
    assert stand.claim(0) == []  # nothing is due there
    (attempt,) = stand.claim(1)
    stand.settle(attempt, stand.send(attempt))
    assert stand.thing("card", record).fields["street"] == "二号路"
