"""Person ≠ customer: contacts follow from their follows, join or make customers by rule, the unsure wait for a person."""

from __future__ import annotations

import itertools
import random

import pytest

from hub.clock import SECOND
from hub.project.values import ContactRules, TieRule
from tests.people_stand import PeopleStand
from tests.worlds import with_mode

HUAXING = "深圳华星电子有限公司"


def test_a_person_and_who_follows_it_arrive_in_one_page_and_nothing_is_owed():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", mobiles=["13800138000"], tags=["VIP"])
    stand.page()
    assert stand.rows() == []
    contact, follow = stand.one("contact"), stand.one("follow")
    assert follow["contact"] == contact["_id"]
    assert (follow["employee"], follow["state"], follow["_region"]) == ("li.lei", "active", "cn/south/")
    assert (contact["mobile"], contact["mobiles"], contact["tags"]) == (
        "+8613800138000",
        ["+8613800138000"],
        ["VIP"],
    )
    assert (contact["_owner"], contact["_region"]) == ("li.lei", "cn/south/")


def test_one_employee_s_page_never_overwrites_another_s():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", mobiles=["13800138000"], tags=["VIP"], day=1)
    stand.add("HanMei", "wm1", mobiles=["13900139000"], tags=["老客户"], day=2)
    stand.page(("LiLei", "wm1"))
    stand.page(("HanMei", "wm1"))
    contact = stand.one("contact")
    assert contact["mobiles"] == ["+8613800138000", "+8613900139000"]
    assert contact["tags"] == ["VIP", "老客户"]
    assert contact["_owner"] == "li.lei"  # who was first


@pytest.mark.parametrize(
    ("rules", "owner"),
    [
        (ContactRules(owner="earliest"), "li.lei"),
        (ContactRules(owner="latest"), "han.mei"),
        (ContactRules(owner_regions=("cn/north/", "cn/south/")), "han.mei"),
    ],
    ids=["earliest", "latest", "region first"],
)
def test_the_policy_says_who_owns_a_person(rules, owner):
    stand = PeopleStand(rules)
    stand.add("LiLei", "wm1", day=1)
    stand.add("HanMei", "wm1", day=2)
    stand.page()
    assert stand.one("contact")["_owner"] == owner


def test_what_only_the_crm_added_stays_when_a_follow_says_less():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", tags=["VIP", "华南"])
    stand.page()
    id_ = stand.one("contact")["_id"]
    stand.change(id_, tags=["VIP", "华南", "CRM自加"])
    stand.held["LiLei", "wm1"]["tags"] = ["VIP"]
    stand.clock.at += 1
    stand.page()
    assert stand.one("contact")["tags"] == ["VIP", "CRM自加"]


def test_a_relation_the_employee_ended_is_closed_and_gives_its_mobiles_back():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", mobiles=["13800138000"], day=1)
    stand.add("HanMei", "wm1", mobiles=["13900139000"], day=2)
    stand.page()
    del stand.held["LiLei", "wm1"]
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    stand.work()
    states = {one["employee"]: one["state"] for one in stand.records("follow")}
    assert states == {"li.lei": "deleted_by_employee", "han.mei": "active"}
    contact = stand.one("contact")
    assert (contact["_owner"], contact["mobiles"]) == ("han.mei", ["+8613900139000"])
    assert contact["mobile"] == "+8613900139000"
    assert stand.rows() == []
    stand.add("LiLei", "wm1", mobiles=["13800138000"], day=9)  # and it is taken up again
    stand.page(("LiLei", "wm1"))
    assert {one["state"] for one in stand.records("follow")} == {"active"}
    assert len(stand.records("follow")) == 2


def left(stand: PeopleStand, day: int) -> None:
    body = {"user": "LiLei", "id": "wm1", "left": f"2026-01-{day:02d}T00:00:00Z"}
    stand.take_items([stand.item("follow", "LiLei/wm1", body=body, partial=True, observed_at=1)])


def test_a_contact_that_removed_the_employee_is_remembered_though_no_read_shows_it():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", remark="王总", day=1)
    stand.page()
    left(stand, 5)
    assert stand.one("follow")["state"] == "deleted_by_contact"
    assert stand.one("follow")["remark"] == "王总"
    stand.work()
    assert stand.rows() == []
    stand.clock.at += 1
    stand.page()
    assert stand.one("follow")["state"] == "deleted_by_contact"
    stand.held["LiLei", "wm1"]["since"] = "2026-01-08T00:00:00Z"  # added anew
    stand.clock.at += 1
    stand.page()
    assert stand.one("follow")["state"] == "active"


def test_a_leaving_told_before_anybody_is_known_waits_and_is_not_lost_to_a_hint():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", remark="王总", day=1)
    left(stand, 5)
    assert stand.row("wx.follow.in")["state"] == "waiting"
    assert stand.owes("wx.contact.in")  # the person it waits for is read
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    stand.work()
    assert stand.rows() == []
    assert (stand.one("follow")["state"], stand.one("follow")["remark"]) == ("deleted_by_contact", "王总")


def test_a_leaving_is_not_lost_to_a_hint_that_comes_while_it_is_tried_again_and_must_wait_again():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", remark="王总", day=1)
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    left(stand, 5)
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    (attempt,) = (one for one in stand.claim(connection="wx") if one.sync == "wx.follow.in")
    result = stand.send(attempt)
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    stand.settle(attempt, result)  # the person is still unknown
    stand.clock.at += 20 * SECOND
    stand.work()
    assert stand.one("follow")["state"] == "deleted_by_contact"
    assert stand.rows() == []


def test_a_leaving_of_somebody_who_is_gone_before_anybody_knew_them_does_not_wait_for_ever():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", day=1)
    left(stand, 5)
    stand.held.clear()  # the employee deletes them, too, before anything was read
    stand.people.clear()
    stand.work()
    assert stand.row("wx.follow.in")["state"] == "waiting"
    stand.clock.at += 61 * SECOND
    stand.sweep()
    stand.work()
    assert stand.rows() == []
    assert stand.records("follow") == []


def test_a_page_that_waited_does_not_bring_back_who_was_found_gone_meanwhile():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", day=1)
    waiting = [stand.item("contact", "wm1"), stand.item("follow", "LiLei/wm1")]
    stand.clock.at += SECOND
    stand.held.clear()
    stand.people.clear()
    stand.take_items([stand.item("contact", "wm1", body=None), stand.item("follow", "LiLei/wm1", body=None)])
    stand.work()
    stand.clock.at += SECOND
    stand.take_items(waiting)
    stand.work()
    assert (stand.rows(), stand.records("contact"), stand.records("follow")) == ([], [], [])
    stand.clock.at += SECOND
    stand.add("LiLei", "wm1", day=2)  # and whoever does come back is there at once
    stand.page()
    assert stand.one("follow")["state"] == "active"
    stand.clock.at += 86_401 * SECOND
    stand.sweep()
    assert not stand.ask("SELECT name FROM jobs WHERE kind = 'gone'")


def test_hint_and_leaving_in_one_batch_both_take_effect():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", remark="王总", day=1)
    stand.page()
    stand.held["LiLei", "wm1"]["remark"] = "王董"
    body = {"user": "LiLei", "id": "wm1", "left": "2026-01-05T00:00:00Z"}
    told = stand.item("follow", "LiLei/wm1", body=body, partial=True)
    stand.take_items([told, stand.item("follow", "LiLei/wm1", body=None)])
    stand.work()
    assert (stand.one("follow")["state"], stand.one("follow")["remark"]) == ("deleted_by_contact", "王董")


def test_a_leaving_that_comes_while_the_follow_is_being_read_is_not_lost():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", remark="王总", day=1)
    stand.page()
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    stand.clock.at += 1
    (attempt,) = stand.claim(connection="wx")
    result = stand.send(attempt)
    left(stand, 5)
    stand.settle(attempt, result)
    stand.work()
    assert stand.one("follow")["state"] == "deleted_by_contact"
    assert stand.rows() == []


# customers -------------------------------------------------------------------------------------------------------


def test_a_mobile_ties_a_person_to_the_customer_whose_phone_it_is():
    stand = PeopleStand()
    customer = stand.put("C-1", name=HUAXING, phone="+8613800138000")
    stand.add("LiLei", "wm1", mobiles=["13800138000"])
    stand.page()
    assert stand.one("contact")["customer"] == customer


def test_a_mobile_ties_a_person_to_the_customer_of_another_contact_with_it():
    stand = PeopleStand()
    customer = stand.put("C-1", name=HUAXING, phone="+8613800138000")
    stand.add("LiLei", "wm1", mobiles=["13800138000", "13700137000"])
    stand.page()
    stand.add("HanMei", "wm2", mobiles=["13700137000"], name="李四")
    stand.page(("HanMei", "wm2"))
    assert [one["customer"] for one in stand.records("contact")] == [customer, customer]


@pytest.mark.parametrize("fields", [{"full_name": HUAXING}, {"company": HUAXING}], ids=["stated", "noted"])
def test_a_full_company_name_ties_a_person_in_its_region(fields):
    stand = PeopleStand()
    customer = stand.put("C-1", name=HUAXING)
    stand.add("LiLei", "wm1", **fields)
    stand.page()
    assert stand.one("contact")["customer"] == customer
    assert len(stand.records("customer")) == 1


def test_a_company_nobody_has_becomes_a_customer_of_the_contact_s_owner():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", company=HUAXING)
    stand.add("HanMei", "wm2", company=HUAXING, name="李四")
    stand.page(("LiLei", "wm1"))
    (customer,) = stand.records("customer")
    assert (customer["name"], customer["_owner"], customer["_region"]) == (HUAXING, "li.lei", "cn/south/")
    assert stand.one("contact")["customer"] == customer["_id"]
    assert stand.owes("customer.out", customer["_id"])  # and goes on by the pipe that exists


def test_two_persons_of_one_new_company_in_one_page_share_one_customer():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", company=HUAXING)
    stand.add("LiLei", "wm2", company=HUAXING, name="李四")
    stand.page()
    (customer,) = stand.records("customer")
    assert [one["customer"] for one in stand.records("contact")] == [customer["_id"]] * 2


def unsure(company: str = "华星电子") -> tuple[PeopleStand, str]:
    stand = PeopleStand()
    customer = stand.put("C-1", name=HUAXING)
    stand.add("LiLei", "wm1", company=company, mobiles=["13800138000"])
    stand.page()
    return stand, customer


def test_the_unsure_wait_for_a_person_while_everything_else_has_taken_effect():
    stand, customer = unsure()
    row = stand.row("wx.follow.in")
    assert (row["state"], row["cause"]["code"], row["cause"]["candidates"]) == (
        "parked",
        "candidate",
        [customer],
    )
    contact = stand.one("contact")
    assert (contact["mobile"], contact["_owner"], "customer" in contact) == (
        "+8613800138000",
        "li.lei",
        False,
    )


def test_who_is_chosen_becomes_the_customer_and_the_question_is_not_asked_again():
    stand, customer = unsure()
    stand.choose(stand.row("wx.follow.in")["id"], customer)
    stand.work()
    assert stand.one("contact")["customer"] == customer
    stand.clock.at += 1
    stand.page()
    assert not stand.owes("wx.follow.in")


def test_a_choice_of_nobody_known_makes_a_customer_of_the_company_that_was_noted():
    stand, customer = unsure()
    stand.choose(stand.row("wx.follow.in")["id"], None)
    stand.work()
    (made,) = [one for one in stand.records("customer") if one["_id"] != customer]
    assert (made["name"], stand.one("contact")["customer"]) == ("华星电子", made["_id"])


def test_an_unsure_one_seen_again_by_a_sweep_stays_one_question():
    stand, customer = unsure()
    for _ in range(3):
        stand.clock.at += 1
        stand.page()
        stand.work()
    row = stand.row("wx.follow.in")
    assert (row["state"], row["cause"]["candidates"]) == ("parked", [customer])
    assert len(stand.records("customer")) == 1


def test_an_edit_meanwhile_answers_the_question_itself():
    stand, customer = unsure()
    stand.held["LiLei", "wm1"]["company"] = HUAXING
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    stand.work()
    assert stand.one("contact")["customer"] == customer
    assert not stand.owes("wx.follow.in")


def test_a_name_known_in_another_region_asks_a_person():
    stand = PeopleStand()
    stand.put("C-1", name=HUAXING)  # cn/south/
    stand.add("HanMei", "wm1", company=HUAXING)  # cn/north/
    stand.page()
    assert stand.row("wx.follow.in")["cause"]["code"] == "candidate"


def test_a_mobile_two_customers_share_asks_a_person():
    stand = PeopleStand()
    rules = [TieRule("mobile", "sure")]
    stand = PeopleStand(ContactRules(customer=tuple(rules)))
    first = stand.put("C-1", name=HUAXING, phone="+8613800138000")
    stand.add("LiLei", "wm1", mobiles=["13800138000", "13700137000"])
    stand.page()
    second = stand.put("C-2", name="北京另一家有限公司", phone="+8613700137001")
    stand.add("LiLei", "wm2", mobiles=["13700137000", "13700137001"], name="李四")
    stand.page(("LiLei", "wm2"))
    assert sorted(stand.row("wx.follow.in")["cause"]["candidates"]) == sorted([first, second])


def test_rules_may_forbid_making_customers():
    stand = PeopleStand(ContactRules(create=False))
    stand.add("LiLei", "wm1", company=HUAXING)
    stand.page()
    assert stand.records("customer") == []
    assert stand.rows() == []


def test_an_employee_s_region_comes_with_the_directory():
    stand = PeopleStand()
    stand.take_items([stand.item("user", "ZhaoSi", body={"user": "ZhaoSi", "region": "cn/north"})])
    stand.add("ZhaoSi", "wm1")
    stand.page()
    assert stand.one("contact")["_region"] == "cn/north/"
    stand.take_items([stand.item("user", "Nobody", body={"user": "Nobody", "region": "cn/nort"})])
    assert stand.row("wx.user.in")["cause"]["field"] == "region"


def test_a_change_of_a_follow_by_hand_reaches_its_contact():
    stand = PeopleStand()
    stand.add("LiLei", "wm1", tags=["VIP"])
    stand.page()
    stand.change(stand.one("follow")["_id"], tags=["VIP", "重点"])
    assert stand.one("contact")["tags"] == ["VIP", "重点"]


def test_in_observe_mode_nothing_of_this_leaves():
    stand = PeopleStand()
    project = with_mode(stand.world.project, "customer.out", "observe")
    stand.world = type(stand.world)(project, stand.world.specs, stand.vault, stand.world.epoch)
    stand.add("LiLei", "wm1", company=HUAXING)
    stand.page()
    stand.run()
    assert stand.vendor.effects == []


def test_the_order_of_pages_and_callbacks_does_not_matter():
    """Whatever order the same facts come in, the same contact, owner, customer and states stand at the end."""
    seed = 20261125
    draw = random.Random(seed)
    facts = [("page", ("LiLei", "wm1")), ("page", ("HanMei", "wm1")), ("hint", ("LiLei", "wm1")), ("left", 3)]
    seen = set()
    for order in itertools.permutations(facts):
        stand = PeopleStand()
        stand.add("LiLei", "wm1", mobiles=["13800138000"], company=HUAXING, day=1)
        stand.add("HanMei", "wm1", mobiles=["13900139000"], tags=["VIP"], day=2)
        for what, about in order:
            stand.clock.at += 1
            if what == "page":
                stand.page(about)
            elif what == "hint":
                stand.take_items([stand.item("follow", "/".join(about), body=None)])
            else:
                left(stand, about)
            if draw.random() < 0.5:
                stand.work()
        stand.work()
        contact, customer = stand.one("contact"), stand.one("customer")
        states = tuple(sorted((one["employee"], one["state"]) for one in stand.records("follow")))
        assert contact["customer"] == customer["_id"]
        seen.add((tuple(sorted(contact["mobiles"])), contact["_owner"], customer["name"], states))
        assert [row for row in stand.rows() if row["sync"].startswith("wx")] == [], (seed, order)
        stand.close()
    assert len(seen) == 1, (seed, seen)
