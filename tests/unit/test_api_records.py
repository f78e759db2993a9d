"""The API as a caller meets it: write by external id, read back, page through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from hub.api.writer import record_writer
from hub.clock import SystemClock
from hub.crm.external import ExternalWrite, WriteAnswer, WriteRefused
from hub.errors import Cause, IntegrityError
from hub.model.record import Scope
from hub.store import Store, Tx, sql
from hub.vault import Vault
from tests.api_site import CREDIT_CODE, CUSTOMER, TOKEN, Site, open_site
from tests.stores import ask
from tests.worlds import world

PAYMENT = {
    "no": "HK-1",
    "customer": {"external": "C-1"},
    "received_on": "2026-01-10",
    "amount": "1000.00",
    "currency": "CNY",
}
CONTACT = {"name": "王小明", "customer": {"external": "C-1"}, "mobile": "13800138000"}
FOLLOW = {"contact": {"external": "P-1"}, "employee": "li.lei", "since": "2026-01-02T00:00:00Z"}


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


async def test_a_contract_an_approval_and_a_consent_are_written_and_read_like_other_records(
    site: Site,
) -> None:
    await site.put("customers/by-external/crm/C-1", CUSTOMER)
    await site.put("contacts/by-external/crm/P-1", CONTACT)
    plan = b'[{"period_no": 1, "due_on": "2026-01-31", "amount_due": 1500.5}]'
    deal = b'{"no": "HT-1", "customer": {"external": "C-1"}, "amount_total": 1500.50, "currency": "CNY", "payment_plan": '
    contract = await site.put("contracts/by-external/crm/H-1", content=deal + plan + b"}")
    assert contract.status_code == 201, contract.text
    assert contract.json()["fields"]["payment_plan"][0]["amount_due"] == "1500.50"
    form = {"no": "HT-1-1", "subject": "contract", "status": "draft", "contract": {"external": "H-1"}}
    approval = await site.put("approvals/by-external/crm/A-1", form)
    assert approval.json()["fields"]["contract"] == contract.json()["id"]
    consent = {"contact": {"external": "P-1"}, "channel": "email", "state": "opted_out"}
    assert (await site.put("consents/by-external/crm/N-1", consent)).status_code == 201
    for path, number in (("contracts", 1), ("approvals", 1), ("consents", 1)):
        assert len((await site.get(path)).json()["items"]) == number
    wrong = await site.put("contracts/by-external/crm/H-2", content=deal + b'[{"period_no": 1}]}')
    assert [error["field"] for error in wrong.json()["errors"]] == ["payment_plan"]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        *(({"status": one}, ["status"]) for one in ("in_progress", "approved", "rejected", "withdrawn", "revoked")),
        ({"nodes": [{"approver": "li.lei", "action": "agree"}]}, ["nodes"]),
        ({"nodes": None, "opinion": "同意", "finished_at": "2026-11-30T02:00:00Z"}, ["finished_at", "nodes", "opinion"]),
        ({"external_ref": "202611300001"}, ["external_ref"]),
        ({"status": "approved", "nodes": "", "amount": "much"}, ["amount", "nodes", "status"]),
    ],
)  # fmt: skip
async def test_who_asks_for_an_approval_does_not_say_how_it_was_decided(
    site: Site, said: dict[str, object], named: list[str]
) -> None:
    form = {"no": "A-1", "subject": "custom", "status": "draft"}
    for known in (404, 200):
        answer = await site.put("approvals/by-external/crm/A-1", {**form, **said})
        assert answer.status_code == 422
        errors = answer.json()["errors"]
        assert sorted(error["field"] for error in errors) == named
        assert all(
            "the one the approval was routed to" in e["message"] for e in errors if e["field"] != "amount"
        )
        assert (await site.get("approvals/by-external/crm/A-1")).status_code == known
        assert (await site.put("approvals/by-external/crm/A-1", form)).status_code in (200, 201)
    document = (await site.client.get("/openapi.json")).json()
    schema = document["paths"]["/api/v1/approvals/by-external/{system}/{external}"]["put"]["requestBody"]
    fields = schema["content"]["application/json"]["schema"]["properties"]
    assert fields["status"]["enum"] == ["draft", "submitted"]
    assert not {"nodes", "opinion", "finished_at", "external_ref", "route"} & fields.keys()


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
        assert (await site.put("customers/by-external/crm/C-1", CUSTOMER)).status_code == 404
        there = await site.writer(ExternalWrite("crm", "customer", "C-1", {**CUSTOMER}, "cn/south/", "demo"))
        assert isinstance(there, WriteAnswer)
        south = {"id": there.record_id.hex()}
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
    for stored in ([b""], []):
        async with open_site(tokens=stored) as site:
            for given in ("Bearer ", f"Bearer {TOKEN}"):
                answer = await site.client.get("/api/v1/customers", headers={"Authorization": given})
                assert answer.status_code == 401


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


# contacts, follows, employees -----------------------------------------------------------------------------------


async def put_people(site: Site) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Write a customer, its contact and who follows that; return the three as stored."""
    customer = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    contact = await site.put("contacts/by-external/crm/P-1", CONTACT)
    follow = await site.put("follows/by-external/crm/F-1", FOLLOW)
    assert (contact.status_code, follow.status_code) == (201, 201), (contact.text, follow.text)
    contact = await site.get("contacts/by-external/crm/P-1")
    return customer.json(), contact.json(), follow.json()


async def test_a_contact_names_its_customer_and_a_follow_its_contact_by_the_callers_ids(site: Site) -> None:
    customer, contact, follow = await put_people(site)
    assert contact["fields"]["customer"] == customer["id"]
    assert follow["fields"]["contact"] == contact["id"]
    assert (contact["owner"], contact["region"]) == ("li.lei", "cn/north/")
    assert (follow["fields"]["state"], follow["owner"]) == ("active", "li.lei")
    for path, record in (("contacts", contact), ("follows", follow)):
        assert (await site.get(f"{path}/{record['id']}")).json() == record
        assert [item["id"] for item in (await site.get(path)).json()["items"]] == [record["id"]]


async def test_people_are_named_by_our_ids_too(site: Site) -> None:
    customer, contact, _ = await put_people(site)
    other = await site.put(
        "contacts/by-external/crm/P-2", {"name": "李华", "customer": customer["id"], "mobile": "13900139000"}
    )
    assert other.json()["fields"]["customer"] == customer["id"]
    follow = await site.put("follows/by-external/crm/F-2", {**FOLLOW, "contact": contact["id"]})
    assert follow.json()["fields"]["contact"] == contact["id"]


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("contacts/by-external/crm/P-1", CONTACT, "customer"),
        ("follows/by-external/crm/F-1", FOLLOW, "contact"),
    ],
)
async def test_a_person_who_hangs_on_nobody_known_says_what_to_send_first(
    site: Site, path: str, body: dict[str, Any], kind: str
) -> None:
    answer = await site.put(path, {**body, "nickname": "x"})
    assert answer.status_code == 422
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert set(errors) == {"nickname", kind}
    assert f"send the {kind} first" in errors[kind]


async def test_a_follow_of_a_customer_is_refused(site: Site) -> None:
    customer = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    for reference in (customer["id"], {"external": "C-1"}):
        answer = await site.put("follows/by-external/crm/F-1", {**FOLLOW, "contact": reference})
        assert [error["field"] for error in answer.json()["errors"]] == ["contact"]


async def test_the_state_of_a_follow_is_worked_out_not_sent(site: Site) -> None:
    await put_people(site)
    answer = await site.put("follows/by-external/crm/F-1", {**FOLLOW, "state": "deleted_by_employee"})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "state")
    assert "derived" in error["message"]


async def test_employees_are_shown_and_never_written(site: Site) -> None:
    made = Vault.in_memory(SystemClock())
    body = {"code": "li.lei", "name": "李雷"}
    insert = sql.command(
        "INSERT INTO records (id, kind, version, region, body, data_key, act) VALUES (?, 'employee', 1, '', ?, ?, 1)"
    )
    id_ = b"e" * 16
    site.store.run_now(insert, id_, orjson.dumps(body).decode(), made.new_data_key(id_)[1])
    assert (await site.get(f"employees/{id_.hex()}")).json()["fields"] == body
    assert [item["id"] for item in (await site.get("employees")).json()["items"]] == [id_.hex()]
    before = site.counts()
    assert (await site.put("employees/by-external/crm/E-1", body)).status_code == 404
    assert (await site.patch(f"employees/{id_.hex()}", {"name": "x"})).status_code == 405
    assert site.counts() == before


# PATCH ----------------------------------------------------------------------------------------------------------


async def test_a_change_of_fields_is_a_new_version_and_leaves_the_others_alone(site: Site) -> None:
    first = (
        await site.put("customers/by-external/crm/C-1", {**CUSTOMER, "level": "A", "industry": "IT"})
    ).json()
    answer = await site.patch(f"customers/{first['id']}", {"level": "B", "industry": None, "custom.x": [1]})
    body = answer.json()
    assert (answer.status_code, answer.headers["etag"], body["version"]) == (200, '"2"', 2)
    kept = {name: value for name, value in first["fields"].items() if name != "industry"}
    assert body["fields"] == {**kept, "level": "B", "custom.x": [1]}
    assert (await site.get(f"customers/{first['id']}")).json() == body


@pytest.mark.parametrize("body", [{}, {"level": "A"}, {"industry": None}, {"level": "A", "custom.x": None}])
async def test_a_change_that_changes_nothing_keeps_the_version_and_writes_no_act(
    site: Site, body: dict[str, Any]
) -> None:
    first = (await site.put("customers/by-external/crm/C-1", {**CUSTOMER, "level": "A"})).json()
    before = site.counts()
    answer = await site.patch(f"customers/{first['id']}", body)
    assert (answer.status_code, answer.json()) == (200, first)
    assert site.counts() == before


async def test_a_change_is_an_act_in_the_name_of_the_callers_connection(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    await site.patch(f"customers/{first['id']}", {"level": "A"})
    await site.patch(f"customers/{first['id']}?system=shop", {"level": "B"})
    acts = site.store.read_now(ask, "SELECT actor, verb FROM acts ORDER BY id")
    assert [tuple(act) for act in acts] == [("api:crm", "put"), ("api", "patch"), ("api:shop", "patch")]


async def test_a_change_owes_every_sync_the_new_version() -> None:
    clock = SystemClock()
    store, vault = Store.open("sqlite://", clock, inline=True), Vault.in_memory(clock)
    made = world(store, vault)

    def owed(tx: Tx) -> list[Any]:
        return ask(tx, "SELECT sync, subject, want, act FROM owed ORDER BY sync")

    services = {"read": store.read, "project": lambda: made.project}
    async with open_site(**services, write_record=record_writer(store, lambda: made)) as site:
        first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
        ((sync, subject, want, _),) = store.read_now(owed)
        await site.patch(f"customers/{first['id']}", {"remark": "x"})
        ((again, same, later, _),) = store.read_now(owed)
        assert (again, same) == (sync, subject) == ("customer.out", first["id"])
        assert later > want
        assert (await site.patch(f"customers/{first['id']}", {"remark": "x"})).json()["version"] == 2
        assert store.read_now(owed)[0][2] == later
    store.close()


async def test_a_stale_version_is_not_changed(site: Site) -> None:
    first = await site.put("customers/by-external/crm/C-1", CUSTOMER)
    path = f"customers/{first.json()['id']}"
    fresh = await site.patch(path, {"level": "A"}, if_match=first.headers["etag"])
    assert (fresh.status_code, fresh.headers["etag"]) == (200, '"2"')
    before = site.counts()
    stale = await site.patch(path, {"level": "B"}, if_match=first.headers["etag"])
    assert (stale.status_code, stale.headers["etag"]) == (412, '"2"')
    assert (await site.patch(path, {"level": "A"}, if_match=first.headers["etag"])).status_code == 412
    assert site.counts() == before


async def test_every_problem_of_a_change_is_named_at_once(site: Site) -> None:
    _, contact, _ = await put_people(site)
    body = {
        "nme": 1,
        "name": None,
        "birthday": "31.12.",
        "owner": "x",
        "customer": {"external": "C-9"},
        "id": "x",
    }
    answer = await site.patch(f"contacts/{contact['id']}?system=crm", body)
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == set(body)


async def test_a_contact_is_given_another_customer_by_either_id(site: Site) -> None:
    first, contact, _ = await put_people(site)
    second = (await site.put("customers/by-external/crm/C-2", {"name": "北京另一家有限公司"})).json()
    path = f"contacts/{contact['id']}"
    moved = await site.patch(path, {"customer": second["id"]})
    assert moved.json()["fields"]["customer"] == second["id"]
    back = await site.patch(f"{path}?system=crm", {"customer": {"external": "C-1"}})
    assert back.json()["fields"]["customer"] == first["id"]
    assert "customer" not in (await site.patch(path, {"customer": None})).json()["fields"]
    nobody = await site.patch(path, {"customer": {"external": "C-1"}})
    assert nobody.status_code == 422
    assert "?system=" in nobody.json()["errors"][0]["message"]


async def test_a_reference_of_a_change_is_looked_up_again_where_it_is_written(site: Site) -> None:
    _, contact, _ = await put_people(site)
    second = (await site.put("customers/by-external/crm/C-2", {"name": "北京另一家有限公司"})).json()
    write = site.writer

    async def after_a_deletion(asked: Any) -> Any:
        site.store.run_now(
            sql.command("UPDATE records SET deleted = 1 WHERE id = ?"), bytes.fromhex(second["id"])
        )
        return await write(asked)

    site.writer = after_a_deletion
    answer = await site.patch(f"contacts/{contact['id']}", {"customer": second["id"]})
    assert [error["field"] for error in answer.json()["errors"]] == ["customer"]


async def test_a_credit_code_of_another_customer_is_named_with_its_holder(site: Site) -> None:
    holder = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    other = (await site.put("customers/by-external/crm/C-2", {"name": "北京另一家有限公司"})).json()
    before = site.counts()
    answer = await site.patch(f"customers/{other['id']}", {"uscc": CREDIT_CODE})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "uscc", "message": f"{CREDIT_CODE} belongs to {holder['id']}"}
    ]
    assert site.counts() == before
    await site.patch(f"customers/{holder['id']}", {"uscc": None})
    assert (await site.patch(f"customers/{other['id']}", {"uscc": CREDIT_CODE})).status_code == 200


async def test_another_legal_entity_moves_the_record_to_its_books(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    moved = await site.patch(f"customers/{first['id']}", {"entity": "north"})
    assert (moved.json()["entity"], moved.json()["fields"]["entity"]) == ("north", "north")
    assert (await site.patch(f"customers/{first['id']}", {"entity": "south"})).status_code == 422
    assert (await site.get(f"customers/{first['id']}")).json() == moved.json()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("state", "active", "derived"),
        ("contact", "0" * 32, "vendor alone"),
        ("employee", "han.mei", "vendor alone"),
        ("since", "2026-01-01T00:00:00Z", "vendor alone"),
        ("deleted_by_contact_at", None, "vendor alone"),
        ("way", "scan", "vendor alone"),
        ("owner", "han.mei", "employee of the follow"),
    ],
)
async def test_what_a_follow_has_from_the_vendor_is_not_changed_by_hand(
    site: Site, name: str, value: object, why: str
) -> None:
    _, _, follow = await put_people(site)
    before = site.counts()
    answer = await site.patch(f"follows/{follow['id']}", {name: value, "remark": "x"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == name
    assert why in error["message"]
    assert site.counts() == before


async def test_tags_of_a_follow_reach_its_contact_in_the_same_act(site: Site) -> None:
    _, contact, follow = await put_people(site)
    acts = site.counts()[4]
    answer = await site.patch(f"follows/{follow['id']}", {"tags": ["VIP"], "mobiles": ["13700137000"]})
    assert (answer.status_code, answer.json()["fields"]["state"]) == (200, "active")
    after = (await site.get(f"contacts/{contact['id']}")).json()
    assert after["version"] == contact["version"] + 1
    assert (after["fields"]["tags"], after["fields"]["mobiles"]) == (["VIP"], ["+8613700137000"])
    assert site.counts()[4] == acts + 1


async def test_the_owner_of_a_contact_or_customer_is_not_a_field_to_change(site: Site) -> None:
    customer, contact, _ = await put_people(site)
    of_contact = await site.patch(f"contacts/{contact['id']}", {"owner": "han.mei"})
    assert "derived" in of_contact.json()["errors"][0]["message"]
    of_customer = await site.patch(f"customers/{customer['id']}", {"owner": "li.lei"})
    assert "PUT" in of_customer.json()["errors"][0]["message"]


async def test_a_payment_is_never_edited_by_patch(site: Site) -> None:
    await site.put("customers/by-external/crm/C-1", CUSTOMER)
    payment = (await site.put("payments/by-external/crm/P-1", PAYMENT)).json()
    answer = await site.patch(f"payments/{payment['id']}", {"remark": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
    assert (await site.get(f"payments/{payment['id']}")).json() == payment


async def test_a_deleted_or_erased_record_is_not_changed(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    for gone in ("deleted = 1", "deleted = NULL, body = '{}', data_key = NULL"):
        site.store.run_now(sql.command(f"UPDATE records SET {gone}"))
        assert (await site.patch(f"customers/{first['id']}", {"level": "A"})).status_code == 404


async def test_a_change_of_a_merged_record_is_a_change_of_its_survivor(site: Site) -> None:
    kept = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    lost = (await site.put("customers/by-external/crm/C-2", {"name": "北京另一家有限公司"})).json()
    merge = sql.command("UPDATE records SET merged_into = ? WHERE id = ?")
    site.store.run_now(merge, bytes.fromhex(kept["id"]), bytes.fromhex(lost["id"]))
    answer = await site.patch(f"customers/{lost['id']}", {"level": "A"})
    assert (answer.json()["id"], answer.json()["version"]) == (kept["id"], 2)


async def test_a_change_names_only_an_api_connection_as_its_system(site: Site) -> None:
    first = (await site.put("customers/by-external/crm/C-1", CUSTOMER)).json()
    for system in ("nobody", "k3", ""):
        answer = await site.patch(f"customers/{first['id']}?system={system}", {"level": "A"})
        assert answer.status_code == 404
    assert (await site.patch(f"customers/{first['id']}?actor=me", {"level": "A"})).status_code == 400


async def test_the_description_says_what_a_change_may_hold(site: Site) -> None:
    paths = (await site.client.get("/openapi.json")).json()["paths"]
    assert "patch" not in paths["/api/v1/payments/{record}"]
    assert set(paths["/api/v1/employees/{record}"]) == {"get"}
    assert "/api/v1/employees/by-external/{system}/{external}" not in paths
    change = paths["/api/v1/follows/{record}"]["patch"]
    schema = change["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"remark", "mobiles", "company_name", "tags"}
    assert schema["properties"]["remark"]["type"] == ["string", "null"]
    assert {"200", "400", "401", "404", "412", "413", "415", "422"} <= set(change["responses"])
    assert {one["name"] for one in change["parameters"]} == {"record", "system", "If-Match"}
    put = paths["/api/v1/follows/by-external/{system}/{external}"]["put"]
    assert "state" not in put["requestBody"]["content"]["application/json"]["schema"]["properties"]
    of_contact = paths["/api/v1/contacts/{record}"]["patch"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert {"type": "null"} in of_contact["properties"]["customer"]["anyOf"]
    assert of_contact["properties"]["name"]["type"] == "string"
    page = (await site.client.get("/docs")).text
    assert "record id | {external} | null" in page
    assert "male | female | unknown | null" in page
