"""Bad envelopes at WeCom's door (reliability.md 5: W12, X1-X5): one identical refusal, nothing stored, no call out."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.effort import at_once
from tests.hook_site import CORP, Site, event, open_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as opened:
        yield opened


async def refused(site: Site, answer: httpx.Response, *, is_xml: bool = True) -> None:
    """Expect the one refusal, the same bytes as for nothing at all (as for JSON if it is no XML), and an untouched bus."""
    plain = await site.post("wecom", b"" if is_xml else b"[]", {} if is_xml else site.app.signed("x"))
    assert answer.status_code == (401 if is_xml else 400), (answer.status_code, answer.content)
    assert (answer.headers.raw, answer.content) == (plain.headers.raw, plain.content)
    assert await site.stored() == []
    assert "bug" not in site.doors.counts["wecom"].refusals


async def sent(site: Site, body: bytes, encrypted: str) -> httpx.Response:
    """Send an outer envelope with the right signature for that encrypted text; it must be answered at once."""
    with at_once():
        return await site.post("wecom", body, site.app.signed(encrypted))


# W12 --------------------------------------------------------------------------------------------------------------

BENT: dict[str, dict[str, Any]] = {
    "other corp": {"corp": "ww_of_somebody_else"},
    "no corp": {"corp": ""},
    "corp and more": {"corp": CORP + "x"},
    "half a corp": {"corp": CORP[:-1]},
    "padding 0": {"pad": 0},
    "padding 33": {"pad": 33},
    "padding 255": {"pad": 255},
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
async def test_w12_a_well_signed_envelope_with_wrong_contents_is_refused(
    site: Site, bent: dict[str, Any]
) -> None:
    await refused(site, await site.call(event(), **bent))
    echo = site.app.sealed(b"1616140317555161061", **bent)
    await refused(site, await site.get("wecom", {**site.app.signed(echo), "echostr": echo}))


async def test_w12_a_handshake_with_a_wrong_signature_is_refused(site: Site) -> None:
    echo = site.app.sealed(b"1616140317555161061")
    query = {**site.app.signed(echo), "echostr": echo}
    bent = query["msg_signature"][::-1]
    await refused(site, await site.get("wecom", {**query, "msg_signature": bent}))
    await refused(site, await site.get("wecom", {**query, "echostr": site.app.sealed(b"another")}))
    await refused(site, await site.get("other", query))
    assert (await site.get("wecom", query)).content == b"1616140317555161061"


async def test_w12_a_plus_that_became_a_space_is_refused_not_guessed(site: Site) -> None:
    echo = next(echo for echo in (site.app.sealed(b"%d" % number) for number in range(100)) if "+" in echo)
    query = {**site.app.signed(echo), "echostr": echo.replace("+", " ")}
    await refused(site, await site.get("wecom", query))


@pytest.mark.parametrize(
    "encrypted", ["", "=", "!!!!", "é", "YQ==", "A" * 43, "A" * 44, "A" * 64, "A" * 65_000, "中" * 20]
)
async def test_w12_text_that_is_nothing_encrypted_is_refused(site: Site, encrypted: str) -> None:
    body = f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()
    await refused(site, await sent(site, body, encrypted))
    await refused(site, await site.get("wecom", {**site.app.signed(encrypted), "echostr": encrypted}))


# X1, X2 -----------------------------------------------------------------------------------------------------------


def laughs(levels: int) -> str:
    """Return entities that would grow tenfold a level."""
    lines = ['<!ENTITY l0 "lol">']
    lines += [f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, levels + 1)]
    return f"<!DOCTYPE xml [{''.join(lines)}]>"


def both_layers(doctype: str, use: str = "") -> list[Any]:
    """Return the same attack on the envelope and, well signed and encrypted, on the event inside."""
    return [pytest.param(doctype, use, layer, id=layer) for layer in ("outside", "inside")]


async def attacked(site: Site, doctype: str, use: str, layer: str) -> httpx.Response:
    if layer == "inside":
        inner = doctype.encode() + event(UserID="zhangsan").replace(b"<xml>", f"<xml>{use}".encode())
        encrypted = site.app.sealed(inner)
        return await sent(site, f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode(), encrypted)
    encrypted = site.app.sealed(event())
    body = f"{doctype}<xml>{use}<Encrypt>{encrypted}</Encrypt></xml>"
    return await sent(site, body.encode(), encrypted)


LAYERS = pytest.mark.parametrize("layer", ["outside", "inside"])


@LAYERS
@pytest.mark.parametrize("levels", [5, 7, 9])
async def test_x1_entities_that_multiply_are_refused_before_they_grow(
    site: Site, levels: int, layer: str
) -> None:
    await refused(site, await attacked(site, laughs(levels), f"<a>&l{levels};</a>", layer))


@LAYERS
@pytest.mark.parametrize(
    ("doctype", "use"),
    [
        ('<!DOCTYPE xml [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "<a>&e;</a>"),
        ('<!DOCTYPE xml [<!ENTITY e SYSTEM "http://127.0.0.1:PORT/e">]>', "<a>&e;</a>"),
        ('<!DOCTYPE xml [<!ENTITY % p SYSTEM "http://127.0.0.1:PORT/p"> %p;]>', ""),
        ('<!DOCTYPE xml SYSTEM "http://127.0.0.1:PORT/x.dtd">', ""),
        ('<!DOCTYPE xml PUBLIC "-//A//B" "http://127.0.0.1:PORT/x.dtd">', ""),
        ('<!DOCTYPE xml [<!ATTLIST xml a CDATA "b">]>', ""),
        ("<!DOCTYPE xml>", ""),
        ("<!DOCTYPE xml []>", ""),
        ('<?xml-stylesheet href="http://127.0.0.1:PORT/s.xsl"?>', ""),
        ("", "<?php echo 1 ?>"),
    ],
    ids=["file", "http", "parameter", "dtd", "public", "attlist", "bare", "empty", "stylesheet", "instruction"],
)  # fmt: skip
async def test_x2_a_document_that_names_anything_outside_is_refused(
    site: Site, doctype: str, use: str, layer: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = str(listener.getsockname()[1])
        await refused(site, await attacked(site, doctype.replace("PORT", port), use, layer))
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_x2_an_inclusion_is_not_followed(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        include = (
            '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" '
            f'href="http://127.0.0.1:{listener.getsockname()[1]}/"/>'
        )
        await refused(site, await attacked(site, "", include, "outside"))
        with pytest.raises(BlockingIOError):
            listener.accept()


# X3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filling",
    [
        f'<a b="{"x" * 1_000_000}"/>',
        "<a " + " ".join(f"b{number}='1'" for number in range(6_000)) + ">",
        "<a/>" * 100_000,
        "<a/>" * 15_000,
        "<a>" * 10_000,
        "<a>" * 10_000 + "</a>" * 10_000,
        "<a>" * 4_000 + "</a>" * 4_000,
        f"<!--{'x' * 900_000}-->",
        f"<!--{'x' * 60_000}",
        "<![CDATA[",
        f"<a><![CDATA[{'x' * 60_000}",
        "]]>",
        f"<{'a' * 60_000}",
        "&" * 30_000,
        "<a b='" + "&lt;" * 10_000,
    ],
    ids=["attribute", "attributes", "elements", "elements-64k", "open", "deep", "deep-64k", "comment",
         "open-comment", "open-cdata", "long-cdata", "end-cdata", "name", "ampersands", "escapes"],
)  # fmt: skip
async def test_x3_an_envelope_out_of_all_bounds_is_refused_at_once(site: Site, filling: str) -> None:
    encrypted = site.app.sealed(event())
    body = f"<xml>{filling}<Encrypt>{encrypted}</Encrypt></xml>".encode()
    await refused(site, await sent(site, body, encrypted))


# X4 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        "<xml><Encrypt>{0}</Encrypt><Encrypt>{0}</Encrypt></xml>",
        "<xml><Encrypt>x</Encrypt><Encrypt>{0}</Encrypt></xml>",
        "<xml><encrypt>{0}</encrypt></xml>",
        "<xml><ENCRYPT>{0}</ENCRYPT></xml>",
        '<xml xmlns:w="urn:w"><w:Encrypt>{0}</w:Encrypt></xml>',
        '<xml xmlns="urn:w"><Encrypt>{0}</Encrypt></xml>',
        "<w:xml><Encrypt>{0}</Encrypt></w:xml>",
        "<xml><a><Encrypt>{0}</Encrypt></a></xml>",
        "<Encrypt>{0}</Encrypt>",
        "<XML><Encrypt>{0}</Encrypt></XML>",
        "<xml><Encrypt><a>{0}</a></Encrypt></xml>",
        "<xml><Encrypt><![CDATA[&#x41;{0}]]></Encrypt></xml>",
        "<xml><Encrypt><![CDATA[<![CDATA[{0}]]]]></Encrypt></xml>",
        "<xml><Encrypt a='{0}'/></xml>",
        "<xml><Encrypt>{0}</Encrypt></xml><xml/>",
        "<xml><Encrypt>{0}</Encrypt></xml>text",
        "<xml><Encrypt>{0}</xml></Encrypt>",
    ],
)
async def test_x4_an_envelope_of_another_shape_is_refused(site: Site, shape: str) -> None:
    encrypted = site.app.sealed(event())
    await refused(site, await sent(site, shape.format(encrypted).encode(), encrypted))


@pytest.mark.parametrize(
    "shape",
    [
        "<xml><Encrypt>{0}</Encrypt></xml>",
        "<xml><Encrypt><![CDATA[{0}]]></Encrypt></xml>",
        "<xml>\n  <Encrypt>{0}</Encrypt>\n  <Other><Encrypt>x</Encrypt></Other>\n</xml>\n",
        '<?xml version="1.0" encoding="UTF-8"?><xml><!-- x --><Encrypt>{0}</Encrypt></xml>',
    ],
)
async def test_x4_text_and_cdata_are_alike_and_what_is_unknown_is_left_alone(site: Site, shape: str) -> None:
    encrypted = site.app.sealed(event())
    assert (await sent(site, shape.format(encrypted).encode(), encrypted)).status_code == 200


# X5 ---------------------------------------------------------------------------------------------------------------


@LAYERS
@pytest.mark.parametrize(
    ("declared", "used"),
    [("UTF-7", "utf-7"), ("UTF-7", "utf-8"), ("GBK", "gbk"), ("GBK", "utf-8"), ("UTF-8", "gbk"), ("UTF-16", "utf-8"),
     ("UTF-16", "utf-16"), ("iso-8859-1", "utf-8"), ("x-nothing", "utf-8"), ("EBCDIC-CP-US", "cp500"), ("", "utf-8")],
)  # fmt: skip
async def test_x5_another_encoding_than_utf_8_is_refused(
    site: Site, declared: str, used: str, layer: str
) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>'
    name = "zhangsan" if used == "cp500" else "张三"
    if layer == "inside":
        inner = (head + event(UserID="zhangsan", Remark=name).decode()).encode(used)
        encrypted = site.app.sealed(inner)
        body = f"<xml><Encrypt>{encrypted}</Encrypt></xml>".encode()
    else:
        encrypted = site.app.sealed(event())
        body = f"{head}<xml><a>{name}</a><Encrypt>{encrypted}</Encrypt></xml>".encode(used)
    await refused(site, await sent(site, body, encrypted), is_xml=body.startswith(b"<"))
