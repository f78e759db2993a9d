"""``hub mapping preview`` and ``shadow`` by the command: counts of a planted draft, masks, a file that is being edited, reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.kingdee.sandbox import KingdeeSandbox
from hub.bus.port import INBOUND, TOPICS
from hub.cli import mapping_preview
from hub.cli.mapping_preview import follow, stamp
from hub.clock import SECOND
from hub.pipe.intake import Intake, to_message
from hub.pipe.items import to_event
from hub.sdk.connector import SourceRecord, VendorKey
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.wiring import open_hub
from tests.chaos.payments import credit_code
from tests.flows.cli_site import Site, make_site
from tests.kingdee_stand import customer, flat

OUT, IN, FOLLOW = "kingdee/customer.out", "kingdee/customer.in", "wecom/follow.in"
PHONE, PERSON, WECOM_ID = "13800138000", "欧阳娜娜", "wmqfasd1e19278asdasAAAA"


def start(site: Site) -> None:
    """Put the folder in force."""
    open_hub(load_settings(project_dir=site.folder, data_dir=site.data), start=True).close()


def edit(site: Site, name: str, old: str, new: str) -> None:
    file = site.folder / f"mappings/{name}.yaml"
    text = file.read_text("utf-8")
    assert old in text, old
    file.write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A project in force with six customers: one has a remark, one a level, one lies in the north."""
    made = make_site(tmp_path)
    start(made)
    for number in range(1, 7):
        extra = {1: {"remark": "x"}, 2: {"level": "vip"}}.get(number, {})
        made.customer(
            f"C-{number}",
            name=f"示例{number}有限公司",
            uscc=credit_code(number),
            phone=f"+86{PHONE}",
            **extra,
        )
    return made


def test_a_shadow_counts_what_a_planted_draft_changes_and_where_it_fails_and_writes_nothing(
    site: Site,
) -> None:
    edit(site, OUT, 'remark or ""', 'remark or "draft"')
    edit(site, OUT, 'FZIP: postal_code or ""', 'FZIP: value_map("kingdee.currency", level) if level else ""')
    tables = ("records", "owed", "acts", "xrefs", "revisions", "budgets")
    before = [site.ask(f"SELECT count(*) FROM {name}") for name in tables]
    told = site.json("mapping", "shadow", OUT, code=1)
    assert told["counts"] == {
        "unchanged": 1,
        "changed": 4,
        "failing": 1,
        "waiting": 0,
        "left": 0,
        "mended": 0,
    }
    assert (told["records"], told["revision"], told["broke"]) == (6, 1, 1)
    assert told["fields"] == {"FDescription": 4, "FZIP": 1}
    (failing,) = told["failing"]
    (field,) = failing["fields"]
    assert (field["field"], field["old"]) == ("FZIP", {"value": ""})
    assert "no entry for 'vip'" in field["new"]["fails"]
    assert all(one["fields"][0]["new"] == {"value": "draft"} for one in told["changed"])
    assert [site.ask(f"SELECT count(*) FROM {name}") for name in tables] == before
    said = site.cli("mapping", "shadow", OUT, "--last", "3")
    assert "3 records: 0 unchanged · 3 changed · 0 failing" in said
    assert "影子运行" in site.cli("mapping", "shadow", "--help", lang="zh")


def test_a_shadow_of_changes_alone_ends_well_and_one_without_a_draft_finds_none(site: Site) -> None:
    assert site.json("mapping", "shadow", OUT)["counts"]["unchanged"] == 6
    edit(site, OUT, 'remark or ""', 'remark or "draft"')
    assert site.json("mapping", "shadow", f"{site.folder}/mappings/{OUT}.yaml")["counts"]["changed"] == 5


def test_a_draft_may_use_a_table_that_is_not_published_yet(site: Site) -> None:
    (site.folder / "mappings/kingdee/level.map.yaml").write_text(
        'value_map: kingdee.level\ntitle: 级别\nvalues: {vip: "01"}\n', "utf-8"
    )
    edit(site, OUT, 'FZIP: postal_code or ""', 'FZIP: value_map("kingdee.level", level) if level else ""')
    assert site.json("mapping", "shadow", OUT)["fields"] == {"FZIP": 1}


def test_records_of_other_regions_use_their_overlay(site: Site) -> None:
    assert site.ask("UPDATE records SET region = 'cn/north/' WHERE body LIKE '%示例4%' RETURNING id")
    file = site.folder / f"mappings/{OUT}.yaml"
    file.write_text(
        f"{file.read_text('utf-8')}regions:\n  cn/north: {{fields: {{FDescription: '\"north\"'}}}}\n", "utf-8"
    )
    told = site.json("mapping", "shadow", OUT)
    assert told["counts"]["changed"] == 1
    assert told["changed"][0]["fields"][0]["new"] == {"value": "north"}


def test_a_preview_shows_each_field_with_what_it_reads_and_what_is_in_force(site: Site) -> None:
    edit(site, OUT, 'remark or ""', 'remark or "draft"')
    edit(site, OUT, 'FWEBSITE: website or ""', 'FWEBSITE: phone or ""')
    (record,) = site.json("mapping", "preview", OUT, "--n", "1")["records"]
    rows = {row["field"]: row for row in record["fields"]}
    assert rows["FName"] == {
        "field": "FName", "source": {"name": "示例6有限公司"}, "result": {"value": "示例6有限公司"},
        "in_force": {"value": "示例6有限公司"}, "same": True,
    }  # fmt: skip
    assert (rows["FDescription"]["result"], rows["FDescription"]["in_force"]) == (
        {"value": "draft"},
        {"value": ""},
    )
    assert rows["FWEBSITE"]["result"] == {"value": "+***00", "masked": True}
    assert rows["FTEL"]["same"] is True
    said = site.cli("mapping", "preview", OUT, "--record", record["record"])
    assert 'was ""' in said
    assert said.count("record ") == 1
    assert "修订 1" in site.cli("mapping", "preview", OUT, lang="zh")


def test_no_personal_value_is_readable_in_any_output_of_either_command(site: Site) -> None:
    edit(site, OUT, 'FTEL: phone or ""', 'FTEL: phone or "-"')
    edit(site, OUT, 'FWEBSITE: website or ""', 'FWEBSITE: phone or ""')
    edit(site, OUT, 'FZIP: postal_code or ""', 'FZIP: value_map("kingdee.currency", phone)')
    outputs = [
        site.cli("mapping", command, OUT, *more, code=code)
        for command, code in (("preview", 0), ("shadow", 1))
        for more in ((), ("--output", "json"))
    ]
    for said in outputs:
        assert PHONE not in said
        assert "13800" not in said
        assert "no entry" in said


def test_a_follow_of_the_bus_is_tried_and_neither_person_number_nor_id_is_readable(site: Site) -> None:
    source = {
        "userid": "zhangsan", "external_userid": WECOM_ID, "remark": PERSON, "remark_mobiles": [PHONE], "createtime": 1_700_000_000,
        "contact": {"name": PERSON, "type": 1}, "tags": [{"tag_name": f"{PERSON}的朋友"}], "description": f"电话 {PHONE}",
        "state": PERSON,
    }  # fmt: skip
    say(site, "wecom", "follow", f"zhangsan/{WECOM_ID}", source)
    edit(site, FOLLOW, "way: value_map", "way: remark if remark else value_map")
    told = site.json("mapping", "shadow", FOLLOW)
    assert told["records"] == 1
    outputs = [json.dumps(told, ensure_ascii=False)]
    outputs += [site.cli("mapping", command, FOLLOW) for command in ("preview", "shadow")]
    outputs.append(site.cli("mapping", "preview", FOLLOW, "--output", "json"))
    outputs.append(site.cli("mapping", "preview", FOLLOW, "--record", f"zhangsan/{WECOM_ID}"))
    for said in outputs:
        for secret in (PHONE, PERSON, WECOM_ID, "zhangsan"):
            assert secret not in said, secret
    assert "waits for arrival:wecom/contact//w***AA" in outputs[1]


def test_what_waits_or_is_a_dead_letter_is_tried_when_the_bus_has_forgotten_it(site: Site) -> None:
    source = {"userid": "zhangsan", "external_userid": WECOM_ID, "remark": PERSON, "contact": {"type": 1}}
    say(site, "wecom", "follow", f"zhangsan/{WECOM_ID}", source)
    with site.hub() as hub:
        asyncio.run(_take(hub))
    forget(site)
    edit(site, FOLLOW, "remark: trim(remark)", "remark: trim(remark) or missing")
    told = site.json("mapping", "shadow", FOLLOW)
    assert (told["records"], told["counts"]["unchanged"]) == (1, 1)
    assert PERSON not in site.cli("mapping", "preview", FOLLOW)


def forget(site: Site) -> None:
    """Have the bus forget everything, as it does after some days."""
    for file in site.data.glob("bus.db*"):
        file.unlink()


def say(site: Site, connection: str, stream: str, id_: str, body: Any) -> None:
    """Have a source say something: it lies on the bus, and nobody has taken it yet."""
    record = SourceRecord(VendorKey("", id_), body, SECOND)
    with site.hub() as hub:
        asyncio.run(
            hub.bus.publish(INBOUND, [to_message(to_event(connection, stream, record, event_id=id_))])
        )


def test_a_draft_that_does_not_compile_is_told_with_its_place_and_the_nearest_name(site: Site) -> None:
    edit(site, OUT, "FZIP: postal_code", "FZIP: postal_cod")
    for command in ("preview", "shadow"):
        said = site.cli("mapping", command, OUT, code=1)
        assert f"mappings/{OUT}.yaml:" in said
        assert "did you mean 'postal_code'?" in said
        assert site.json("mapping", command, OUT, code=1)["ok"] is False


def test_a_sample_and_a_case_need_no_store(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps({"name": "示例", "phone": f"+86{PHONE}"}), "utf-8")
    (record,) = site.json("mapping", "preview", OUT, "--sample", str(sample))["records"]
    rows = {row["field"]: row for row in record["fields"]}
    assert (rows["FName"]["result"], rows["FName"]["same"]) == ({"value": "示例"}, None)
    assert rows["FTEL"]["result"] == {"value": "+***00", "masked": True}
    case = "a new customer gets the number that is fixed for life"
    assert case in (site.folder / f"mappings/{OUT}.tests.yaml").read_text("utf-8")
    assert "nothing of it is in force" in site.cli("mapping", "preview", OUT, "--case", case)
    assert "did you mean" in site.cli("mapping", "preview", OUT, "--case", f"{case}s", code=2)
    sample.write_text("[1]", "utf-8")
    assert "is not a JSON object" in site.cli("mapping", "preview", OUT, "--sample", str(sample), code=1)
    sample.write_text("{", "utf-8")
    assert "sample.json:1:" in site.cli("mapping", "preview", OUT, "--sample", str(sample), code=1)
    site.cli("mapping", "preview", OUT, "--sample", str(sample), "--case", case, code=2)
    assert "hub up" in site.cli("mapping", "shadow", OUT, code=2)


def test_a_name_nobody_knows_is_answered_with_the_nearest(site: Site) -> None:
    assert f"{OUT}?" in site.cli("mapping", "shadow", "kingdee/custmer.out", code=3)


def test_a_watched_preview_shows_each_change_says_what_is_wrong_and_goes_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = site.folder / "mappings/kingdee/currency.map.yaml"

    def typing() -> Iterator[None]:
        yield  # nothing has changed
        edit(site, OUT, 'remark or ""', 'remark or "first"')
        yield
        edit(site, OUT, '"first"', '"second"(')
        yield
        edit(site, OUT, '"second"(', '"third"')
        yield
        tables.write_text(f"{tables.read_text('utf-8')}# another word\n", "utf-8")
        yield
        site.cli("mapping", "publish", OUT, "--note", "meanwhile", code=1)  # its cases do not say so yet
        raise KeyboardInterrupt

    monkeypatch.setattr(mapping_preview, "_ticks", typing)
    said = site.cli("mapping", "preview", OUT, "--n", "1", "--watch")
    shown = [word for word in ("first", "third") if f'"{word}"' in said]
    assert shown == ["first", "third"]
    assert f"mappings/{OUT}.yaml:" in said
    assert said.count("watching ") == 5
    assert said.count('was ""') == 3


def test_what_is_published_while_one_watches_is_what_the_draft_stands_beside(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def typing() -> Iterator[None]:
        edit(site, OUT, 'remark or ""', 'remark or "new"')
        edit(site, f"{OUT}.tests", 'FDescription: ""\n', "FDescription: new\n")
        yield
        site.cli("mapping", "publish", OUT, "--note", "meanwhile")
        edit(site, OUT, '"new"', '"newer"')
        yield

    monkeypatch.setattr(mapping_preview, "_ticks", typing)
    said = site.cli("mapping", "preview", OUT, "--n", "1", "--watch")
    assert "beside revision 2 in force" in said
    assert 'was "new"' in said


def test_files_that_are_the_same_show_nothing_anew_and_one_that_goes_or_comes_does(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("1", "utf-8")
    shown: list[int] = []

    def ticks() -> Iterator[None]:
        yield
        assert len(shown) == 1
        other.write_text("1", "utf-8")
        yield
        assert len(shown) == 2
        file.unlink()
        yield
        yield
        assert len(shown) == 3

    follow(lambda: shown.append(1), lambda: stamp([file, other]), ticks())


@dataclass
class Place:
    """A project whose connection k3 meets a sandbox over a socket; three customers of its were taken in."""

    site: Site
    box: KingdeeSandbox

    async def json(self, *args: str, code: int = 0) -> Any:
        return await asyncio.to_thread(self.site.json, *args, code=code)

    async def cli(self, *args: str, code: int = 0) -> str:
        return await asyncio.to_thread(self.site.cli, *args, code=code)

    def take(self) -> None:
        with self.site.hub() as hub:
            asyncio.run(_take(hub))


async def _take(hub: Any) -> None:
    for topic in TOPICS:
        if not topic.startswith(INBOUND):
            continue
        for partition in range(await hub.bus.partitions(topic)):
            intake = Intake(hub.store, hub.world, hub.bus, "t", topic=topic, partition=partition)
            while await intake.turn():
                pass


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    box = KingdeeSandbox()
    for number in range(1, 4):
        fields = customer(number) | {"FName": f"示例{number}有限公司", "FTEL": f"+86{PHONE}"}
        box.desk.seed("BD_Customer", flat(fields), "C")
    async with running(box) as url:
        one = Place(make_site(tmp_path, url=url), box)
        await asyncio.to_thread(start, one.site)
        for name, value in box.credentials(url).items():
            if name != "server_url":
                await asyncio.to_thread(
                    one.site.cli, "secrets", "set", f"k3-{name.replace('_', '-')}", "--stdin", given=value
                )
        await one.cli("run", "k3.customer.in")
        await asyncio.to_thread(one.take)
        yield one


async def test_what_a_source_said_is_tried_from_the_bus_without_a_call(place: Place) -> None:
    edit(place.site, IN, "remark: FDescription", 'remark: FDescription or "none"')
    told = await place.json("mapping", "shadow", IN)
    assert (told["records"], told["counts"]["changed"]) == (3, 3)
    assert all(one["record"] for one in told["changed"])
    (one,) = (await place.json("mapping", "preview", IN, "--record", told["changed"][0]["record"]))["records"]
    assert one["record"] == told["changed"][0]["record"]


async def test_what_the_bus_no_longer_has_is_read_only_when_asked_and_counted(place: Place) -> None:
    forget(place.site)
    edit(place.site, IN, "remark: FDescription", 'remark: FDescription or "none"')
    said = await place.cli("mapping", "shadow", IN)
    assert "0 records" in said
    assert "at most 3 reads" in said
    said = await place.cli("mapping", "shadow", IN, "--read")
    assert "3 reads at k3" in said
    assert "3 records: 0 unchanged · 3 changed" in said
    assert PHONE not in said
    assert not (place.site.data / "bus.db").exists()
