"""Calls to WeCom: token rules, classes of answers, the circuit behind 45009, what no message may show."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
import structlog

from connectors.wecom import WeComConnector
from connectors.wecom.client import HOLD, WeComClient
from connectors.wecom.outcomes import OUTCOMES, decode, error_of
from hub.clock import SystemClock
from hub.errors import Cause, ConnectionDown, OutcomeUnknown, Refused, TryAgain
from hub.sdk import Answer, Secret, Toolbox
from hub.sdk.http import HttpClient, Outbound

SECRET = "the-secret-of-the-app"
API = "externalcontact/get_follow_user_list"


class Moved(SystemClock):
    """A clock whose monotonic time is set by hand."""

    at = 1_000.0

    def monotonic(self) -> float:
        return self.at


class Vendor:
    """Answers gettoken with numbered tokens and calls by ``reply(token, number of the call)``."""

    def __init__(self, reply: Any, token: Any = None, expires_in: Any = 7200) -> None:
        self.reply, self.token, self.expires_in = reply, token, expires_in
        self.tokens: list[httpx.Request] = []
        self.calls: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/gettoken"):
            self.tokens.append(request)
            body = self.token or {
                "errcode": 0,
                "access_token": f"tok-{len(self.tokens)}",
                "expires_in": self.expires_in,
            }
            return httpx.Response(200, json=body)
        self.calls.append(request)
        reply = self.reply(request.url.params["access_token"], len(self.calls))
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)


def client(vendor: Vendor, clock: SystemClock | None = None) -> WeComClient:
    clock = clock or SystemClock()
    http = HttpClient(
        Outbound(pauses=()), clock=clock, transport=httpx.MockTransport(vendor), secrets=[Secret(SECRET)]
    )
    settings = {
        "base_url": "https://wecom.example.com/",
        "corp_id": "ww1",
        "secret": Secret(SECRET),
        "slots": 5,
    }
    return WeComClient(settings, Toolbox(http, clock, structlog.get_logger()))


def good(_token: str, _number: int) -> dict[str, Any]:
    return {"errcode": 0, "errmsg": "ok", "follow_user": []}


# ------------------------------------------------------------------------------------------- token


async def test_a_token_is_asked_for_once_and_goes_in_the_query():
    vendor = Vendor(good)
    one = client(vendor)
    await asyncio.gather(*(one.get(API, userid="张 三&x=1") for _ in range(20)))
    assert len(vendor.tokens) == 1
    assert dict(vendor.tokens[0].url.params) == {"corpid": "ww1", "corpsecret": SECRET}
    assert dict(vendor.calls[0].url.params) == {"access_token": "tok-1", "userid": "张 三&x=1"}
    assert "authorization" not in vendor.calls[0].headers


@pytest.mark.parametrize("code", [40014, 42001, 40001])
async def test_a_dead_token_is_renewed_once_and_the_call_made_again(code: int):
    vendor = Vendor(lambda token, _: good(token, 0) if token == "tok-2" else {"errcode": code})
    one = client(vendor)
    await one.get(API)
    await one.get(API)
    assert (len(vendor.tokens), len(vendor.calls)) == (2, 3)


@pytest.mark.parametrize("code", [40014, 42001, 40001])
async def test_a_token_that_is_dead_though_new_ends_it(code: int):
    vendor = Vendor(lambda _token, _: {"errcode": code})
    with pytest.raises(ConnectionDown) as caught:
        await client(vendor).get(API)
    assert (caught.value.cause, caught.value.code) == (Cause.CREDENTIAL, str(code))
    assert (len(vendor.tokens), len(vendor.calls)) == (2, 2)


@pytest.mark.parametrize("code", [40091, 40013, 41002, 41004, 48002, 60020, 301002, 41001])
async def test_a_config_error_renews_nothing(code: int):
    vendor = Vendor(lambda _token, _: {"errcode": code})
    with pytest.raises(ConnectionDown):
        await client(vendor).get(API)
    assert (len(vendor.tokens), len(vendor.calls)) == (1, 1)


async def test_an_old_tokens_failure_does_not_throw_a_newer_one_away():
    gate = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/gettoken"):
            return vendor(request)
        reply = vendor(request)
        if request.url.params["access_token"] == "tok-1" and "late" in request.url.params:
            await gate.wait()
        return reply

    vendor = Vendor(lambda token, _: {"errcode": 40014} if token == "tok-1" else good(token, 0))
    one = client(vendor)
    one._tools.http._transport = httpx.MockTransport(slow)
    late = asyncio.ensure_future(one.get(API, late=1))
    await asyncio.sleep(0)
    await one.get(API)
    gate.set()
    await late
    assert len(vendor.tokens) == 2


@pytest.mark.parametrize("code", [40001, 40013, 40091])
async def test_a_secret_that_is_refused_is_not_shown_again_for_a_while(code: int):
    clock = Moved()
    vendor = Vendor(good, token={"errcode": code, "errmsg": "invalid credential"})
    one = client(vendor, clock)
    for _ in range(5):
        with pytest.raises(ConnectionDown) as caught:
            await one.get(API)
        assert (caught.value.cause, caught.value.code, caught.value.until) == (
            Cause.CREDENTIAL,
            str(code),
            HOLD,
        )
    assert len(vendor.tokens) == 1
    clock.at += HOLD + 1
    vendor.token = None
    await one.get(API)


async def test_a_banned_address_is_a_rate_limit_and_may_pass():
    vendor = Vendor(good, token={"errcode": 45009})
    with pytest.raises(TryAgain) as caught:
        await client(vendor).get(API)
    assert (caught.value.cause, caught.value.after) == (Cause.RATE, 60.0)


@pytest.mark.parametrize(("life", "seconds"), [(7200, 6_900), ("7200", 6_900), (100, 50)])
async def test_a_token_is_renewed_before_its_end(life: Any, seconds: int):
    clock, vendor = Moved(), Vendor(good, expires_in=life)
    one = client(vendor, clock)
    await one.get(API)
    clock.at += seconds - 1
    await one.get(API)
    assert len(vendor.tokens) == 1
    clock.at += 2
    await one.get(API)
    assert len(vendor.tokens) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"errcode": 0},
        {"errcode": 0, "access_token": ""},
        {"errcode": 0, "access_token": 7},
        {"errcode": 0, "access_token": "x" * 513},
    ],
)
async def test_u7_a_success_without_a_token_is_no_token(body: Any):
    with pytest.raises(TryAgain) as caught:
        await client(Vendor(good, token=body)).get(API)
    assert caught.value.cause is Cause.BAD_ANSWER


# ------------------------------------------------------------------------------------------- answers


BAD = {
    "HTML": httpx.Response(200, html="<html>502</html>"),
    "cut": httpx.Response(200, content=b'{"errcode": 0, "follow_us'),
    "empty": httpx.Response(200, content=b""),
    "list": httpx.Response(200, json=[]),
    "null": httpx.Response(200, json=None),
    "no errcode": httpx.Response(200, json={"follow_user": []}),
    "errcode as words": httpx.Response(200, json={"errcode": "ok"}),
    "errcode true": httpx.Response(200, json={"errcode": True}),
    "errcode a fraction": httpx.Response(200, json={"errcode": 0.0}),
    "errcode null": httpx.Response(200, json={"errcode": None}),
    "502": httpx.Response(502, html="<html>502</html>"),
}


@pytest.mark.parametrize("name", BAD)
async def test_u7_an_answer_that_is_none_is_tried_again_on_a_read_and_in_doubt_on_a_write(name: str):
    vendor = Vendor(lambda _token, _number: BAD[name])
    one = client(vendor)
    with pytest.raises(TryAgain):
        await one.get(API)
    with pytest.raises(OutcomeUnknown):
        await one.write("externalcontact/remark", {}, deadline=SystemClock().monotonic() + 9)


@pytest.mark.parametrize(
    ("code", "error"), [("0", None), ("45009", TryAgain), ("-1", TryAgain), ("84061", Refused)]
)
async def test_u7_an_errcode_as_text_means_the_same(code: str, error: type[Exception] | None):
    vendor = Vendor(lambda _token, _number: {"errcode": code})
    if error is None:
        assert (await client(vendor).get(API))["errcode"] == 0
        return
    with pytest.raises(error):
        await client(vendor).get(API)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 201])
async def test_a_status_the_vendor_does_not_use_is_another_host(status: int):
    vendor = Vendor(lambda _token, _number: httpx.Response(status, json={"errcode": 0}))
    with pytest.raises(ConnectionDown) as caught:
        await client(vendor).get(API)
    assert caught.value.cause is Cause.SETTINGS


async def test_json_goes_out_as_raw_utf_8():
    vendor = Vendor(good)
    await client(vendor).look(API, {"remark": "王总😀"})
    assert vendor.calls[0].content == '{"remark":"王总😀"}'.encode()


async def test_the_address_that_is_not_trusted_is_shown():
    said = "not allow to access from your ip, hint: [1700000000_1_0a], from ip: 203.0.113.7, more info at https://open.work.weixin.qq.com/devtool/query?e=60020"
    error = error_of({"errcode": 60020, "errmsg": said}, API, read=True)
    assert (type(error), error.cause) == (ConnectionDown, Cause.ADDRESS)
    assert "does not trust our address 203.0.113.7" in str(error)


async def test_an_unknown_code_keeps_what_was_said():
    error = error_of({"errcode": 987654, "errmsg": "new"}, API, read=False)
    assert (type(error), error.code, error.detail) == (
        OutcomeUnknown,
        "987654",
        {"errcode": 987654, "errmsg": "new"},
    )
    assert isinstance(error_of({"errcode": 987654}, API, read=True), TryAgain)


def test_every_code_of_the_table_has_the_class_of_its_row():
    classes = {
        TryAgain: "-1 6000 45033 45035 45036 301026 41063 41079 81026 90304 2000111 2000141 45009 301112 45029 81017 50100 60268",
        OutcomeUnknown: "301057",
        ConnectionDown: "40014 42001 40001 40091 40013 41001 41002 41004 40056 41011 45031 48001 48002 48005 48006 48009 48010 48011 50003 50006 60011 60020 60031 301002 301007 301055 301056 610023 610024 660013 2000002",
        Refused: "40003 40031 40033 40035 40058 40063 40068 40071 40072 40096 40097 40098 40099 40100 40126 40128 40129 40130 40131 40144 40205 40206 41009 41035 41056 44004 45002 46004 50002 60003 60021 60111 60123 81013 82001 82002 82003 82004 84061 84083 84084 86001 86003 49008 301021 301025 301079 610004 660001 660002 660003 660004 660005 660006 660007 660008 660009 660010 660011 660012 701008",
    }
    wanted = {int(code): kind for kind, codes in classes.items() for code in codes.split()}
    assert {code: outcome.kind for code, outcome in OUTCOMES.items()} == wanted
    assert WeComConnector.spec.codes.keys() == {str(code) for code in wanted}


@pytest.mark.parametrize("code", [-1, 301026, 81026, 90304])
def test_what_wecom_could_not_finish_may_have_made_an_approval_and_changed_nothing_else(code: int):
    made = error_of({"errcode": code}, "oa/applyevent", read=False)
    assert (type(made), made.cause) == (OutcomeUnknown, Cause.UNAVAILABLE)
    assert isinstance(error_of({"errcode": code}, "externalcontact/remark", read=False), TryAgain)
    assert isinstance(error_of({"errcode": code}, "oa/getapprovaldetail", read=True), TryAgain)


@pytest.mark.parametrize("code", [45009, 45033, 6000])
def test_what_wecom_did_not_begin_is_sent_again(code: int):
    assert isinstance(error_of({"errcode": code}, "oa/applyevent", read=False), TryAgain)


# ------------------------------------------------------------------------------------------- circuit


async def test_a_blocked_api_is_left_alone_until_its_window_is_over_and_longer_the_next_time():
    clock = Moved()
    vendor = Vendor(lambda _token, number: {"errcode": 45009} if number in (1, 2) else good("", 0))
    one = client(vendor, clock)
    waits = []
    for _ in range(2):
        with pytest.raises(TryAgain) as caught:
            await one.get(API)
        waits.append(caught.value.after)
        with pytest.raises(TryAgain, match="nothing was sent"):
            await one.get(API)
        clock.at += caught.value.after or 0
    await one.get(API)
    assert waits == [60.0, 120.0]
    assert len(vendor.calls) == 3


async def test_calls_that_meet_the_limit_together_block_the_api_once():
    clock = Moved()

    async def late(request: httpx.Request) -> httpx.Response:
        answered = vendor(request)
        for _ in range(5 * len(vendor.calls)):
            await asyncio.sleep(0)
        return answered

    vendor = Vendor(lambda _token, number: {"errcode": 45009} if number in (2, 3, 4, 5) else good("", 0))
    one = client(vendor, clock)
    await one.get(API)
    one._tools.http._transport = httpx.MockTransport(late)
    answers = await asyncio.gather(*(one.get(API) for _ in range(5)), return_exceptions=True)
    assert [getattr(answer, "after", None) for answer in answers] == [60.0, 60.0, 60.0, 60.0, None]
    assert len(vendor.calls) == 6
    with pytest.raises(TryAgain, match="nothing was sent"):  # the last one's success did not end the block
        await one.get(API)


async def test_a_throttled_gettoken_is_left_alone_like_any_api():
    clock = Moved()
    vendor = Vendor(good, token={"errcode": 45009})
    one = client(vendor, clock)
    waits = []
    for _ in range(2):
        with pytest.raises(TryAgain) as caught:
            await one.get(API)
        waits.append(caught.value.after)
        with pytest.raises(TryAgain, match="gettoken is blocked"):
            await one.get("department/list")
        clock.at += caught.value.after or 0
    assert (waits, len(vendor.tokens), len(vendor.calls)) == ([60.0, 120.0], 2, 0)
    vendor.token = None
    await one.get(API)


async def test_another_api_is_not_blocked():
    vendor = Vendor(lambda _token, number: {"errcode": 45009} if number == 1 else good("", 0))
    one = client(vendor)
    with pytest.raises(TryAgain):
        await one.get(API)
    await one.get("department/list")


async def test_no_more_calls_are_under_way_than_there_are_slots():
    running = most = 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return vendor(request)

    vendor = Vendor(good)
    one = client(vendor)
    one._tools.http._transport = httpx.MockTransport(slow)
    await one.get(API)
    most = 0
    await asyncio.gather(*(one.get(API) for _ in range(30)))
    assert most == 5


# ------------------------------------------------------------------------------------------- silence


async def test_no_token_and_no_secret_is_in_what_a_failure_says():
    for vendor in (
        Vendor(lambda _token, _number: BAD["HTML"]),
        Vendor(good, token={"errcode": 40001, "errmsg": SECRET}),
    ):
        with pytest.raises((TryAgain, ConnectionDown)) as caught:
            await client(vendor).get(API)
        assert "tok-1" not in f"{caught.value} {caught.value.detail}"


def test_decode_gives_a_number_back():
    assert decode(Answer(200, httpx.Headers(), orjson.dumps({"errcode": "-40"})), read=True)["errcode"] == -40
