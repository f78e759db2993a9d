"""The API as a caller meets it: write by external id, read back, page through."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hub.crm.external import WriteRefused
from hub.errors import Cause, IntegrityError
from hub.model.record import Scope
from hub.store import sql
from tests.api_site import CUSTOMER, Site, open_site

PAYMENT = {
    "no": "HK-1",
    "customer": {"external": "C-1"},
    "received_on": "2026-01-10",
    "amount": "1000.00",
    "currency": "CNY",
}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened


async def test_a_new_customer_is_answered_with_its_version_and_place(site: Site) -> None:
    answer = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    body = answer.json()
    assert answer.status_code == 201
    assert (body["version"], body["region"], body["entity"], body["owner"]) == (1, "cn/south/", "demo", None)
    assert body["fields"] == {**CUSTOMER, "entity": "demo"}
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["location"] == f"/api/v1/customers/{body['id']}"
    assert (await site.get(answer.headers["location"].removeprefix("/api/v1/"))).json() == body


async def test_the_same_id_changes_the_same_record(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    second = await site.put("customers/by-external/crm/C-1", {**CUSTOMER, "level": "A"})
    assert second.status_code == 200
    assert second.json()["id"] == first["id"]
    assert second.json()["version"] == 2
    assert (await site.get("customers/by-external/crm/C-1")).json() == second.json()


async def test_the_same_body_again_changes_nothing(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    again = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    assert (again.status_code, again.json()) == (200, first)


async def test_a_credit_code_sent_by_two_systems_is_one_customer(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    second = await site.put("customers/by-external/shop/S-9", CUSTOMER)
    assert (second.status_code, second.json()["id"]) == (200, first["id"])


async def test_two_systems_may_use_the_same_id_for_different_customers(site: Site) -> None:
    await site.put("customers/by-external/crm/C-1", CUSTOMER)
    assert (await site.get("customers/by-external/shop/C-1")).status_code == 404


async def test_a_payment_names_its_customer_by_the_callers_own_id(site: Site) -> None:
    customer = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    payment = await site.put("payments/by-external/crm/P-1", PAYMENT)
    assert payment.status_code == 201
    assert payment.json()["fields"]["customer"] == customer["id"]
    by_our_id = await site.put(
        "payments/by-external/crm/P-2", {**PAYMENT, "no": "HK-2", "customer": customer["id"]}
    )
    assert by_our_id.json()["fields"]["customer"] == customer["id"]


async def test_a_payment_of_an_unknown_customer_says_send_the_customer_first(site: Site) -> None:
    answer = await site.put("payments/by-external/crm/P-1", PAYMENT)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "customer"
    assert "send the customer first" in error["message"]
    assert "请先发送客户" in error["message"]
    unknown = await site.put("payments/by-external/crm/P-1", {**PAYMENT, "customer": "0" * 32})
    assert unknown.status_code == 422
    assert not site.writes


async def test_a_deleted_customer_is_not_found_and_takes_no_payment(site: Site) -> None:
    customer = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    site.store.run_now(sql.command("UPDATE records SET deleted = 1"))
    assert (await site.get(f"customers/{customer['id']}")).status_code == 404
    assert (await site.get("customers/by-external/crm/C-1")).status_code == 404
    assert (await site.get("customers")).json()["items"] == []
    for reference in ({"external": "C-1"}, customer["id"]):
        answer = await site.put("payments/by-external/crm/P-1", {**PAYMENT, "customer": reference})
        assert answer.status_code == 422


@pytest.mark.parametrize(
    "reference", [{"external": ""}, {"external": 5}, {"system": "crm"}, {}, [], 7, "C-1"]
)
async def test_a_malformed_reference_is_named(site: Site, reference: object) -> None:
    answer = await site.put("payments/by-external/crm/P-1", {**PAYMENT, "customer": reference})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["customer"]


async def test_a_payment_of_a_payment_is_not_a_customer(site: Site) -> None:
    await site.put("customers/by-external/crm/C-1", CUSTOMER)
    payment = (await site.put("payments/by-external/crm/P-1", PAYMENT)).json()
    answer = await site.put("payments/by-external/crm/P-2", {**PAYMENT, "customer": payment["id"]})
    assert answer.status_code == 422


async def test_the_region_comes_from_the_owner_or_the_connection(site: Site) -> None:
    of_owner = await site.put("customers/by-external/crm/C-1", {**CUSTOMER, "owner": "li.lei"})
    assert (of_owner.json()["region"], of_owner.json()["owner"]) == ("cn/north/", "li.lei")
    stranger = await site.put(
        "customers/by-external/crm/C-2", {"name": "北京另一家有限公司", "owner": "han.mei"}
    )
    assert stranger.json()["region"] == "cn/south/"
    assert "owner" not in site.writes[0].body


async def test_a_legal_entity_must_be_in_the_table(site: Site) -> None:
    known = await site.put("customers/by-external/crm/C-1", {**CUSTOMER, "entity": "north"})
    assert known.json()["entity"] == "north"
    unknown = await site.put("customers/by-external/crm/C-2", {**CUSTOMER, "entity": "south"})
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["field"] == "entity"
    assert len(site.writes) == 1


async def test_a_stale_version_is_refused(site: Site) -> None:
    first = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    changed = {**CUSTOMER, "level": "A"}
    fresh = await site.put("customers/by-external/crm/C-1", changed, if_match=first.headers["etag"])
    assert (fresh.status_code, fresh.json()["version"]) == (200, 2)
    stale = await site.put("customers/by-external/crm/C-1", CUSTOMER, if_match=first.headers["etag"])
    assert stale.status_code == 412
    assert stale.headers["etag"] == '"2"'
    never = await site.put("customers/by-external/crm/C-9", CUSTOMER, if_match='"1"')
    assert never.status_code == 412


@pytest.mark.parametrize("tag", ["*", "1", 'W/"1"', '"x"', '"1", "2"', '"' + "9" * 30 + '"'])
async def test_an_unreadable_if_match_is_refused(site: Site, tag: str) -> None:
    assert (await site.put("customers/by-external/crm/C-1", CUSTOMER, if_match=tag)).status_code == 400


async def test_the_listing_is_paged_by_cursor_and_complete(site: Site) -> None:
    sent = set()
    for number in range(7):
        owner = {"owner": "li.lei"} if number % 2 else {}
        answer = await site.put(f"customers/by-external/shop/C-{number}", {"name": f"公司{number}", **owner})
        sent.add(answer.json()["id"])
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await site.get(f"customers?limit=3{cursor}")).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == 7
    assert set(seen) == sent
    assert (await site.get("payments")).json() == {"items": [], "next_cursor": None}


async def test_what_is_outside_the_scope_is_not_found() -> None:
    async with open_site(scope=Scope(("cn/north/",))) as site:
        south = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
        north = (
            await site.put("customers/by-external/crm/C-2", {"name": "北京另一家有限公司", "owner": "li.lei"})
        ).json()
        assert (await site.get(f"customers/{south['id']}")).status_code == 404
        assert (await site.get("customers/by-external/crm/C-1")).status_code == 404
        assert [item["id"] for item in (await site.get("customers")).json()["items"]] == [north["id"]]
        answer = await site.put("payments/by-external/crm/P-1", PAYMENT)
        assert answer.status_code == 422


async def test_a_write_that_a_person_must_decide_is_accepted_not_answered_as_stored(site: Site) -> None:
    name = CUSTOMER["name"]
    await site.put("customers/by-external/crm/C-1", {"name": name})
    before = site.counts()
    answer = await site.put("customers/by-external/crm/C-2", {"name": name})
    body = answer.json()
    assert answer.status_code == 202
    assert (body["state"], body["cause"], body["reason_zh"]) == ("parked", "candidate", Cause.CANDIDATE.zh)
    assert "dead letter" in body["detail"]
    assert site.counts()[0] == before[0]
    assert site.counts()[3] == before[3] + 1
    assert (await site.get("customers/by-external/crm/C-2")).status_code == 404


async def test_a_write_that_waits_says_so(site: Site) -> None:
    site.hold = WriteRefused(Cause.BLOCKED)
    answer = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")


async def test_a_hub_that_cannot_write_says_try_again(site: Site) -> None:
    site.refuse = IntegrityError(Cause.EPOCH)
    answer = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


async def test_a_fault_of_the_program_shows_nothing_of_its_inside(site: Site) -> None:
    site.refuse = ZeroDivisionError("secret inside")
    answer = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret inside" not in answer.text


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic token-of-the-test",
        "bearer token-of-the-test ",
        "Bearer token-of-the-tes",
        "Bearer " + "x" * 60_000,
        "Bearer é".encode(),
    ],
)
async def test_only_the_token_lets_a_caller_in(site: Site, authorization: str | bytes) -> None:
    answer = await site.client.get("/api/v1/customers", headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_two_authorization_headers_let_nobody_in(site: Site) -> None:
    headers = [("Authorization", "Bearer token-of-the-test"), ("Authorization", "Bearer wrong")]
    site.client.headers.pop("Authorization")
    assert (await site.client.get("/api/v1/customers", headers=headers)).status_code == 401


async def test_without_a_stored_token_nobody_is_let_in() -> None:
    async def none() -> list[bytes]:
        return [b""]

    async with open_site(tokens=none) as site:
        assert (
            await site.client.get("/api/v1/customers", headers={"Authorization": "Bearer "})
        ).status_code == 401


async def test_health_needs_no_token_and_readiness_follows_its_checks() -> None:
    async def down() -> dict[str, bool]:
        return {"store": True, "bus": False}

    async with open_site(ready=down) as site:
        site.client.headers.pop("Authorization")
        assert (await site.client.get("/healthz")).json() == {"status": "ok"}
        answer = await site.client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]) == (503, {"store": True, "bus": False})
    async with open_site() as site:
        assert (await site.client.get("/readyz")).status_code == 200


async def test_the_description_names_every_route_field_and_refusal(site: Site) -> None:
    document = (await site.client.get("/openapi.json")).json()
    assert set(document["paths"]) >= {"/healthz", "/readyz", "/api/v1/customers", "/api/v1/payments/{record}"}
    put = document["paths"]["/api/v1/payments/by-external/{system}/{external}"]["put"]
    schema = put["requestBody"]["content"]["application/json"]["schema"]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"no", "customer", "received_on", "amount", "currency"}
    assert {"200", "201", "400", "202", "401", "412", "413", "415", "422"} <= set(put["responses"])
    assert put["security"] == [{"token": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]


async def test_the_documentation_page_loads_nothing_from_elsewhere(site: Site) -> None:
    page = await site.client.get("/docs")
    assert page.status_code == 200
    assert "/api/v1/customers/by-external/" in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text.replace("http://hub", "")
    assert "https://" not in page.text


@pytest.mark.parametrize("system", ["nobody", "k3", "crm'--", "％"])
async def test_only_connections_of_the_api_connector_may_write(site: Site, system: str) -> None:
    answer = await site.put(f"customers/by-external/{system}/C-1", CUSTOMER)
    assert answer.status_code == 404
    assert not site.writes
