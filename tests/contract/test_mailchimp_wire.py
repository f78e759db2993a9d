"""What the Mailchimp connector sends and what it makes of the answers: consent, refusals, merge fields, tags, batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.sandbox.books import hash_of
from hub.errors import (
    Cause,
    ConnectionDown,
    IntegrityError,
    NotSent,
    OutcomeUnknown,
    Refused,
    SettingsError,
    TryAgain,
)
from hub.sdk import Answer, Applied, Failed, Found, Gone, Secret, VendorRef, Write
from hub.sdk.kit import Bench
from tests.contract.mailchimp_stand import LIST, answer, bench, box, email, mailchimp, stand

HERE = f"/lists/{LIST}"


def new(bench: Bench, number: int, **payload: Any) -> Write:
    body = {"email_address": email(number), "status_if_new": "subscribed", **payload}
    return bench.write(
        "member", "save", {name: value for name, value in body.items() if value is not None}, number=number
    )


def change(bench: Bench, ref: VendorRef, **payload: Any) -> Write:
    return bench.write("member", "save", payload, ref=ref)


async def saved(bench: Bench, connector: MailchimpConnector, write: Write) -> VendorRef:
    result = await bench.one(connector, write)
    assert isinstance(result, Applied), result
    return result.ref


async def refusal(bench: Bench, connector: MailchimpConnector, write: Write) -> Any:
    result = await bench.one(connector, write)
    assert isinstance(result, Failed), result
    return result.error


def there(bench: Bench, name: str) -> dict[str, Any]:
    people = box(bench).members
    return people.shown(people.need(LIST, name))


class Watched:
    """Passes requests on and keeps what was sent."""

    def __init__(self, http: Any) -> None:
        self.http, self.sent = http, []

    async def request(self, method: str, url: str, **known: Any) -> Answer:
        self.sent.append(
            (
                method,
                httpx.URL(url).path.removeprefix("/3.0"),
                known.get("content", b""),
                dict(known["headers"]),
            )
        )
        return await self.http.request(method, url, **known)


def watch(connector: MailchimpConnector) -> Watched:
    watched = Watched(connector._client._tools.http)
    connector._client._tools = replace(connector._client._tools, http=watched)
    return watched


# ------------------------------------------------------------------------------------------- consent


async def test_a_new_address_begins_as_it_is_told_and_one_that_is_there_keeps_its_status(
    bench: Bench, mailchimp: MailchimpConnector
):
    await saved(bench, mailchimp, new(bench, 1))
    assert there(bench, email(1))["status"] == "subscribed"
    for status in ("unsubscribed", "cleaned", "pending", "transactional"):
        stand(bench).add(len(status) + 10, status)
        await saved(bench, mailchimp, new(bench, len(status) + 10, merge_fields={"FNAME": "Lin"}))
        now = there(bench, email(len(status) + 10))
        assert (now["status"], now["merge_fields"]["FNAME"]) == (status, "Lin")


@pytest.mark.parametrize("source", ["user", "admin"])
async def test_no_write_of_any_kind_subscribes_somebody_who_left(
    bench: Bench, mailchimp: MailchimpConnector, source: str
):
    ref = await saved(bench, mailchimp, new(bench, 1))
    people = box(bench).members
    people.leave(people.need(LIST, email(1)), source=source)
    tries = [
        new(bench, 1), new(bench, 1, status_if_new="pending"), new(bench, 1, email_address=email(1).upper()),
        change(bench, ref, merge_fields={"FNAME": "Lin"}), change(bench, ref, status_if_new="subscribed"),
        change(bench, ref, status_if_new="subscribed", tags=["VIP"], email_address=email(2)),
    ]  # fmt: skip
    for write in tries:
        await bench.one(mailchimp, write)
        assert people.need(LIST, ref.vendor_id)["status"] == "unsubscribed"
    many = [new(bench, number) for number in range(2, 40)] + [new(bench, 1, email_address=email(2))]
    await mailchimp.write(many)
    assert people.need(LIST, ref.vendor_id)["status"] == "unsubscribed"


async def test_no_request_ever_carries_the_status_subscribed_for_somebody_who_may_be_there(
    bench: Bench, mailchimp: MailchimpConnector
):
    watched = watch(mailchimp)
    ref = await saved(bench, mailchimp, new(bench, 1))
    await saved(bench, mailchimp, change(bench, ref, status_if_new="subscribed", merge_fields={"FNAME": "x"}))
    await saved(bench, mailchimp, change(bench, ref, status="unsubscribed"))
    await mailchimp.write([new(bench, number) for number in range(20)])
    for method, path, content, _ in watched.sent:
        if b'"status":"subscribed"' in content:  # the batch alone, which never touches who is there
            assert (method, path) == ("POST", HERE)
            assert b'"update_existing":false' in content


@pytest.mark.parametrize("status", ["subscribed", "pending", "cleaned", "archived", "Unsubscribed", "", 5])
async def test_a_payload_that_would_write_another_status_is_refused_before_anything_is_sent(
    bench: Bench, mailchimp: MailchimpConnector, status: Any
):
    ref = await saved(bench, mailchimp, new(bench, 1))
    error = await refusal(bench, mailchimp, change(bench, ref, status=status))
    assert isinstance(error, Refused)
    assert error.field == "status"
    for wrong in ("unsubscribed", "cleaned", "archived", "x"):
        error = await refusal(bench, mailchimp, new(bench, 2, status_if_new=wrong))
        assert (type(error), error.field) == (Refused, "status_if_new")
    assert len(bench.stand.effects("member")) == 1


async def test_who_withdraws_in_the_crm_leaves_there(bench: Bench, mailchimp: MailchimpConnector):
    ref = await saved(bench, mailchimp, new(bench, 1))
    await saved(bench, mailchimp, change(bench, ref, status="unsubscribed"))
    assert there(bench, email(1))["status"] == "unsubscribed"
    again = new(bench, 1, status="unsubscribed")  # the hub forgot that it knew: they are there, and stay out
    await saved(bench, mailchimp, again)
    assert there(bench, email(1))["status"] == "unsubscribed"


async def test_nobody_who_opted_out_is_put_on_an_audience(bench: Bench, mailchimp: MailchimpConnector):
    error = await refusal(bench, mailchimp, new(bench, 1, status="unsubscribed"))
    assert (type(error), error.cause, error.field) == (Refused, Cause.STATE, "status")
    assert not box(bench).members.of(LIST)


async def test_on_a_double_opt_in_list_a_new_member_confirms_first(
    bench: Bench, mailchimp: MailchimpConnector
):
    box(bench).audiences.change(LIST, {"double_optin": True}, by="user")
    await saved(bench, mailchimp, new(bench, 1))
    await mailchimp.write([new(bench, number) for number in range(2, 30)])
    assert {row["status"] for row in box(bench).members.of(LIST)} == {"pending"}
    await saved(bench, mailchimp, new(bench, 31, status_if_new="transactional"))
    assert there(bench, email(31))["status"] == "transactional"


async def test_who_was_never_asked_gets_a_confirmation_mail_when_they_opt_in(
    bench: Bench, mailchimp: MailchimpConnector
):
    ref = await saved(bench, mailchimp, new(bench, 1, status_if_new="transactional"))
    await saved(bench, mailchimp, change(bench, ref, status_if_new="subscribed"))
    assert there(bench, email(1))["status"] == "pending"
    await saved(bench, mailchimp, change(bench, ref, status_if_new="subscribed"))
    assert there(bench, email(1))["status"] == "pending"


# ------------------------------------------------------------------------------------------- refusals


async def test_a_compliance_refusal_is_a_dead_letter_and_is_not_asked_again(
    bench: Bench, mailchimp: MailchimpConnector
):
    ref = await saved(bench, mailchimp, new(bench, 1))
    people = box(bench).members
    people.leave(people.need(LIST, email(1)))
    people.archive(LIST, email(1), by="user")
    watched = watch(mailchimp)
    error = await refusal(bench, mailchimp, new(bench, 1))
    assert (type(error), error.cause, error.code, error.field) == (
        Refused,
        Cause.STATE,
        "MemberInComplianceState",
        "email_address",
    )
    assert email(1) in str(error)
    assert [method for method, *_ in watched.sent if method != "GET"] == ["PUT"]
    assert people.need(LIST, ref.vendor_id)["status"] == "archived"


async def test_an_address_that_was_forgotten_is_never_sent_again_but_as_a_dead_letter(
    bench: Bench, mailchimp: MailchimpConnector
):
    ref = await saved(bench, mailchimp, new(bench, 1))
    box(bench).members.forget(LIST, email(1), by="user")
    assert await bench.one(mailchimp, change(bench, ref, language="en")) == Gone(mailchimp_key(ref))
    for status in ("subscribed", "pending", "transactional"):
        error = await refusal(bench, mailchimp, new(bench, 1, status_if_new=status))
        assert (type(error), error.cause, error.code) == (
            Refused,
            Cause.MISSING_TARGET,
            "ForgottenEmailNotSubscribed",
        )


def mailchimp_key(ref: VendorRef) -> Any:
    from hub.sdk import VendorKey

    return VendorKey("", ref.vendor_id)


@pytest.mark.parametrize(
    ("address", "kind", "cause", "after"),
    [
        ("someone@example.com", Refused, Cause.INVALID, None),
        ("nobody", Refused, Cause.INVALID, None),
        ("signups-1@acme-asia.sg", TryAgain, Cause.RATE, 4 * 3600.0),
    ],
)
async def test_what_the_vendor_says_of_an_address_decides(
    bench: Bench, mailchimp: MailchimpConnector, address: str, kind: type, cause: Cause, after: float | None
):
    error = await refusal(bench, mailchimp, new(bench, 1, email_address=address))
    assert (type(error), error.cause, error.field) == (kind, cause, "email_address")
    assert getattr(error, "after", None) == after


@pytest.mark.parametrize("address", [None, "", " ", 5])
async def test_a_member_without_an_address_is_refused_here(
    bench: Bench, mailchimp: MailchimpConnector, address: Any
):
    write = bench.write("member", "save", {"email_address": address, "status_if_new": "subscribed"})
    error = await refusal(bench, mailchimp, write)
    assert (type(error), error.cause, error.field) == (Refused, Cause.MISSING_FIELD, "email_address")


async def test_an_audience_that_is_not_there_is_a_setting_and_no_members_fault(bench: Bench):
    settings = bench.stand.settings() | {"list_id": "0000000000"}
    connector = bench.connect(settings)
    for write in (new(bench, 1), change(bench, VendorRef("ab" * 16), language="en")):
        error = await refusal(bench, connector, write)  # type: ignore[arg-type]
        assert (type(error), error.cause) == (ConnectionDown, Cause.SETTINGS)


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        ("html_403", TryAgain, Cause.RATE), ("http_503", OutcomeUnknown, Cause.UNAVAILABLE),
        ("http_504", OutcomeUnknown, Cause.UNAVAILABLE), ("html_200", OutcomeUnknown, Cause.BAD_ANSWER),
        ("error_ComplianceRelated", ConnectionDown, Cause.PERMISSION), ("error_UserDisabled", ConnectionDown, Cause.CREDENTIAL),
        ("error_WrongDatacenter", ConnectionDown, Cause.SETTINGS), ("error_TooManyRequests", TryAgain, Cause.RATE),
    ],
)  # fmt: skip
async def test_the_edge_and_the_account_speak_for_the_connection_and_never_for_the_record(
    bench: Bench, mailchimp: MailchimpConnector, fault: str, kind: type, cause: Cause
):
    box(bench).inject(fault, op="members.put")
    error = await refusal(bench, mailchimp, new(bench, 1, status_if_new="transactional"))
    assert (type(error), error.cause) == (kind, cause)


async def test_an_answer_about_another_member_stops_everything(bench: Bench):
    row = {"contact_id": "a" * 32, "email_address": "other@acme-asia.sg", "status": "subscribed", "tags": []}

    class Wrong:
        async def request(self, *_: Any, **__: Any) -> Answer:
            return answer(**row)

    connector = bench.connect(http=Wrong())
    for write in (
        new(bench, 1, status_if_new="transactional"),
        change(bench, VendorRef("b" * 32), language="en"),
    ):
        with pytest.raises(IntegrityError) as caught:
            await connector.write([write])
        assert caught.value.cause is Cause.FOREIGN


# ------------------------------------------------------------------------------------------- merge fields, tags, groups


async def test_merge_fields_are_written_as_their_types_want_them_and_read_back_the_same(
    bench: Bench, mailchimp: MailchimpConnector
):
    kinds = {
        "LTV": "number",
        "SINCE": "date",
        "BIRTH": "birthday",
        "ZIP": "zip",
        "SITE": "url",
        "TIER": "dropdown",
        "NOTE": "text",
    }
    for tag, kind in kinds.items():
        box(bench).audiences.add_field(
            LIST, {"name": tag, "type": kind, "tag": tag, "options": {"choices": ["金", "银"]}}, by="seed"
        )
    sent = {"LTV": "1200.50", "SINCE": "2026-01-10T08:00:00Z", "BIRTH": "1990-02-28", "ZIP": "90210", "SITE": "https://a.sg",
            "TIER": "金", "NOTE": "长" * 200,
            "ADDRESS": {"addr1": "1 Main St", "city": "Singapore", "state": "SG", "zip": "018956", "addr2": None}}  # fmt: skip
    write = new(bench, 1, merge_fields=sent)
    await saved(bench, mailchimp, write)
    stored = there(bench, email(1))["merge_fields"]
    assert stored["NOTE"] == "长" * 85  # 255 bytes, cut between two characters
    assert (stored["LTV"], stored["SINCE"], stored["BIRTH"]) == (1200.5, "2026-01-10", "02/28")
    clear = await saved(
        bench,
        mailchimp,
        replace(write, payload={**write.payload, "merge_fields": {"NOTE": None, "LTV": None}}),
    )
    assert there(bench, email(1))["merge_fields"]["NOTE"] == ""
    assert there(bench, email(1))["merge_fields"]["TIER"] == "金"
    (found,) = await mailchimp.find(
        [change(bench, clear, merge_fields={"NOTE": None, "TIER": "金", "LTV": ""})]
    )
    assert isinstance(found, Found)
    assert found.as_sent


async def test_a_write_whose_answer_was_lost_is_found_as_sent_whatever_the_types_made_of_its_values(
    bench: Bench, mailchimp: MailchimpConnector
):
    for tag, kind in {"NOTE": "text", "BIRTH": "birthday", "SINCE": "date"}.items():
        box(bench).audiences.add_field(LIST, {"name": tag, "type": kind, "tag": tag}, by="seed")
    sent = {"NOTE": "长" * 200, "BIRTH": "1990-02-28", "SINCE": "2026-01-10T08:00:00Z"}
    write = new(bench, 1, merge_fields=sent)
    box(bench).inject("apply_then_drop", op="members.put")
    assert isinstance(await refusal(bench, mailchimp, write), OutcomeUnknown)
    (found,) = await mailchimp.find([write])
    assert isinstance(found, Found)
    assert found.as_sent
    other = replace(write, payload={**write.payload, "merge_fields": {**sent, "BIRTH": "1990-02-27"}})
    (found,) = await mailchimp.find([other])
    assert isinstance(found, Found)
    assert not found.as_sent


async def test_a_switch_that_is_empty_is_off(bench: Bench, mailchimp: MailchimpConnector):
    ref = await saved(bench, mailchimp, new(bench, 1, vip=True))
    write = change(bench, ref, vip=None)
    watched = watch(mailchimp)
    await saved(bench, mailchimp, write)
    assert [orjson.loads(content) for method, _, content, _ in watched.sent if method == "PATCH"] == [
        {"vip": False}
    ]
    (found,) = await mailchimp.find([write])
    assert isinstance(found, Found)
    assert found.as_sent


@pytest.mark.parametrize(
    ("kind", "value", "cause"),
    [
        ("number", "many", Cause.INVALID), ("number", "NaN", Cause.INVALID), ("date", "soon", Cause.INVALID),
        ("birthday", "13/45", Cause.INVALID), ("zip", "200120", Cause.INVALID), ("dropdown", "铜", Cause.INVALID),
        ("address", "上海市", Cause.INVALID), ("address", {"addr1": "1 Main St", "city": "", "state": None}, Cause.MISSING_FIELD),
    ],
)  # fmt: skip
async def test_a_value_that_does_not_suit_its_field_is_refused_here_and_the_field_is_named(
    bench: Bench, mailchimp: MailchimpConnector, kind: str, value: Any, cause: Cause
):
    box(bench).audiences.add_field(
        LIST, {"name": "X", "type": kind, "tag": "X", "options": {"choices": ["金"]}}, by="seed"
    )
    error = await refusal(bench, mailchimp, new(bench, 1, merge_fields={"X": value}))
    assert (type(error), error.cause, error.field) == (Refused, cause, "merge_fields.X")
    assert not box(bench).members.of(LIST)


async def test_a_merge_field_the_audience_lacks_is_a_mapping_error_until_it_is_made(
    bench: Bench, mailchimp: MailchimpConnector
):
    write = new(bench, 1, merge_fields={"COMPANY": "Acme"})
    error = await refusal(bench, mailchimp, write)
    assert (type(error), error.cause, error.field) == (Refused, Cause.SETTINGS, "merge_fields.COMPANY")
    assert "FNAME" in str(error)
    box(bench).audiences.add_field(LIST, {"name": "Company", "type": "text", "tag": "COMPANY"}, by="user")
    await saved(bench, mailchimp, write)
    assert there(bench, email(1))["merge_fields"]["COMPANY"] == "Acme"


async def test_a_required_field_that_is_left_out_is_named_by_its_tag(
    bench: Bench, mailchimp: MailchimpConnector
):
    box(bench).audiences.add_field(
        LIST, {"name": "C", "type": "text", "tag": "C", "required": True}, by="seed"
    )
    error = await refusal(bench, mailchimp, new(bench, 1, status_if_new="transactional"))
    assert (type(error), error.field) == (Refused, "merge_fields.C")


async def test_tags_become_exactly_those_that_were_sent_and_start_no_automation(
    bench: Bench, mailchimp: MailchimpConnector
):
    ref = await saved(bench, mailchimp, new(bench, 1, tags=["VIP", "客户"]))
    box(bench).members.tag(
        box(bench).members.need(LIST, email(1)), [{"name": "theirs", "status": "active"}], by="user"
    )
    watched = watch(mailchimp)
    result = await bench.one(mailchimp, change(bench, ref, tags=["客户", "老客户"]))
    assert isinstance(result, Applied)
    assert result.stored["tags"] == ["客户", "老客户"]  # type: ignore[index,call-overload]  # a dict
    assert {one["name"] for one in there(bench, email(1))["tags"]} == {"客户", "老客户"}
    assert [
        b'"is_syncing":true' in content for method, path, content, _ in watched.sent if path.endswith("/tags")
    ] == [True]
    count = len(watched.sent)
    await saved(bench, mailchimp, change(bench, ref, tags=["老客户", "客户"]))
    assert len(watched.sent) == count + 1  # nothing to add, nothing to take away


@pytest.mark.parametrize("fault", ["apply_then_drop", "fail_before", "error_TooManyRequests", "http_500"])
async def test_a_member_whose_tags_were_not_written_is_in_doubt_and_written_again(
    bench: Bench, mailchimp: MailchimpConnector, fault: str
):
    box(bench).inject(fault, op="members.tag")
    write = new(bench, 1, tags=["VIP"])
    error = await refusal(bench, mailchimp, write)
    assert isinstance(error, OutcomeUnknown)  # never "nothing took effect": the member is there
    await saved(bench, mailchimp, write)
    (found,) = await mailchimp.find([write])
    assert isinstance(found, Found)
    assert found.as_sent
    assert (
        len([one for one in box(bench).ledger().effects(by="api", form="member") if one.verb == "create"])
        == 1
    )


async def test_a_member_who_goes_before_the_tags_are_written_stops_no_other(
    bench: Bench, mailchimp: MailchimpConnector
):
    box(bench).inject("error_ResourceNotFound", op="members.tag")
    error = await refusal(bench, mailchimp, new(bench, 1, tags=["VIP"]))
    assert isinstance(error, OutcomeUnknown)
    box(bench).inject("error_ResourceNotFound", op="members.tag")
    box(bench).inject("error_ResourceNotFound", op="lists.get")
    error = await refusal(bench, mailchimp, new(bench, 2, tags=["VIP"], status_if_new="transactional"))
    assert isinstance(error, ConnectionDown)  # it was the audience


async def test_groups_are_set_by_the_id_of_the_interest(bench: Bench, mailchimp: MailchimpConnector):
    audiences = box(bench).audiences
    group = audiences.add_category(LIST, {"title": "Topics", "type": "checkboxes"}, by="seed")
    one = audiences.add_interest(LIST, group["id"], {"name": "News"}, by="seed")
    ref = await saved(bench, mailchimp, new(bench, 1, interests={one["id"]: True}))
    assert there(bench, email(1))["interests"] == {one["id"]: True}
    await saved(bench, mailchimp, change(bench, ref, interests={one["id"]: False}))
    assert there(bench, email(1))["interests"] == {one["id"]: False}
    error = await refusal(bench, mailchimp, change(bench, ref, interests={"0000000000": True}))
    assert (type(error), error.field) == (Refused, "interests.0000000000")


# ------------------------------------------------------------------------------------------- another address


async def test_another_address_renames_the_member_and_the_contact_stays_the_same(
    bench: Bench, mailchimp: MailchimpConnector
):
    ref = await saved(bench, mailchimp, new(bench, 1))
    assert await saved(bench, mailchimp, change(bench, ref, email_address=email(2))) == ref
    assert [row["email_address"] for row in box(bench).members.of(LIST)] == [email(2)]
    stand(bench).add(3)
    error = await refusal(bench, mailchimp, change(bench, ref, email_address=email(3)))
    assert (type(error), error.cause, error.field) == (Refused, Cause.DUPLICATE, "email_address")


# ------------------------------------------------------------------------------------------- batches


async def test_a_thousand_new_members_go_in_batches_of_five_hundred(
    bench: Bench, mailchimp: MailchimpConnector
):
    watched = watch(mailchimp)
    results = await mailchimp.write(
        [new(bench, number, merge_fields={"FNAME": f"P{number}"}) for number in range(1000)]
    )
    assert all(isinstance(one, Applied) for one in results)
    assert [path for method, path, *_ in watched.sent if method == "POST"] == [HERE, HERE]
    for number in (0, 499, 500, 999):
        ref = results[number].ref  # type: ignore[union-attr]  # all are Applied
        assert box(bench).members.need(LIST, ref.vendor_id)["email_address"] == email(number)


async def test_a_batch_says_per_row_what_became_of_it_and_leaves_alone_who_is_there(
    bench: Bench, mailchimp: MailchimpConnector
):
    people = box(bench).members
    stand(bench).add(3)
    people.leave(people.need(LIST, email(3)))
    stand(bench).add(4)
    people.leave(people.need(LIST, email(4)))
    people.archive(LIST, email(4), by="user")
    writes = [new(bench, number, merge_fields={"FNAME": "Lin"}, tags=["VIP"]) for number in range(12)]
    writes[5] = new(bench, 5, email_address="someone@example.com")
    writes[6] = new(bench, 6, merge_fields={"LTV": 1})
    writes[7] = new(bench, 7, email_address=email(8).upper())  # the same person twice in one call
    results = await mailchimp.write(writes)
    kinds = [type(one.error).__name__ if isinstance(one, Failed) else "Applied" for one in results]
    assert kinds == ["Applied"] * 4 + ["Refused"] * 3 + ["Applied"] * 5
    causes = [results[number].error.cause for number in (4, 5, 6)]  # type: ignore[union-attr]  # all are Failed
    assert causes == [Cause.STATE, Cause.INVALID, Cause.SETTINGS]
    assert results[7].ref == results[8].ref  # type: ignore[union-attr]  # both are Applied
    assert there(bench, email(3))["status"] == "unsubscribed"
    assert there(bench, email(3))["merge_fields"]["FNAME"] == "Lin"
    assert [one["name"] for one in there(bench, email(11))["tags"]] == ["VIP"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("apply_then_drop", OutcomeUnknown), ("error_TooManyRequests", TryAgain), ("http_502", OutcomeUnknown)],
)
async def test_a_batch_whose_answer_is_lost_is_in_doubt_and_its_repeat_doubles_nobody(
    bench: Bench, mailchimp: MailchimpConnector, fault: str, kind: type
):
    writes = [new(bench, number) for number in range(12)]
    box(bench).inject(fault, op="lists.subscribe")
    assert {type(one.error) for one in await mailchimp.write(writes)} == {kind}  # type: ignore[union-attr]  # all are Failed
    assert all(isinstance(one, Applied) for one in await mailchimp.write(writes))
    assert len(box(bench).members.of(LIST)) == 12
    assert len(bench.stand.effects("member")) == 12


async def test_a_batch_refused_as_a_whole_is_split(bench: Bench, mailchimp: MailchimpConnector):
    box(bench).inject("error_InvalidResource", op="lists.subscribe")
    results = await mailchimp.write([new(bench, number) for number in range(12)])
    assert all(isinstance(one, Applied) for one in results)


async def test_a_batch_that_forgets_a_row_leaves_it_in_doubt(bench: Bench):
    class Forgetful:
        async def request(self, method: str, url: str, **_: Any) -> Answer:
            if url.endswith(HERE):
                return answer(new_members=[], updated_members=[], errors=[], total_created=0)
            return answer(merge_fields=[], double_optin=False)

    connector = bench.connect(http=Forgetful())
    results = await connector.write([new(bench, n, status_if_new="transactional") for n in range(12)])
    assert {type(one.error) for one in results} == {OutcomeUnknown}  # type: ignore[union-attr]  # all are Failed


async def test_nothing_of_a_batch_is_sent_after_its_deadline(bench: Bench, mailchimp: MailchimpConnector):
    late = [
        replace(new(bench, n, status_if_new="transactional"), deadline=bench.clock.monotonic() - 1)
        for n in range(12)
    ]
    assert {type(one.error) for one in await mailchimp.write(late)} == {NotSent}  # type: ignore[union-attr]  # all are Failed
    assert not bench.stand.effects("member")


# ------------------------------------------------------------------------------------------- credentials, addresses


async def test_the_key_rides_as_bearer_and_an_oauth_token_needs_the_address(
    bench: Bench, mailchimp: MailchimpConnector
):
    watched = watch(mailchimp)
    await mailchimp.check()
    assert {sent["Authorization"] for *_, sent in watched.sent} == {f"Bearer {box(bench).account.api_key}"}
    token = Secret(box(bench).account.token)
    assert (await bench.connect(bench.stand.settings() | {"api_key": token}).check()).ok
    with pytest.raises(SettingsError) as caught:
        bench.connect(bench.stand.settings() | {"api_key": token, "base_url": ""}, http=object())
    assert caught.value.field == "base_url"


@pytest.mark.parametrize(
    ("key", "base"),
    [("a-b-us19", "https://us19.api.mailchimp.com/3.0"), ("0123-eu2", "https://eu2.api.mailchimp.com/3.0")],
)
def test_the_address_follows_from_what_stands_behind_the_keys_last_dash(key: str, base: str):
    from connectors.mailchimp.client import base_url_of

    assert base_url_of({"base_url": "", "api_key": Secret(key)}) == base


@pytest.mark.parametrize(
    "key", ["0123456789abcdef", "abc-", "abc-us19.evil.example", "abc-../x", "abc-us19@evil"]
)
def test_a_key_never_leads_to_another_host(key: str):
    from connectors.mailchimp.client import base_url_of

    with pytest.raises(SettingsError):
        base_url_of({"base_url": "", "api_key": Secret(key)})


def test_the_hash_is_the_vendors_own_vector():
    from connectors.mailchimp.shape import hash_of as ours

    assert (
        ours("Urist.McVankab@freddiesjokes.com")
        == hash_of("urist.mcvankab@freddiesjokes.com")
        == "62eeb292278cc15f5817cb78f7790b08"
    )
