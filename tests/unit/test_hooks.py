"""The doors: what is answered when, and what lies on the bus by then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from hub.api.door_counts import REMEMBERED_SECONDS, Seen
from hub.api.hooks import QUIET, DoorLimits
from hub.bus import MAX_MESSAGE, partition_of
from hub.errors import Cause, InboundRefused, TryAgain
from hub.log import Quiet
from hub.model.event import Event
from hub.pipe.doors import FORGOTTEN, DoorNews, add_door_news, door_news
from hub.pipe.intake import to_message
from hub.pipe.items import to_event
from hub.sdk import InboundEvent, InboundRequest, Received, SourceRecord, VendorKey
from hub.store.engine import Store
from tests.hook_site import NOW, App, Site, event, open_site
from tests.stores import any_store


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as opened:
        yield opened


@pytest.fixture
def store(site: Site) -> Iterator[Store]:
    """Give an empty store with the clock of the doors."""
    opened = Store.open("sqlite://", site.clock, inline=True)
    yield opened
    opened.close()


def bytes_of(answer: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return everything of an answer that a caller can see."""
    return answer.status_code, answer.headers.raw, answer.content


async def test_the_acknowledgement_comes_only_after_the_event_is_durable(site: Site) -> None:
    held = asyncio.Event()
    real = site.bus.publish

    async def slowly(topic: str, messages: object) -> object:
        await held.wait()
        return await real(topic, messages)

    site.bus.publish = slowly  # type: ignore[method-assign]
    answering = asyncio.ensure_future(site.post("said", b"T-1"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not answering.done()
    assert await site.stored() == []
    held.set()
    answer = await answering
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
        200, b"success", "text/plain",
    )  # fmt: skip
    assert len(await site.stored()) == 1


async def test_all_events_of_a_request_are_one_publish(site: Site) -> None:
    assert (await site.post("said", b"T-1 T-2 T-3")).status_code == 200
    assert [len(messages) for messages in site.publishing] == [3]


async def test_wecom_is_answered_an_empty_200_and_its_events_are_hints_of_the_bus(site: Site) -> None:
    answer = await site.call(event("add_external_contact"))
    assert (answer.status_code, answer.content) == (200, b"")
    found = await site.stored()
    assert sorted(message.headers["ce_source"] for _, message in found) == ["wecom/contact", "wecom/follow"]
    for _, message in found:
        read = Event.parse([(name, value.encode()) for name, value in message.headers.items()], message.body)
        assert read.type == "hub.source.hint"
        assert set(orjson.loads(read.data)) == {"org", "id"}


async def test_a_handshake_is_answered_with_exactly_the_message(site: Site) -> None:
    echo = site.app.sealed(b"1616140317555161061+/")
    answer = await site.get("wecom", {**site.app.signed(echo), "echostr": echo})
    assert (answer.status_code, answer.content) == (200, b"1616140317555161061+/")
    assert await site.stored() == []


async def test_a_plus_in_the_query_stays_a_plus(site: Site) -> None:
    await site.client.post("/hooks/said?a=1+2&b=%2B%20&a=%E4%B8%AD&c&=d", content=b"T-1")
    expected = (("a", "1+2"), ("b", "+ "), ("a", "中"), ("c", ""), ("", "d"))
    assert site.said.requests[0].query == expected
    assert site.said.requests[0].now == NOW * 1_000_000


async def test_repeated_headers_are_joined_and_named_in_lower_case(site: Site) -> None:
    headers = [("X-Sig", "one"), ("x-sig", "two")]
    await site.client.post("/hooks/said", content=b"T-1", headers=headers)
    assert site.said.requests[0].headers["x-sig"] == "one, two"
    assert site.said.requests[0].body == b"T-1"


@pytest.mark.parametrize(
    "error", [TryAgain("disk full"), RuntimeError("the log is closed"), TimeoutError(), OSError(28, "full")]
)
async def test_a_bus_that_is_down_is_a_503_and_never_a_2xx(site: Site, error: Exception) -> None:
    site.down = error
    answer = await site.call(event())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert site.doors.counts["wecom"].errors == {"bus": 1}
    assert site.doors.counts["wecom"].accepted == 0
    site.down = None
    assert (await site.call(event())).status_code == 200
    assert site.doors.counts["wecom"].repeats == 0  # what was not stored is not remembered


async def test_a_bus_that_hangs_is_a_503_in_time(tmp_path: Path) -> None:
    async with open_site(tmp_path, limits=DoorLimits(publish_seconds=0.02)) as site:

        async def never(_topic: str, _messages: object) -> object:
            return await asyncio.get_running_loop().create_future()

        site.bus.publish = never  # type: ignore[method-assign]
        assert (await site.post("said", b"T-1")).status_code == 503


async def test_more_than_the_bus_can_take_is_a_503(tmp_path: Path) -> None:
    async with open_site(tmp_path, limits=DoorLimits(publishing=2)) as site:
        held, real = asyncio.Event(), site.bus.publish

        async def slowly(topic: str, messages: object) -> object:
            await held.wait()
            return await real(topic, messages)

        site.bus.publish = slowly  # type: ignore[method-assign]
        asking = [asyncio.ensure_future(site.post("said", b"T-%d" % number)) for number in range(5)]
        while sum(one.done() for one in asking) < 3:
            await asyncio.sleep(0)
        held.set()
        answers = [(await one).status_code for one in asking]
        assert sorted(answers) == [200, 200, 503, 503, 503]
        assert len(await site.stored()) == 2


async def test_an_event_larger_than_the_bus_carries_is_refused_whole(site: Site) -> None:
    record = SourceRecord(VendorKey("", "T-1"), {"text": "x" * MAX_MESSAGE}, 0)
    site.said.instead = lambda _: Received((InboundEvent("thing", record.key, "e-1", "changed", record),))
    assert (await site.post("said", b"")).status_code == 413
    assert await site.stored() == []


async def test_every_refusal_is_the_same_byte_for_byte(site: Site) -> None:
    def bug(_: InboundRequest) -> Received:
        raise KeyError("a field that a stranger left out")

    query, body = site.app.callback(event())
    seen = [
        bytes_of(await site.post("said", b"no")),
        bytes_of(await site.post("wecom", b"")),
        bytes_of(await site.post("wecom", body)),
        bytes_of(await site.post("wecom", body, {**query, "nonce": "1"})),
        bytes_of(await site.post("other", body, query)),
        bytes_of(await site.call(event(), corp="ww_of_somebody_else")),
        bytes_of(await site.get("wecom", query)),
    ]
    site.said.instead = bug
    seen.append(bytes_of(await site.post("said", b"T-1")))
    assert seen[0][0] == 401
    assert seen == [seen[0]] * len(seen)
    assert await site.stored() == []


async def test_a_connector_that_fails_is_counted_and_logged_as_a_bug(site: Site) -> None:
    def bug(_: InboundRequest) -> Received:
        raise ZeroDivisionError

    site.said.instead = bug
    assert (await site.post("said", b"T-1")).status_code == 401
    counts = site.doors.counts["said"]
    assert (counts.refusals, counts.errors) == ({"bug": 1}, {"refused": 1})
    assert [entry["event"] for entry in site.logged] == ["hooks.bug", "hooks.turned"]
    assert "bug of ours" in (site.doors.counts["said"].refused or ("", "", 0))[1]
    assert isinstance(site.logged[0]["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize(
    "wrong",
    [
        InboundEvent("nothing", VendorKey("", "1"), "e-1", "changed"),
        InboundEvent("thing", VendorKey("", "1"), "", "changed"),
        InboundEvent("thing", VendorKey("", "1"), "e" * 129, "changed"),
        InboundEvent("thing", VendorKey("", "\ud800"), "e-1", "changed"),
    ],
    ids=["stream", "no id", "long id", "half a character"],
)
async def test_events_that_cannot_stand_on_the_bus_store_nothing(site: Site, wrong: InboundEvent) -> None:
    good = InboundEvent("thing", VendorKey("", "2"), "e-2", "changed")
    site.said.instead = lambda _: Received((good, wrong))
    assert 400 <= (await site.post("said", b"")).status_code < 500
    assert await site.stored() == []


async def test_refusals_are_counted_by_cause(site: Site) -> None:
    def refuse(_: InboundRequest) -> Received:
        raise InboundRefused(Cause.INVALID)

    await site.post("said", b"no")
    site.said.instead = refuse
    await site.post("said", b"")
    assert site.doors.counts["said"].refusals == {"signature": 1, "invalid": 1}
    assert site.doors.counts["said"].errors == {"refused": 1, "unreadable": 1}
    assert sum(site.doors.counts["said"].latency) == 2


async def test_a_refusal_is_logged_with_its_cause_and_what_to_check(site: Site) -> None:
    query, body = App(token="MistypedToken1").callback(event())
    await site.post("wecom", body, query)
    await site.call(event(), corp="ww9999999999999999")
    wrong_token, wrong_corp = site.logged
    assert wrong_token["event"] == wrong_corp["event"] == "hooks.refused"
    assert (wrong_token["connection"], wrong_token["cause"]) == ("wecom", "signature")
    assert "compare token" in wrong_token["why"]
    assert wrong_corp["cause"] == "receiver"
    assert "ww9999999999999999" in wrong_corp["why"]
    text = repr(site.logged)
    assert not [
        secret
        for secret in (site.app.token, site.app.aes_key, "MistypedToken1", "zhangsan")
        if secret in text
    ]


async def test_a_flood_of_refusals_is_one_line_for_each_connection_and_cause_in_a_while(site: Site) -> None:
    for _ in range(50):
        await site.post("said", b"no")
        await site.post("wecom", b"")
    assert [(entry["event"], entry["connection"]) for entry in site.logged] == [
        ("hooks.refused", "said"), ("hooks.refused", "wecom"),
    ]  # fmt: skip
    site.clock.ahead = QUIET + 1
    await site.post("said", b"no")
    assert site.logged[-1]["so_far"] == 51
    assert len(site.logged) == 3


def test_a_memory_of_what_was_said_stays_bounded() -> None:
    quiet = Quiet(lambda: 0.0, 10.0)
    assert all(quiet.allows(number) for number in range(5_000))
    assert len(quiet._until) <= 1_000


async def test_a_body_of_another_format_is_a_400_and_a_refusal_a_401(site: Site) -> None:
    def refuse(_: InboundRequest) -> Received:
        raise InboundRefused(Cause.INVALID, "the body is no JSON")

    assert (await site.post("said", b"no")).status_code == 401
    site.said.instead = refuse
    answer = await site.post("said", b"")
    assert (answer.status_code, orjson.loads(answer.content)["type"]) == (400, "urn:hub:problem:unreadable")


# what people are told -----------------------------------------------------------------------------------------------


def saved(site: Site, store: Store) -> DoorNews:
    """Save what is new of the doors and return what status shows of WeCom's."""
    news = {name: told for name, counts in site.doors.counts.items() if (told := counts.news())}
    store.run_now(add_door_news, news)
    return store.read_now(door_news, list(site.doors.counts)).get("wecom", DoorNews())


async def test_refused_callbacks_are_counted_for_status_with_the_last_reason(
    site: Site, store: Store
) -> None:
    assert saved(site, store) == DoorNews()
    for _ in range(3):
        await site.post("wecom", b"")
    assert saved(site, store).refused == 3
    assert saved(site, store).refused == 3
    await site.call(event(), corp="ww9999999999999999")
    told = saved(site, store)
    assert (told.refused, told.cause, told.at) == (4, "receiver", NOW * 1_000_000)
    assert "compare corp_id" in told.why


def test_refusals_of_yesterday_are_not_shown_and_counted_anew(any_store: Store) -> None:
    now = any_store.read_now(lambda tx: tx.now)
    any_store.run_now(
        add_door_news, {"a": DoorNews(7, now - FORGOTTEN - 9, now - FORGOTTEN - 9, "signature", "old")}
    )
    assert any_store.read_now(door_news, ["a", "b"]) == {}
    any_store.run_now(add_door_news, {"a": DoorNews(1, now, now, "cipher", "new")})
    assert any_store.read_now(door_news, ["a", "b"]) == {"a": DoorNews(1, now, now, "cipher", "new")}


async def test_an_app_that_wecom_closed_is_shown_until_it_is_open_again(site: Site, store: Store) -> None:
    async def says(word: str) -> None:
        answer = await site.call(event("", Event=word))
        assert (answer.status_code, answer.content) == (200, b"")

    await says("low_active")
    await says("close_inactive_agent")
    told = saved(site, store)
    assert set(told.health) == {"activity", "app"}
    zh, en, since = told.health["app"]
    assert ("reopen" in en, "重新启用" in zh, since) == (True, True, NOW * 1_000_000)
    assert [(entry["event"], entry["cause"]) for entry in site.logged] == [
        ("hooks.health", "activity"), ("hooks.health", "app"),
    ]  # fmt: skip
    assert site.doors.counts["wecom"].ignored == {"low_active": 1, "close_inactive_agent": 1}
    await says("reopen_inactive_agent")
    assert saved(site, store).health.keys() == {"activity"}
    assert site.logged[-1]["cause"] == "app is well again"


async def test_what_has_no_effect_is_acknowledged_and_counted(site: Site) -> None:
    answer = await site.call(event("msg_audit_approved"))
    assert answer.status_code == 200
    assert sum(site.doors.counts["wecom"].ignored.values()) == 1
    assert await site.stored() == []


# repeats ----------------------------------------------------------------------------------------------------------


async def test_a_repeat_is_answered_alike_published_and_counted(site: Site) -> None:
    answers = [bytes_of(await site.call(event())) for _ in range(3)]
    assert answers[0][0] == 200
    assert answers == [answers[0]] * 3
    ids = {message.headers["ce_id"] for _, message in await site.stored()}
    assert (len(await site.stored()), len(ids)) == (3, 1)
    counts = site.doors.counts["wecom"]
    assert (counts.accepted, counts.events, counts.repeats, counts.altered) == (3, 3, 2, 0)


async def test_the_same_id_with_other_content_is_flagged(site: Site) -> None:
    for id_ in ("1", "2"):
        one = InboundEvent("thing", VendorKey("", id_), "same", "changed")
        site.said.instead = lambda _, one=one: Received((one,))
        assert (await site.post("said", b"")).status_code == 200
    counts = site.doors.counts["said"]
    assert (counts.repeats, counts.altered) == (1, 1)
    assert site.logged[-1]["event"] == "hooks.altered"


def test_ids_are_remembered_for_ten_minutes_and_in_bounded_memory() -> None:
    seen = Seen(100)
    assert seen.before("a", 1, 1000.0) is None
    assert seen.before("a", 2, 1000.0 + REMEMBERED_SECONDS + 1) == 1  # the older generation still knows it
    for number in range(1000):
        seen.before(number, 0, 2000.0)
        assert len(seen) <= 200
    assert seen.before("b", 1, 2000.0) is None
    assert seen.before("b", 1, 2000.0 + 2 * REMEMBERED_SECONDS) == 1
    assert seen.before("b", 1, 2000.0 + 5 * REMEMBERED_SECONDS) == 1


# where there is a door --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["nobody", "polled", "", "k3"])
async def test_where_no_connection_receives_there_is_nothing(site: Site, door: str) -> None:
    answer = await site.post(door, b"T-1")
    assert answer.status_code == 404
    assert bytes_of(answer) == bytes_of(await site.post("no-such-door", b"T-1"))


async def test_a_connection_that_did_not_start_asks_to_come_back(site: Site) -> None:
    assert (await site.post("broken", b"T-1")).status_code == 503


# the key on the bus -----------------------------------------------------------------------------------------------


def test_what_hangs_on_a_record_lies_in_its_partition() -> None:
    for number in range(50):
        id_ = f"wm{number}"
        contact = to_message(to_event("wecom", "contact", VendorKey("", id_), event_id="1"))
        follow = to_message(
            to_event("wecom", "follow", VendorKey("", f"zhang/{id_}"), event_id="2", parent="contact")
        )
        assert contact.key == f"wecom/contact//{id_}"
        assert follow.key == contact.key
        assert follow.headers["ce_partitionkey"] == contact.key
        assert partition_of(follow.key.encode(), 4) == partition_of(contact.key.encode(), 4)


async def test_a_callback_puts_the_contact_before_its_follow_in_one_partition(site: Site) -> None:
    for number in range(8):
        await site.call(event("add_external_contact", f"wm{number}"))
    found = await site.stored()
    for number in range(8):
        places = [
            (partition, message.headers["ce_source"])
            for partition, message in found
            if message.headers["ce_subject"].endswith(f"wm{number}")
        ]
        assert [source for _, source in places] == ["wecom/contact", "wecom/follow"]
        assert len({partition for partition, _ in places}) == 1
