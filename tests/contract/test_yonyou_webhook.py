"""The door for Yonyou's events: golden vectors, both schemes, every refusal alike (reliability.md 5: W1-W7, W12, W17, W18)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from connectors.yonyou.events import EVENTS
from connectors.yonyou.sandbox.sealing import aes_key, unseal
from connectors.yonyou.sandbox.sealing import seal as vendor_seal
from connectors.yonyou.sandbox.sealing import sign as vendor_sign
from hub.api.hooks import BODY_LIMIT, Doors, doors_of
from hub.bus import INBOUND, Log
from hub.errors import Cause, InboundRefused, SettingsError
from hub.sdk import InboundEvent, Received, VendorKey
from tests.contract.yonyou_door import (
    APP,
    NOW,
    ONE,
    SECRET,
    UPDATE,
    VECTORS,
    connector,
    envelope,
    event,
    post,
    request,
    seal,
    seal_plain,
)
from tests.hook_site import FixedClock, served

DOOR = connector()
HINT = InboundEvent("customer", VendorKey("ORG001", str(ONE)), f"evt-1.{ONE}", UPDATE)
ALIKE = (Cause.SIGNATURE, Cause.CIPHER, Cause.RECEIVER, Cause.CLOCK)
"""The caller is told the same for all of these."""


def refused(asked: Any, door: Any = DOOR, causes: Any = ALIKE) -> Cause:
    with pytest.raises(InboundRefused) as caught:
        door.receive(asked)
    assert caught.value.cause in causes, caught.value.cause
    assert SECRET not in str(caught.value)
    return caught.value.cause


def acknowledged(received: Received) -> bool:
    return (received.status, received.body) == (200, b"success")


# ------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("vector", VECTORS["events"], ids=lambda vector: vector["name"])
def test_a_golden_vector_is_accepted(vector: dict[str, Any]):
    body = {
        vector["scheme"]: vector["signature"],
        **{name: vector[name] for name in ("timestamp", "nonce", "encrypt")},
    }
    received = DOOR.receive(request(body))
    assert acknowledged(received)
    told = json.loads(vector["message"])
    if told["type"] == "CHECK_URL":
        assert (received.events, received.ignored) == ((), "CHECK_URL")
    else:
        assert [(one.key, one.type) for one in received.events] == [
            (VendorKey("ORG001", str(ONE)), told["type"])
        ]


@pytest.mark.parametrize("vector", VECTORS["events"], ids=lambda vector: vector["name"])
def test_the_sandbox_makes_the_golden_vector_byte_for_byte(vector: dict[str, Any]):
    sealed = vendor_seal(aes_key(SECRET), b"0123456789abcdef", vector["message"].encode(), APP)
    assert sealed == vector["encrypt"]
    made = vendor_sign(vector["scheme"], SECRET, vector["timestamp"], vector["nonce"], sealed)
    assert made == vector["signature"]


def test_padding_of_seventeen_to_thirty_two_bytes_is_taken():
    """The library's default for AES, a block of 16, fails on these (6.25)."""
    for length in range(40):
        assert DOOR.receive(post(event(filler="x" * length))).events == (HINT,)


@pytest.mark.parametrize("secret", ["short", "a" * 43, "b" * 60, "0123-4567-89ab-cdef", "Z" * 42 + "9"])
def test_a_secret_of_any_length_makes_a_key(secret: str):
    body = envelope(seal(event(), secret=secret), secret=secret)
    assert acknowledged(connector(app_secret=secret).receive(request(body)))


def test_a_secret_that_can_be_no_key_is_named_unless_events_are_not_wanted():
    with pytest.raises(SettingsError) as caught:
        connector(app_secret="不是密钥")
    assert caught.value.field == "app_secret"
    assert connector(app_secret="不是密钥", receive="poll")


@pytest.mark.parametrize("scheme", ["signature", "msgSignature"])
def test_while_a_secret_is_changed_the_one_before_is_still_accepted(scheme: str):
    door = connector(app_secret="new-secret-0123456789", previous_app_secret=SECRET)
    assert acknowledged(door.receive(post(event(), scheme=scheme)))
    refused(post(event(), scheme=scheme), connector(app_secret="new-secret-0123456789"))


# ------------------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize("scheme", ["signature", "msgSignature"])
def test_the_answer_may_be_sealed_as_the_documents_say(scheme: str):
    received = connector(callback_ack="encrypted").receive(post(event(), scheme=scheme))
    said = json.loads(received.body)
    assert unseal(aes_key(SECRET), said["encrypt"], APP) == b"success"
    assert said[scheme] == vendor_sign(scheme, SECRET, said["timestamp"], said["nonce"], said["encrypt"])
    assert received == connector(callback_ack="encrypted").receive(post(event(), scheme=scheme))
    other = connector(callback_ack="encrypted").receive(post(event(eventId="evt-2"), scheme=scheme))
    assert json.loads(other.body)["encrypt"][:20] != said["encrypt"][:20]


def test_polling_alone_keeps_the_door_shut():
    refused(post(event()), connector(receive="poll"))
    assert doors_of({"yy": connector(receive="poll")}) == {}


# ------------------------------------------------------------------------------------------- W1 to W4


def test_w1_an_event_signed_with_another_connections_secret_is_refused():
    assert refused(request(envelope(seal(event()), secret="another"))) is Cause.SIGNATURE
    assert refused(request(envelope(seal(event(), secret="another")))) is Cause.CIPHER


@pytest.mark.parametrize("scheme", ["signature", "msgSignature"])
def test_w2_one_flipped_bit_anywhere_is_refused(scheme: str):
    body = envelope(seal(event()), scheme=scheme)
    for name in (scheme, "nonce", "encrypt"):
        for place in range(0, len(body[name]), 5):
            bent = body[name][:place] + chr(ord(body[name][place]) ^ 1) + body[name][place + 1 :]
            refused(request({**body, name: bent}))
    for bit in range(20):
        refused(request({**body, "timestamp": body["timestamp"] ^ (1 << bit)}))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "v1",
        "v1,é",
        "v1,@@@@",
        ",".join("v1" for _ in range(10_000)),
        "\ud800",
        "=" * 44,
        None,
        5,
        [],
        {},
        True,
    ],
)
def test_w3_a_signature_of_any_other_shape_is_refused(signature: Any):
    for scheme in ("signature", "msgSignature"):
        refused(request({**envelope(seal(event()), scheme=scheme), scheme: signature}))


def test_w3_no_signature_or_two_are_refused():
    body = envelope(seal(event()))
    refused(request({**body, "msgSignature": envelope(seal(event()), scheme="msgSignature")["msgSignature"]}))
    refused(request({name: value for name, value in body.items() if name != "signature"}))


@pytest.mark.parametrize(
    "at",
    ["nan", "inf", "1e3", "１７００００００００００００", -1_700_000_000_000, "-1", 10**20, "", " 1700000000000", None, True, 1.7e12, [], {},
     NOW],
)  # fmt: skip
def test_w4_a_timestamp_that_is_none_is_refused(at: Any):
    refused(request(envelope(seal(event()), at=at)))


@pytest.mark.parametrize("window", [300.0, 90_000.0])
def test_w4_a_second_outside_the_window_is_refused_on_either_side(window: float):
    door = connector(callback_window=window)
    for off, accepted in ((-300, True), (-301, False), (window, True), (window + 1, False)):
        asked = request(envelope(seal(event())), now=NOW + off)
        if accepted:
            assert acknowledged(door.receive(asked))
        else:
            assert refused(asked, door) is Cause.CLOCK


def test_a_repeat_after_almost_a_day_is_taken_though_it_was_not_signed_anew():
    """The vendor repeats for 24 hours; whether it signs anew is UNCONFIRMED (3.3)."""
    assert acknowledged(DOOR.receive(request(envelope(seal(event())), now=NOW + 86_000)))


# ------------------------------------------------------------------------------------------- W12, shapes

BENT: dict[str, dict[str, Any]] = {
    "another app": {"app": "another"},
    "no app": {"app": ""},
    "app and more": {"app": APP + "x"},
    "half an app": {"app": APP[:-1]},
    "padding 0": {"last": 0},
    "padding 33": {"last": 33},
    "padding 255": {"last": 255},
    "a whole block of padding too many": {"more": 32},
    "not whole blocks": {"tail": b"\x00"},
    "fifteen bytes more": {"tail": b"\x00" * 15},
    "sixteen bytes more": {"tail": b"\x00" * 16},
    "length beyond the end": {"length": 10_000},
    "largest length": {"length": 2**32 - 1},
    "length 0": {"length": 0},
    "no random prefix": {"head": b""},
    "half a prefix": {"head": b"12345678"},
}


@pytest.mark.parametrize("bent", BENT.values(), ids=BENT.keys())
def test_w12_a_well_signed_envelope_with_wrong_contents_is_refused(bent: dict[str, Any]):
    refused(request(envelope(seal(event(), **bent))))


@pytest.mark.parametrize(
    "sealed", ["", "=", "!!!!", "é", "YQ==", "A" * 43, "A" * 44, "A" * 64, "中" * 20, "\ud800"]
)
def test_w12_text_that_is_nothing_encrypted_is_refused(sealed: str):
    refused(request(envelope(sealed)))


def test_w12_blocks_of_nothing_are_refused():
    for count in (1, 2, 3):
        refused(request(envelope(seal_plain(b"\x20" * 32 * count))))


@pytest.mark.parametrize(
    "inside", [b"", b"null", b"[]", b'"x"', b"{", b"\xff", b"[" * 9000, b'{"type":1,"type":2}', b"{'a':1}"]
)
def test_what_is_well_sealed_and_no_event_is_refused(inside: bytes):
    assert refused(request(envelope(seal(inside)))) is Cause.CIPHER


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b'"x"', b"null", b"<xml/>", b"type=x", b"\xff\xfe{\x00"])
def test_a_body_that_is_no_object_is_told_so(body: bytes):
    assert refused(request(body), causes=(Cause.INVALID,)) is Cause.INVALID


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{}",
        b'{"signature": NaN}',
        b"{" * 100_000,
        b'{"a":' * 5000,
        b'{"timestamp":' + b"9" * 5000 + b"}",
        b'{"\xff": 1}',
    ],
)
def test_a_broken_envelope_is_refused_like_any_other(body: bytes):
    refused(request(body))


def test_a_name_that_stands_twice_is_refused():
    body = json.dumps(envelope(seal(event()))).replace('"nonce"', '"nonce": "x", "nonce"', 1).encode()
    refused(request(body))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_another_method_is_refused(method: str):
    refused(request(envelope(seal(event())), method=method))


# ------------------------------------------------------------------------------------------- what events mean


@pytest.mark.parametrize(("word", "row"), EVENTS.items(), ids=EVENTS.keys())
def test_every_event_of_the_table_is_acknowledged_with_its_effect(word: str, row: Any):
    received = DOOR.receive(post(event(word)))
    assert acknowledged(received)
    assert [one.stream for one in received.events] == ([row.stream] if row.stream else [])
    assert received.ignored == (None if row.stream else word)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"id": ONE}), {"id": ONE}, {"id": str(ONE)}, [{"id": ONE}], json.dumps([{"id": ONE}, {"id": ONE}]),
        {"model": {"id": ONE}}, json.dumps({"data": json.dumps({"id": ONE})}), {"data": [{"id": ONE}], "other": 1},
    ],
)  # fmt: skip
def test_the_id_is_found_wherever_the_content_holds_it(content: Any):
    assert DOOR.receive(post(event(content=content))).events == (HINT,)


@pytest.mark.parametrize(
    "content",
    [None, "", "x", "{", 5, {}, [], {"id": None}, {"id": "abc"}, {"id": True}, {"id": 1.5}, "[" * 9000],
)
def test_an_event_that_names_no_object_is_acknowledged_and_counted(content: Any):
    received = DOOR.receive(post(event(content=content)))
    assert acknowledged(received)
    assert (received.events, received.ignored) == ((), f"incomplete: {UPDATE}")


@pytest.mark.parametrize(
    "word", ["NEW_EVENT_OF_2027", "yxybasedoc_aa_merchant_update", "", None, 5, "\n", "x" * 500]
)
def test_an_unknown_type_is_acknowledged_and_counted(word: Any):
    received = DOOR.receive(post(event(word)))
    assert acknowledged(received)
    assert received.events == ()
    assert (received.ignored or "").startswith("unknown")
    assert len(received.ignored or "") < 130


@pytest.mark.parametrize("said", [None, "", 5, "x" * 500, "\n"])
def test_an_event_without_an_id_to_rely_on_is_known_by_its_content(said: Any):
    first, again = (DOOR.receive(post(event(eventId=said))).events for _ in range(2))
    other = DOOR.receive(post(event(eventId=said, content=json.dumps({"id": ONE, "x": 1})))).events
    assert first == again
    assert first[0].id != other[0].id
    assert len(first[0].id) <= 128


@pytest.mark.parametrize("word", [UPDATE, "YXYBASEDOC_AA_MERCHANT_DELETE", "YXYBASEDOC_AA_MERCHANT_INSERT"])
def test_w17_an_event_for_a_customer_never_seen_is_a_hint_in_any_order(word: str):
    (hint,) = DOOR.receive(post(event(word, content={"id": 7}))).events
    assert (hint.key, hint.record) == (VendorKey("ORG001", "7"), None)


@pytest.mark.parametrize(
    "dated",
    [0, 4_102_444_800_000, "2100-01-01", "1970-01-01 24:00:00", "2016-12-31T23:59:60Z", None, -1, "昨天"],
)
def test_w18_an_event_dated_otherwise_is_a_hint_and_its_date_is_not_used(dated: Any):
    assert DOOR.receive(post(event(timestamp=dated))).events == (HINT,)


# ------------------------------------------------------------------------------------------- the real door: W5, W6, W7


class Site:
    """The real doors over a real log."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock()
        self.clock.seconds = float(NOW)
        self.bus = Log.open(folder / "bus.db", self.clock)
        self.doors = Doors(
            doors_of({"yy": connector()}), self.bus.publish, self.clock, structlog.get_logger()
        )

    async def stored(self) -> list[Any]:
        found: list[Any] = []
        for number in range(await self.bus.partitions(INBOUND)):
            found += (await self.bus.read(INBOUND, number, 0, 10_000)).events
        return found


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    opened = Site(tmp_path)
    yield opened
    await opened.bus.aclose()


def bytes_of(message: bytes, **known: Any) -> bytes:
    return json.dumps(envelope(seal(message), **known)).encode()


async def test_w5_a_repeat_is_acknowledged_and_the_same_id_for_another_object_is_flagged(site: Site):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=site.doors), base_url="http://hub"
    ) as client:
        for message, repeats, altered in (
            (event(), 0, 0), (event(), 1, 0), (event("YXYBASEDOC_AA_MERCHANT_DELETE"), 2, 1),
        ):  # fmt: skip
            answer = await client.post("/hooks/yy", content=bytes_of(message))
            assert (answer.status_code, answer.content) == (200, b"success")
            counts = site.doors.counts["yy"]
            assert (counts.repeats, counts.altered) == (repeats, altered)
    assert len(await site.stored()) == 3


async def test_w6_a_thousand_copies_over_fifty_connections_are_all_acknowledged_and_lie_in_one_partition(
    site: Site,
):
    body = bytes_of(event())
    head = f"POST /hooks/yy HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answers: list[bytes] = []

    async def send(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(head + body)
            answers.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            await reader.readexactly(len(b"success"))
        writer.transport.abort()

    async with served(site.doors) as (port, _):
        await asyncio.gather(*(send(port) for _ in range(50)))
    assert answers == [b"HTTP/1.1 200 OK"] * 1000
    counts = site.doors.counts["yy"]
    assert (counts.accepted, counts.repeats, counts.altered) == (1000, 999, 0)
    filled = [
        n for n in range(await site.bus.partitions(INBOUND)) if (await site.bus.read(INBOUND, n, 0, 1)).events
    ]
    assert len(filled) == 1


async def test_w7_a_body_above_the_limit_is_turned_away(site: Site):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=site.doors), base_url="http://hub"
    ) as client:
        body = bytes_of(event())
        assert (
            await client.post("/hooks/yy", content=body + b" " * (BODY_LIMIT - len(body)))
        ).status_code == 200
        assert (
            await client.post("/hooks/yy", content=body + b" " * (BODY_LIMIT + 1 - len(body)))
        ).status_code == 413

        async def drip() -> AsyncIterator[bytes]:
            for _ in range(BODY_LIMIT // 1000 + 2):
                yield b" " * 1000

        assert (await client.post("/hooks/yy", content=drip())).status_code == 413
    assert len(await site.stored()) == 1


async def test_every_refusal_is_the_same_bytes(site: Site):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=site.doors), base_url="http://hub"
    ) as client:
        bodies = [bytes_of(event(), secret="another"), bytes_of(event(), at=0), b'{"x": 1}']
        bodies += [json.dumps(envelope(seal(event(), **bent))).encode() for bent in BENT.values()]
        answers = [await client.post("/hooks/yy", content=body) for body in bodies]
        plain = await client.post("/hooks/yy", content=b"not an object")
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}
    assert plain.status_code == 400
    assert await site.stored() == []
    assert "bug" not in site.doors.counts["yy"].refusals
