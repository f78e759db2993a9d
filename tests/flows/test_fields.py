"""Custom fields through the running parts: the API on a socket, arrivals, transfers, changed declarations, exports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from hub.cli.app import build
from hub.crm.external import ExternalWrite
from hub.crm.strays import strays
from hub.model.record import Scope
from hub.pipe.accept import accept
from hub.pipe.items import Item
from hub.pipe.patch import RecordPatch, patch
from hub.project.exports import held_back
from hub.project.load import kinds_of
from hub.project.values import Project
from hub.sdk.connector import Applied, SourceRecord, VendorKey, VendorRef
from tests.api_site import CUSTOMER as BODY
from tests.api_site import PROJECT, TOKEN, Site, open_site
from tests.pipe_stand import Stand
from tests.project_folder import SPEC, load
from tests.unit.test_fields import CUSTOMER, FOLLOW, written

SOUTH, NORTH = "customers/by-external/crm/C-1", "customers/by-external/crm/C-2"
INBOUND = """\
mapping: acme/client.in
source: acme.client
target: crm.customer
key: [No]
fields:
  name: Name
  custom.segment: Tax
regions:
  cn/south: {fields: {custom.halls: "[Tax]"}}
"""


def declared(root: Path, text: str = CUSTOMER) -> Project:
    written(root, text)
    return replace(PROJECT, declared=kinds_of(written(root, FOLLOW, kind="follow")))


@contextlib.asynccontextmanager
async def served(project: Project) -> AsyncIterator[Site]:
    """Serve the API on a real socket."""
    async with open_site(made=project) as site:
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(site.app, log_config=None, lifespan="off"))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            while not server.started:
                await asyncio.sleep(0)
            yield replace(site, client=client)
        server.should_exit = True
        await running


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with served(declared(tmp_path)) as opened:
        yield opened


def errors(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    return {one["field"]: one["message"] for one in answer.json()["errors"]}


async def test_the_north_and_the_south_have_fields_of_their_own(site: Site) -> None:
    south = {**BODY, "custom.segment": "gold", "custom.halls": ["futian"]}
    assert (await site.put(SOUTH, south)).status_code == 201
    north = {"name": "北辰示例能源", "owner": "li.lei", "custom.tender_no": "ZB-1"}
    made = await site.put(NORTH, north)
    assert (made.status_code, made.json()["region"]) == (201, "cn/north/")
    found = errors(await site.put(NORTH, {**north, "custom.halls": ["futian"]}))
    assert "exists only in cn/south/; this record lies in cn/north/" in found["custom.halls"]
    found = errors(await site.put("customers/by-external/crm/C-3", {"name": "甲", "owner": "li.lei"}))
    assert found == {"custom.tender_no": "is required"}


async def test_every_wrong_value_is_named_at_once_with_what_to_do_and_nothing_is_written(site: Site) -> None:
    before = site.counts()
    wrong = {"custom.segment": "glod", "custom.halls": "futian", "custom.segmnet": 1, "custom.tender_no": "x"}
    found = errors(await site.put(SOUTH, {**BODY, **wrong}))
    assert set(found) == set(wrong)
    assert "did you mean 'gold'" in found["custom.segment"]
    assert "did you mean 'custom.segment'" in found["custom.segmnet"]
    assert site.counts() == before


async def test_a_patch_is_held_against_the_region_the_record_lies_in(site: Site) -> None:
    id_ = (await site.put(SOUTH, BODY)).json()["id"]
    assert (
        "exists only"
        in errors(await site.patch(f"customers/{id_}", {"custom.tender_no": "a"}))["custom.tender_no"]
    )
    assert (
        "must be one of"
        in errors(await site.patch(f"customers/{id_}", {"custom.halls": ["x"]}))["custom.halls"]
    )
    changed = await site.patch(f"customers/{id_}", {"custom.halls": ["nanshan"]})
    assert changed.json()["fields"]["custom.halls"] == ["nanshan"]
    assert (
        "custom.halls" not in (await site.patch(f"customers/{id_}", {"custom.halls": None})).json()["fields"]
    )


async def test_metadata_tells_a_form_everything_in_both_languages(site: Site) -> None:
    listed = (await site.get("metadata")).json()["items"]
    assert {
        "kind": "customer",
        "label": {"zh": "客户", "en": "Customer"},
        "path": "/api/v1/customers",
    } in listed
    kind = (await site.get("metadata/customer")).json()
    fields = {one["name"]: one for one in kind["fields"]}
    assert (fields["name"]["required"], fields["name"]["custom"]) == (True, False)
    assert fields["custom.segment"]["options"] == [
        {"value": "gold", "label": {"zh": "金牌", "en": "Gold"}},
        {"value": "silver", "label": {"zh": "银牌", "en": "Silver"}},
    ]
    assert fields["custom.tender_no"] == {
        "name": "custom.tender_no", "type": "text", "label": {"zh": "招标编号", "en": "Tender number"}, "custom": True,
        "required": True, "personal": True, "max_length": 5, "options": None, "reference": None,
        "regions": ["cn/north/"], "columns": None, "write": ["PUT", "PATCH"],
    }  # fmt: skip
    of_south = (await site.get("metadata/customer?region=cn/south")).json()
    assert {one["name"] for one in of_south["fields"] if one["custom"]} == {"custom.segment", "custom.halls"}
    assert (await site.get("metadata/follow?region=cn/south")).json()["tags"] == ["VIP", "本地化"]
    assert (await site.get("metadata/contact")).json()["custom"] == "any"
    assert (await site.get("metadata/custmer")).status_code == 404
    assert (await site.get("metadata/customer?region=cn/suoth")).status_code == 400
    assert (await site.client.get("/api/v1/metadata", headers={"Authorization": "x"})).status_code == 401


async def test_openapi_names_declared_fields_and_leaves_other_kinds_open(site: Site) -> None:
    paths = (await site.client.get("/openapi.json")).json()["paths"]
    put = paths["/api/v1/customers/by-external/{system}/{external}"]["put"]
    body = put["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["custom.segment"]["enum"] == ["gold", "silver"]
    assert "金牌" in body["properties"]["custom.segment"]["description"]
    assert "cn/south/" in body["properties"]["custom.halls"]["description"]
    assert "patternProperties" not in body
    contact = paths["/api/v1/contacts/{record}"]["patch"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert "patternProperties" in contact


async def test_a_record_that_moved_keeps_its_values_hidden_and_shows_them_again_at_home(site: Site) -> None:
    made = (await site.put(SOUTH, {**BODY, "custom.halls": ["futian"]})).json()
    _set(site.store, made["id"], region="cn/north/")
    moved = (await site.get(f"customers/{made['id']}")).json()
    assert "custom.halls" not in moved["fields"]
    assert moved["hidden"] == ["custom.halls"]
    _set(site.store, made["id"], region="cn/south/")
    back = (await site.get(f"customers/{made['id']}")).json()
    assert back["fields"]["custom.halls"] == ["futian"]
    assert "hidden" not in back


async def test_a_value_whose_field_was_removed_or_changed_is_shown_and_refused_on_write(
    site: Site, tmp_path: Path
) -> None:
    id_ = (await site.put(SOUTH, BODY)).json()["id"]
    kept = {"custom.segment": 7, "custom.removed": {"a": 1}}
    _set(site.store, id_, body=orjson.dumps({**BODY, **kept}).decode())  # as it was written before
    shown = (await site.get(f"customers/{id_}")).json()["fields"]
    assert {name: shown[name] for name in kept} == kept
    found, count = site.store.read_now(strays, Scope.ALL, kinds_of(tmp_path))
    assert (count, {one.field for one in found}, {one.record.hex() for one in found}) == (1, set(kept), {id_})
    wrong = errors(await site.put(SOUTH, {**BODY, **kept}))
    assert "send null" in wrong["custom.removed"]
    assert "must be one of gold, silver" in wrong["custom.segment"]
    untouched = await site.patch(f"customers/{id_}", {"level": "A"})
    assert untouched.json()["fields"]["custom.removed"] == {"a": 1}
    cleared = await site.patch(f"customers/{id_}", {"custom.removed": None, "custom.segment": "gold"})
    assert cleared.json()["fields"]["custom.segment"] == "gold"
    assert "custom.removed" not in cleared.json()["fields"]
    assert site.store.read_now(strays, Scope.ALL, kinds_of(tmp_path)) == ([], 1)


def _set(store: Any, record: str, **columns: str) -> None:
    def change(tx: Any) -> None:
        for name, value in columns.items():
            tx.cursor.execute(f"UPDATE records SET {name} = ? WHERE id = ?", (value, bytes.fromhex(record)))

    store.run_now(change)


# arrivals ---------------------------------------------------------------------------------------------------


class Office(Stand):
    """Clients of an invented vendor in the south, read in by a mapping that writes custom fields."""

    def __init__(self, folder: Path, text: str = CUSTOMER, **mappings: str) -> None:
        written(folder, text, **{"acme_client_in": INBOUND, **mappings})
        hub = (folder / "hub.yaml").read_text("utf-8")
        named = "mapping: acme/client.in\n"
        (folder / "hub.yaml").write_text(
            hub.replace(named, f"{named}    mode: write\n    region: cn/south\n"), "utf-8"
        )
        super().__init__(made=load(folder))
        self.world = replace(self.world, specs={"erp": SPEC})

    def arrive(self, id_: str, **fields: str) -> None:
        key = VendorKey("100", id_)
        source = SourceRecord(key, {"No": id_, **fields}, self.clock.now())
        self.take_items([Item("erp", "client", key, source, self.world.inbound("erp", "client"))])
        self.clock.at += 1_000_000

    def customers(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(body)
            for (body,) in self.ask("SELECT body FROM records WHERE kind = 'customer' ORDER BY id")
        ]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path)
    yield opened
    opened.close()


def test_an_arrival_with_an_unknown_option_is_a_dead_letter_that_names_the_field_and_stops_nobody(
    office: Office,
) -> None:
    office.arrive("1", Name="一号公司", Tax="gold")
    office.arrive("2", Name="二号公司", Tax="silver")
    assert office.customers() == []
    (first, _) = office.rows()
    assert (first["state"], first["cause"]["code"], first["cause"]["field"]) == (
        "parked",
        "mapping",
        "custom.halls",
    )
    assert "must be one of futian, nanshan" in first["cause"]["message"]


def test_what_comes_for_a_region_the_record_left_stays_out_and_the_act_says_so(tmp_path: Path) -> None:
    text = CUSTOMER.replace(
        "nanshan: {zh: 南山, en: Nanshan}", "gold: {zh: 金, en: G}\n      silver: {zh: 银, en: S}"
    )
    office = Office(tmp_path, text)
    office.arrive("1", Name="一号公司", Tax="gold")
    (body,) = office.customers()
    assert body["custom.halls"] == ["gold"]
    ((record,),) = office.ask("SELECT id FROM records WHERE kind = 'customer'")
    _set(office.store, bytes(record).hex(), region="cn/north/")
    office.arrive("1", Name="一号公司改名", Tax="silver")
    (body,) = office.customers()
    assert (body["name"], body["custom.segment"], body["custom.halls"]) == (
        "一号公司改名",
        "silver",
        ["gold"],
    )
    acts = [orjson.loads(one) for (one,) in office.ask("SELECT body FROM acts ORDER BY id")]
    said = [item["conflicts"] for act in acts for item in act.get("items", ()) if item.get("conflicts")]
    assert said == [{"custom.halls": "region"}]
    office.close()


def test_a_declared_field_leaves_the_country_unless_it_is_personal(tmp_path: Path) -> None:
    kind = kinds_of(written(tmp_path))["customer"]
    assert held_back([], kind, "cn/south/", ["custom.segment", "custom.halls", "level"]) is None
    assert (
        held_back([], kind, "cn/north/", ["custom.segment", "custom.tender_no"])
        == "customer.custom.tender_no"
    )
    assert held_back([], kind, "cn/north/", ["custom.undeclared"]) == "customer.custom.undeclared"
    nobody = replace(kind, custom=MappingProxyType({}))
    assert held_back([], nobody, "", ["custom.segment"]) == "customer.custom.segment"


def test_what_a_region_does_not_have_is_not_sent_to_a_vendor_either(tmp_path: Path) -> None:
    out = "mapping: acme/client.out\nsource: crm.customer\ntarget: acme.client\nfields:\n  Name: name\n  Tax: (custom.halls or ['none'])[0]\n"
    office = Office(tmp_path, CUSTOMER, acme_client_out=out)
    write = ExternalWrite(
        "crm",
        "customer",
        "C-1",
        {"name": "示例公司", "uscc": BODY["uscc"], "entity": "demo", "custom.halls": ["futian"]},
        "cn/south/",
        "demo",
    )
    record = office.store.run_now(accept, write, office.world).record_id.hex()
    (first,) = office.claim(connection="erp")
    assert first.write.payload["Tax"] == "futian"
    office.settle(first, Applied(VendorRef("9")))
    _set(office.store, record, region="cn/north/")
    changed = RecordPatch(
        bytes.fromhex(record), "customer", {"level": "A", "name": "示例公司改名"}, Scope.ALL, "api"
    )
    office.store.run_now(patch, changed, office.world)
    (second,) = [one for one in office.claim(connection="erp") if one.write is not None]
    assert second.write.payload["Tax"] == "none"
    office.close()


# the command ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lang", "said"), [("zh", "金牌"), ("en", "Gold")])
def test_the_command_lists_what_a_region_has_in_both_languages(
    tmp_path: Path, capsys: Any, lang: str, said: str
) -> None:
    written(tmp_path)
    written(tmp_path, FOLLOW, kind="follow")
    assert hub(tmp_path, "fields", "list", "--lang", lang, "--region", "cn/south") == 0
    shown = capsys.readouterr().out
    assert said in shown
    assert "custom.halls" in shown
    assert "custom.tender_no" not in shown
    assert "VIP, 本地化" in shown
    assert hub(tmp_path, "fields", "list", "custmer", "--lang", lang) == 3
    assert "customer" in capsys.readouterr().err


def test_the_command_checks_the_files_for_people_and_for_programs(tmp_path: Path, capsys: Any) -> None:
    written(tmp_path)
    assert hub(tmp_path, "fields", "check", "--output", "json") == 0
    assert orjson.loads(capsys.readouterr().out) == {"ok": True, "fields": {"customer": 3}}
    written(tmp_path, CUSTOMER.replace("type: choice", "type: chioce"))
    assert hub(tmp_path, "fields", "check", "--output", "json") == 1
    (problem, *_) = orjson.loads(capsys.readouterr().out)["problems"]
    assert (problem["file"], problem["line"], problem["nearest"]) == ("fields/customer.yaml", 4, "choice")
    assert hub(tmp_path, "fields", "check", "--lang", "en") == 1
    assert "fields/customer.yaml:4:11" in capsys.readouterr().err


def hub(folder: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        build("en")(["--project", str(folder), *arguments], standalone_mode=False)
    return int(ended.value.code or 0)
