"""The WeCom stand-in: handshake, encryption, events, retries and what goes wrong with them (section 7).

The constants of the golden vectors were made with openssl.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx
import pytest

from connectors.wecom.sandbox import WeComSandbox
from connectors.wecom.sandbox.sealing import aes_key, seal, sign
from hub.sdk.sandbox import running
from tests.contract.wecom_sandbox_site import CUSTOMER, Inbox, Site, field, open_site

KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
CORPID = "ww0123456789abcdef"
PREFIX = b"0123456789abcdef"
SHORT = "Q3stYC6hdFzMh9T8HCvyDORchGzARlxqyFUOtgi0n8H9HdDo2FsDYP+w6VNDWmIn/Oijpk37xhPBphBgE+S12g=="
ALIGNED = "Q3stYC6hdFzMh9T8HCvyDP4uaKIXu72F11suvEGXgAPsTJukoPPxISvB3tCFx7ARQDhU6NkiHtkeIXZtLEx8pV//f31UbSHL0vZUjFLOaSi0hvcNyBS5Yif4YJvHntpk"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


def test_sealing_gives_what_openssl_gives() -> None:
    message = "<xml>你好</xml>".encode()
    assert seal(aes_key(KEY), PREFIX, message, CORPID) == SHORT
    assert seal(aes_key(KEY), PREFIX, message + b"x" * 9, CORPID) == ALIGNED
    assert len(base64.b64decode(ALIGNED)) == 96  # aligned at 64: a whole block of 32 is added


def test_the_signature_sorts_the_values() -> None:
    assert sign("SandboxToken123", "1700000000", "42", SHORT) == "a76d59187e969cbc6aaef4a55e264fdc3769f019"


@pytest.mark.parametrize("key", ["", KEY[:-1], KEY + "A", KEY[:-1] + "+", KEY[:-1] + "é"])
def test_a_key_that_is_not_43_letters_or_digits_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="43"):
        aes_key(key)


async def test_the_address_is_saved_only_after_an_exact_echo(site: Site) -> None:
    where = f"/callbacks/{site.given['agentid']}"
    body = {"url": "http://receiver.example/hooks"}
    for wrong in (lambda text: b'"' + text + b'"', lambda text: text + b"\n", lambda _: b""):
        site.receiver.echo = wrong
        refused = await site.control("PUT", where, body, status=409)
        assert "bytes expected" in refused["detail"]
    assert not site.box.callbacks.receivers
    site.receiver.echo = lambda text: text
    assert await site.control("PUT", where, body) == {"verified": True}
    await site.control("PUT", where, {**body, "token": "with space"}, status=409)
    await site.control("PUT", where, {**body, "encoding_aes_key": "short"}, status=409)


async def test_a_slow_or_refusing_or_dead_receiver_fails_the_handshake(site: Site) -> None:
    async def slow(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return httpx.Response(200)

    where, body = f"/callbacks/{site.given['agentid']}", {"url": "http://receiver.example/hooks"}
    await site.dials(handshake_timeout=0.1)
    site.box.callbacks.transport = httpx.MockTransport(slow)
    assert "no answer within" in (await site.control("PUT", where, body, status=409))["detail"]
    await site.dials(handshake_timeout=5)
    site.box.callbacks.transport = httpx.MockTransport(lambda _: httpx.Response(403))
    assert "HTTP 403" in (await site.control("PUT", where, body, status=409))["detail"]
    site.box.callbacks.transport = None
    dead = {"url": "http://127.0.0.1:1/hooks"}
    assert "does not answer" in (await site.control("PUT", where, dead, status=409))["detail"]


async def test_screens_are_called_back_and_the_api_is_not(site: Site) -> None:
    await site.listen()
    external = await site.add("zhangsan", state="expo")
    pair = {"userid": "zhangsan", "external_userid": external}
    await site.act("edit_follow", **pair, remark="x")
    await site.act("delete_by_customer", **pair)
    await site.act("delete_by_employee", **pair)
    half = await site.add("lisi", half=True)
    await site.act("accept", userid="lisi", external_userid=half)
    counted = await site.flush()
    assert site.receiver.changes() == [
        "add_external_contact", "edit_external_contact", "del_follow_user", "del_external_contact",
        "add_half_external_contact", "add_external_contact",
    ]  # fmt: skip
    first = site.receiver.plain[0]
    assert (field(first, "ToUserName"), field(first, "FromUserName")) == (CORPID, "sys")
    assert (field(first, "UserID"), field(first, "ExternalUserID")) == ("zhangsan", external)
    assert (field(first, "State"), field(first, "MsgType")) == ("expo", "event")
    assert field(first, "WelcomeCode")
    assert (counted["sent"], counted["acknowledged"], counted["pending"]) == (6, 6, 0)
    again = await site.add("zhangsan", external_userid=external)
    await site.flush()
    site.receiver.plain.clear()
    await site.post(f"{CUSTOMER}remark", userid="zhangsan", external_userid=again, remark="x")
    await site.post(f"{CUSTOMER}mark_tag", userid="zhangsan", external_userid=again, add_tag=["etSbxLevel1"])
    await site.post(f"{CUSTOMER}add_corp_tag", group_name="行业", tag=[{"name": "甲"}])
    await site.flush()
    assert site.receiver.plain == []


async def test_tags_members_and_departments_are_called_back_too(site: Site) -> None:
    await site.listen()
    made = await site.act("make_tags", group_name="行业", names=["甲", "乙"])
    await site.act("edit_tag", id=made["tag_ids"]["甲"], name="丙")
    await site.act("shuffle_tags")
    await site.act("delete_tags", group_ids=[made["group_id"]])
    await site.act("put_member", userid="newman", name="新人", department=[2, 4])
    await site.act("put_member", userid="newman", position="经理")
    await site.act("delete_member", userid="newman")
    await site.act("put_department", id=9, name="新部门")
    await site.act("put_department", id=9, name="旧部门")
    await site.act("delete_department", id=9)
    await site.flush()
    kinds = [(field(one, "Event"), field(one, "ChangeType")) for one in site.receiver.plain]
    tag = "change_external_tag"
    assert kinds == [
        (tag, "create"), (tag, "create"), (tag, "create"), (tag, "update"), (tag, "shuffle"), (tag, "delete"),
        *(("change_contact", f"{verb}_user") for verb in ("create", "update", "delete")),
        *(("change_contact", f"{verb}_party") for verb in ("create", "update", "delete")),
    ]  # fmt: skip
    assert [field(one, "TagType") for one in site.receiver.plain[:4]] == ["tag_group", "tag", "tag", "tag"]
    assert field(site.receiver.plain[5], "TagType") == "tag_group"
    assert field(site.receiver.plain[6], "Department") == "2,4"
    assert (field(site.receiver.plain[7], "Position"), field(site.receiver.plain[7], "Name")) == ("经理", "")


async def test_a_silent_act_and_an_unseen_member_are_not_told(site: Site) -> None:
    await site.listen()
    await site.add("zhangsan", silent=True)
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"visible_departments": [4]})
    await site.add("lisi")
    assert (await site.flush())["events"] == 0
    assert {one.by for one in site.box.ledger()} == {"seed", "user"}


async def test_things_done_in_one_moment_share_their_second_and_stay_distinct(site: Site) -> None:
    await site.listen()
    acts = [{"act": "add_contact", "userid": "zhangsan"} for _ in range(50)]
    made = await site.control("POST", "/acts", acts)
    await site.flush()
    assert len({field(one, "CreateTime") for one in site.receiver.plain}) == 1
    assert [field(one, "ExternalUserID") for one in site.receiver.plain] == [
        one["external_userid"] for one in made
    ]


async def test_an_unknown_event_can_be_sent(site: Site) -> None:
    await site.listen()
    await site.act("raw_event", event="sys_from_next_year", fields={"Text": "a]]>b", "Zh": "值"})
    await site.dials(unknown_fields=True)
    await site.add("zhangsan")
    await site.flush()
    assert "a]]]]><![CDATA[>b" in site.receiver.plain[0]
    assert "<FieldOfNextYear>" in site.receiver.plain[1]


async def test_a_refused_event_is_sent_again_three_times_and_then_dropped(site: Site) -> None:
    await site.listen()
    site.receiver.replies = [503, 500, 200, 503, 503, 503, 503]
    await site.add("zhangsan")
    assert (await site.flush())["acknowledged"] == 1
    await site.add("zhangsan")
    counted = await site.flush()
    assert (counted["sent"], counted["retried"], counted["dropped"]) == (7, 5, 1)
    assert len(site.receiver.plain) == 1


async def test_silence_is_cut_after_the_time_limit_and_sent_again(site: Site) -> None:
    await site.listen()
    await site.dials(callback_timeout=0.3)
    site.receiver.replies = [0, 200]
    await site.add("zhangsan")
    counted = await site.flush()
    assert (counted["sent"], counted["acknowledged"]) == (2, 1)
    assert [one["status"] for one in await site.control("GET", "/callbacks/log")] == [0, 200]


async def test_by_the_other_reading_only_silence_is_sent_again(site: Site) -> None:
    await site.listen()
    await site.dials(callback_retry_on_status=False, callback_timeout=0.3)
    site.receiver.replies = [503, 0, 200]
    await site.add("zhangsan")
    await site.add("zhangsan")
    counted = await site.flush()
    assert (counted["sent"], counted["dropped"], counted["acknowledged"]) == (3, 1, 1)


@pytest.mark.parametrize("again", [True, False])
async def test_a_retry_is_encrypted_again_or_not_by_a_switch(site: Site, again: bool) -> None:
    await site.listen()
    await site.dials(callback_reencrypt=again)
    site.receiver.replies = [503, 200]
    await site.add("zhangsan")
    await site.flush()
    first, second = site.receiver.queries
    assert (first["nonce"] != second["nonce"]) is again


async def test_a_retry_waits_for_its_time_unless_flushed(site: Site) -> None:
    await site.listen()
    site.receiver.replies = [503, 200]
    await site.add("zhangsan")
    while site.box.callbacks.pending != 1:
        await asyncio.sleep(0)
    assert site.receiver.plain == []
    await site.advance(6)
    while not site.receiver.plain:
        await asyncio.sleep(0)


async def test_held_events_wait_for_a_flush(site: Site) -> None:
    await site.listen()
    await site.dials(callback_auto=False)
    await site.add("zhangsan")
    await site.advance(60)
    assert (await site.control("GET", "/callbacks"))["pending"] == 1
    assert (await site.flush())["pending"] == 0
    assert len(site.receiver.plain) == 1


async def test_events_are_lost_doubled_and_overtaken_by_dial(site: Site) -> None:
    await site.listen()
    chances = {"callback_lose": 0.2, "callback_duplicate": 0.2, "callback_reorder": 0.3}
    await site.dials(callback_auto=False, callback_parallel=8, **chances)
    acts = [{"act": "add_contact", "userid": "zhangsan"} for _ in range(200)]
    made = [one["external_userid"] for one in await site.control("POST", "/acts", acts)]
    counted = await site.flush()
    assert counted["events"] == 200
    assert 20 <= counted["lost"] <= 60
    assert 15 <= counted["duplicated"] <= 60
    assert counted["sent"] == counted["acknowledged"] == 200 - counted["lost"] + counted["duplicated"]
    arrived = [field(one, "ExternalUserID") for one in site.receiver.plain]
    assert len(set(arrived)) == 200 - counted["lost"]
    once = list(dict.fromkeys(arrived))
    assert once != [one for one in made if one in set(arrived)]


class Door:
    """A receiver on a real socket."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def ledger(self) -> object:
        return WeComSandbox().ledger()

    async def __call__(self, scope: dict, receive: object, send: object) -> None:  # type: ignore[type-arg]
        body = b""
        while True:
            message = await receive()  # type: ignore[operator]
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        url = f"http://door{scope['path']}?{scope['query_string'].decode()}"
        answer = await self.inbox.answer(httpx.Request(scope["method"], url, content=body))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": answer.content})  # type: ignore[operator]


async def test_events_reach_a_receiver_on_a_real_socket(site: Site) -> None:
    site.box.callbacks.transport = None
    async with running(Door(site.receiver)) as url:  # type: ignore[arg-type]
        await site.control("PUT", f"/callbacks/{site.given['agentid']}", {"url": f"{url}/hooks/wecom"})
        for _ in range(20):
            await site.add("zhangsan")
        assert (await site.flush())["acknowledged"] == 20
    assert len(site.receiver.plain) == 20
