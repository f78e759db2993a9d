"""The WeCom stand-in: tokens, grants, limits, wire (sections 0, 1 and 8 of the fact sheet)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from connectors.wecom.sandbox import WeComSandbox
from tests.contract.wecom_sandbox_site import CUSTOMER, Site, open_site

FOLLOWERS = f"{CUSTOMER}get_follow_user_list"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_a_repeated_gettoken_gives_the_same_token_with_less_time_left(site: Site) -> None:
    await site.advance(100)
    again = await site.gettoken()
    assert again["access_token"] == site.token
    assert 7098 <= again["expires_in"] <= 7100


@pytest.mark.parametrize(("rotation", "old"), [("new", 0), ("revoke", 40014)])
async def test_a_switch_makes_gettoken_rotate(site: Site, rotation: str, old: int) -> None:
    first = site.token
    await site.dials(token_rotation=rotation)
    assert await site.login() != first
    assert (await site.get(FOLLOWERS))["errcode"] == 0
    site.token = first
    assert (await site.get(FOLLOWERS))["errcode"] == old


async def test_a_token_dies_of_age_by_the_virtual_clock(site: Site) -> None:
    await site.advance(7199)
    assert (await site.get(FOLLOWERS))["errcode"] == 0
    await site.advance(2)
    assert (await site.get(FOLLOWERS))["errcode"] == 42001
    await site.dials(expiry_errcode=40014)
    assert (await site.get(FOLLOWERS))["errcode"] == 40014
    await site.login()
    assert (await site.get(FOLLOWERS))["errcode"] == 0


async def test_revoked_unknown_and_missing_tokens_are_told_apart(site: Site) -> None:
    assert (await site.control("POST", "/tokens/end", {}))["ended"] == 1
    assert (await site.get(FOLLOWERS))["errcode"] == 40014
    site.token = "nonsense"
    assert (await site.get(FOLLOWERS))["errcode"] == 40014
    site.token = ""
    assert (await site.get(FOLLOWERS))["errcode"] == 41001
    header = {"authorization": "Bearer x"}
    assert (await site.http.get(f"/cgi-bin/{FOLLOWERS}", headers=header)).json()["errcode"] == 41001


async def test_gettoken_names_what_is_wrong(site: Site) -> None:
    assert (await site.gettoken(secret="wrong"))["errcode"] == 40001
    assert (await site.gettoken(corpid="wwother"))["errcode"] == 40013
    assert (await site.http.get("/cgi-bin/gettoken")).json()["errcode"] == 41002
    only = {"corpid": site.given["corpid"]}
    assert (await site.http.get("/cgi-bin/gettoken", params=only)).json()["errcode"] == 41004


async def test_many_wrong_secrets_ban_the_address_for_an_hour(site: Site) -> None:
    codes = [(await site.gettoken(secret="wrong"))["errcode"] for _ in range(11)]
    assert codes == [40001] * 10 + [45009]
    assert (await site.gettoken())["errcode"] == 45009
    await site.advance(3601)
    assert (await site.gettoken())["errcode"] == 0


async def test_gettoken_without_caching_is_throttled(site: Site) -> None:
    await site.dials(gettoken_per_minute=3)
    assert [(await site.gettoken())["errcode"] for _ in range(3)] == [0, 0, 45009]


async def test_an_app_without_the_grant_is_refused_in_that_module_only(site: Site) -> None:
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"grants": ["contacts"]})
    assert (await site.get(FOLLOWERS))["errcode"] == 48002
    assert (await site.get("department/list"))["errcode"] == 0


async def test_an_untrusted_address_is_refused_after_a_good_gettoken(site: Site) -> None:
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"trusted_ips": ["203.0.113.7"]})
    assert (await site.gettoken())["errcode"] == 0
    refused = await site.get(FOLLOWERS)
    assert refused["errcode"] == 60020
    assert (
        "from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=60020"
        in refused["errmsg"]
    )


async def test_a_disabled_app_is_refused(site: Site) -> None:
    await site.control("PUT", f"/apps/{site.given['agentid']}", {"enabled": False})
    assert (await site.get(FOLLOWERS))["errcode"] == 50003


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json"]
)
async def test_json_is_read_whatever_the_content_type(site: Site, content_type: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = await site.http.post(
        f"/cgi-bin/{CUSTOMER}get_corp_tag_list",
        params={"access_token": site.token},
        content=b'{"tag_id":[]}',
        headers=headers,
    )
    assert answer.json()["errcode"] == 0


async def test_a_chunked_body_is_read(site: Site) -> None:
    external = await site.add()

    async def chunks() -> AsyncIterator[bytes]:
        for part in ('{"userid":"zhangsan","external_', f'userid":"{external}","remark":"', '老客户"}'):
            yield part.encode()

    answer = await site.http.post(
        f"/cgi-bin/{CUSTOMER}remark", params={"access_token": site.token}, content=chunks()
    )
    assert answer.request.headers["transfer-encoding"] == "chunked"
    assert answer.json()["errcode"] == 0


async def test_get_on_a_post_api_answers_40058_over_http_200(site: Site) -> None:
    assert (await site.get(f"{CUSTOMER}get_corp_tag_list"))["errcode"] == 40058


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff\xfe", b"tag_id=1"])
async def test_broken_json_is_named_in_the_text(site: Site, body: bytes) -> None:
    answer = await site.http.post(
        f"/cgi-bin/{CUSTOMER}mark_tag", params={"access_token": site.token}, content=body
    )
    assert answer.status_code == 200
    assert answer.json()["errcode"] == 40058
    assert answer.json()["errmsg"].startswith("Warning: wrong json format. ")


async def test_unknown_fields_are_noted_and_refused_only_in_strict_mode(site: Site) -> None:
    assert (await site.post(f"{CUSTOMER}get_corp_tag_list", filter=[1]))["errcode"] == 0
    noted = await site.control("GET", "/oddities")
    assert noted == [{"api": f"{CUSTOMER}get_corp_tag_list", "what": "unknown field filter"}]
    await site.dials(strict=True)
    assert (await site.post(f"{CUSTOMER}get_corp_tag_list", filter=[1]))["errcode"] == 40058


async def test_escaped_characters_are_noted_and_refused_in_strict_mode(site: Site) -> None:
    raw = b'{"tag_id":["\\u4e2d"]}'
    url, query = f"/cgi-bin/{CUSTOMER}get_corp_tag_list", {"access_token": site.token}
    assert (await site.http.post(url, params=query, content=raw)).json()["errcode"] == 0
    assert len(site.box.oddities.seen) == 1
    await site.dials(strict=True)
    assert (await site.http.post(url, params=query, content=raw)).json()["errcode"] == 40033


async def test_wrong_types_and_missing_fields_are_refused(site: Site) -> None:
    assert (await site.post(f"{CUSTOMER}remark", external_userid="wm"))["errcode"] == 41009
    assert (await site.post(f"{CUSTOMER}remark", userid="zhangsan"))["errcode"] == 41035
    assert (await site.post(f"{CUSTOMER}batch/get_by_user", userid_list="zhangsan"))["errcode"] == 40058
    assert (await site.post(f"{CUSTOMER}batch/get_by_user", userid_list=["zhangsan"], cursor=0))[
        "errcode"
    ] == 40058
    assert (await site.get("department/list", id="x"))["errcode"] == 40058


async def test_one_call_too_many_blocks_the_api_for_its_window_and_no_other(site: Site) -> None:
    await site.dials(per_minute=2)
    assert [(await site.get(FOLLOWERS))["errcode"] for _ in range(3)] == [0, 0, 45009]
    await site.dials(per_minute=0)
    assert (await site.get(FOLLOWERS))["errcode"] == 45009
    assert (await site.get("department/list"))["errcode"] == 0
    await site.advance(61)
    assert (await site.get(FOLLOWERS))["errcode"] == 0


async def test_the_hour_rule_and_the_address_rule_block_longer(site: Site) -> None:
    await site.dials(per_hour=1)
    assert [(await site.get(FOLLOWERS))["errcode"] for _ in range(2)] == [0, 45009]
    await site.advance(3500)
    assert (await site.get(FOLLOWERS))["errcode"] == 45009
    await site.advance(101)
    await site.dials(per_hour=0, per_ip_minute=1)
    assert [(await site.get(FOLLOWERS))["errcode"] for _ in range(2)] == [0, 45009]


async def test_an_injected_45009_blocks_too(site: Site) -> None:
    await site.dials(next=[{"fault": "errcode_45009", "op": FOLLOWERS}])
    assert (await site.get(FOLLOWERS))["errcode"] == 45009
    assert (await site.get(FOLLOWERS))["errcode"] == 45009
    await site.advance(61)
    assert (await site.get(FOLLOWERS))["errcode"] == 0


async def test_too_many_calls_at_once_answer_45033(site: Site) -> None:
    await site.dials(in_flight=2, latency_ms=50)
    codes = [one["errcode"] for one in await asyncio.gather(*(site.get(FOLLOWERS) for _ in range(6)))]
    assert sorted(codes) == [0] * 2 + [45033] * 4
    assert (await site.control("GET", "/calls"))["most_in_flight"][FOLLOWERS] == 2


async def test_codes_come_by_count_and_by_probability(site: Site) -> None:
    await site.dials(next=[{"fault": "errcode_48011", "op": FOLLOWERS, "times": 2}])
    assert [(await site.get(FOLLOWERS))["errcode"] for _ in range(3)] == [48011, 48011, 0]
    await site.dials(chances=[{"errcode": 999999, "api": FOLLOWERS, "probability": 0.5}])
    codes = {(await site.get(FOLLOWERS))["errcode"] for _ in range(30)}
    assert codes == {0, 999999}
    assert (await site.get("department/list"))["errcode"] == 0


async def test_an_unknown_fault_is_refused_by_the_control_door(site: Site) -> None:
    await site.control("PATCH", "/dials", {"next": [{"fault": "errcode_x"}]}, status=422)


async def test_a_token_can_die_in_mid_listing(site: Site) -> None:
    await site.dials(next=[{"fault": "revoke_token", "op": FOLLOWERS}])
    assert (await site.get(FOLLOWERS))["errcode"] == 40014
    assert (await site.get(FOLLOWERS))["errcode"] == 40014
    await site.login()
    await site.dials(next=[{"fault": "expire_token", "op": FOLLOWERS}])
    assert (await site.get(FOLLOWERS))["errcode"] == 42001
    await site.login()
    assert (await site.get(FOLLOWERS))["errcode"] == 0


def test_what_is_printed_at_the_start_is_all_a_connection_needs() -> None:
    given = WeComSandbox().credentials("http://127.0.0.1:1")
    assert {"base_url", "corpid", "agentid", "secret", "token", "encoding_aes_key"} <= set(given)
    assert len(given["encoding_aes_key"]) == 43


async def test_the_control_door_describes_itself(site: Site) -> None:
    described = await site.control("GET", "/openapi.json")
    assert {"/act", "/acts", "/population", "/callbacks/{agentid}", "/callbacks/flush"} <= set(
        described["paths"]
    )


async def test_a_reset_forgets_everything(site: Site) -> None:
    await site.add()
    await site.control("POST", "/reset")
    assert (await site.get(FOLLOWERS))["errcode"] == 40014
    assert not list(site.box.corp.persons())
    assert not len(site.box.ledger())
