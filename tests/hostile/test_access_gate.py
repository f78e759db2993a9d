"""The gate over a socket: who is let in, who is not, and what the refusal says."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from hub.access.tokens import list_tokens, revoke_token
from hub.store.secrets import put_secret
from tests.access_site import served

LIST = "/api/v1/customers"
OTHERS = {
    "a proxy on this machine": {"x_forwarded_for": "203.0.113.9"},
    "a proxy that says Forwarded": {"forwarded": "for=203.0.113.9"},
    "a name that points here": {"host": "evil.example"},
    "a page of another site": {"origin": "https://evil.example"},
    "a browser sent by another site": {"sec_fetch_site": "cross-site"},
}


async def test_without_any_token_this_machine_is_the_administrator_until_the_first_one(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as site:
        assert (await site.ask("GET", LIST)).status_code == 200
        token = site.token("shop", "auditor")
        answer = await site.ask("GET", LIST)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["type"] == "urn:hub:problem:unauthorized"
        assert (await site.ask("GET", LIST, token)).status_code == 200
        for path in ("/healthz", "/readyz", "/metrics", "/docs"):
            assert (await site.ask("GET", path)).status_code == 200, path
        site.hub.store.run_now(revoke_token, "shop", by="user:test")
        assert (await site.ask("GET", LIST)).status_code == 401  # a revoked token opens nothing for others


async def test_the_secret_of_the_crm_closes_the_door_as_a_token_does(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        site.hub.store.run_now(put_secret, site.hub.vault, "api-token", b"of-the-crm")
        assert (await site.ask("GET", LIST)).status_code == 401
        assert (await site.ask("GET", LIST, "of-the-crm")).status_code == 200


@pytest.mark.parametrize("headers", OTHERS.values(), ids=OTHERS.keys())
async def test_who_only_comes_by_way_of_this_machine_is_no_administrator(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with served(tmp_path) as site:
        answer = await site.ask("GET", LIST, **headers)
        assert answer.status_code == 401
        assert "hub tokens create" in answer.json()["detail"]
        assert "hub tokens create" in answer.json()["detail_zh"]


@pytest.mark.parametrize("settings", [{"listen_ops": "0.0.0.0:0"}, {"trusted_proxies": "127.0.0.1"}])
async def test_a_listener_that_others_reach_lets_nobody_in_without_a_token(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    async with served(tmp_path, **settings) as site:
        assert (await site.ask("GET", LIST)).status_code == 401
        assert (await site.ask("GET", "/healthz")).status_code == 200
        assert (await site.ask("GET", LIST, site.token("shop", "auditor"))).status_code == 200


async def test_a_wrong_expired_or_revoked_token_gets_one_and_the_same_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        good = site.token("shop", "auditor")
        gone = site.token("gone", "auditor")
        old = site.token("old", "auditor")
        site.hub.store.run_now(revoke_token, "gone", by="user:test")
        site.hub.store.run_now(
            lambda tx: tx.cursor.execute("UPDATE tokens SET expires = 1 WHERE name = 'old'")
        )
        wrong = [
            "x",
            "hub_",
            good[:-1],
            good[:-1] + "!",
            good.swapcase(),
            good + good,
            gone,
            old,
            "A" * 9000,
        ]
        answers = [await site.ask("GET", LIST, token) for token in wrong]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1
        in_query = await site.ask("GET", f"{LIST}?token={good}")
        assert in_query.status_code == 401
        assert (await site.ask("GET", LIST, good)).status_code == 200


async def test_two_authorizations_are_none(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        good = site.token("shop", "auditor")
        async with httpx.AsyncClient(trust_env=False, base_url=site.url) as client:
            pairs = [("authorization", f"Bearer {good}"), ("authorization", "Bearer other")]
            assert (await client.get(LIST, headers=pairs)).status_code == 401


async def test_a_role_may_do_what_the_table_says_and_nothing_else(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        for role, may in {"admin": True, "integrator": True, "operator": False, "auditor": False}.items():
            token = site.token(role, role)
            assert (await site.ask("GET", LIST, token)).status_code == 200
            path = f"/api/v1/customers/by-external/south/{role}"
            body = {"name": f"深圳市{role}有限公司"}
            answer = await site.ask("PUT", path, token, json=body)
            assert answer.status_code == (201 if may else 403), role
            if not may:
                assert answer.json()["type"] == "urn:hub:problem:forbidden"
                assert role in answer.json()["detail_zh"]


async def test_a_token_is_used_only_from_where_it_may_be(tmp_path: Path) -> None:
    async with served(tmp_path, trusted_proxies="127.0.0.1") as site:
        token = site.token("shop", "auditor", addresses=["203.0.113.0/24"])
        assert (await site.ask("GET", LIST, token)).status_code == 403
        assert (await site.ask("GET", LIST, token, x_forwarded_for="203.0.113.9")).status_code == 200
        forged = "203.0.113.9, 198.51.100.1"  # our proxy wrote the last one, the caller the rest
        assert (await site.ask("GET", LIST, token, x_forwarded_for=forged)).status_code == 403


async def test_nobody_names_its_own_address_where_no_proxy_is_trusted(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        token = site.token("shop", "auditor", addresses=["203.0.113.9"])
        for name in ("x_forwarded_for", "x_real_ip", "forwarded"):
            assert (await site.ask("GET", LIST, token, **{name: "203.0.113.9"})).status_code == 403


async def test_a_token_that_calls_too_often_waits_and_no_other_does(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        slow, other = site.token("slow", "auditor", rate=1), site.token("other", "auditor")
        answers = [await site.ask("GET", LIST, slow) for _ in range(8)]
        late = [answer for answer in answers if answer.status_code == 429]
        assert late
        assert late[0].headers["retry-after"] == "1"
        assert late[0].json()["type"] == "urn:hub:problem:too-many-requests"
        assert (await site.ask("GET", LIST, other)).status_code == 200


async def test_who_guesses_must_wait_and_a_neighbour_with_a_good_token_does_not(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        good = site.token("shop", "auditor")
        assert (await site.ask("GET", LIST, good)).status_code == 200
        codes = [(await site.ask("GET", LIST, f"guess-{number}")).status_code for number in range(40)]
        assert codes[0] == 401
        assert codes[-1] == 429
        assert (await site.ask("GET", LIST, good)).status_code == 200


async def test_the_use_of_a_token_is_kept_once_a_minute(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        token = site.token("shop", "auditor")
        await site.ask("GET", LIST, token)
        first = site.hub.store.read_now(list_tokens)[0].used
        assert first is not None
        for _ in range(3):
            await site.ask("GET", LIST, token)
        assert site.hub.store.read_now(list_tokens)[0].used == first
