"""The Kingdee stand-in: authentication and envelope (sections 1 and 2.2 of the fact sheet).

The constants of the golden vectors were made with openssl.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.contract.kingdee_site import (
    AUTH,
    CENTRES,
    FORMS,
    LOST,
    Site,
    customer,
    error,
    open_site,
    signed,
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_three_logins_open_a_session_with_two_cookies(site: Site) -> None:
    a = site.box.account
    by_sign = "c9bf9e5c268267a94cf983bdc2e814a6bb30fe9808f9dda18eb88e599e11bb2d"
    for method, said in {
        "ValidateUser": (a.acct_id, "hub", a.password, "2052"),
        "LoginByAppSecret": (a.acct_id, "hub", a.app_id, a.app_secret, "2052"),
        "LoginBySign": (a.acct_id, "hub", a.app_id, "1700000000", by_sign, "2052"),
    }.items():
        site.http.cookies.clear()
        result = await site.login(method, *said)
        assert result["LoginResultType"] == 1, method
        assert set(site.http.cookies) == {"kdservice-sessionid", "ASP.NET_SessionId"}
        assert site.http.cookies["kdservice-sessionid"] == result["KDSVCSessionId"]
        assert await site.query("BD_Customer", "FNumber") == []


async def test_a_wrong_secret_is_http_200_and_the_fifth_one_locks_the_user_for_half_an_hour(
    site: Site,
) -> None:
    a = site.box.account
    for _ in range(5):
        refused = await site.login("LoginByAppSecret", a.acct_id, "hub", a.app_id, "wrong", "2052")
        assert refused["LoginResultType"] in (0, -1)
        assert refused["Context"] is None
        assert refused["KDSVCSessionId"] is None
    assert "次数超限" in (await site.login())["Message"]
    site.box.advance(1801)
    assert (await site.login())["LoginResultType"] == 1
    bad = await site.login("LoginBySign", a.acct_id, "hub", a.app_id, "1700000000", "0" * 64, "2052")
    assert bad["MessageCode"] == "002005000003016"


async def test_the_signature_made_with_openssl_is_accepted_once_per_path(site: Site) -> None:
    headers = signed("/", site.box.account) | {
        "X-Api-Signature": "MTYyNjMxNWQyNDk0ZjIyM2RmZGRiNGNmYjIyOWEwNDFkMWVlMDJhM2QwMGQ4NzYzOGQwMzBhN2Q2NmZjZTczMA==",
        "X-Kd-Signature": "ZDQxYjA1MWRkNjE1NmVjNjk2N2Q2ODNhMmRiZjkxYWI3OWFkMWEyYTViYTIzNGYxZmMwZTg3YTk1MmU1YjhlZA==",
    }
    ask = {"data": {"FormId": "BD_Currency", "FieldKeys": "FNumber", "OrderString": "FNumber"}}
    site.http.cookies.clear()
    answer = await site.raw("BillQuery", ask, headers=headers)
    assert answer.json() == [{"FNumber": "PRE001"}, {"FNumber": "PRE007"}]
    assert answer.headers.get_list("set-cookie")[0].startswith("kdservice-sessionid=")
    site.http.cookies.clear()
    other = await site.raw("ExecuteBillQuery", ask, headers=headers)
    assert other.json()[0][0]["Result"]["ResponseStatus"]["MsgCode"] == 1


@pytest.mark.parametrize(
    "spoiled", ["X-Api-Signature", "X-Kd-Signature", "x-api-nonce", "X-Kd-Appkey", "X-Api-ClientID"]
)
async def test_a_spoiled_signature_header_looks_like_a_lost_session(site: Site, spoiled: str) -> None:
    path = f"/K3Cloud/{FORMS}View.common.kdsvc"
    site.http.cookies.clear()
    for stamp in ("1700000000", "1700000000123"):  # Python SDK: seconds; Java SDK: milliseconds
        headers = signed(path, site.box.account, stamp=stamp)
        right = await site.http.post(
            path, json={"formid": "BD_Currency", "data": {"Number": "PRE001"}}, headers=headers
        )
        assert right.json()["Result"]["Result"]["Number"] == "PRE001"
        site.http.cookies.clear()
    headers = signed(path, site.box.account)
    value = headers[spoiled]
    headers[spoiled] = value[:-3] + ("A" if value[-3] != "A" else "B") + value[-2:]
    wrong = await site.http.post(path, json={"formid": "BD_Currency", "data": {}}, headers=headers)
    assert error(wrong.json()["Result"]["ResponseStatus"]) == (None, LOST, 1)


async def test_java_spellings_are_understood_and_a_wrong_centre_is_no_200(site: Site) -> None:
    path = f"/k3cloud/{FORMS}View.common.kdsvc"
    site.http.cookies.clear()
    headers = signed(path, site.box.account) | {
        "x-api-signheaders": "X-Api-TimeStamp,X-Api-Nonce", "Content-Type": "applicatin/json",
    }  # fmt: skip
    body = json.dumps({"parameters": ["BD_Currency", json.dumps({"Number": "PRE001"})]})
    first = await site.http.post(path, content=body, headers=headers)
    assert first.json()["Result"]["ResponseStatus"]["IsSuccess"]
    session = first.cookies["kdservice-sessionid"]
    site.http.cookies.clear()
    again = await site.http.post(path, content=body, headers={"SID": session})
    assert again.json()["Result"]["ResponseStatus"]["IsSuccess"]
    astray = signed(path, site.box.account, who="0000000000,hub,2052,100")
    assert (await site.http.post(path, content=body, headers=astray)).status_code == 500


async def test_one_cookie_alone_is_no_session(site: Site) -> None:
    session = site.http.cookies["kdservice-sessionid"]
    site.http.cookies.clear()
    site.http.cookies.set("kdservice-sessionid", session)
    assert (await site.status("View", "BD_Currency", Number="PRE001"))["MsgCode"] == 1
    with_header = await site.raw(
        "View",
        {"formid": "BD_Currency", "data": {"Number": "PRE001"}},
        headers={"kdservice-sessionid": session},
    )
    assert with_header.json()["Result"]["ResponseStatus"]["IsSuccess"]


async def test_an_idle_session_is_lost_in_the_shape_of_each_operation(site: Site) -> None:
    site.box.advance(1199)
    assert await site.query("BD_Customer", "FNumber") == []
    site.box.advance(1201)
    assert error(await site.status("Save", "BD_Customer", Model=customer())) == (None, LOST, 1)
    assert error((await site.query("BD_Customer", "FNumber"))[0][0]["Result"]["ResponseStatus"])[2] == 1
    bare = await site.call("BillQuery", FormId="BD_Customer", FieldKeys="FNumber")
    assert bare["Result"]["ResponseStatus"]["MsgCode"] == 1
    assert not site.created("BD_Customer")


async def test_a_signed_request_renews_a_dropped_session_silently(site: Site) -> None:
    path = f"/k3cloud/{FORMS}View.common.kdsvc"
    old = site.http.cookies["kdservice-sessionid"]
    await site.http.post("/control/sessions/drop")
    assert (await site.status("View", "BD_Currency", Number="PRE001"))["MsgCode"] == 1
    body = {"formid": "BD_Currency", "data": {"Number": "PRE001"}}
    renewed = await site.http.post(path, json=body, headers=signed(path, site.box.account))
    assert renewed.json()["Result"]["ResponseStatus"]["IsSuccess"]
    assert renewed.cookies["kdservice-sessionid"] != old


async def test_logout_ends_the_session_and_centres_are_listed_without_one(site: Site) -> None:
    assert (await site.http.post(f"/k3cloud/{AUTH}Logout.common.kdsvc", json={})).status_code == 200
    assert (await site.status("View", "BD_Currency", Number="PRE001"))["MsgCode"] == 1
    centres = (await site.http.post(f"/k3cloud/{CENTRES}", json={})).json()
    assert [one["Id"] for one in centres] == [site.box.account.acct_id]


async def test_an_administrator_is_refused(site: Site) -> None:
    path = f"/k3cloud/{FORMS}View.common.kdsvc"
    site.http.cookies.clear()
    headers = signed(path, site.box.account, who="64a1f0c2b7d3e9,Administrator,2052,100")
    answer = await site.http.post(path, json={"formid": "BD_Currency", "data": {}}, headers=headers)
    assert answer.json()["Result"]["ResponseStatus"]["MsgCode"] == 15


async def test_five_body_forms_and_every_spelling_reach_the_same_operation(site: Site) -> None:
    data = {"Number": "PRE001"}
    text = json.dumps(data)
    old = {
        "format": 1,
        "useragent": "ApiClient",
        "rid": "1",
        "v": "1.0",
        "parameters": json.dumps(["bd_currency", text]),
    }
    for body in (
        {"formid": "BD_Currency", "data": data}, {"FormId": "BD_CURRENCY", "Data": text},
        {"parameters": ["BD_Currency", text]}, old,
    ):  # fmt: skip
        for op in ("View", "view", "VIEW"):
            assert (await site.raw(op, body)).json()["Result"]["Result"]["Number"] == "PRE001"
    url = f"/k3cloud/{FORMS}View.common.kdsvc"
    form = await site.http.post(url, data={"formid": "BD_Currency", "data": text})
    assert form.json()["Result"]["Result"]["Number"] == "PRE001"


@pytest.mark.parametrize("body", [b"[1]", b"{", b"", b"\xff\xfe", b'{"formid":"BD_Customer","data":"{"}'])
async def test_a_malformed_body_is_http_500(site: Site, body: bytes) -> None:
    answer = await site.http.post(f"/k3cloud/{FORMS}Save.common.kdsvc", content=body)
    assert answer.status_code == 500
    assert "html" in answer.headers["content-type"]
