"""First contact: the connection test names the click, the deep look changes nothing, ten connections are never passed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.probing import POINTS
from hub.errors import Cause
from hub.sdk import Answer, Applied, Failed, Secret, TryAgain
from hub.sdk.kit import Bench
from tests.contract.mailchimp_stand import LIST, answer, bench, box, email, mailchimp, stand

STEPS = ["key", "audience", "merge_fields", "members", "webhooks"]


async def test_a_good_connection_says_what_it_found(bench: Bench, mailchimp: MailchimpConnector):
    report = await mailchimp.check()
    assert [step.name for step in report.steps] == STEPS
    assert report.ok
    texts = [f"{step.zh} {step.en}" for step in report.steps]
    assert "FNAME" in texts[2]
    assert "off" in texts[1]
    box(bench).audiences.change(LIST, {"double_optin": True}, by="user")
    assert "confirmation mail" in (await mailchimp.check()).steps[1].en


async def test_polling_alone_is_told(bench: Bench):
    connector = bench.connect(bench.stand.settings() | {"receive": "poll", "webhook_signing_secret": ""})
    assert "poll" in (await connector.check()).steps[-1].en


@pytest.mark.parametrize(
    ("fault", "op", "step", "cause", "word"),
    [
        ("error_UserDisabled", "ping", "key", Cause.CREDENTIAL, "API keys"),
        ("error_WrongDatacenter", "ping", "key", Cause.SETTINGS, "base_url"),
        ("error_ResourceNotFound", "lists.get", "audience", Cause.SETTINGS, "Audience ID"),
        ("error_Forbidden", "fields.list", "merge_fields", Cause.PERMISSION, "Manager"),
        ("error_ComplianceRelated", "members.list", "members", Cause.PERMISSION, "compliance"),
        ("error_TooManyRequests", "webhooks.list", "webhooks", Cause.RATE, "slots"),
        ("html_200", "webhooks.list", "webhooks", Cause.BAD_ANSWER, "firewall"),
    ],
)
async def test_the_first_step_that_fails_names_the_click(
    bench: Bench, mailchimp: MailchimpConnector, fault: str, op: str, step: str, cause: Cause, word: str
):
    box(bench).inject(fault, op=op)
    report = await mailchimp.check()
    last = report.steps[-1]
    assert (last.name, last.ok, last.code) == (step, False, cause.value)
    assert word in last.en
    assert last.zh


async def test_a_key_that_somebody_deleted_is_a_credential(bench: Bench, mailchimp: MailchimpConnector):
    box(bench).gate.revoked = True
    assert (await mailchimp.check()).steps[-1].code == Cause.CREDENTIAL


# ------------------------------------------------------------------------------------------- the deep look


async def test_the_deep_look_names_every_open_point_and_changes_nothing(
    bench: Bench, mailchimp: MailchimpConnector
):
    await bench.stand.seed("member", 2)
    await stand(bench).call("POST", f"/lists/{LIST}/merge-fields", name="C", type="text", tag="C")
    before = len(box(bench).ledger())
    found = await mailchimp.probe()
    assert [one.point for one in found] == [point.name for point in POINTS]
    assert all(one.zh and one.en for one in found)
    seen = {one.point: (one.outcome, one.seen) for one in found}
    assert seen["6 since_last_changed"][0] == "confirmed"
    assert seen["3.1 contact_id in the path"][0] == "confirmed"
    assert seen["0 count above 1000"][0] == "confirmed"
    assert len(box(bench).ledger()) == before
    shown = " ".join(one.seen for one in found)
    assert "@" not in shown
    assert not [row for row in box(bench).members.of(LIST) if row["contact_id"] in shown]


async def test_the_deep_look_tells_a_contradiction_and_an_empty_audience(
    bench: Bench, mailchimp: MailchimpConnector
):
    box(bench).dials.clamp_count = False
    for number in range(40):
        box(bench).audiences.add_field(
            LIST, {"name": f"F{number}", "type": "text", "tag": f"F{number}"}, by="seed"
        )
    found = {one.point: one.outcome for one in await mailchimp.probe()}
    assert found["0 count above 1000"] == "contradicted"
    assert found["3.5 merge fields"] == "contradicted"
    assert found["6 since_last_changed"] == "unclear"
    assert found["9 signed webhooks"] == "unclear"


async def test_a_lost_account_is_not_asked_on_and_on(bench: Bench):
    connector = bench.connect(bench.stand.wrong_key(bench.stand.settings()))
    found = await connector.probe()
    assert {one.outcome for one in found} == {"unclear", "skipped"}
    assert connector.tools.http.calls == 2  # one point, and the key once more


# ------------------------------------------------------------------------------------------- ten connections


async def test_never_more_calls_are_under_way_than_the_slots_allow(bench: Bench):
    box(bench).dials.latency_ms = 5
    connector = bench.connect(bench.stand.settings() | {"slots": 4, "batch_from": 500})
    writes = [
        bench.write("member", "save", {"email_address": email(n), "status_if_new": "transactional"}, number=n)
        for n in range(60)
    ]
    results = await connector.write(writes)
    assert all(isinstance(one, Applied) for one in results)
    assert 1 < box(bench).gate.most_open <= 4


async def test_an_eleventh_connection_of_the_same_user_is_told_to_wait(bench: Bench):
    box(bench).dials.latency_ms = 200
    connectors = [bench.connect(bench.stand.settings() | {"slots": 10}) for _ in range(2)]
    rows = [stand(bench).add(number)["contact_id"] for number in range(10)]
    from hub.sdk import VendorKey

    found = await asyncio.gather(
        *(one.fetch("member", [VendorKey("", row) for row in rows]) for one in connectors)
    )
    failed = [one for part in found for one in part if isinstance(one, Failed)]
    assert failed
    assert {(type(one.error), one.error.cause) for one in failed} == {(TryAgain, Cause.RATE)}
    assert all((one.error.after or 0) > 0 for one in failed)  # type: ignore[attr-defined]  # all are TryAgain


async def test_a_key_refused_once_is_asked_again_and_refused_twice_is_down(bench: Bench):
    class Once:
        def __init__(self, *answers: Answer) -> None:
            self.left = list(answers)

        async def request(self, *_: Any, **__: Any) -> Answer:
            return self.left.pop(0)

    no = answer(401, title="API Key Invalid", status=401, detail="Your API key may be invalid")
    assert (await bench.connect(http=Once(no, answer(health_status="ok")))._client.get("/ping"))[
        "health_status"
    ] == "ok"  # type: ignore[attr-defined]
    report = await bench.connect(http=Once(no, no)).check()
    assert report.steps[0].code == Cause.CREDENTIAL


def test_the_secret_of_the_account_is_in_no_message(bench: Bench):
    assert "us19" not in repr(Secret("x-us19"))
