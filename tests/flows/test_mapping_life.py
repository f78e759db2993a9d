"""The life of a mapping: a draft, published beside running processes, rolled back; what is in force is never a file's whim."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from hub.api.published import Published
from hub.clock import SystemClock
from hub.crm.external import ExternalWrite
from hub.pipe.accept import accept
from hub.project import ProjectFile, ProjectInvalid, open_project, revisions_in_force
from hub.project.publishing import Publication, prepare, put_in_force
from hub.project.revisions import Overtaken, Revision, numbers_in_force, publish
from hub.settings import load_settings
from hub.store import Store
from hub.wiring import Hub, open_hub
from tests.chaos.payments import credit_code
from tests.cluster import TOKEN, running
from tests.flows.cli_site import Site, make_site
from tests.project_folder import HUB_YAML, MAPPINGS, SPEC, write_project
from tests.stores import any_store, ask, served_store

__all__ = ["any_store", "served_store"]  # fixtures

OUT = "kingdee/customer.out"
PATIENCE = 60.0
"""Seconds until a wait that never ends fails."""


def change(folder: Path, said: str, was: str = "") -> None:
    """Have the mapping say something where a customer has no remark; its cases expect that."""
    edit(folder / f"mappings/{OUT}.yaml", f'remark or "{was}"', f'remark or "{said}"')
    shown = f'FDescription: "{was}"' if not was else f"FDescription: {was}"
    edit(folder / f"mappings/{OUT}.tests.yaml", f"{shown}\n", f"FDescription: {said}\n")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text, old
    file.write_text(text.replace(old, new), "utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A project that was started once: its folder is in force."""
    made = make_site(tmp_path)
    start(made).close()
    return made


def start(site: Site) -> Hub:
    return open_hub(settings(site), start=True)


def settings(site: Site) -> Any:
    return load_settings(project_dir=site.folder, data_dir=site.data)


def sent(site: Site, id_: str) -> Any:
    """Have a new customer delivered; return what its description says."""
    number = int(id_.removeprefix("C-"))
    site.customer(id_, name=f"示例科技{number}有限公司", uscc=credit_code(number))
    before = len(site.kingdee.booked)
    site.work()
    return site.kingdee.booked[before].payload["FDescription"]


def test_a_draft_is_not_used_after_a_restart_and_is_told(site: Site) -> None:
    change(site.folder, "draft")
    start(site).close()
    assert sent(site, "C-1") == ""
    assert f"draft, not published: {OUT} (hub mapping publish {OUT}" in site.cli("status")
    assert f"草稿，未发布：{OUT}" in site.cli("status", lang="zh")
    assert site.json("status")["drafts"] == [["mapping", OUT]]
    assert f"draft, not published: {OUT}" in site.cli("mapping", "check")
    site.cli("mapping", "publish", OUT, "--note", "descriptions")
    assert sent(site, "C-2") == "draft"
    assert site.json("status")["drafts"] == []


def test_a_draft_that_does_not_parse_stops_nothing_and_is_refused_with_its_line(site: Site) -> None:
    file = site.folder / f"mappings/{OUT}.yaml"
    line = len(file.read_text("utf-8").splitlines()) + 1
    file.write_text(file.read_text("utf-8") + "  FOther: nonsense(\n", "utf-8")
    start(site).close()
    assert sent(site, "C-1") == ""
    said = site.cli("mapping", "publish", OUT, "--note", "n", code=1)
    assert f"mappings/{OUT}.yaml:{line}:" in said
    assert "nothing was published" in said
    assert [one["revision"] for one in site.json("mapping", "history", OUT)["revisions"]] == [1]


def test_a_value_map_s_draft_that_does_not_parse_stops_nothing(site: Site) -> None:
    file = site.folder / "mappings/kingdee/settle_type.map.yaml"
    file.write_text(file.read_text("utf-8") + "  oops\n", "utf-8")
    start(site).close()
    assert site.json("status")["drafts"] == [["value_map", "kingdee.settle_type"]]
    (site.folder / "mappings/kingdee/new.map.yaml").write_text("value_map: [", "utf-8")
    start(site).close()
    assert ["value_map", "mappings/kingdee/new.map.yaml"] in site.json("status")["drafts"]


def test_a_text_in_force_whose_file_is_gone_stays_in_force_and_that_is_said(site: Site) -> None:
    (site.folder / f"mappings/{OUT}.yaml").unlink()
    (site.folder / "mappings/kingdee/settle_type.map.yaml").unlink()
    start(site).close()
    assert sent(site, "C-1") == ""
    told = site.json("status")["no_file"]
    assert sorted(told) == [["mapping", OUT], ["value_map", "kingdee.settle_type"]]
    assert f"{OUT} is in force (revision 1), and the folder has no file of it" in site.cli("status")


def test_a_note_is_required_and_the_history_tells_it(site: Site) -> None:
    change(site.folder, "new")
    for note in ((), ("--note", " ")):
        assert "--note" in site.cli("mapping", "publish", OUT, *note, code=2)
        assert "--note" in site.cli("mapping", "rollback", OUT, *note, code=2)
    told = site.json("mapping", "publish", OUT, "--note", "销售要求")
    assert told["published"] == [{"kind": "mapping", "name": OUT, "revision": 2, "changed": True}]
    newest, first = site.json("mapping", "history", OUT)["revisions"]
    assert (newest["note"], newest["in_force"], first["in_force"], first["by"]) == (
        "销售要求",
        True,
        False,
        "start",
    )
    assert newest["by"].startswith("user:")
    assert newest["digest"] != first["digest"]
    assert "销售要求" in site.cli("mapping", "history", f"mapping:{OUT}")
    ((body,),) = site.ask("SELECT body FROM acts WHERE verb = 'project.published' AND actor <> 'start'")
    assert orjson.loads(body) == {
        "note": "销售要求",
        "revisions": [["mapping", OUT, 2]],
        "texts": [["mapping", OUT]],
    }


def test_cases_that_fail_keep_a_text_from_being_published(site: Site) -> None:
    edit(site.folder / f"mappings/{OUT}.yaml", 'remark or ""', 'remark or "x"')
    said = site.cli("mapping", "publish", OUT, "--note", "n", code=1)
    assert f"mappings/{OUT}.tests.yaml:" in said
    assert 'expected "", is "x"' in said
    assert site.json("mapping", "publish", OUT, "--note", "n", code=1)["ok"] is False
    assert len(site.json("mapping", "history", OUT)["revisions"]) == 1


def test_texts_are_named_as_hub_yaml_does_or_by_their_path_and_a_misspelt_one_gets_its_nearest(
    site: Site,
) -> None:
    assert "nothing to publish" in site.cli("mapping", "publish", "--all", "--note", "n")
    assert f"{OUT}: is in force as revision 1 already" in site.cli("mapping", "publish", OUT, "--note", "n")
    change(site.folder, "new")
    assert f"Drafts: {OUT}" in site.cli("mapping", "publish", "--note", "n", code=2)
    assert f"({OUT}?)" in site.cli("mapping", "publish", "kingdee/customr.out", "--note", "n", code=3)
    path = str(site.folder / f"mappings/{OUT}.yaml")
    assert f"{OUT}: revision 2 is in force" in site.cli("mapping", "publish", path, "--note", "n")
    assert "fields_of" not in site.cli("mapping", "history", "kingdee.settle_type")


def test_a_mapping_nobody_uses_is_not_published(site: Site) -> None:
    text = (site.folder / f"mappings/{OUT}.yaml").read_text("utf-8")
    (site.folder / "mappings/kingdee/other.out.yaml").write_text(
        text.replace(OUT, "kingdee/other.out"), "utf-8"
    )
    said = site.cli("mapping", "publish", "kingdee/other.out", "--note", "n", code=1)
    assert "no sync of the hub.yaml in force uses it" in said
    assert "nothing to publish" in site.cli("mapping", "publish", "--all", "--note", "n")


NEW_MAP = "value_map: kingdee.customer_group\ntitle: 分组\nvalues: {domestic: '01', overseas: '02'}\n"
RULE = '  FGroup.FNumber: value_map("kingdee.customer_group", level) if level else missing\n  FTRADINGCURRID'


def with_group(site: Site) -> Path:
    edit(site.folder / f"mappings/{OUT}.yaml", "  FTRADINGCURRID", RULE)
    file = site.folder / "mappings/kingdee/customer_group.map.yaml"
    file.write_text(NEW_MAP, "utf-8")
    return file


def test_a_mapping_and_the_table_it_asks_for_are_published_together(site: Site) -> None:
    with_group(site)
    said = site.cli("mapping", "publish", OUT, "--note", "n", code=1)
    assert "there is no value map 'kingdee.customer_group'" in said
    assert "customer_group.map.yaml is not published yet: name it too (kingdee.customer_group)" in said
    told = site.json("mapping", "publish", OUT, "kingdee.customer_group", "--note", "n")["published"]
    assert {(one["name"], one["revision"]) for one in told} == {(OUT, 2), ("kingdee.customer_group", 1)}


def test_a_table_that_changes_gives_each_mapping_that_uses_it_a_new_number(site: Site) -> None:
    file = with_group(site)
    site.cli("mapping", "publish", "--all", "--note", "groups")
    edit(file, "'01'", "'03'")
    told = site.json("mapping", "publish", "kingdee.customer_group", "--note", "wrong one")["published"]
    assert [(one["name"], one["revision"], one["changed"]) for one in told] == [
        ("kingdee.customer_group", 2, True),
        (OUT, 3, False),
    ]
    newest = site.json("mapping", "history", OUT)["revisions"][0]
    assert newest["because_of"] == [["value_map", "kingdee.customer_group"]]
    assert "roll that back" in site.cli("mapping", "rollback", OUT, "--note", "n", code=2)
    told = site.json("mapping", "rollback", "kingdee.customer_group", "--note", "back")
    assert [(one["name"], one["revision"]) for one in told["published"]] == [
        ("kingdee.customer_group", 3),
        (OUT, 4),
    ]
    assert file.read_text("utf-8") == NEW_MAP
    assert site.json("status")["drafts"] == []


def test_a_rollback_restores_text_and_file(site: Site) -> None:
    file = site.folder / f"mappings/{OUT}.yaml"
    first = file.read_text("utf-8")
    change(site.folder, "bad")
    site.cli("mapping", "publish", OUT, "--note", "n")
    assert sent(site, "C-1") == "bad"
    said = site.cli("mapping", "rollback", OUT, "--note", "it was wrong")
    assert f"{OUT}: revision 3 is in force" in said
    assert "holds the text of revision 1 again" in said
    assert file.read_text("utf-8") == first
    assert sent(site, "C-2") == ""
    newest = site.json("mapping", "history", OUT)["revisions"][0]
    assert (newest["revision"], newest["back_to"], newest["note"]) == (3, 1, "it was wrong")
    assert "is itself a rollback (to 1): say with --to" in site.cli(
        "mapping", "rollback", OUT, "--note", "n", code=2
    )
    assert "has no revision 9" in site.cli("mapping", "rollback", OUT, "--to", "9", "--note", "n", code=3)
    assert "in force as revision 3 already" in site.cli(
        "mapping", "rollback", OUT, "--to", "1", "--note", "n"
    )
    site.cli("mapping", "rollback", OUT, "--to", "2", "--note", "it was right")
    assert sent(site, "C-3") == "bad"


def test_a_rollback_leaves_a_file_alone_that_somebody_works_on(site: Site) -> None:
    file = site.folder / f"mappings/{OUT}.yaml"
    change(site.folder, "bad")
    site.cli("mapping", "publish", OUT, "--note", "n")
    change(site.folder, "better", was="bad")
    mine = file.read_text("utf-8")
    assert "left alone" in site.cli("mapping", "rollback", OUT, "--note", "n")
    assert file.read_text("utf-8") == mine
    assert site.json("status")["drafts"] == [["mapping", OUT]]
    assert sent(site, "C-1") == ""


def test_what_is_in_force_and_cannot_be_used_any_more_stops_a_start_and_is_mended_by_publishing(
    site: Site,
) -> None:
    def broken(tx: Any) -> Any:
        text = "mapping: kingdee/customer.out\nsource: crm.customer\ntarget: kingdee.customer\nfields: {FNoMore: name}\n"
        return publish(tx, [ProjectFile("mapping", OUT, text)], numbers_in_force(tx), actor="older", body={})

    with site.hub() as hub:
        hub.store.run_now(broken)
    with pytest.raises(ProjectInvalid, match=rf"{OUT} \(in force\):4"):
        start(site)
    change(site.folder, "mended")
    site.cli("mapping", "publish", OUT, "--note", "for the new connector")
    start(site).close()
    assert sent(site, "C-1") == "mended"


# on any store -------------------------------------------------------------------------------------------------


def opened(store: Store, root: Path) -> dict[tuple[str, str], Revision]:
    open_project(store, root, {SPEC.name: SPEC}, start=True)
    return store.read_now(revisions_in_force)


def made(root: Path, found: dict[tuple[str, str], Revision], name: str, old: str, new: str) -> Any:
    key = ("mapping", name)
    return prepare(root, {SPEC.name: SPEC}, found, {key: MAPPINGS[name].replace(old, new)}, {})


def test_of_two_who_publish_at_once_one_wins_and_the_other_is_told(
    tmp_path: Path, served_store: Store
) -> None:
    root = write_project(tmp_path / "project")
    found = opened(served_store, root)
    ours = [
        made(root, found, "acme/client.out", "Tax: uscc", "Tax: tax_no"),
        made(root, found, "acme/client.in", "uscc: Tax", "tax_no: Tax"),
    ]  # each alone fits; nobody looked at both together
    barrier = threading.Barrier(2, timeout=10)

    def put(one: Publication) -> Any:
        barrier.wait()
        return served_store.run_now(put_in_force, one, "user:a", "n")

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(put, ours))
    (lost,) = [one for one in answers if isinstance(one, Overtaken)]
    (won,) = [one for one in answers if not isinstance(one, Overtaken)]
    assert lost.names == tuple(won)
    assert set(won.values()) == {2}
    assert sum(served_store.read_now(numbers_in_force).values()) == len(found) + 1


def test_a_start_that_finds_other_texts_in_force_uses_those(tmp_path: Path, any_store: Store) -> None:
    root = write_project(tmp_path / "project")
    found = opened(any_store, root)
    any_store.run_now(
        put_in_force, made(root, found, "acme/client.out", "Tax: uscc", "Tax: tax_no"), "user:a", "n"
    )
    project = open_project(any_store, root, {SPEC.name: SPEC}, start=True)
    out = project.syncs["erp.client.out"]
    assert (out.revision, out.mapping.fields["Tax"].reads) == (2, {"tax_no"})
    assert project.drafts == (("mapping", "acme/client.out"),)
    (root / "hub.yaml").write_text(HUB_YAML.replace("schedule: 5m", "schedule: 6m"), "utf-8")
    again = open_project(any_store, root, {SPEC.name: SPEC}, start=True)
    assert again.syncs["erp.client.in"].schedule == 360
    assert again.revisions["project", "hub.yaml"] == 2


# beside running processes -------------------------------------------------------------------------------------


async def test_a_process_that_cannot_use_what_was_published_leaves_those_syncs_alone_and_says_so(
    site: Site,
) -> None:
    text = (site.folder / f"mappings/{OUT}.yaml").read_text("utf-8")

    def newer(tx: Any, said: str) -> Any:
        return publish(tx, [ProjectFile("mapping", OUT, said)], numbers_in_force(tx), actor="newer", body={})

    hub = start(site)
    try:
        follower = Published(hub, None)
        assert not await follower.look()
        await hub.store.run(newer, text.replace('remark or ""', "of_tomorrow(remark)"))
        assert await follower.look()
        assert not await follower.look(), "said once"
        assert hub.world.unfit == {"k3.customer.out"}
        assert "of_tomorrow" in hub.world.why_unfit
        write = ExternalWrite(
            "crm",
            "customer",
            "C-1",
            {"name": "示例科技有限公司", "uscc": credit_code(1), "entity": "demo"},
            "cn/south/",
            "demo",
        )
        await hub.store.run(accept, write, hub.world)
        before = len(site.kingdee.booked)
        await site._work(hub)
        assert site.kingdee.booked[before:] == []
        assert await hub.store.read(ask, "SELECT state FROM owed WHERE sync = 'k3.customer.out'") == [
            ("ready",)
        ]
        await hub.store.run(newer, text)
        assert await follower.look()
        assert (hub.world.unfit, hub.project.syncs["k3.customer.out"].revision) == (frozenset(), 3)
    finally:
        await hub.aclose()


async def test_what_is_published_beside_two_running_processes_goes_out_with_the_next_record(
    tmp_path: Path,
) -> None:
    with running(tmp_path, {}, "kingdee", "wecom") as cluster:
        cluster.up("worker")
        console = cluster.up("console")
        site = Site(cluster.folder / "project")
        data = ("--data", str(cluster.folder / "var"))
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:

            async def put(number: int) -> None:
                body = {"name": f"示例科技{number}有限公司", "uscc": credit_code(number), "remark": None}
                answer = await client.put(
                    f"{console.url}/api/v1/customers/by-external/crm/C-{number}", json=body,
                    headers={"Authorization": f"Bearer {TOKEN}"},
                )  # fmt: skip
                answer.raise_for_status()

            async def created(number: int) -> Any:
                told = (await client.get(cluster.vendors["kingdee"]["ledger"])).json()
                effects = told if isinstance(told, list) else told["effects"]
                return [
                    one["fields"].get("FDescription") or "" for one in effects
                    if one["verb"] == "create" and one["fields"]["FName"] == f"示例科技{number}有限公司"
                ]  # fmt: skip

            await put(1)
            await until(lambda: created(1))
            change(site.folder, "published")
            await asyncio.to_thread(site.cli, "mapping", "publish", OUT, "--note", "n", *data)
            log = cluster.folder / "log.txt"

            async def taken_up() -> bool:
                return log.read_text("utf-8").count("project.taken_up") == 2

            await until(taken_up)
            await put(2)
            await until(lambda: created(2))
            assert (await created(1), await created(2)) == ([""], ["published"])

        def acts(tx: Any) -> list[Any]:
            tx.cursor.execute("SELECT body FROM acts WHERE verb = 'claim' ORDER BY id")
            items = [item for (body,) in tx.cursor.fetchall() for item in orjson.loads(body).get("items", ())]
            return [
                one["revision"]
                for one in items
                if one.get("sync") == "k3.customer.out" and one.get("revision")
            ]

        store = Store.open(f"sqlite:///{cluster.folder / 'var' / 'hub.db'}", SystemClock())
        used = store.read_now(acts)
        store.close()
        assert sorted(set(used)) == [1, 2], used
        assert used == sorted(used)


async def until(look: Callable[[], Any]) -> None:
    began = time.monotonic()
    while not await look():
        assert time.monotonic() < began + PATIENCE
        await asyncio.sleep(0)
