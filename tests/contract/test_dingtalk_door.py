"""HTTP mode: the vendor's envelope at the door, its bad forms (W1 to W7, W12, W13, W17, W18), redelivery, the failed list (6.1).

Sealing is written here from the fact sheet, independent of connector and sandbox.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import structlog
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.sandbox.acts import PutUser, Start
from hub.api.hooks import Doors, doors_of
from hub.bus import INBOUND, Log
from hub.clock import SECOND, SystemClock
from hub.errors import Cause, InboundRefused, SettingsError
from hub.sdk import InboundRequest, Received, Secret, Toolbox
from hub.sdk.kit import Bench
from tests.contract.dingtalk_stand import CONTRACT, SELLER, DingTalkHttpStand, Taken, listening
from tests.hook_site import served

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "dingtalk_callback.json").read_text("utf-8"))[
    "published"
]
TOKEN, KEY, APP, CORP = (
    "HubToken2026",
    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
    "dingapp000001",
    "dingcorp000001",
)
NOW = 1_768_010_400
VALUES = {"客户名称": "示例", "合同金额": "5000"}


def connector(**changes: Any) -> DingTalkConnector:
    settings: dict[str, Any] = {
        "corp_id": CORP, "app_key": APP, "app_secret": Secret("s" * 64), "receive": "callback", "token": Secret(TOKEN),
        "aes_key": Secret(KEY), "process_codes": CONTRACT,
    }  # fmt: skip
    settings |= {
        name: Secret(value)
        if value and name in ("token", "aes_key", "previous_token", "previous_aes_key")
        else value
        for name, value in changes.items()
    }
    return DingTalkConnector(settings, Toolbox(None, SystemClock(), structlog.get_logger()))


def cipher(key: str = KEY) -> Any:
    secret = base64.b64decode(key + "=")
    return Cipher(algorithms.AES(secret), modes.CBC(secret[:16]))


def seal_plain(plain: bytes, key: str = KEY) -> str:
    closer = cipher(key).encryptor()
    return base64.b64encode(closer.update(plain) + closer.finalize()).decode()


def seal(
    message: bytes,
    *,
    owner: str = APP,
    key: str = KEY,
    length: int | None = None,
    head: bytes = b"0123456789abcdef",
) -> str:
    plain = head + (len(message) if length is None else length).to_bytes(4, "big") + message + owner.encode()
    pad = 32 - len(plain) % 32
    return seal_plain(plain + bytes([pad]) * pad, key)


def sign(sealed: str, *, token: str = TOKEN, timestamp: str = f"{NOW}000", nonce: str = "n0nce") -> str:
    return hashlib.sha1("".join(sorted([token, timestamp, nonce, sealed])).encode()).hexdigest()


def query(
    sealed: str, *, token: str = TOKEN, timestamp: str = f"{NOW}000", nonce: str = "n0nce"
) -> tuple[tuple[str, str], ...]:
    signed = sign(sealed, token=token, timestamp=timestamp, nonce=nonce)
    return (("msg_signature", signed), ("signature", signed), ("timestamp", timestamp), ("nonce", nonce))


def push(sealed: str, **more: Any) -> InboundRequest:
    return InboundRequest(
        "POST", query(sealed, **more), {}, json.dumps({"encrypt": sealed}).encode(), NOW * SECOND
    )


def event(word: str = "bpms_instance_change", **fields: Any) -> bytes:
    plain = {
        "EventType": word, "EventTime": NOW * 1000, "CorpId": CORP, "BizId": "1", "eventId": "e-1", "processInstanceId": "i-1",
        "processCode": CONTRACT, "type": "finish", "result": "agree", "title": "合同审批",
    } | fields  # fmt: skip
    return json.dumps(
        {name: value for name, value in plain.items() if value is not None}, ensure_ascii=False
    ).encode()


def opened(received: Received, *, key: str = KEY, token: str = TOKEN, owner: str = APP) -> str:
    """Open an answer as the vendor does."""
    reply = json.loads(received.body)
    assert set(reply) == {"msg_signature", "timeStamp", "nonce", "encrypt"}
    assert reply["msg_signature"] == sign(
        reply["encrypt"], token=token, timestamp=reply["timeStamp"], nonce=reply["nonce"]
    )
    opener = cipher(key).decryptor()
    plain = opener.update(base64.b64decode(reply["encrypt"], validate=True)) + opener.finalize()
    plain = plain[: -plain[-1]]
    size = int.from_bytes(plain[16:20], "big")
    assert plain[20 + size :].decode() == owner
    return plain[20 : 20 + size].decode()


def why(request: InboundRequest, door: DingTalkConnector | None = None) -> Cause:
    with pytest.raises(InboundRefused) as caught:
        (door or connector()).receive(request)
    return caught.value.cause


# ----------------------------------------------------------------------------------------- what is taken


def test_the_published_sample_opens_and_is_answered_with_an_encrypted_success() -> None:
    door = connector(token=VECTOR["token"], aes_key=VECTOR["aes_key"], owner_key=VECTOR["owner"])
    asked = {"signature": VECTOR["signature"], "timestamp": VECTOR["timestamp"], "nonce": VECTOR["nonce"]}
    request = InboundRequest(
        "POST",
        tuple(asked.items()),
        {},
        json.dumps({"encrypt": VECTOR["encrypt"]}).encode(),
        int(VECTOR["timestamp"]) * 1000,
    )
    received = door.receive(request)
    assert (received.events, received.ignored) == ((), "check_create_suite_url")
    assert opened(received, key=VECTOR["aes_key"], token=VECTOR["token"], owner=VECTOR["owner"]) == "success"


def test_the_check_of_the_address_and_an_event_are_answered_alike() -> None:
    for message in (b'{"EventType":"check_url"}', event(), event("event_of_next_year")):
        received = connector().receive(push(seal(message)))
        assert (received.status, received.media_type) == (200, "application/json")
        assert opened(received) == "success"


def test_a_chinese_payload_is_measured_in_bytes() -> None:
    received = connector().receive(push(seal(event(title="张三提交的合同审批（华南大区）"))))
    assert received.events[0].key.id == f"{CONTRACT}/i-1"


@pytest.mark.parametrize("name", ["msg_signature", "signature"])
def test_either_name_of_the_signature_will_do(name: str) -> None:
    request = push(seal(event()))
    kept = tuple(pair for pair in request.query if pair[0] in (name, "timestamp", "nonce"))
    assert connector().receive(replace(request, query=kept)).events


def test_the_same_event_by_stream_and_by_http_has_one_id() -> None:
    from connectors.dingtalk.events import Event, effect_of

    by_http = connector().receive(push(seal(event()))).events[0]
    by_stream = effect_of(
        Event.of("bpms_instance_change", "e-1", {"processInstanceId": "i-1", "processCode": CONTRACT}, ())
    ).events[0]
    assert (by_http.id, by_http.key) == (by_stream.id, by_stream.key)


def test_an_event_without_an_id_is_told_from_others_by_what_it_says() -> None:
    def id_of(**fields: Any) -> str:
        return connector().receive(push(seal(event(eventId=None, **fields)))).events[0].id

    assert id_of() == id_of()
    assert len({id_of(), id_of(type="start"), id_of(BizId="2"), id_of(EventTime=1)}) == 4
    assert id_of(BizId=None) != id_of(BizId=None, type="start")


def test_token_and_key_before_are_still_taken_while_they_are_changed() -> None:
    old = connector()
    new = connector(token="NewToken1", aes_key="Z" * 42 + "G", previous_token=TOKEN, previous_aes_key=KEY)
    for door, received in ((old, old.receive(push(seal(event())))), (new, new.receive(push(seal(event()))))):
        assert door is not None
        assert opened(received) == "success"  # answered with the pair it came with


def test_an_address_registered_by_api_is_sealed_for_the_corp() -> None:
    assert connector(owner_key=CORP).receive(push(seal(event(), owner=CORP))).events
    assert why(push(seal(event(), owner=CORP))) is Cause.RECEIVER


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", ""),
        ("aes_key", ""),
        ("token", "a"),
        ("aes_key", "short"),
        ("token", "x" * 33),
        ("receive", "mail"),
        ("process_codes", "a/b"),
        ("time_offset", "8"),
    ],
)
def test_what_the_vendor_never_makes_is_refused_as_a_setting(field: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        connector(**{field: value})
    assert caught.value.field == field


# ------------------------------------------------------------------------------------------ bad input


def test_w1_the_signature_of_another_apps_token_is_refused() -> None:
    assert why(push(seal(event()), token="AnotherToken")) is Cause.SIGNATURE


def test_w2_every_flipped_bit_of_what_is_signed_is_refused() -> None:
    good = push(seal(event()))
    for name in ("msg_signature", "timestamp", "nonce"):
        bent = tuple(
            (key, value[:-1] + chr(ord(value[-1]) ^ 1))
            if key in (name, "signature" if name == "msg_signature" else name)
            else (key, value)
            for key, value in good.query
        )
        assert why(replace(good, query=bent)) in (Cause.SIGNATURE, Cause.CLOCK)
    sealed = json.loads(good.body)["encrypt"]
    for place in range(0, len(sealed), 7):
        flipped = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        body = json.dumps({"encrypt": flipped}).encode()
        assert why(replace(good, body=body)) is Cause.SIGNATURE


@pytest.mark.parametrize("signed", ["", "v1", "v1,é", "\ud800", "x" * 10_000, "0" * 40])
def test_w3_a_signature_that_is_none_is_refused(signed: str) -> None:
    request = push(seal(event()))
    asked = (
        ("msg_signature", signed),
        *(pair for pair in request.query if pair[0] in ("timestamp", "nonce")),
    )
    assert why(replace(request, query=asked)) is Cause.SIGNATURE


@pytest.mark.parametrize("names", [("timestamp",), ("nonce",), ("msg_signature", "signature")])
def test_w3_a_parameter_that_is_missing_or_repeated_is_refused(names: tuple[str, ...]) -> None:
    request = push(seal(event()))
    missing = tuple(pair for pair in request.query if pair[0] not in names)
    assert why(replace(request, query=missing)) is Cause.SIGNATURE
    assert (
        why(replace(request, query=(*request.query, *(pair for pair in request.query if pair[0] in names))))
        is Cause.SIGNATURE
    )


@pytest.mark.parametrize(
    "timestamp",
    [f"{NOW - 301}000", f"{NOW + 301}000", str(NOW - 301), "nan", "inf", "1e3", "１７６８０１０４００", "-1768010400", "9" * 20, "", f" {NOW}", f"{NOW}.5"],
)  # fmt: skip
def test_w4_a_time_outside_the_window_or_none_at_all_is_refused(timestamp: str) -> None:
    assert why(push(seal(event()), timestamp=timestamp)) in (Cause.CLOCK, Cause.SIGNATURE)


@pytest.mark.parametrize("timestamp", [f"{NOW - 299}000", f"{NOW + 299}999"[:10] + "000", str(NOW)])
def test_w4_a_time_inside_the_window_is_taken_in_ms_or_seconds(timestamp: str) -> None:
    assert connector().receive(push(seal(event()), timestamp=timestamp)).events


@pytest.mark.parametrize(
    ("sealed", "cause"),
    [
        (seal_plain(b"0" * 31 + b"\x00"), Cause.CIPHER),
        (seal_plain(b"0" * 31 + b"\x21"), Cause.CIPHER),
        (seal_plain(b"0" * 31 + b"\xff"), Cause.CIPHER),
        (seal_plain(b"0" * 16), Cause.CIPHER),
        (base64.b64encode(b"x" * 33).decode(), Cause.CIPHER),
        (seal(event(), length=10_000), Cause.CIPHER),
        (seal(event(), length=2**32 - 1), Cause.CIPHER),
        (seal(b"", head=b""), Cause.CIPHER),
        ("@@@@", Cause.CIPHER),
        (seal(event()) + "\n", Cause.CIPHER),
        (seal(b"no json"), Cause.CIPHER),
        (seal(b"[]"), Cause.CIPHER),
        (seal(b"{}"), Cause.CIPHER),
        (seal('{"EventType":"é'.encode("latin-1")), Cause.CIPHER),
        (seal(event(), key="B" * 42 + "G"), Cause.CIPHER),
        (seal(event(), owner="dingapp000002"), Cause.RECEIVER),
        (seal(event(), owner=""), Cause.RECEIVER),
        (seal(event(CorpId="ding-of-others")), Cause.RECEIVER),
    ],
)  # fmt: skip
def test_w12_w13_what_does_not_open_for_us_is_refused(sealed: str, cause: Cause) -> None:
    assert why(push(sealed)) is cause


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml/>",
        b"encrypt=x",
        b'"x"',
        b"[]",
        b"null",
        b"{",
        b'{"encrypt":1}',
        b'{"encrypt":""}',
        b"\xff\xfe{",
        b'{"encrypt":"\\ud800"}',
    ],
)
def test_a_body_that_is_no_envelope_is_refused(body: bytes) -> None:
    assert why(replace(push(seal(event())), body=body)) in (Cause.INVALID, Cause.BAD_ANSWER, Cause.SIGNATURE)


def test_another_method_or_a_closed_door_is_refused() -> None:
    good = push(seal(event()))
    assert why(replace(good, method="GET")) is Cause.SIGNATURE
    assert why(good, connector(receive="stream")) is Cause.SIGNATURE
    assert why(good, connector(receive="poll")) is Cause.SIGNATURE


@pytest.mark.parametrize("kind", ["start", "finish", "terminate", "delete", "modify_of_next_year", ""])
def test_w17_an_event_for_what_was_never_seen_is_a_hint_whatever_it_says(kind: str) -> None:
    (hint,) = connector().receive(push(seal(event(type=kind, processInstanceId="never-seen")))).events
    assert (hint.key.id, hint.record) == (f"{CONTRACT}/never-seen", None)


@pytest.mark.parametrize(
    "when", [0, "1970-01-01", 4_102_444_800_000, "2026-12-31T24:00", "2016-12-31T23:59:60", None, {}, -1]
)
def test_w18_an_events_dates_are_not_used(when: Any) -> None:
    message = event(EventTime=when, createTime=when, finishTime=when)
    (hint,) = connector().receive(push(seal(message))).events
    assert hint.record is None


@pytest.mark.parametrize("instance", [None, "", 1.5, ["a"], {"a": 1}, "a/b", "x" * 65, "a\nb", True])
def test_an_event_without_a_usable_id_is_acknowledged_and_counted(instance: Any) -> None:
    received = connector().receive(push(seal(event(processInstanceId=instance))))
    assert received.events == ()
    assert received.ignored == "incomplete: bpms_instance_change"


# ------------------------------------------------------------------------------ at the hub's own doors


class Hooks:
    def __init__(self, port: int, bus: Log, doors: Doors) -> None:
        self.port, self.bus, self.doors = port, bus, doors

    async def stored(self) -> list[str]:
        found = []
        for number in range(await self.bus.partitions(INBOUND)):
            found += [one.key for one in (await self.bus.read(INBOUND, number, 0, 10_000)).events]
        return found


@asynccontextmanager
async def hooks(folder: Path) -> AsyncIterator[tuple[Hooks, httpx.AsyncClient]]:
    clock = SystemClock()
    bus = Log.open(folder / "bus.db", clock)
    one = connector()
    doors = Doors(doors_of({"ding": one}), bus.publish, clock, structlog.get_logger())
    async with (
        served(doors) as (port, _),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield Hooks(port, bus, doors), client
    await bus.aclose()


def sent(message: bytes) -> tuple[str, bytes]:
    now = f"{SystemClock().now() // 1000}"
    sealed = seal(message)
    return f"/hooks/ding?{urlencode(query(sealed, timestamp=now))}", json.dumps({"encrypt": sealed}).encode()


async def test_w5_w6_copies_are_acknowledged_alike_and_are_one_hint(tmp_path: Path) -> None:
    async with hooks(tmp_path) as (site, client):
        url, body = sent(event())
        answers = await asyncio.gather(*(client.post(url, content=body) for _ in range(200)))
        other = await client.post(*sent(event(processInstanceId="i-2"))[:1], content=sent(event())[1])
        keys = set(await site.stored())
        counts = site.doors.counts["ding"]
    assert {one.status_code for one in answers} == {200}
    assert other.status_code == 401  # another body under a signature that is not its own
    assert keys == {f"ding/approval//{CONTRACT}/i-1"}
    assert (counts.events, counts.repeats) == (200, 199)


async def status(port: int, url: str, header: str, body: bytes) -> int:
    """Return the status a raw request gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {url} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode() + body)
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.transport.abort()
    return int(line.split()[1])


async def test_w7_a_body_beyond_the_limit_or_with_two_lengths_is_turned_away(tmp_path: Path) -> None:
    async with hooks(tmp_path) as (site, _):
        url, body = sent(event())
        size = (1 << 20) + 1
        first = [
            await status(site.port, url, f"Content-Length: {size}", b""),
            await status(
                site.port, url, "Transfer-Encoding: chunked", f"{size:x}\r\n".encode() + b" " * size + b"\r\n"
            ),
            await status(site.port, url, f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked", body),
        ]
        assert await site.stored() == []
    assert first == [413, 413, 400]


async def test_every_refusal_is_the_same_answer(tmp_path: Path) -> None:
    async with hooks(tmp_path) as (_, client):
        url, _body = sent(event())
        answers = []
        for sealed in (
            seal(event(), owner="other"),
            seal(event(), key="B" * 42 + "G"),
            seal(event(CorpId="x")),
            "@@",
        ):
            now = f"{SystemClock().now() // 1000}"
            path = f"/hooks/ding?{urlencode(query(sealed, timestamp=now))}"
            answers.append(await client.post(path, content=json.dumps({"encrypt": sealed}).encode()))
        answers.append(await client.post(url, content=json.dumps({"encrypt": os.urandom(8).hex()}).encode()))
    assert {(one.status_code, one.content) for one in answers} == {(401, answers[0].content)}


# -------------------------------------------------------------------- the vendor's side of HTTP mode


class Receiver:
    """Stands for the hub's door: the connector behind a transport; ``broken`` statuses come first."""

    def __init__(self, dingtalk: DingTalkConnector, clock: Any) -> None:
        self.door, self.clock = dingtalk, clock
        self.broken: list[int] = []
        self.received: list[Received] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        status = self.broken.pop(0) if self.broken else 200
        if status == 0:
            await asyncio.Event().wait()
        if status != 200:
            return httpx.Response(status)
        inbound = InboundRequest(
            request.method, tuple(request.url.params.multi_items()), {}, request.content, self.clock.now()
        )
        received = self.door.receive(inbound)
        self.received.append(received)
        return httpx.Response(
            received.status, content=received.body, headers={"content-type": received.media_type}
        )


@pytest.fixture
async def http() -> AsyncIterator[tuple[Bench, Any, Receiver]]:
    async with Bench.open(DingTalkConnector, DingTalkHttpStand) as bench:
        dingtalk = bench.connect(bench.stand.settings() | {"callback_window": 3600.0})
        receiver = Receiver(dingtalk, bench.stand.sandbox.clock)
        box = bench.stand.sandbox
        box.pushes.transport = httpx.MockTransport(receiver.answer)
        await box.save_receiver("http://hub.example/hooks/ding")
        yield bench, dingtalk, receiver


async def test_the_address_is_saved_only_after_the_check_was_answered_rightly(http: Any) -> None:
    bench, _, receiver = http
    box = bench.stand.sandbox
    assert receiver.received[0].ignored == "check_url"
    for broken, said in ((403, "not 200"), (0, "no answer")):
        receiver.broken = [broken]
        box.dials.push_timeout = 0.2
        with pytest.raises(Exception, match=said):
            await box.save_receiver("http://hub.example/other")
    box.pushes.transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"success"))
    with pytest.raises(Exception, match="71009"):
        await box.save_receiver("http://hub.example/other")
    with pytest.raises(Exception, match="not 200"):
        box.pushes.transport = httpx.MockTransport(
            lambda _: httpx.Response(302, headers={"location": "http://x/"})
        )
        await box.save_receiver("http://hub.example/other")


async def test_a_push_without_an_answer_comes_again_after_ten_and_thirty_seconds_and_then_goes_to_the_failed_list(
    http: Any,
) -> None:
    bench, dingtalk, receiver = http
    box = bench.stand.sandbox
    receiver.broken = [503, 503, 503, 200]
    (made,) = box.act(PutUser(act="put_user", userid="new", name="新人"))
    assert made == {}

    async def tries(count: int) -> None:
        async with asyncio.timeout(10):
            while box.pushes.counts["sent"] < count:
                await asyncio.sleep(0.01)

    await tries(1)
    box.advance(9.0)
    await asyncio.sleep(0.05)
    assert box.pushes.counts["sent"] == 1
    box.advance(1.1)
    await tries(2)
    box.advance(29.0)
    await asyncio.sleep(0.05)
    assert box.pushes.counts["sent"] == 2
    box.advance(1.1)
    await tries(3)
    async with asyncio.timeout(10):
        while not box.pushes.failed:
            await asyncio.sleep(0.01)
    taken = Taken()
    async with listening(dingtalk, taken):
        await asyncio.sleep(0.2)
    assert taken.events == []  # the list shows it after three minutes
    box.advance(181)
    async with listening(dingtalk, taken):
        await taken.until(lambda: taken.events)
    assert taken.events == [("user_add_org", "new")]
    assert box.pushes.failed == []


async def test_the_failed_list_is_published_before_it_is_asked_again(http: Any) -> None:
    """The read is destructive: what the bus did not take is held and tried again."""
    bench, dingtalk, receiver = http
    box = bench.stand.sandbox
    box.dials.push_retries, box.dials.failed_after = [], 0.0
    receiver.broken = [500] * 1000
    for _ in range(201):
        box.act(Start(act="start", process_code=CONTRACT, userid=SELLER, values=VALUES))
    await box.pushes.flush()
    waiting = len(box.pushes.failed)
    assert waiting > 400
    taken = Taken()
    taken.failing = 1
    async with listening(dingtalk, taken):
        await taken.until(lambda: len(taken.events) == waiting)
    assert box.gate.calls["call_back/get_call_back_failed_result"] == -(-waiting // 200)
    assert len({key for _, key in taken.events}) == 201


async def test_events_by_http_are_hints_and_each_push_is_sealed_anew(http: Any) -> None:
    bench, _, receiver = http
    for signature in ("both", "msg_signature", "signature"):
        bench.stand.sandbox.dials.push_signature = signature
        bench.stand.sandbox.act(Start(act="start", process_code=CONTRACT, userid=SELLER, values=VALUES))
        await bench.stand.sandbox.pushes.flush()
    events = [one for received in receiver.received for one in received.events]
    assert len(events) == 9  # one start, two tasks, each time
    assert bench.stand.sandbox.pushes.counts["acknowledged"] == 9
    assert bench.stand.sandbox.gateway.counts["pushed"] == 0  # one mode at a time


async def test_pushes_lost_by_the_vendor_leave_nothing_in_the_failed_list(http: Any) -> None:
    bench, _, receiver = http
    box = bench.stand.sandbox
    box.dials.push_lose = 1.0
    box.act(Start(act="start", process_code=CONTRACT, userid=SELLER, values=VALUES))
    await box.pushes.flush()
    assert (len(receiver.received), box.pushes.failed) == (1, [])
