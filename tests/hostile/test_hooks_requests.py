"""Bad requests at the door (reliability.md 5: W1-W6, W9-W11, W14, W16-W18): one refusal, nothing stored, no 5xx."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from hub.api import serve
from hub.api.hooks import BODY_LIMIT
from hub.settings import Settings
from tests.effort import at_once
from tests.hook_site import NOW, App, Site, event, open_site, served


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as opened:
        yield opened


async def refused(site: Site, answer: httpx.Response, status: int = 401) -> None:
    """Expect this refusal as a problem document, and an untouched bus."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert orjson.loads(answer.content)["status"] == status
    assert all(bounds.next == 0 for bounds in await site.ends())
    assert site.doors.counts["wecom"].accepted == 0
    assert "bug" not in site.doors.counts["wecom"].refusals


# W1, W2 -----------------------------------------------------------------------------------------------------------


async def test_w1_a_callback_signed_for_another_connection_is_refused(site: Site) -> None:
    query, body = App(token="AnotherToken456").callback(event())
    await refused(site, await site.post("wecom", body, query))


async def test_w1_a_callback_sent_to_another_connection_is_refused(site: Site) -> None:
    query, body = site.app.callback(event())
    await refused(site, await site.post("other", body, query))


async def test_w2_one_flipped_bit_of_what_is_signed_is_refused(site: Site) -> None:
    query, body = site.app.callback(event())
    start, end = body.index(b"<Encrypt><![CDATA[") + 18, body.index(b"]]></Encrypt>")
    for place in range(start, end, 7):
        for bit in (1, 2, 16, 128):
            bent = body[:place] + bytes([body[place] ^ bit]) + body[place + 1 :]
            await refused(site, await site.post("wecom", bent, query))


@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce"])
async def test_w2_one_flipped_bit_of_the_query_is_refused(site: Site, name: str) -> None:
    query, body = site.app.callback(event())
    for place, letter in enumerate(query[name]):
        bent = query[name][:place] + chr(ord(letter) ^ 1) + query[name][place + 1 :]
        await refused(site, await site.post("wecom", body, {**query, name: bent}))


# W3, W4 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    ["", "v1", "v1,", "v1,é", "v1,@@@@", "v1," * 10_000, "0" * 40, "\x00", "中文", "G" * 40, "a" * 39, "[]", "None"],
    ids=["empty", "v1", "comma", "accent", "signs", "parts", "zeros", "nul", "han", "no-hex", "short", "list", "word"],
)  # fmt: skip
async def test_w3_a_signature_that_is_none_is_refused_at_once(site: Site, signature: str) -> None:
    query, body = site.app.callback(event())
    with at_once():
        answer = await site.post("wecom", body, {**query, "msg_signature": signature})
    await refused(site, answer)


@pytest.mark.parametrize("name", ["msg_signature", "timestamp", "nonce"])
async def test_w3_a_parameter_that_is_absent_or_there_twice_is_refused(site: Site, name: str) -> None:
    query, body = site.app.callback(event())
    await refused(
        site, await site.post("wecom", body, {one: value for one, value in query.items() if one != name})
    )
    twice = "&".join(f"{one}={value}" for one, value in query.items()) + f"&{name}={query[name]}"
    await refused(site, await site.client.post(f"/hooks/wecom?{twice}", content=body))


@pytest.mark.parametrize(
    "query", ["a=%", "a=%2", "a=%zz", "%=a", "a=%ff%fe", "a=%ed%a0%80", "&".join("a" * 65)]
)
async def test_w3_a_query_that_is_no_text_is_refused(site: Site, query: str) -> None:
    answer = await site.client.post(
        httpx.URL("http://hub/hooks/wecom").copy_with(query=query.encode()), content=b"x"
    )
    await refused(site, answer, 400)


@pytest.mark.parametrize(
    "at",
    [str(NOW - 601), str(NOW + 601), "nan", "inf", "1e3", "１７６８０１０４００", "-1768010400", "+1768010400",
     "17680104000000000000", "1768010400.0", " 1768010400", "1_768_010_400", "0x6961b120", "", "0"],
)  # fmt: skip
async def test_w4_a_timestamp_outside_the_window_or_no_number_is_refused(site: Site, at: str) -> None:
    encrypted = site.app.sealed(event())
    body = f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
    await refused(site, await site.post("wecom", body, site.app.signed(encrypted, at=at)))


@pytest.mark.parametrize("at", [NOW - 600, NOW, NOW + 600])
async def test_w4_a_timestamp_inside_the_window_is_taken(site: Site, at: int) -> None:
    encrypted = site.app.sealed(event())
    body = f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
    assert (await site.post("wecom", body, site.app.signed(encrypted, at=str(at)))).status_code == 200


# W5 (its effect: test_hooks_effect.py) -----------------------------------------------------------------------------


async def test_w5_a_replayed_callback_is_answered_alike_and_flagged(site: Site) -> None:
    query, body = site.app.callback(event())
    answers = [await site.post("wecom", body, query) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    assert (site.doors.counts["wecom"].repeats, site.doors.counts["wecom"].altered) == (2, 0)
    assert len({message.headers["ce_id"] for _, message in await site.stored()}) == 1


# W7 by its announcement (on the wire: test_hooks_wire.py) -----------------------------------------------------------


async def test_w7_a_body_up_to_the_limit_is_read_and_one_byte_more_is_refused(site: Site) -> None:
    assert (await site.post("said", b"x" * 100 + b" " * (BODY_LIMIT - 100))).status_code == 200

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield b" " * (BODY_LIMIT // 16)
        yield b" "

    answer = await site.client.post("/hooks/said", content=pieces())
    assert answer.status_code == 413
    assert len(site.said.requests) == 1
    assert (await site.post("said", b" " * (BODY_LIMIT + 1))).status_code == 413
    assert site.doors._large == 0


@pytest.mark.parametrize("length", ["-1", "1e3", "１", "0x10", "", " ", "1, 1", "9" * 13])
async def test_w7_a_length_that_is_no_number_is_refused(site: Site, length: str) -> None:
    headers = {b"content-length": length.encode()}
    await refused(site, await site.client.post("/hooks/wecom", content=b"", headers=headers), 400)


async def test_w7_a_length_beside_chunks_is_refused(site: Site) -> None:
    query, body = site.app.callback(event())
    answer = await site.post("wecom", body, query, transfer_encoding="chunked", content_length=str(len(body)))
    await refused(site, answer, 400)


# W9, W10, W11 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "coding", ["gzip", "gzip, gzip", "GZIP", "deflate", "br", "identity, gzip", "x", "", "zstd"]
)
async def test_w9_a_compressed_body_is_refused_unread(site: Site, coding: str) -> None:
    query, body = site.app.callback(event())
    await refused(site, await site.post("wecom", body, query, content_encoding=coding), 415)
    await refused(site, await site.post("said", b"T-1", content_encoding=coding), 415)
    assert site.said.requests == []


async def test_w9_identity_is_no_compression(site: Site) -> None:
    query, body = site.app.callback(event())
    assert (await site.post("wecom", body, query, content_encoding="Identity")).status_code == 200


@pytest.mark.parametrize(
    "bend",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.replace("<xml>", "<xml><a>\xff\xfe</a>").encode("latin-1"),
        lambda text: text.replace("<xml>", "<xml>\x00").encode(),
        lambda text: text.replace("<xml>", "<xml><a>\ud800</a>").encode("utf-8", "surrogatepass"),
        lambda text: b"\x00" + text.encode(),
        lambda text: text.encode() + b"\x00",
        lambda text: b"\xef\xbb\xbf\xef\xbb\xbf" + text.encode(),
    ],
    ids=["utf-16", "utf-16-be", "utf-32", "latin-1", "nul", "half", "nul-first", "nul-last", "two-marks"],
)  # fmt: skip
async def test_w10_a_body_that_is_not_utf_8_text_is_refused(site: Site, bend: Any) -> None:
    query, body = site.app.callback(event())
    bent = bend(body.decode())
    # What begins as an envelope may be one of which a bit was flipped (W2).
    await refused(site, await site.post("wecom", bent, query), 401 if bent.startswith(b"<") else 400)


async def test_w10_a_byte_order_mark_of_utf_8_is_no_part_of_the_text(site: Site) -> None:
    query, body = site.app.callback(event())
    assert (await site.post("wecom", b"\xef\xbb\xbf" + body, query)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [b"[]", b'"x"', b"null", b"", b" \r\n ", b"{}", b"0", b"a=b", b"\xef\xbb\xbf[]", b"xml><Encrypt/>"],
)
async def test_w11_a_body_of_another_format_is_a_bad_request(site: Site, body: bytes) -> None:
    query, _ = site.app.callback(event())
    await refused(site, await site.post("wecom", body, query), 400)
    await refused(site, await site.post("wecom", body))  # no signature at all comes first
    assert site.doors.counts["wecom"].refusals == {"invalid": 1, "signature": 1}


@pytest.mark.parametrize(
    "body", [b"<", b"<xml", b"<xml/>", b"<xml></xml>", b"<xml><Encrypt/></xml>", b"<json/>"]
)
async def test_w11_an_envelope_of_nothing_is_refused_as_one_that_was_bent(site: Site, body: bytes) -> None:
    query, _ = site.app.callback(event())
    await refused(site, await site.post("wecom", body, query))


# W14 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "CONNECT"]
)
async def test_w14_only_get_and_post_are_known(site: Site, method: str) -> None:
    query, body = site.app.callback(event())
    answer = await site.client.request(method, "/hooks/wecom", content=body, params=query)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert await site.stored() == []


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_w14_a_method_in_a_header_is_not_read(site: Site, name: str) -> None:
    query, body = site.app.callback(event())
    answer = await site.client.put("/hooks/wecom", content=body, params=query, headers={name: "POST"})
    await refused(site, answer, 405)
    answer = await site.client.get("/hooks/wecom", params=query, headers={name: "POST"})
    await refused(site, answer)


async def test_w14_a_get_that_is_no_handshake_is_refused(site: Site) -> None:
    query, _ = site.app.callback(event())
    await refused(site, await site.get("wecom", {}))
    await refused(site, await site.get("wecom", query))


# W16 --------------------------------------------------------------------------------------------------------------

SPOOFED = {
    "X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9",
    "X-Forwarded-Host": "admin", "X-Forwarded-Proto": "https",
}  # fmt: skip


async def test_w16_no_connector_sees_an_address_that_a_caller_names(site: Site) -> None:
    await site.client.post("/hooks/said", content=b"T-1", headers=SPOOFED)
    assert not {name.lower() for name in SPOOFED} & set(site.said.requests[0].headers)


@pytest.mark.parametrize(
    ("proxies", "seen"),
    [("", "127.0.0.1"), ("198.51.100.7, 10.0.0.0/8", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")],
)
async def test_w16_a_forwarded_address_is_believed_only_from_our_own_proxy(
    site: Site, proxies: str, seen: str
) -> None:
    config = serve._config(site.doors, "127.0.0.1:0", Settings(trusted_proxies=proxies))
    trusted = {"proxy_headers": config.proxy_headers, "forwarded_allow_ips": config.forwarded_allow_ips}
    async with served(site.doors, **trusted) as (port, _), httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{port}/hooks/wecom", content=b"", headers=SPOOFED)
    await refused(site, answer)
    assert [entry["client"] for entry in site.logged] == [seen]


# W17, W18 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        ("edit_external_contact", "add_external_contact"),
        ("del_external_contact", "add_external_contact"),
        ("del_follow_user", "edit_external_contact", "add_external_contact"),
        ("edit_external_contact",),
    ],
    ids=["update-create", "delete-create", "left-update-create", "update"],
)
async def test_w17_events_in_no_sensible_order_are_all_stored_as_they_came(
    site: Site, changes: tuple[str, ...]
) -> None:
    for number, change in enumerate(changes):
        answer = await site.call(event(change, CreateTime=str(NOW + number)))
        assert (answer.status_code, answer.content) == (200, b"")
    found = await site.stored()
    assert len({partition for partition, _ in found}) == 1
    follows = [
        message.headers["ce_id"] for _, message in found if message.headers["ce_source"] == "wecom/follow"
    ]
    assert len(set(follows)) == len(changes)


@pytest.mark.parametrize(
    "time_",
    ["0", "1", "4102444800", "253402300800", "-1", "99999999999999999999", "2016-12-31T23:59:60Z",
     "2026-01-10T24:00:00", "2026-01-10 02:00:00", "", "nan", "１７６８０１０４００", "\u202e0"],
)  # fmt: skip
@pytest.mark.parametrize("change", ["edit_external_contact", "del_follow_user"])
async def test_w18_an_event_with_an_impossible_date_is_stored_without_trusting_it(
    site: Site, change: str, time_: str
) -> None:
    answer = await site.call(event(change, CreateTime=time_))
    assert (answer.status_code, answer.content) == (200, b"")
    ((_, message),) = await site.stored()
    told = orjson.loads(message.body)
    assert told["id"]
    assert "ce_time" not in message.headers
    assert told.get("observed_at", NOW * 1_000_000) in (NOW * 1_000_000, 1_000_000 * _plausible(time_))


def _plausible(text: str) -> int:
    seconds = int(text) if text.isascii() and text.isdigit() else 0
    return seconds if 1_262_304_000 <= seconds <= NOW + 86_400 else NOW
