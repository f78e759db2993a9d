"""The HTTP client over answers in memory: what each failure becomes, what is repeated, what is shown."""

from __future__ import annotations

import asyncio
import gzip
from email.utils import formatdate

import httpx
import pytest
import respx

from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, TryAgain
from hub.sdk.http import HttpClient, Outbound, TokenSource, classify_status, json, retry_after
from hub.sdk.secret import Secret

URL = "https://erp.example.com/k3cloud/Save.common.kdsvc"
NOW = 1_790_000_000


class VirtualClock:
    """Time that moves only when somebody sleeps."""

    def __init__(self):
        self.seconds = 0.0
        self.slept = []

    def now(self):
        return int((NOW + self.seconds) * 1_000_000)

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds

    def random(self):
        return 0.5


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def debug(self, event, **fields):
        self.lines.append((event, fields))

    warning = debug


@pytest.fixture
def clock():
    return VirtualClock()


def client_of(answer, clock, *, rules=None, secrets=(), log=None):
    """Return a client whose vendor is a function from request to response (or an exception to raise)."""

    def handle(request):
        result = answer(request) if callable(answer) else answer
        if isinstance(result, Exception):
            raise result
        return result

    return HttpClient(
        rules or Outbound(),
        clock=clock,
        transport=httpx.MockTransport(handle),
        secrets=secrets,
        log=log or Log(),
    )


async def answer_of(response, clock):
    return await client_of(response, clock).request("POST", URL, content=b"{}")


async def test_a_request_carries_its_bytes_and_headers_and_its_answer_comes_back(clock):
    seen = []

    def vendor(request):
        seen.append((request.method, str(request.url), request.content, request.headers["x-api-nonce"]))
        return httpx.Response(200, json={"ok": 1}, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])

    answer = await client_of(vendor, clock).request(
        "POST", URL, content=b'{"a":1}', headers={"X-Api-Nonce": "7"}
    )
    assert seen == [("POST", URL, b'{"a":1}', "7")]
    assert (answer.status, json(answer)) == (200, {"ok": 1})
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_a_respx_router_can_stand_in_for_the_vendor(clock):
    router = respx.Router()
    router.post(URL).respond(200, json=[1])
    client = HttpClient(Outbound(), clock=clock, transport=httpx.MockTransport(router.async_handler))
    assert json(await client.request("POST", URL)) == [1]


async def test_an_application_in_this_process_can_stand_in_for_the_vendor(clock):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[2]"})

    client = HttpClient(Outbound(), clock=clock, transport=httpx.ASGITransport(app))
    assert json(await client.request("GET", "http://127.0.0.1:9/x", read_only=True)) == [2]


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_passed_deadline_sends_nothing(clock, seconds):
    called = []
    client = client_of(called.append, clock)
    with pytest.raises(NotSent):
        await client.request("POST", URL, deadline=clock.monotonic() + seconds)
    assert called == []


async def test_a_deadline_that_passes_between_two_tries_stops_the_second(clock):
    calls = []

    def vendor(request):
        calls.append(request)
        return httpx.ConnectError("refused")

    with pytest.raises(NotSent):
        await client_of(vendor, clock).request("POST", URL, deadline=0.1)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("failure", "read_only", "expected", "cause", "calls"),
    [
        (httpx.ConnectError("refused"), True, TryAgain, Cause.UNREACHABLE, 3),
        (httpx.ConnectError("refused"), False, TryAgain, Cause.UNREACHABLE, 3),
        (httpx.ConnectTimeout("slow"), False, TryAgain, Cause.UNREACHABLE, 3),
        (httpx.ReadError("reset"), True, TryAgain, Cause.UNREACHABLE, 3),
        (httpx.ReadError("reset"), False, OutcomeUnknown, Cause.UNREACHABLE, 1),
        (httpx.WriteError("reset"), False, OutcomeUnknown, Cause.UNREACHABLE, 1),
        (httpx.ReadTimeout("slow"), True, TryAgain, Cause.UNAVAILABLE, 1),
        (httpx.ReadTimeout("slow"), False, OutcomeUnknown, Cause.UNAVAILABLE, 1),
        (httpx.RemoteProtocolError("garbage"), True, TryAgain, Cause.BAD_ANSWER, 1),
        (httpx.RemoteProtocolError("garbage"), False, OutcomeUnknown, Cause.BAD_ANSWER, 1),
    ],
)
async def test_a_broken_connection_is_a_retry_for_a_read_and_doubt_for_a_sent_write(
    clock, failure, read_only, expected, cause, calls
):
    made = []

    def vendor(request):
        made.append(request)
        return failure

    with pytest.raises(expected) as caught:
        await client_of(vendor, clock).request("POST", URL, read_only=read_only)
    assert type(caught.value) is expected
    assert caught.value.cause is cause
    assert len(made) == calls


async def test_a_read_that_breaks_once_is_repeated_and_waits_on_the_clock(clock):
    answers = [httpx.ReadError("reset"), httpx.Response(200, content=b"[]")]
    answer = await client_of(lambda _: answers.pop(0), clock).request("GET", URL, read_only=True)
    assert (answer.status, clock.slept) == (200, [0.2 * 0.75])


async def test_waits_of_one_call_stay_below_two_seconds_and_can_be_switched_off(clock):
    with pytest.raises(TryAgain):
        await client_of(httpx.ConnectError("x"), clock).request("GET", URL, read_only=True)
    assert clock.slept == [0.2 * 0.75, 0.8 * 0.75]
    clock.slept.clear()
    calls = []

    def vendor(request):
        calls.append(request)
        return httpx.ConnectError("x")

    with pytest.raises(TryAgain):
        await client_of(vendor, clock, rules=Outbound(pauses=())).request("GET", URL, read_only=True)
    assert (clock.slept, len(calls)) == ([], 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_wrong_setting_and_is_not_followed(clock, status):
    calls = []

    def vendor(request):
        calls.append(request)
        return httpx.Response(status, headers={"Location": "http://169.254.169.254/?token=t0p"})

    with pytest.raises(ConnectionDown, match="redirect") as caught:
        await client_of(vendor, clock).request("POST", URL)
    assert (len(calls), caught.value.cause) == (1, Cause.SETTINGS)
    assert "t0p" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "read_only", "expected", "after"),
    [
        (429, {"Retry-After": "7"}, False, TryAgain, 7.0),
        (429, {"Retry-After": formatdate(NOW + 90, usegmt=True)}, True, TryAgain, 90.0),
        (429, {"Retry-After": formatdate(NOW - 90, usegmt=True)}, True, TryAgain, 0.0),
        (429, {"Retry-After": "9" * 30}, True, TryAgain, 86_400.0),
        (429, {"Retry-After": "-1"}, True, TryAgain, None),
        (429, {"Retry-After": "nan"}, True, TryAgain, None),
        (429, {"Retry-After": "soon"}, True, TryAgain, None),
        (429, {}, False, TryAgain, None),
        (503, {"Retry-After": "3"}, False, TryAgain, 3.0),
        (503, {}, False, OutcomeUnknown, None),
        (503, {}, True, TryAgain, None),
        (500, {}, True, TryAgain, None),
        (502, {}, False, OutcomeUnknown, None),
        (408, {}, False, OutcomeUnknown, None),
    ],
)
async def test_a_status_that_means_the_same_everywhere_is_classified(
    clock, status, headers, read_only, expected, after
):
    answer = await answer_of(httpx.Response(status, headers=headers), clock)
    with pytest.raises(expected) as caught:
        classify_status(answer, read_only=read_only)
    assert type(caught.value) is expected
    assert getattr(caught.value, "after", None) == after
    assert caught.value.code == str(status)


@pytest.mark.parametrize("status", [200, 201, 204, 400, 401, 403, 404, 409, 422])
async def test_a_status_with_a_meaning_of_the_vendors_own_is_left_to_the_caller(clock, status):
    classify_status(await answer_of(httpx.Response(status), clock), read_only=False)


async def test_retry_after_is_none_when_the_vendor_does_not_say(clock):
    assert retry_after(await answer_of(httpx.Response(200), clock)) is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>busy</html>",
        b"",
        b"response_error: x",
        b'{"a":NaN}',
        b'{"a":1e400}',
        b'"\\ud800"',
        b"\xff\xfe{\x00}\x00",
        b'{"a":1',
        b"[" * 5000 + b"]" * 5000,
    ],
)
async def test_an_answer_that_is_no_json_is_a_retry_for_a_read_and_doubt_for_a_write(clock, body):
    answer = await answer_of(
        httpx.Response(200, content=body, headers={"Content-Type": "application/json"}), clock
    )
    with pytest.raises(TryAgain) as caught:
        json(answer)
    assert caught.value.cause is Cause.BAD_ANSWER
    with pytest.raises(OutcomeUnknown) as caught:
        json(answer, read_only=False)
    assert caught.value.cause is Cause.BAD_ANSWER


async def test_json_is_read_whatever_the_content_type_says(clock):
    body = '\ufeff{"客户": "甲"}'.encode()
    answer = await answer_of(httpx.Response(200, content=body, headers={"Content-Type": "text/html"}), clock)
    assert json(answer) == {"客户": "甲"}


async def test_a_packed_answer_is_unpacked_up_to_the_limit_only(clock):
    def packed(size):
        return httpx.Response(
            200,
            stream=httpx.ByteStream(gzip.compress(b"0" * size, mtime=0)),
            headers=[("Content-Encoding", "gzip")],
        )

    client = client_of(lambda _: packed(1000), clock)
    assert (await client.request("GET", URL, max_bytes=1000)).content == b"0" * 1000
    with pytest.raises(OutcomeUnknown, match="more than 999 bytes"):
        await client.request("POST", URL, max_bytes=999)
    with pytest.raises(TryAgain, match="more than 1048576 bytes"):
        await client_of(packed(200_000_000), clock).request("GET", URL, read_only=True)


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Encoding": "br"}, b"x"),
        ({"Content-Encoding": "gzip, gzip"}, b"x"),
        ({"Content-Encoding": "gzip"}, b"not packed"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b"whole", mtime=0)[:-3]),
    ],
)
async def test_an_answer_packed_wrongly_is_not_usable(clock, headers, content):
    response = httpx.Response(200, stream=httpx.ByteStream(content), headers=headers)
    with pytest.raises(TryAgain) as caught:
        await client_of(response, clock).request("GET", URL, read_only=True)
    assert caught.value.cause is Cause.BAD_ANSWER


async def test_nothing_secret_is_in_the_log_or_in_an_error(clock):
    log = Log()
    secrets = (Secret("s3cr3t-key"), Secret("s3cr3t-key-longer"))

    def vendor(request):
        if request.method == "GET":
            return httpx.Response(200, content=b"body-text")
        return httpx.ReadError("while talking with s3cr3t-key-longer")

    client = client_of(vendor, clock, secrets=secrets, log=log)
    url = "https://erp.example.com/s3cr3t-key-longer/send?key=s3cr3t-key&page=12"
    await client.request("GET", url, headers={"Authorization": "Bearer s3cr3t-key"}, read_only=True)
    with pytest.raises(OutcomeUnknown) as caught:
        await client.request("POST", url, content=b"s3cr3t-key")
    shown = f"{log.lines} {caught.value}"
    assert "s3cr3t" not in shown
    assert "longer" not in shown
    assert "body-text" not in shown
    (answered, fields), (failed, more) = log.lines
    assert (answered, failed) == ("http.request.answered", "http.request.failed")
    assert fields == {
        "method": "GET", "host": "erp.example.com", "path": "/***/send?key=***&page=***", "ms": 0.0, "status": 200,
    }  # fmt: skip
    assert more["cause"] == "unreachable"


async def test_an_address_that_is_not_allowed_is_a_wrong_setting(clock):
    client = HttpClient(Outbound(), clock=clock)
    with pytest.raises(ConnectionDown, match="https only") as caught:
        await client.request("GET", "http://erp.example.com/", read_only=True)
    assert caught.value.cause is Cause.SETTINGS
    await client.close()


def tokens(clock, life=None):
    made = []

    async def fetch():
        made.append(len(made) + 1)
        await asyncio.sleep(0)
        return Secret(f"token-{len(made)}"), life

    return made, TokenSource(fetch, clock=clock)


async def test_many_callers_whose_token_failed_share_one_refresh(clock):
    made, source = tokens(clock)
    await asyncio.gather(*(source.token() for _ in range(20)))
    assert made == [1]
    renewed = await asyncio.gather(*(source.token(failed=1) for _ in range(20)))
    assert (made, {token.version for token in renewed}) == ([1, 2], {2})
    assert (await source.token(failed=1)).version == 2, "somebody renewed it meanwhile"
    assert made == [1, 2]


async def test_a_caller_that_goes_away_does_not_take_the_refresh_along(clock):
    made, source = tokens(clock)
    first = asyncio.ensure_future(source.token())
    second = asyncio.ensure_future(source.token())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).value == Secret("token-1")
    assert made == [1]


async def test_a_failed_refresh_is_told_to_every_waiter_and_tried_again_by_the_next(clock):
    calls = []

    async def fetch():
        calls.append(1)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise TryAgain
        return Secret("good"), None

    source = TokenSource(fetch, clock=clock)
    results = await asyncio.gather(source.token(), source.token(), return_exceptions=True)
    assert [type(result) for result in results] == [TryAgain, TryAgain]
    assert (await source.token()).value == Secret("good")


async def test_a_token_is_renewed_before_it_runs_out(clock):
    made, source = tokens(clock, life=7200.0)
    await source.token()
    clock.seconds = 7139
    assert (await source.token()).version == 1
    clock.seconds = 7140
    assert (await source.token()).version == 2
    assert made == [1, 2]


async def test_an_expired_token_is_renewed_once_and_then_the_connection_is_down(clock):
    made, source = tokens(clock)
    sent = []

    async def send(token):
        sent.append(token.version)
        return "expired" if token.version < 2 else "fine"

    assert await source.using(send, lambda answer: answer == "expired") == "fine"
    assert sent == [1, 2]

    async def never(token):
        return "expired"

    with pytest.raises(ConnectionDown) as caught:
        await source.using(never, lambda answer: answer == "expired")
    assert caught.value.cause is Cause.CREDENTIAL
    assert made == [1, 2, 3]
