"""The door for Mailchimp's webhooks: golden vectors, both proofs, every refusal (reliability.md 5: W1-W7, W10, W14, W17, W18)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
import structlog

from connectors.mailchimp import MailchimpConnector
from connectors.mailchimp.sandbox.pushes import form_body
from connectors.mailchimp.sandbox.pushes import signature as vendor_signature
from connectors.mailchimp.webhook import EVENTS
from hub.api.hooks import BODY_LIMIT, Doors, doors_of
from hub.bus import INBOUND, Log
from hub.clock import SECOND, SystemClock
from hub.errors import Cause, InboundRefused, SettingsError
from hub.sdk import InboundRequest, Received, Secret, Toolbox, VendorKey
from tests.hook_site import FixedClock, served

LIST, SECRET, KEY, NOW = "a6b5da1054", "mc_test_secret", "q8W3rT6yU1iO4pA7sD0fG2hJ5kL9zX", 1_718_000_000
BODY = (
    b"type=unsubscribe&fired_at=2024-06-10+06%3A13%3A20&data%5Bid%5D=8a25ff1d98&data%5Blist_id%5D=a6b5da1054"
    b"&data%5Bemail%5D=li%40example.com&data%5Baction%5D=unsub&data%5Breason%5D=manual"
)
MADE = "cbf910f9d1b607fff4820097ed1a40f63656aa851d0b498b6f4dcff12e0fd4c4"
FORM = "application/x-www-form-urlencoded"
PERSON = VendorKey("", hashlib.md5(b"li@example.com").hexdigest())


def connector(**changes: Any) -> MailchimpConnector:
    """Return a connector whose HTTP client is nobody: receiving makes no call."""
    settings: dict[str, Any] = {
        "api_key": Secret("k-us19"),
        "list_id": LIST,
        "webhook_signing_secret": Secret(SECRET),
    }
    settings |= {
        name: Secret(value) if name.endswith("_secret") and value else value
        for name, value in changes.items()
    }
    return MailchimpConnector(settings, Toolbox(None, SystemClock(), structlog.get_logger()))  # type: ignore[arg-type]


DOOR = connector()
BOTH = connector(webhook_policy="both", webhook_url_secret=KEY)
URL = connector(webhook_policy="url_secret", webhook_url_secret=KEY, webhook_signing_secret="")


def sign(body: bytes, *, at: Any = NOW, secret: str = SECRET) -> str:
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, 'sha256').hexdigest()}"


def request(
    body: bytes = BODY,
    *,
    header: str | None = None,
    now: float = NOW,
    method: str = "POST",
    key: Any = (),
    kind: str = FORM,
) -> InboundRequest:
    headers = {"content-type": kind, "x-mailchimp-signature": sign(body) if header is None else header}
    query = tuple(("key", one) for one in ([key] if isinstance(key, str) else key))
    return InboundRequest(method, query, headers, body, round(now * SECOND))


def event(word: str = "unsubscribe", **data: str) -> bytes:
    fields = {"id": "8a25ff1d98", "list_id": LIST, "email": "li@example.com"} | data
    return urlencode(
        [("type", word), ("fired_at", "2024-06-10 06:13:20"), *((f"data[{n}]", v) for n, v in fields.items())]
    ).encode()


def refused(asked: InboundRequest, door: MailchimpConnector = DOOR, cause: Cause = Cause.SIGNATURE) -> None:
    with pytest.raises(InboundRefused) as caught:
        door.receive(asked)
    assert caught.value.cause is cause
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)


def hinted(received: Received, key: VendorKey = PERSON) -> bool:
    assert (received.status, received.ignored) == (200, None)
    return [(one.stream, one.key, one.record) for one in received.events] == [
        ("member", key, None),
        ("consent", key, None),
    ]


# ------------------------------------------------------------------------------------------- vectors


def test_the_fact_sheets_vector_is_accepted_and_names_the_person_by_the_hash_of_the_address():
    assert len(BODY) == 182
    assert sign(BODY) == f"t={NOW},v1={MADE}"
    assert hinted(DOOR.receive(request(header=f"t={NOW},v1={MADE}")))


def test_the_sandbox_makes_the_vector_byte_for_byte():
    data = {
        "id": "8a25ff1d98",
        "list_id": LIST,
        "email": "li@example.com",
        "action": "unsub",
        "reason": "manual",
    }
    assert form_body("unsubscribe", "2024-06-10 06:13:20", data) == BODY
    assert vendor_signature(SECRET, NOW, BODY) == f"t={NOW},v1={MADE}"


def test_any_of_several_signatures_will_do_during_a_rotation():
    assert hinted(DOOR.receive(request(header=f"t={NOW},v1={'0' * 64},v1={MADE}")))
    refused(request(header=f"t={NOW},v1={'0' * 64},v1={'1' * 64}"))


# ------------------------------------------------------------------------------------------- how a webhook proves itself


def test_a_secret_in_the_address_stands_in_for_a_signature_where_the_policy_says_so():
    assert hinted(URL.receive(request(header="", key=KEY)))
    for key in ((), "", KEY[:-1], KEY + "x", KEY.lower(), (KEY, KEY), "é", "\ud800"):
        refused(request(header="", key=key), URL)


def test_under_both_each_proof_is_needed():
    assert hinted(BOTH.receive(request(key=KEY)))
    refused(request(), BOTH)
    refused(request(header="", key=KEY), BOTH)


@pytest.mark.parametrize("door", [URL, BOTH], ids=["url_secret", "both"])
def test_the_get_that_tests_a_new_address_is_answered_with_the_secret_alone(door: MailchimpConnector):
    received = door.receive(request(b"", method="GET", header="", key=KEY))
    assert (received.status, received.events) == (200, ())
    refused(request(b"", method="GET", header=""), door)


def test_where_signatures_count_the_get_needs_nothing_and_does_nothing():
    received = DOOR.receive(request(b"", method="GET", header=""))
    assert (received.status, received.events) == (200, ())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"webhook_signing_secret": ""}, "webhook_signing_secret"),
        ({"webhook_policy": "both"}, "webhook_url_secret"),
        ({"webhook_policy": "url_secret", "webhook_url_secret": "short"}, "webhook_url_secret"),
        (
            {"webhook_policy": "url_secret", "webhook_url_secret": "signs that no address ca/r?y"},
            "webhook_url_secret",
        ),
        ({"webhook_policy": "nothing"}, "webhook_policy"),
        ({"receive": "both"}, "receive"),
    ],
)
def test_a_missing_or_weak_proof_is_named_before_anything_is_received(changes: dict[str, Any], field: str):
    with pytest.raises(SettingsError) as caught:
        connector(**changes)
    assert caught.value.field == field


def test_polling_alone_needs_no_proof_and_keeps_the_door_shut():
    shut = connector(receive="poll", webhook_signing_secret="")
    refused(request(), shut)
    assert doors_of({"mc": shut}) == {}


# ------------------------------------------------------------------------------------------- W1 to W4


def test_w1_an_event_signed_with_another_audiences_secret_is_refused():
    refused(request(header=sign(BODY, secret="another")))
    refused(request(header=sign(BODY, secret="")))


def test_w2_one_flipped_bit_anywhere_is_refused():
    header = sign(BODY)
    for place in range(len(BODY)):
        bent = bytearray(BODY)
        bent[place] ^= 1
        refused(request(bytes(bent), header=header))
    for place in range(header.index("v1=") + 3, len(header)):
        refused(request(header=header[:place] + chr(ord(header[place]) ^ 1) + header[place + 1 :]))
    for bit in range(8):  # still inside the window, but signed for another time
        refused(request(header=header.replace(str(NOW), str(NOW ^ (1 << bit)))))


@pytest.mark.parametrize(
    "header",
    ["", "v1", "v1,é", "v1,@@@@", ",".join(["v1"] * 10_000), ",".join(["v1=" + "0" * 64] * 10_000), "\ud800", MADE, f"v1={MADE}",
     f"t={NOW}", f"t={NOW},v1=", f"t={NOW},v0={MADE}", f"t={NOW},v1={MADE.upper()}", f"t={NOW},v1={MADE[:-1]}", f"t={NOW},v1={MADE}0",
     f"t={NOW},t={NOW},v1={MADE}", f"t={NOW};v1={MADE}", f"T={NOW},V1={MADE}"],
)  # fmt: skip
def test_w3_a_signature_of_any_other_shape_is_refused(header: str):
    refused(request(header=header))


@pytest.mark.parametrize(
    "at",
    [
        "nan",
        "inf",
        "1e3",
        "１７１８００００００",
        "-1718000000",
        "9" * 20,
        "",
        " 1718000000x",
        "1718000000.0",
        "None",
    ],
)
def test_w4_a_time_that_is_no_number_of_seconds_is_refused(at: str):
    refused(request(header=sign(BODY, at=at)))


def test_w4_a_second_outside_the_window_is_refused_on_either_side():
    for off, accepted in ((-300, True), (-301, False), (300, True), (301, False)):
        asked = request(header=sign(BODY, at=NOW), now=NOW + off)
        if accepted:
            assert hinted(DOOR.receive(asked))
        else:
            refused(asked, cause=Cause.CLOCK)


# ------------------------------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "body",
    [b"", b"=", b"type", b"\xff\xfe", "type=é".encode(), b"type=%FF", b"data%5Bemail%5D=li%40example.com", b"type=%ED%A0%80", b"{}", b"<xml/>", b"type=unsubscribe&type=subscribe",
     b"data%5Bemail%5D=a&data%5Bemail%5D=b", b"&".join(b"a%d=1" % n for n in range(1001)), BODY + b"&;&"],
)  # fmt: skip
def test_w10_what_is_no_form_is_told_so_though_it_is_signed(body: bytes):
    refused(request(body), cause=Cause.INVALID)


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_another_type_of_body_is_told_so(kind: str):
    refused(request(kind=kind), cause=Cause.INVALID)


def test_a_form_with_a_charset_behind_its_type_is_a_form():
    assert hinted(DOOR.receive(request(kind=f"{FORM}; charset=utf-8")))


# ------------------------------------------------------------------------------------------- what events mean


@pytest.mark.parametrize(("word", "row"), EVENTS.items(), ids=EVENTS.keys())
def test_every_event_of_the_table_is_acknowledged_with_its_effect(word: str, row: Any):
    body = event(word, new_email="new@example.com", old_email="li@example.com")
    received = DOOR.receive(request(body))
    assert received.status == 200
    if not row.address:
        assert (received.events, received.ignored) == ((), word)
        return
    person = "new@example.com" if row.address == "new_email" else "li@example.com"
    assert hinted(received, VendorKey("", hashlib.md5(person.encode()).hexdigest()))
    assert {one.type for one in received.events} == {word}


def test_the_hash_is_made_from_the_address_in_lower_case_and_never_from_the_events_id():
    assert hinted(DOOR.receive(request(event(email=" LI@Example.COM "))))
    assert hinted(DOOR.receive(request(event(id="0" * 32))))


@pytest.mark.parametrize("email", ["", " ", "nobody", "x" * 400 + "@example.com"])
def test_an_event_that_names_nobody_is_acknowledged_and_counted(email: str):
    received = DOOR.receive(request(event(email=email)))
    assert (received.status, received.events, received.ignored) == (200, (), "incomplete: unsubscribe")


@pytest.mark.parametrize("word", ["new_event_of_2027", "Unsubscribe", "", "\n", "x" * 500])
def test_an_unknown_type_is_acknowledged_and_counted(word: str):
    received = DOOR.receive(request(event(word)))
    assert (received.status, received.events) == (200, ())
    assert (received.ignored or "").startswith("unknown")
    assert len(received.ignored or "") < 60


def test_an_event_of_another_audience_of_the_account_is_refused():
    refused(request(event(list_id="b7c6eb2165")), cause=Cause.RECEIVER)


def test_a_repeat_has_the_id_of_the_first_and_an_event_of_another_moment_has_not():
    first, again = (DOOR.receive(request(event())).events for _ in range(2))
    other = DOOR.receive(request(event().replace(b"06%3A13%3A20", b"06%3A13%3A21"))).events
    assert [one.id for one in first] == [one.id for one in again]
    ids = {one.id for one in (*first, *other)}
    assert len(ids) == 4
    assert max(map(len, ids)) <= 128


@pytest.mark.parametrize("word", ["profile", "unsubscribe", "cleaned"])
def test_w17_an_event_for_a_person_never_seen_is_a_hint_in_any_order(word: str):
    received = DOOR.receive(request(event(word, email="never-seen@example.com")))
    assert all(one.record is None for one in received.events)
    assert len(received.events) == 2


@pytest.mark.parametrize(
    "dated", ["1970-01-01 00:00:00", "2100-01-01 00:00:00", "2016-12-31 23:59:60", "24:00", "", "昨天"]
)
def test_w18_an_event_dated_otherwise_is_a_hint_and_its_date_is_not_used(dated: str):
    body = event().replace(b"fired_at=2024-06-10+06%3A13%3A20", f"fired_at={quote(dated)}".encode())
    assert hinted(DOOR.receive(request(body)))


# ------------------------------------------------------------------------------------------- the real door: W5, W6, W7, W14


class Site:
    """The real doors over a real log."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock()
        self.clock.seconds = float(NOW)
        self.bus = Log.open(folder / "bus.db", self.clock)
        doors = doors_of({"mc": connector(), "old": URL})
        self.doors = Doors(doors, self.bus.publish, self.clock, structlog.get_logger())

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.doors), base_url="http://hub")

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


def headers(body: bytes, **known: Any) -> dict[str, str]:
    return {"content-type": FORM, "x-mailchimp-signature": sign(body, **known)}


async def test_w5_a_repeat_is_acknowledged_again_and_counted(site: Site):
    async with site.client() as client:
        for repeats in (0, 2, 4):  # one event, two streams
            answer = await client.post("/hooks/mc", content=BODY, headers=headers(BODY))
            assert answer.status_code == 200
            assert site.doors.counts["mc"].repeats == repeats
    assert (
        len(await site.stored()) == 6
    )  # stored each time: what takes them is asked whether it has them already


async def test_w6_a_thousand_copies_over_fifty_connections_are_all_acknowledged(site: Site):
    head = (
        f"POST /hooks/mc HTTP/1.1\r\nHost: hub\r\nContent-Type: {FORM}\r\nX-Mailchimp-Signature: {sign(BODY)}\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode()
    answers: list[bytes] = []

    async def send(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(20):
            writer.write(head + BODY)
            answers.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.transport.abort()

    async with served(site.doors) as (port, _):
        await asyncio.gather(*(send(port) for _ in range(50)))
    assert answers == [b"HTTP/1.1 200 OK"] * 1000
    assert (site.doors.counts["mc"].repeats, site.doors.counts["mc"].altered) == (1998, 0)


async def test_w7_a_body_above_the_limit_is_turned_away(site: Site):
    async with site.client() as client:
        body = BODY + b"&x=" + b"y" * (BODY_LIMIT - len(BODY) - 3)
        assert (await client.post("/hooks/mc", content=body, headers=headers(body))).status_code == 200
        body += b"y"
        assert (await client.post("/hooks/mc", content=body, headers=headers(body))).status_code == 413


async def test_w14_the_vendors_get_is_answered_and_other_methods_are_not(site: Site):
    async with site.client() as client:
        assert (
            await client.get("/hooks/mc", headers={"user-agent": "MailChimp.com WebHook Validator"})
        ).status_code == 200
        assert (await client.get(f"/hooks/old?key={KEY}")).status_code == 200
        assert (await client.get("/hooks/old")).status_code == 401
        for method in ("PUT", "DELETE", "OPTIONS"):
            assert (await client.request(method, "/hooks/mc")).status_code == 405
    assert await site.stored() == []


async def test_every_refusal_is_the_same_bytes(site: Site):
    async with site.client() as client:
        other = event(list_id="b7c6eb2165")
        tries = [
            (BODY, headers(BODY, secret="another")),
            (BODY, headers(BODY, at=0)),
            (BODY, {"content-type": FORM}),
            (other, headers(other)),
        ]
        answers = [await client.post("/hooks/mc", content=body, headers=given) for body, given in tries]
        plain = await client.post(
            "/hooks/mc", content=b"{}", headers={**headers(b"{}"), "content-type": "application/json"}
        )
    assert {(answer.status_code, answer.content) for answer in answers} == {(401, answers[0].content)}
    assert plain.status_code == 400
    assert await site.stored() == []
    assert "bug" not in site.doors.counts["mc"].refusals
