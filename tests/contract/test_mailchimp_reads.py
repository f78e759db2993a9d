"""Reading an audience: changes that share a second, who was archived, contacts by the hash of an address, campaign results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.mailchimp import MailchimpConnector
from hub.errors import Cause, ConnectionDown, IntegrityError, TryAgain
from hub.sdk import Answer, Failed, Gone, SourceRecord, VendorKey
from hub.sdk.kit import Bench, latest
from tests.contract.mailchimp_stand import LIST, answer, bench, box, email, mailchimp, stand


def member(number: int, **more: Any) -> dict[str, Any]:
    return {"contact_id": f"{number:032x}", "id": "x", "email_address": email(number), "status": "subscribed", "tags": [],
            "last_changed": "2026-01-10T00:00:00+00:00", **more}  # fmt: skip


# ------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize("count", [3, 4, 10, 11])
async def test_members_that_changed_in_one_second_are_all_read(
    bench: Bench, mailchimp: MailchimpConnector, count: int
):
    made = {str(stand(bench).add(number)["contact_id"]) for number in range(count)}  # the clock does not move
    box(bench).advance(5)
    made |= {str(stand(bench).add(number)["contact_id"]) for number in range(count, count + 2)}
    assert latest(await bench.pages(mailchimp, "member")).keys() == made


async def test_one_who_leaves_a_crowded_second_takes_nobody_with_them(
    bench: Bench, mailchimp: MailchimpConnector
):
    made = [str(stand(bench).add(number)["contact_id"]) for number in range(10)]
    pages = []
    async for page in mailchimp.read("member", None):
        pages.append(page)
        if len(pages) == 4:  # inside the second: everybody behind the first moves up in the list
            box(bench).advance(60)
            first = pages[0].records[0].key.id
            await bench.stand.edit("member", first)
    pages += await bench.pages(mailchimp, "member", pages[-1].cursor)
    assert latest(pages).keys() == set(made)


async def test_a_second_change_within_the_same_second_is_seen_by_the_next_poll(
    bench: Bench, mailchimp: MailchimpConnector
):
    stand(bench).add(1)
    cursor = (await bench.pages(mailchimp, "member"))[-1].cursor
    people = box(bench).members
    people.edit(people.need(LIST, email(1)), {"merge_fields": {"FNAME": "again"}})
    (record,) = latest(await bench.pages(mailchimp, "member", cursor)).values()
    assert record.body["merge_fields"]["FNAME"] == "again"  # type: ignore[index,call-overload]  # a dict


async def test_who_is_archived_is_gone_and_who_comes_back_is_there_again(
    bench: Bench, mailchimp: MailchimpConnector
):
    row = stand(bench).add(1)
    cursor = (await bench.pages(mailchimp, "member"))[-1].cursor
    box(bench).advance(60)
    box(bench).members.archive(LIST, email(1), by="user")
    pages = await bench.pages(mailchimp, "member", cursor)
    assert [(one.key.id, one.deleted) for one in latest(pages).values()] == [(row["contact_id"], True)]
    box(bench).advance(60)
    stand(bench).add(1)
    pages = await bench.pages(mailchimp, "member", pages[-1].cursor)
    assert [(one.key.id, one.deleted) for one in latest(pages).values()] == [(row["contact_id"], False)]


async def test_consent_is_a_stream_of_its_own_in_which_a_change_of_name_is_nothing(
    bench: Bench, mailchimp: MailchimpConnector
):
    stand(bench).add(1)
    cursor = (await bench.pages(mailchimp, "consent"))[-1].cursor
    box(bench).advance(60)
    people = box(bench).members
    people.leave(people.need(LIST, email(1)), reason="NOT_INTERESTED")
    pages = await bench.pages(mailchimp, "consent", cursor)
    (record,) = latest(pages).values()
    body: Any = record.body
    assert (body["status"], body["unsubscribe_reason"]) == ("unsubscribed", "NOT_INTERESTED")
    assert set(body) == set(MailchimpConnector.spec.streams["consent"].fields)


async def test_the_next_poll_looks_back_over_the_overlap_and_sends_the_plus_escaped(
    bench: Bench, mailchimp: MailchimpConnector
):
    await bench.stand.seed("member", 2)
    cursor: Any = (await bench.pages(mailchimp, "member"))[-1].cursor
    newest = max(row["last_changed"] for row in box(bench).members.of(LIST))
    assert newest > cursor["since"]
    assert cursor["since"].endswith("+00:00")
    assert not latest(
        await bench.pages(mailchimp, "member", cursor)
    )  # an unescaped + is a 400 of the sandbox


async def test_u7_a_page_that_repeats_forever_ends_the_read(bench: Bench):
    class Stuck:
        calls = 0

        async def request(self, *_: Any, **__: Any) -> Answer:
            self.calls += 1
            return answer(members=[member(number) for number in range(3)], total_items=8)

    http = Stuck()
    with pytest.raises(TryAgain) as caught:
        await bench.pages(bench.connect(http=http), "member")
    assert caught.value.cause is Cause.BAD_ANSWER
    assert http.calls < 20


@pytest.mark.parametrize(
    "body",
    [{}, {"members": None, "total_items": 0}, {"members": {}, "total_items": 0}, {"members": [1], "total_items": 1},
     {"members": [], "total_items": "0"}, {"members": [{"id": "x"}], "total_items": 1},
     {"members": [member(1, contact_id="../x")], "total_items": 1}, {"members": [member(1, last_changed="soon")], "total_items": 1},
     {"members": [member(1, contact_id=7)], "total_items": 1}],
)  # fmt: skip
async def test_u7_an_answer_of_another_shape_is_a_bad_answer(bench: Bench, body: dict[str, Any]):
    class Odd:
        async def request(self, *_: Any, **__: Any) -> Answer:
            return answer(**body)

    with pytest.raises(TryAgain) as caught:
        await bench.pages(bench.connect(http=Odd()), "member")
    assert caught.value.cause is Cause.BAD_ANSWER


async def test_a_large_page_that_times_out_at_the_edge_is_tried_again(bench: Bench):
    box(bench).dials.large_page_504 = 2
    with pytest.raises(TryAgain):
        await bench.pages(bench.connect(), "member")
    assert (await bench.pages(bench.connect(bench.stand.settings() | {"page_size": 2}), "member"))[-1].cursor


# ------------------------------------------------------------------------------------------- single members


async def test_a_hint_by_the_hash_of_an_address_finds_the_contact_under_its_own_id(
    bench: Bench, mailchimp: MailchimpConnector
):
    row = stand(bench).add(1)
    for stream in ("member", "consent"):
        by_hash, missing, by_id = await mailchimp.fetch(
            stream, [VendorKey("", row["id"]), VendorKey("", "0" * 32), VendorKey("", row["contact_id"])]
        )
        assert isinstance(by_hash, SourceRecord)
        assert isinstance(by_id, SourceRecord)
        assert by_hash.key == by_id.key == VendorKey("", row["contact_id"])
        assert missing == Gone(VendorKey("", "0" * 32))


async def test_u8_an_answer_about_somebody_else_stops_the_stream(bench: Bench):
    class Other:
        async def request(self, *_: Any, **__: Any) -> Answer:
            return answer(**member(2))

    with pytest.raises(IntegrityError) as caught:
        await bench.connect(http=Other()).fetch("member", [VendorKey("", f"{1:032x}")])
    assert caught.value.cause is Cause.FOREIGN


async def test_a_missing_audience_is_not_a_missing_member(bench: Bench):
    connector = bench.connect(bench.stand.settings() | {"list_id": "0000000000"})
    (found,) = await connector.fetch("member", [VendorKey("", "0" * 32)])
    assert isinstance(found, Failed)
    assert (type(found.error), found.error.cause) == (ConnectionDown, Cause.SETTINGS)


# ------------------------------------------------------------------------------------------- campaign results


async def test_results_show_each_address_once_with_its_newest_campaign(
    bench: Bench, mailchimp: MailchimpConnector
):
    reports = box(bench).reports
    for number in range(5):
        stand(bench).add(number)
    old = reports.send(LIST, "May")
    box(bench).advance(3600)
    new = reports.send(LIST, "June", [email(1), email(2), email(3)])
    box(bench).advance(60)
    reports.act(old["id"], email(0), "open")
    reports.act(old["id"], email(1), "open")  # of an older campaign than the newest: not shown
    reports.act(new["id"], email(1), "click")
    reports.act(new["id"], email(2), "open")
    reports.act(new["id"], email(2), "open")
    reports.act(new["id"], email(3), "bounce")
    pages = await bench.pages(mailchimp, "result")
    shown = [record for page in pages for record in page.records]
    bodies: dict[str, Any] = {record.body["email_address"]: record.body for record in shown}  # type: ignore[index,call-overload,misc]  # a dict
    assert len(shown) == len(bodies) == 5
    assert {one: body["campaign_title"] for one, body in bodies.items()} == {
        email(0): "May", email(1): "June", email(2): "June", email(3): "June", email(4): "May",
    }  # fmt: skip
    assert [bodies[email(n)]["open_count"] for n in range(5)] == [1, 0, 2, 0, 0]
    assert [bodies[email(n)]["click_count"] for n in range(5)] == [0, 1, 0, 0, 0]
    assert [bodies[email(n)]["bounced"] for n in range(5)] == [False, False, False, True, False]
    fetched = await mailchimp.fetch("result", [record.key for record in shown])
    assert [one.body for one in fetched] == [record.body for record in shown]  # type: ignore[union-attr]


async def test_a_read_of_results_that_was_cut_goes_on_and_shows_nobody_twice(
    bench: Bench, mailchimp: MailchimpConnector
):
    for number in range(8):
        stand(bench).add(number)
    for month in ("May", "June"):
        box(bench).reports.send(LIST, month)
        box(bench).advance(3600)
    pages = await bench.pages(mailchimp, "result")
    whole = [record.key.id for page in pages for record in page.records]
    assert len(whole) == len(set(whole)) == 8
    for index, page in enumerate(pages[:-1]):
        rest = await bench.pages(mailchimp, "result", page.cursor)
        before = [record.key.id for one in pages[: index + 1] for record in one.records]
        after = [record.key.id for one in rest for record in one.records]
        assert sorted(before + after) == sorted(whole)


async def test_campaigns_of_another_audience_and_older_ones_are_left_out(bench: Bench):
    stand(bench).add(1)
    box(bench).reports.send(LIST, "old")
    box(bench).members.add("b7c6eb2165", email(2), "subscribed", {}, skip=True, by="seed", source="admin")
    box(bench).reports.send("b7c6eb2165", "other")
    connector = bench.connect(bench.stand.settings() | {"results_days": 1})
    assert [
        one.body["campaign_title"] for one in latest(await bench.pages(connector, "result")).values()
    ] == ["old"]  # type: ignore[index,call-overload]  # a dict
    box(bench).advance(2 * 86_400)
    box(bench).reports.send(LIST, "in two days")
    later = bench.connect(bench.stand.settings() | {"results_days": 1})
    later.tools = replace(later.tools, clock=box(bench).clock)
    later._results._tools = later.tools  # type: ignore[attr-defined]  # a Mailchimp connector
    titles = {one.body["campaign_title"] for one in latest(await bench.pages(later, "result")).values()}  # type: ignore[index,call-overload]  # a dict
    assert titles == {"in two days"}
