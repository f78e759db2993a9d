"""The Mailchimp sandbox against the fact sheet alone: what a strict account answers (13), and webhooks through a real door."""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.sandbox import MailchimpDials, MailchimpSandbox
from connectors.mailchimp.sandbox.answers import GLOSSARY
from connectors.mailchimp.sandbox.books import LISTS, hash_of
from connectors.mailchimp.sandbox.pushes import GONE_TRIES
from hub.api.hooks import Doors, doors_of
from hub.bus import INBOUND, Log
from hub.clock import SystemClock
from hub.sdk import Secret, Toolbox

LIST = LISTS[0]
PEOPLE = f"/lists/{LIST}/members"


class Account:
    """The sandbox in this process, spoken to as the vendor's own clients do."""

    def __init__(self, **known: Any) -> None:
        self.sandbox = MailchimpSandbox(**known)
        self.http = httpx.AsyncClient(
            transport=self.sandbox.transport(),
            base_url="http://mc/3.0",
            auth=("any", self.sandbox.account.api_key),
        )

    async def call(self, method: str, path: str, status: int = 200, **known: Any) -> Any:
        answer = await self.http.request(method, path, **known)
        assert answer.status_code == status, answer.text
        assert answer.headers["x-request-id"]
        return answer.json() if answer.content else None

    async def put(self, email: str, status: int = 200, /, **body: Any) -> Any:
        body = {"email_address": email, "status_if_new": "subscribed", **body}
        return await self.call("PUT", f"{PEOPLE}/{hash_of(email)}", status, json=body)


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    opened = Account()
    yield opened
    await opened.http.aclose()


def problem(body: Any) -> tuple[str, str]:
    assert body["status"]
    return body["title"], body["detail"]


# ------------------------------------------------------------------------------------------- who may come in


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer 0123456789abcdef0123456789abcdef-us19", 200), ("Bearer fedcba9876543210fedcba9876543210", 200),
        ("OAuth fedcba9876543210fedcba9876543210", 200), ("Basic " + base64.b64encode(b"x:0123456789abcdef0123456789abcdef-us19").decode(), 200),
        ("Basic " + base64.b64encode(b"x:0123456789abcdef0123456789abcdef-us20").decode(), 401), ("Bearer wrong", 401), ("Basic é", 401),
        ("", 401), ("Digest x", 401),
    ],
)  # fmt: skip
async def test_keys_and_tokens_come_in_and_nothing_else(account: Account, header: str, status: int):
    async with httpx.AsyncClient(transport=account.sandbox.transport(), base_url="http://mc/3.0") as bare:
        answer = await bare.get("/ping", headers={"authorization": header.encode()} if header else {})
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["content-type"] == "application/problem+json; charset=utf-8"
        assert answer.json()["instance"] == answer.headers["x-request-id"]


async def test_the_metadata_of_a_bad_token_is_a_200_with_an_error(account: Account):
    async with httpx.AsyncClient(transport=account.sandbox.transport(), base_url="http://mc") as bare:
        bad = await bare.get("/oauth2/metadata", headers={"authorization": "OAuth wrong"})
        good = await bare.get(
            "/oauth2/metadata", headers={"authorization": f"OAuth {account.sandbox.account.token}"}
        )
    assert (bad.status_code, "error" in bad.json(), "api_endpoint" in bad.json()) == (200, True, False)
    assert good.json()["api_endpoint"] == "http://mc"


@pytest.mark.parametrize("name", GLOSSARY)
async def test_the_error_trigger_gives_any_error_of_the_glossary(account: Account, name: str):
    answer = await account.http.get("/ping", headers={"x-trigger-error": name})
    assert answer.status_code == GLOSSARY[name][0]
    assert answer.json()["title"].replace(" ", "") in (name, "426Unknown")


# ------------------------------------------------------------------------------------------- members


async def test_a_put_merges_and_a_rename_keeps_the_contact(account: Account):
    made = await account.put("lin@acme-asia.sg", merge_fields={"FNAME": "Lin", "LNAME": "Wei"})
    assert made["id"] == hash_of("lin@acme-asia.sg")
    assert (made["status"], made["source"], made["member_rating"]) == ("subscribed", "API - Generic", 2)
    again = await account.put("LIN@acme-asia.sg", merge_fields={"LNAME": "", "NOSUCH": "x"})
    assert (again["merge_fields"]["FNAME"], again["merge_fields"]["LNAME"]) == ("Lin", "")
    moved = await account.call("PATCH", f"{PEOPLE}/{made['id']}", json={"email_address": "wei@acme-asia.sg"})
    assert (moved["contact_id"], moved["web_id"]) == (made["contact_id"], made["web_id"])
    assert moved["id"] == hash_of("wei@acme-asia.sg")
    for name in (moved["id"], "wei@acme-asia.sg", made["contact_id"]):
        assert (await account.call("GET", f"{PEOPLE}/{name}"))["contact_id"] == made["contact_id"]
    await account.call("GET", f"{PEOPLE}/{made['id']}", 404)
    body = await account.call(
        "POST", PEOPLE, 400, json={"email_address": "wei@acme-asia.sg", "status": "subscribed"}
    )
    assert problem(body) == (
        "Member Exists",
        "wei@acme-asia.sg is already a list member. Use PUT to insert or update list members.",
    )
    assert "type" not in body


async def test_a_status_is_obeyed_and_that_is_the_danger(account: Account):
    made = await account.put("lin@acme-asia.sg")
    row = account.sandbox.members.need(LIST, made["contact_id"])
    account.sandbox.members.leave(row, source="admin")
    assert (await account.put("lin@acme-asia.sg"))["status"] == "unsubscribed"
    assert (await account.put("lin@acme-asia.sg", status="subscribed"))["status"] == "subscribed"


async def test_who_left_by_themselves_comes_back_by_a_confirmation_alone(account: Account):
    made = await account.put("lin@acme-asia.sg")
    account.sandbox.members.leave(account.sandbox.members.need(LIST, made["contact_id"]))
    body = await account.put("lin@acme-asia.sg", 400, status="subscribed")
    assert problem(body)[0] == "Member In Compliance State"
    assert (await account.put("lin@acme-asia.sg", status="pending"))["status"] == "pending"
    account.sandbox.members.confirm(account.sandbox.members.need(LIST, made["contact_id"]))
    assert (await account.call("GET", f"{PEOPLE}/{made['id']}"))["status"] == "subscribed"


async def test_archiving_and_forgetting(account: Account):
    made = await account.put("lin@acme-asia.sg")
    await account.call("DELETE", f"{PEOPLE}/{made['id']}", 204)
    assert problem(await account.call("DELETE", f"{PEOPLE}/{made['id']}", 405))[1].startswith(
        "This list member cannot be removed"
    )
    assert (await account.call("GET", PEOPLE))["total_items"] == 0
    assert (await account.call("GET", PEOPLE, params={"status": "archived"}))["total_items"] == 1
    await account.call("POST", f"{PEOPLE}/{made['id']}/actions/delete-permanent", 204, content=b"null")
    await account.call("GET", f"{PEOPLE}/{made['id']}", 404)
    for status in ("subscribed", "pending"):
        body = await account.put("lin@acme-asia.sg", 400, status_if_new=status)
        assert problem(body)[0] == "Forgotten Email Not Subscribed"


@pytest.mark.parametrize(
    ("kind", "good", "stored", "bad"),
    [
        ("number", "12.5", 12.5, "many"), ("date", "31-01-2026", "2026-01-31", "soon"), ("birthday", "01/31", "01/31", "1990-01-31"),
        ("zip", "90210", "90210", "200120"), ("dropdown", "a", "a", "c"), ("url", "https://a.sg", "https://a.sg", "a.sg"),
        ("address", {"addr1": "1", "city": "S", "state": "SG", "zip": "0"}, None, {"addr1": "1", "city": "S"}),
        ("text", "x" * 300, "x" * 255, None),
    ],
)  # fmt: skip
async def test_a_merge_field_takes_what_its_type_says(
    account: Account, kind: str, good: Any, stored: Any, bad: Any
):
    await account.call(
        "POST",
        f"/lists/{LIST}/merge-fields",
        json={"name": "X", "type": kind, "tag": "X", "options": {"choices": ["a", "b"]}},
    )
    made = await account.put("lin@acme-asia.sg", merge_fields={"X": good})
    assert made["merge_fields"]["X"] == (good if stored is None else stored)
    body = await account.put("lin@acme-asia.sg", 400, merge_fields={"X": bad})
    assert body["title"] == "Invalid Resource"
    assert "X" in body["errors"][0]["field"]


async def test_a_required_field_is_asked_for_unless_the_call_says_otherwise(account: Account):
    await account.call(
        "POST",
        f"/lists/{LIST}/merge-fields",
        json={"name": "C", "type": "text", "tag": "C", "required": True},
    )
    assert (await account.put("lin@acme-asia.sg", 400))["errors"] == [
        {"field": "C", "message": "Please enter a value"}
    ]
    url = f"{PEOPLE}/{hash_of('lin@acme-asia.sg')}?skip_merge_validation=True"
    await account.call("PUT", url, json={"email_address": "lin@acme-asia.sg", "status_if_new": "subscribed"})


async def test_tags_are_added_and_taken_away_and_are_segments(account: Account):
    made = await account.put("lin@acme-asia.sg")
    tags = f"{PEOPLE}/{made['id']}/tags"
    await account.call(
        "POST",
        tags,
        204,
        json={"tags": [{"name": "VIP", "status": "active"}, {"name": "b", "status": "active"}]},
    )
    await account.call("POST", tags, 204, json={"tags": [{"name": "b", "status": "inactive"}]})
    found = await account.call("GET", tags)
    segments = await account.call("GET", f"/lists/{LIST}/segments")
    assert [one["name"] for one in found["tags"]] == ["VIP"]
    assert found["tags"][0]["id"] in [one["id"] for one in segments["segments"]]
    assert [
        one["name"] for one in (await account.call("GET", f"/lists/{LIST}/tag-search?name=V"))["tags"]
    ] == ["VIP"]
    await account.call("POST", f"{PEOPLE}/{'0' * 32}/tags", 404, json={"tags": []})


async def test_lists_are_paged_and_filtered_as_documented(account: Account):
    for number in range(12):
        await account.put(f"p{number}@acme-asia.sg")
        account.sandbox.advance(1)
    assert len((await account.call("GET", PEOPLE))["members"]) == 10
    assert (await account.call("GET", PEOPLE, params={"offset": 50}))["members"] == []
    rows = (
        await account.call(
            "GET",
            PEOPLE,
            params={
                "count": 1000,
                "sort_field": "last_changed",
                "fields": "members.last_changed,total_items",
            },
        )
    )["members"]
    assert list(rows[0]) == ["last_changed"]
    since = rows[8]["last_changed"]
    assert (await account.call("GET", PEOPLE, params={"since_last_changed": since}))["total_items"] == 3
    await account.call("GET", f"{PEOPLE}?since_last_changed={since}", 400)  # the + was not escaped
    whole = await account.call("GET", PEOPLE, params={"exclude_fields": "members._links,list_id", "count": 1})
    assert "_links" not in whole["members"][0]
    assert "list_id" not in whole


@pytest.mark.parametrize("content", [b"", b"{}", b"null"])
async def test_an_action_takes_an_empty_body_in_any_form_and_other_bodies_must_be_objects(
    account: Account, content: bytes
):
    made = await account.put("lin@acme-asia.sg")
    await account.call("POST", f"{PEOPLE}/{made['id']}/tags", 204, content=content)
    assert (
        problem(await account.call("PUT", f"{PEOPLE}/{made['id']}", 400, content=b"{"))[0]
        == "JSON Parse Error"
    )
    await account.call("PUT", f"{PEOPLE}/{made['id']}", 400, content=b"[]")


async def test_a_wrong_method_names_the_right_ones_and_an_override_is_for_posts(account: Account):
    answer = await account.http.request("POST", "/ping")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert (await account.http.get("/ping", headers={"x-http-method-override": "POST"})).status_code == 422
    made = await account.put("lin@acme-asia.sg")
    changed = await account.http.post(
        f"{PEOPLE}/{made['id']}", json={"language": "en"}, headers={"x-http-method-override": "PATCH"}
    )
    assert changed.json()["language"] == "en"


# ------------------------------------------------------------------------------------------- batches


async def test_more_than_five_hundred_rows_are_refused(account: Account):
    rows = [{"email_address": f"p{n}@acme-asia.sg", "status": "subscribed"} for n in range(501)]
    await account.call("POST", f"/lists/{LIST}", 400, json={"members": rows})
    body = await account.call("POST", f"/lists/{LIST}", json={"members": rows[:500]})
    assert (body["total_created"], body["error_count"]) == (500, 0)


async def test_a_batch_that_updates_changes_a_status_and_one_that_does_not_tells_who_is_there(
    account: Account,
):
    made = await account.put("lin@acme-asia.sg")
    account.sandbox.members.leave(account.sandbox.members.need(LIST, made["contact_id"]), source="admin")
    row = {"email_address": "lin@acme-asia.sg", "status": "subscribed"}
    body = await account.call("POST", f"/lists/{LIST}", json={"members": [row], "update_existing": False})
    assert [one["error_code"] for one in body["errors"]] == ["ERROR_CONTACT_EXISTS"]
    body = await account.call("POST", f"/lists/{LIST}", json={"members": [row], "update_existing": True})
    assert [one["status"] for one in body["updated_members"]] == ["subscribed"]


async def test_an_asynchronous_batch_walks_its_states_and_hides_refusals_in_its_results(account: Account):
    ops = [
        {"method": "PUT", "path": f"{PEOPLE}/{hash_of(one)}", "operation_id": one,
         "body": json.dumps({"email_address": one, "status_if_new": "subscribed"})}
        for one in ("lin@acme-asia.sg", "someone@example.com")
    ]  # fmt: skip
    await account.call(
        "POST", "/batches", 400, json={"operations": [{**ops[0], "body": {"email_address": "x"}}]}
    )
    batch = await account.call("POST", "/batches", json={"operations": ops})
    assert (batch["status"], batch["total_operations"], batch["response_body_url"]) == ("pending", 0, "")
    states = []
    while batch["status"] != "finished":
        batch = await account.call("GET", f"/batches/{batch['id']}")
        states.append(batch["status"])
    assert states == ["preprocessing", "started", "finalizing", "finished"]
    assert (batch["finished_operations"], batch["errored_operations"]) == (2, 1)
    async with httpx.AsyncClient(transport=account.sandbox.transport()) as bare:
        packed = (await bare.get(batch["response_body_url"])).content
        account.sandbox.advance(601)
        assert (await bare.get(batch["response_body_url"])).status_code == 404
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        assert any(entry.isdir() for entry in tar.getmembers())
        files = [tar.extractfile(entry) for entry in tar.getmembers() if entry.isfile()]
        results = {one["operation_id"]: one for file in files if file for one in json.load(file)}
    assert {name: one["status_code"] for name, one in results.items()} == {
        "lin@acme-asia.sg": 200,
        "someone@example.com": 400,
    }
    assert json.loads(results["lin@acme-asia.sg"]["response"])["status"] == "subscribed"


# ------------------------------------------------------------------------------------------- journal, faults


async def test_a_restart_goes_on_from_the_journal(tmp_path: Path):
    first = Account(state=tmp_path / "mc.jsonl")
    made = await first.put("lin@acme-asia.sg", merge_fields={"FNAME": "Lin"})
    await first.call(
        "POST", f"{PEOPLE}/{made['id']}/tags", 204, json={"tags": [{"name": "VIP", "status": "active"}]}
    )
    campaign = first.sandbox.reports.send(LIST, "News")
    first.sandbox.ledger().close()
    second = Account(state=tmp_path / "mc.jsonl")
    found = await second.call("GET", f"{PEOPLE}/{made['id']}")
    assert (found["contact_id"], found["merge_fields"]["FNAME"], [one["name"] for one in found["tags"]]) == (
        made["contact_id"],
        "Lin",
        ["VIP"],
    )
    assert (await second.call("GET", f"/reports/{campaign['id']}"))["emails_sent"] == 1
    assert (await second.put("wei@acme-asia.sg"))["web_id"] > campaign["web_id"]
    second.sandbox.ledger().close()


async def test_a_put_of_what_is_there_leaves_no_effect(account: Account):
    await account.put("lin@acme-asia.sg", merge_fields={"FNAME": "Lin"})
    before = len(account.sandbox.ledger())
    await account.put("lin@acme-asia.sg", merge_fields={"FNAME": "Lin"})
    assert len(account.sandbox.ledger()) == before


# ------------------------------------------------------------------------------------------- webhooks


class Hub:
    """A real door, and the account's webhooks lead to it."""

    def __init__(self, folder: Path, account: Account) -> None:
        self.clock = SystemClock()
        self.bus = Log.open(folder / "bus.db", self.clock)
        self.account = account
        self.doors: Any = None
        self.status = 0
        account.sandbox.pushes.transport = httpx.ASGITransport(app=self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.status:
            await send({"type": "http.response.start", "status": self.status, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.doors(scope, receive, send)

    def open(self, **settings: Any) -> None:
        settings = {"api_key": Secret(self.account.sandbox.account.api_key), "list_id": LIST, **settings}
        connector = MailchimpConnector(settings, Toolbox(None, self.clock, structlog.get_logger()))  # type: ignore[arg-type]
        self.doors = Doors(doors_of({"mc": connector}), self.bus.publish, self.clock, structlog.get_logger())

    async def stored(self) -> int:
        return sum(
            [
                len((await self.bus.read(INBOUND, n, 0, 1000)).events)
                for n in range(await self.bus.partitions(INBOUND))
            ]
        )


@pytest.fixture
async def hub(tmp_path: Path, account: Account) -> AsyncIterator[Hub]:
    opened = Hub(tmp_path, account)
    yield opened
    await opened.bus.aclose()


async def test_a_signed_webhook_reaches_the_door_and_our_own_writes_do_not_come_back(
    hub: Hub, account: Account
):
    hub.open(receive="callback", webhook_signing_secret=Secret("not known yet"))
    wanted = {
        "url": "http://hub/hooks/mc",
        "events": {"unsubscribe": True, "subscribe": True},
        "sources": {"user": True, "admin": True},
    }
    made = await account.call("POST", f"/lists/{LIST}/webhooks", json=wanted)
    assert made["signing_enabled"]
    assert "signing_secret" not in (await account.call("GET", f"/lists/{LIST}/webhooks"))["webhooks"][0]
    assert (
        "multiple WebHooks"
        in (await account.call("POST", f"/lists/{LIST}/webhooks", 400, json=wanted))["detail"]
    )
    hub.open(webhook_signing_secret=Secret(made["signing_secret"]))
    await account.put("lin@acme-asia.sg")
    assert (await account.sandbox.pushes.flush())["events"] == 0  # sources.api is off
    account.sandbox.members.leave(account.sandbox.members.need(LIST, "lin@acme-asia.sg"))
    counts = await account.sandbox.pushes.flush()
    assert (counts["events"], counts["acknowledged"], counts["retried"]) == (1, 1, 0)
    assert await hub.stored() == 2


async def test_an_unsigned_webhook_is_known_by_the_secret_in_its_address(hub: Hub, account: Account):
    account.sandbox.dials = MailchimpDials(signing=False)
    account.sandbox.audiences.dials = account.sandbox.dials
    hub.open(webhook_policy="url_secret", webhook_url_secret=Secret("q8W3rT6yU1iO4pA7sD0fG2hJ5kL9zX"))
    url = "http://hub/hooks/mc?key=q8W3rT6yU1iO4pA7sD0fG2hJ5kL9zX"
    await account.call(
        "POST", f"/lists/{LIST}/webhooks", 400, json={"url": "http://hub/hooks/mc"}
    )  # its GET is refused
    made = await account.call("POST", f"/lists/{LIST}/webhooks", json={"url": url})
    assert not made["signing_enabled"]
    await account.put("lin@acme-asia.sg")
    assert (await account.sandbox.pushes.flush())["acknowledged"] == 1


async def test_what_is_not_taken_is_repeated_and_a_410_ends_the_webhook(hub: Hub, account: Account):
    hub.open(webhook_signing_secret=Secret("x"))
    await account.call("POST", f"/lists/{LIST}/webhooks", json={"url": "http://hub/hooks/mc"})
    hub.status = 503
    await account.put("lin@acme-asia.sg")
    counts = await account.sandbox.pushes.flush()
    ladder = len(account.sandbox.dials.push_ladder)
    assert (counts["sent"], counts["retried"], counts["dropped"]) == (ladder + 1, ladder, 1)
    hub.status = 410
    for number in range(GONE_TRIES):
        await account.put(f"p{number}@acme-asia.sg")
        await account.sandbox.pushes.flush()
    (row,) = account.sandbox.books.rows("webhook")
    assert not row["enabled"]


async def test_events_are_lost_doubled_and_tampered_with_on_demand(hub: Hub, account: Account):
    hub.open(webhook_signing_secret=Secret("x"))
    made = await account.call("POST", f"/lists/{LIST}/webhooks", json={"url": "http://hub/hooks/mc"})
    hub.open(webhook_signing_secret=Secret(made["signing_secret"]))
    account.sandbox.dials.push_lose = 1.0
    await account.put("a@acme-asia.sg")
    account.sandbox.dials.push_lose, account.sandbox.dials.push_duplicate = 0.0, 1.0
    await account.put("b@acme-asia.sg")
    counts = await account.sandbox.pushes.flush()
    assert (counts["lost"], counts["duplicated"], counts["acknowledged"]) == (1, 1, 2)
    account.sandbox.dials.push_duplicate, account.sandbox.dials.push_tamper = 0.0, 1.0
    await account.put("c@acme-asia.sg")
    assert (await account.sandbox.pushes.flush())["acknowledged"] == 2
