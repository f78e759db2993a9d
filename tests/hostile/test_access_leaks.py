"""Nothing of another region reaches a caller: asked over every route that the OpenAPI document has.

Two trees stand side by side whose names begin alike: ``g/s`` (with ``g/s/shenzhen`` below) and ``g/sc``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.access.tokens import TokenSpec, create_token
from tests.access_site import Served, served

SECRET = "成都绝密"
"""In every text of a record of ``g/sc``; so no answer to the south may hold it."""
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "customers": ({"name": "深圳市远望谷科技有限公司"}, {"name": f"{SECRET}科技有限公司", "uscc": "91440300708461136T"}),
    "contacts": ({"name": "王小明"}, {"name": f"{SECRET}联系人"}),
    "contracts": (
        {"no": "S-1", "name": "合同", "amount_total": "5.00", "currency": "CNY", "customer": {"external": "south"}, "entity": "demo"},
        {"no": "SC-1", "name": SECRET, "amount_total": "77777.00", "currency": "CNY", "customer": {"external": "sichuan"}, "entity": "demo"},
    ),
    "payments": (
        {"no": "PS-1", "amount": "1.00", "currency": "CNY", "received_on": "2026-01-10", "customer": {"external": "south"}, "entity": "demo"},
        {"no": "PSC-1", "amount": "77777.00", "currency": "CNY", "received_on": "2026-01-10", "customer": {"external": "sichuan"}, "entity": "demo"},
    ),
}  # fmt: skip


@dataclass
class Leak:
    """Two regions' records, and who may see which. ``there``: path -> the record of ``g/sc`` as the API shows it."""

    site: Served
    south: str
    everything: str
    there: dict[str, dict[str, Any]]
    here: dict[str, dict[str, Any]]


@pytest.fixture
async def leak(tmp_path: Path) -> AsyncIterator[Leak]:
    async with served(tmp_path) as site:
        everything = site.token("all", "admin", rate=100_000)
        south = site.token("south", "integrator", regions=["g/s/"], rate=100_000)
        there: dict[str, dict[str, Any]] = {}
        here: dict[str, dict[str, Any]] = {}
        for path, (mine, theirs) in BODIES.items():
            for system, body, kept in (("south", mine, here), ("sichuan", theirs, there)):
                where = f"/api/v1/{path}/by-external/{system}/{system}"
                answer = await site.ask("PUT", where, everything, json=body)
                assert answer.status_code == 201, (path, answer.text)
                kept[path] = answer.json()
        yield Leak(site, south, everything, there, here)


async def test_no_route_shows_a_record_of_another_region(leak: Leak) -> None:
    document = (await leak.site.ask("GET", "/openapi.json")).json()
    ids = {one["id"] for one in leak.there.values()}
    tried = 0
    for template, operations in document["paths"].items():
        if not template.startswith("/api/"):
            continue
        kind = template.split("/")[3]
        record = leak.there.get(kind, {"id": next(iter(ids))})["id"]
        path = template.replace("{record}", record).replace("{system}", "sichuan").replace("{external}", "sichuan").replace("{kind}", "customer")  # fmt: skip
        assert "{" not in path, f"{template}: say what this test shall ask for"
        for method in operations:
            body = (
                BODIES.get(kind, ({}, {}))[1]
                if method == "put"
                else {"remark": "x"}
                if method == "patch"
                else None
            )
            answer = await leak.site.ask(method.upper(), path, leak.south, json=body)
            tried += 1
            assert SECRET not in answer.text, (method, path)
            assert "77777" not in answer.text, (method, path)
            assert not any(one in answer.text for one in ids - {record}), (method, path)
            if "{record}" in template or "{external}" in template:
                assert answer.status_code in {404, 405, 422}, (method, path, answer.status_code)
                assert record not in answer.text, (method, path)
    assert tried >= 30
    print(f"leak suite: {tried} routes asked")


async def test_the_answer_for_a_record_elsewhere_is_that_for_one_that_is_nowhere(leak: Leak) -> None:
    for path, record in leak.there.items():
        for method, body in (("GET", None), ("PATCH", {"remark": "x"})):
            elsewhere = await leak.site.ask(method, f"/api/v1/{path}/{record['id']}", leak.south, json=body)
            nowhere = await leak.site.ask(method, f"/api/v1/{path}/{'0' * 32}", leak.south, json=body)
            assert (elsewhere.status_code, elsewhere.text) == (nowhere.status_code, nowhere.text)
            assert elsewhere.status_code in {404, 405}


async def test_nothing_of_another_region_is_changed_and_no_refused_write_leaves_a_trace(leak: Leak) -> None:
    def rows(tx: Any) -> list[int]:
        found = []
        for table in ("records", "keys", "xrefs", "owed", "acts"):
            tx.cursor.execute(f"SELECT count(*) FROM {table}")
            found.append(tx.cursor.fetchone()[0])
        return found

    await leak.site.ask("GET", "/api/v1/customers", leak.south)
    before = leak.site.hub.store.read_now(rows)
    for path, (_, theirs) in BODIES.items():
        for external in ("sichuan", "a-new-one"):
            where = f"/api/v1/{path}/by-external/sichuan/{external}"
            changed = {**theirs, "name": "改了"} if "name" in theirs else {**theirs, "amount": "2.00"}
            answer = await leak.site.ask("PUT", where, leak.south, json=changed)
            assert answer.status_code in {404, 422}, (where, answer.text)
    assert leak.site.hub.store.read_now(rows) == before
    for path, record in leak.there.items():
        answer = await leak.site.ask("GET", f"/api/v1/{path}/{record['id']}", leak.everything)
        assert answer.json()["version"] == record["version"]


async def test_a_record_of_another_region_is_not_reached_by_its_credit_code(leak: Leak) -> None:
    body = {"name": "深圳市另一家有限公司", "uscc": "91440300708461136T"}
    answer = await leak.site.ask("PUT", "/api/v1/customers/by-external/south/trick", leak.south, json=body)
    assert SECRET not in answer.text
    assert leak.there["customers"]["id"] not in answer.text
    there = await leak.site.ask("GET", f"/api/v1/customers/{leak.there['customers']['id']}", leak.everything)
    assert there.json()["fields"] == leak.there["customers"]["fields"]


@pytest.mark.parametrize(
    ("regions", "sees"),
    [(["g/s/"], {"south"}), (["g/sc/"], {"sichuan"}), (["g/"], {"south", "sichuan"}), (["g/s/shenzhen/"], set()), (["g/north/"], set())],
)  # fmt: skip
async def test_a_subtree_is_not_its_neighbour_whose_name_begins_alike(
    leak: Leak, regions: list[str], sees: set[str]
) -> None:
    token = leak.site.token("subtree", "auditor", regions=regions)
    for path in BODIES:
        items = (await leak.site.ask("GET", f"/api/v1/{path}", token)).json()["items"]
        known = {"south": leak.here[path]["id"], "sichuan": leak.there[path]["id"]}
        assert {item["id"] for item in items} == {known[name] for name in sees}


async def test_a_cursor_of_one_caller_is_none_of_another(leak: Leak) -> None:
    more = {"name": f"{SECRET}二号有限公司"}
    await leak.site.ask("PUT", "/api/v1/customers/by-external/sichuan/2", leak.everything, json=more)
    page = (await leak.site.ask("GET", "/api/v1/customers?limit=1", leak.everything)).json()
    stolen = f"/api/v1/customers?limit=1&cursor={page['next_cursor']}"
    assert (await leak.site.ask("GET", stolen, leak.everything)).status_code == 200
    assert (await leak.site.ask("GET", stolen, leak.south)).status_code == 400


async def test_self_sees_its_own_and_a_legal_entity_its_own(leak: Leak) -> None:
    body = {"name": "深圳市李雷客户有限公司", "owner": "li.lei"}
    made = await leak.site.ask("PUT", "/api/v1/customers/by-external/south/lei", leak.everything, json=body)
    assert made.status_code == 201
    store, vault = leak.site.hub.store, leak.site.hub.vault
    own = TokenSpec("lei", ["auditor"], "self", [""], owner="li.lei")
    mine = store.run_now(create_token, vault, own, by="user:test")
    items = (await leak.site.ask("GET", "/api/v1/customers", mine)).json()["items"]
    assert [item["id"] for item in items] == [made.json()["id"]]
    other = leak.site.token("other", "auditor", entities=["other"])
    assert (await leak.site.ask("GET", "/api/v1/payments", other)).json()["items"] == []
    demo = leak.site.token("demo", "auditor", entities=["demo"])
    assert len((await leak.site.ask("GET", "/api/v1/payments", demo)).json()["items"]) == 2
