"""Callbacks repeated, overtaken and lost over the real door: after one complete sweep the CRM is as the vendor stands."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from connectors.wecom.events import Event as CallbackEvent
from connectors.wecom.events import effect_of
from hub.bus import INBOUND, Message
from hub.clock import SECOND
from hub.pipe.arrive import owe_reread
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.store.view import View
from tests.people_stand import PeopleStand
from tests.storm.model import Crm, Model, compare
from tests.storm.run import Weather, storm
from tests.storm.site import opened, userid_of

HUAXING = "深圳华星电子有限公司"


async def check(folder: Path, **known: object) -> dict[str, int]:
    outcome = await storm(folder, **known)  # type: ignore[arg-type]
    print(known, outcome.counts)
    shown = "\n".join(map(str, outcome.differences[:20]))
    assert not outcome.differences, f"{known}\n{shown}\n{outcome.story}"
    return outcome.counts


@pytest.mark.parametrize("seed", [1, 54])
async def test_after_a_storm_and_one_sweep_the_crm_is_what_the_model_says(tmp_path: Path, seed: int) -> None:
    counts = await check(tmp_path, actions=300, seed=seed, people=120)
    for what in ("lost", "duplicated", "reordered", "acknowledged"):
        assert counts[f"callbacks_{what}"] > 10, what
    assert counts["left_told"] > 5
    assert counts["questions"] > 5


async def test_so_it_is_where_everybody_meets_a_few_people_and_most_callbacks_are_overtaken(
    tmp_path: Path,
) -> None:
    await check(tmp_path, actions=200, seed=54, people=4, weather=Weather(0.05, 0.2, 0.8))


async def test_so_it_is_on_postgresql(tmp_path: Path, fresh_postgres_url: str) -> None:
    await check(tmp_path, actions=150, seed=2, people=60, store_url=fresh_postgres_url)


async def test_without_the_sweep_the_lost_callbacks_would_show(tmp_path: Path) -> None:
    outcome = await storm(tmp_path, actions=100, seed=3, people=60, weather=Weather(lose=0.5), swept=False)
    assert outcome.differences
    assert "told 200" in outcome.story


async def test_a_model_that_knows_of_one_person_more_shows_the_difference(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as site:
        assert await site.records("contact") == []
    person = {
        "type": 1,
        "name": "人",
        "gender": 0,
        "unionid": "u",
        "position": "",
        "corp_name": "",
        "corp_full_name": "",
    }
    follow = {"userid": "Sales01", "stage": "normal", "createtime": 1_700_000_000, "remark_corp_name": "", "remark": "",
              "remark_mobiles": [], "tag_names": [], "state": "", "description": "", "add_way": 1}  # fmt: skip
    model = Model({}, {"wm1": {**person, "follows": [follow]}}, {("Sales01", "wm1")}, {}, {})
    found = compare(model, Crm([], [], [], {}, []))
    assert [one.what for one in found] == ["contact", "follow of Sales01"]
    assert {dataclasses.astuple(one)[2] for one in found} == {"there"}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_goings_of_people_wecom_does_not_know_end_alike_in_every_order(
    tmp_path: Path, seed: int
) -> None:
    """30 × del_follow_user and del_external_contact, doubled and shuffled: each is found gone, told so and closed."""
    draw, people = random.Random(seed), [f"wm{number:030}" for number in range(30)]
    words = ("del_follow_user", "del_external_contact")
    told = [(word, person) for word in words for person in people] * 2
    draw.shuffle(told)
    async with opened(tmp_path, seed) as site:
        while told:
            size = draw.randint(1, 30)
            now = site.hub.clock.now()
            messages = [message for word, person in told[:size] for message in _callback(word, person, now)]
            await site.hub.bus.publish(INBOUND, messages)
            told = told[size:]
            if draw.random() < 0.5:
                await site.until_nothing_is_owed()
        await site.until_nothing_is_owed()
        await site.rest()
        assert await site.owed() == []
        assert await site.records("follow") == await site.records("contact") == []
        acts = "\n".join(body for (body,) in await site.query("SELECT body FROM acts WHERE verb = 'settle'"))
        for person in people:
            assert f'"outcome":"gone","subject":"/{userid_of(1).lower()}/{person}"' in acts, person


def _callback(word: str, person: str, now: int) -> list[Message]:
    fields = {
        "MsgType": "event", "Event": "change_external_contact", "ChangeType": word, "UserID": userid_of(1),
        "ExternalUserID": person, "CreateTime": str(now // SECOND - 60),
    }  # fmt: skip
    received = effect_of(CallbackEvent.of(fields, f"{word}/{person}".encode(), now))
    return [
        to_message(to_event("wecom", one.stream, one.record or one.key, event_id=one.id))
        for one in received.events
    ]


# what storms found ---------------------------------------------------------------------------------------------------


def told_left(stand: PeopleStand, day: int) -> None:
    body = {"user": "LiLei", "id": "wm1", "left": f"2026-01-{day:02d}T00:00:00Z"}
    at = stand.clock.now() - (31 - day)
    stand.take_items([stand.item("follow", "LiLei/wm1", body=body, partial=True, observed_at=at)])
    stand.work()


def test_an_older_leaving_that_was_overtaken_does_not_undo_the_newer_one() -> None:
    stand = PeopleStand()
    stand.add("LiLei", "wm1", day=7)  # he left on the 5th, was added anew on the 7th and left on the 9th
    stand.page()
    told_left(stand, 9)
    told_left(stand, 5)
    assert stand.one("follow")["state"] == "deleted_by_contact"
    assert stand.one("follow")["deleted_by_contact_at"] == "2026-01-09T00:00:00Z"


def test_a_relation_that_ended_asks_nobody_and_comes_back_with_the_next_page() -> None:
    stand = PeopleStand()
    stand.put("C-1", name=HUAXING)
    stand.add("LiLei", "wm1", company="华星电子", day=1)
    stand.add("HanMei", "wm1", company="华星电子", day=2)
    stand.page()
    del stand.held["LiLei", "wm1"]
    stand.take_items([stand.item("follow", "LiLei/wm1", body=None)])
    stand.work()
    assert [row["subject"] for row in stand.rows() if row["state"] == "parked"] == ["/HanMei/wm1"]
    stand.add("LiLei", "wm1", remark="又来了", day=9)
    stand.clock.at += 1
    stand.page(("LiLei", "wm1"))  # his callback was lost
    stand.work()
    (back,) = [one for one in stand.records("follow") if one["employee"] == "li.lei"]
    assert (back["state"], back["remark"]) == ("active", "又来了")


def test_a_number_that_is_a_contact_s_first_for_a_moment_is_no_key_afterwards() -> None:
    stand = PeopleStand()
    stand.add("LiLei", "wm1", mobiles=["13800138000"], day=1)
    stand.add("HanMei", "wm1", mobiles=["13900139000"], day=2)
    stand.page()
    stand.held["LiLei", "wm1"]["mobiles"] = []  # the first number is now 139…
    stand.held["HanMei", "wm1"]["mobiles"] = ["13700137000"]  # and in the same batch 137…
    stand.clock.at += 1
    stand.page()
    held = stand.ask("SELECT name, value FROM keys WHERE name LIKE 'contact.mob%' ORDER BY name, value")
    assert held == [("contact.mobile", "+8613700137000"), ("contact.mobiles", "+8613700137000")]


def test_a_leaving_that_waits_is_not_lost_to_a_read_that_a_write_or_a_sweep_asks_for() -> None:
    stand = PeopleStand()
    stand.add("LiLei", "wm1", remark="王总", day=1)
    body = {"user": "LiLei", "id": "wm1", "left": "2026-01-05T00:00:00Z"}
    stand.take_items([stand.item("follow", "LiLei/wm1", body=body, partial=True)])
    assert stand.row("wx.follow.in")["state"] == "waiting"

    def reread(tx: Any) -> None:
        view = View(tx, stand.world.vault)
        sync = stand.world.inbound("wx", "follow")
        assert sync is not None
        owe_reread(view, sync, "LiLei/wm1", stand.world, at=view.now)
        view.flush("worker", "settle")

    stand.store.run_now(reread)
    stand.work()
    assert stand.one("follow")["state"] == "deleted_by_contact"
    assert stand.rows() == []
