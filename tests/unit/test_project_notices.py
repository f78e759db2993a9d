"""The section ``notices``: who is told, what a file may not say, the words, and the commands that show and test it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from connectors.dingtalk.sandbox import DingTalkSandbox
from hub import registry
from hub.cli.app import build
from hub.clock import SystemClock
from hub.errors import Cause
from hub.pipe.advice import Place
from hub.pipe.notice_texts import Stuck, ended, plain, stuck
from hub.project import ProjectInvalid, load_project
from hub.project.notices import SHIPPED, Addressee, Notices
from hub.sdk.notice import MOST_BYTES
from hub.sdk.sandbox import running
from hub.settings import load_settings
from hub.store.secrets import put_secret
from hub.wiring import open_hub
from tests.stores import ask

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "approvals"


def bent(folder: Path, old: str = "", new: str = "") -> Path:
    """Write the example with one place bent."""
    shutil.copytree(EXAMPLE, folder / "project")
    text = (EXAMPLE / "hub.yaml").read_text("utf-8")
    assert old in text
    (folder / "project" / "hub.yaml").write_text(text.replace(old, new, 1) if old else text, "utf-8")
    return folder / "project"


def example() -> Notices:
    found = load_project(EXAMPLE, registry.specs()).notices
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("cause", "kind", "to"),
    [
        (Cause.PERIOD_CLOSED, "payment", Addressee.FINANCE),
        (Cause.PERIOD_CLOSED, "contract", Addressee.OWNER),
        (Cause.INVALID, "payment", Addressee.OWNER),
        (Cause.PERMISSION, "approval", Addressee.IT),
        (Cause.INVALID, "customer", None),
        (Cause.INVALID, None, None),
    ],
)
def test_the_first_rule_that_fits_says_whose_business_a_dead_letter_is(cause, kind, to):
    assert example().addressee(cause, kind) is to


def test_the_shipped_rules_have_an_addressee_for_every_cause_of_a_payment():
    told = Notices("oa", it=("a",), rules=SHIPPED)
    assert {told.addressee(cause, "payment") for cause in Cause} == set(Addressee)
    assert {told.addressee(cause, "contact") for cause in Cause} == {None}


def test_a_file_without_rules_has_the_shipped_ones_and_one_without_the_section_tells_nobody(tmp_path: Path):
    text = (EXAMPLE / "hub.yaml").read_text("utf-8")
    rules = text[text.index("  rules:") : text.index("  finance:")]
    assert load_project(bent(tmp_path / "a", rules), registry.specs()).notices == Notices(
        "oa", it=("it.wu",), finance={"demo": ("zhao.liu",)}
    )
    section = text[text.index("notices:") : text.index("syncs:")]
    assert load_project(bent(tmp_path / "b", section), registry.specs()).notices is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  every: 5m", "  evry: 5m", "unknown key 'evry'; known here: approvals, connection, english, every, finance, it, rules; did you mean 'every'?"),
        ("connection: oa\n  every", "connection: crm\n  every", "there is no connection that can send notices 'crm'"),
        ("connection: oa\n  every", "every", "notices: connection is missing"),
        ("every: 5m", "every: 5s", "every: lies between 30s and 1d"),
        ("[period_closed,", "[period_close,", "there is no cause 'period_close'; did you mean 'period_closed'?"),
        ("kinds: [payment]", "kinds: [paiment]", "there is no kind 'paiment'; did you mean 'payment'?"),
        ("to: finance}", "to: finanz}", "'finanz' is not one of owner, finance, it; did you mean 'finance'?"),
        ("approval], to: owner}", "approval]}", "to is missing: owner, finance, it"),
        ("to: owner}", "to: owner, when: always}", "unknown key 'when'"),
        ("demo: [zhao.liu]", "dem: [zhao.liu]", "there is no legal entity 'dem' in the table (entities); did you mean 'demo'?"),
        ("demo: [zhao.liu]", "demo: [zhao.lui]", "there is no employee 'zhao.lui' in owners; did you mean 'zhao.liu'?"),
        ("it: [it.wu]", "it: []", "it: 1 to 100 employees are expected"),
        ("  it: [it.wu]", "", "it is missing: who is told where nobody else is named"),
        ("approvals: true", "approvals: maybe", "'maybe' is not one of true, false"),
        ("approvals: true", "english: [cn/east]", "there is no region 'cn/east' in the tree"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_section_is_named_with_its_line_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, said: str
):
    folder = bent(tmp_path, old, new)
    with pytest.raises(ProjectInvalid) as caught:
        load_project(folder, registry.specs())
    assert said in str(caught.value)
    assert caught.value.problems[0].line > 70


# words ----------------------------------------------------------------------------------------------------------

texts = st.text(max_size=400)


@given(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=6), texts, st.sampled_from(("zh", "en")))
def test_a_notice_fits_whatever_its_records_are_called_and_shows_no_control_character(named, said, lang):
    rows = [
        Stuck("payment", False, ("金蝶", "Kingdee"), *one, said=said, place=Place.RECORD) for one in named
    ]
    notice = stuck(rows, 1_000_000, Cause.INVALID, lang, "N-00000000", Addressee.FINANCE)
    assert len(notice.content.encode()) <= MOST_BYTES
    assert plain(notice.content.replace("\n", "")) == " ".join(notice.content.replace("\n", "").split())
    body: dict[str, Any] = {
        "status": "rejected",
        "title": named[0][0],
        "no": named[0][1],
        "opinion": said,
        "subject": "contract",
    }
    assert len(ended(body, lang, "N-00000000").content.encode()) <= MOST_BYTES


def test_what_a_stranger_wrote_has_no_line_of_its_own_no_colour_and_no_other_direction():
    assert plain("a\u202eb\x1b[31m\n- c\u200b\td") == "a b [31m - c d"


def test_rows_of_several_systems_are_called_records():
    rows = [
        Stuck("payment", False, ("金蝶（k3）", "Kingdee (k3)"), "HK-1"),
        Stuck("contract", True, ("钉钉（oa）", "DingTalk (oa)"), "HT-1"),
    ]
    assert stuck(rows, 2, Cause.INVALID, "zh", "N-1", None).title.startswith("2 笔记录未能")


# commands -------------------------------------------------------------------------------------------------------


def hub(*words: str, lang: str = "en", code: int = 0) -> str:
    done = CliRunner().invoke(build(lang), list(words))
    assert done.exit_code == code, f"{done.exit_code}\n{done.output}\n{done.exception!r}"
    return done.output


def test_show_says_whom_each_rule_tells_now(tmp_path: Path):
    place = ("--project", str(bent(tmp_path)), "--data", str(tmp_path / "var"))
    said = hub("notices", "show", *place, lang="zh")
    assert "经 oa（钉钉）" in said
    assert "规则 1：回款；" in said
    assert "会计期间已关账 (period_closed)" in said
    assert "通知签约主体的财务 demo：zhao.liu (finance)" in said
    assert "通知IT：it.wu (head)" in said
    found = json.loads(hub("notices", "show", *place, "--output", "json"))
    assert found["finance"] == {"demo": {"zhao.liu": "finance"}}
    assert found["waiting"] == []
    assert not (tmp_path / "var").exists(), "looking makes no store"


def test_show_says_where_nobody_is_named_and_where_there_is_no_section(tmp_path: Path):
    nobody = bent(tmp_path / "a", "    demo: [zhao.liu]\n", "")
    assert "demo: nobody is named: IT is told" in hub("notices", "show", "--project", str(nobody))
    text = (EXAMPLE / "hub.yaml").read_text("utf-8")
    without = bent(tmp_path / "b", text[text.index("notices:") : text.index("syncs:")])
    assert "nobody is told" in hub("notices", "show", "--project", str(without))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "boss"), "there is no boss; known: owner, finance, it"),
        (("--to", "owner"), "--to owner needs --owner"),
        (("--to", "owner", "--owner", "nobody"), "there is no nobody; known: "),
        (("--to", "finance", "--entity", "none"), "there is no none; known: demo"),
    ],
)
def test_what_a_test_cannot_mean_is_named(tmp_path: Path, words: tuple[str, ...], said: str):
    place = ("--project", str(bent(tmp_path)), "--data", str(tmp_path / "var"))
    assert said in hub("notices", "test", *words, *place, code=2)


async def test_a_test_is_sent_to_whom_it_says_and_shows_what_dingtalk_answered(tmp_path: Path):
    sandbox = DingTalkSandbox()
    sandbox.dials.qps = 0
    async with running(sandbox) as url:
        given = dict(sandbox.credentials(url))
        port = url.rstrip("/").rpartition(":")[2]
        folder = bent(
            tmp_path,
            "      corp_id: ding0123456789abcdef\n",
            f"      base_url: {given['base_url']}\n      old_url: {given['old_url']}\n      corp_id: {given['corp_id']}\n",
        )
        text = (folder / "hub.yaml").read_text("utf-8")
        text = text.replace("dingabcdefghijklmnop", given["app_key"]).replace("3141592653", given["agent_id"])
        text = text.replace(
            "    connector: dingtalk\n",
            f"    connector: dingtalk\n    allow: [{{host: 127.0.0.1, port: {port}, plain_http: true}}]\n",
        )
        text = text.replace("it.wu: {users: {oa: head}}", "it.wu: {users: {oa: left-us}}")
        (folder / "hub.yaml").write_text(text, "utf-8")
        place = ("--project", str(folder), "--data", str(tmp_path / "var"))

        def keep() -> None:
            opened = open_hub(
                load_settings(data_dir=tmp_path / "var", project_dir=folder), clock=SystemClock()
            )
            opened.store.run_now(put_secret, opened.vault, "oa-app-secret", given["app_secret"].encode())
            opened.close()

        await asyncio.to_thread(keep)
        said = await asyncio.to_thread(hub, "notices", "test", "--to", "finance", *place, lang="zh")
        ((task, one),) = sandbox.company.notices.items()
        assert f"已发给 zhao.liu (finance)；钉钉的回执：{task}" in said
        assert one.userids == ["finance"]
        assert "这是一条测试通知" in one.msg["text"]["content"]
        said = await asyncio.to_thread(
            hub, "notices", "test", "--to", "owner", "--owner", "li.lei", *place, code=1
        )
        assert "did not reach li.lei: invalid user" in said
        told = json.loads(
            await asyncio.to_thread(hub, "notices", "test", "--to", "it", "--output", "json", *place, code=1)
        )
        assert (told["ok"], told["missed"]) == (False, {"it.wu": "invalid user"})

        def acts() -> list[dict[str, Any]]:
            opened = open_hub(load_settings(data_dir=tmp_path / "var", project_dir=folder))
            found = opened.store.run_now(ask, "SELECT body FROM acts WHERE verb = 'notice' ORDER BY id")
            opened.close()
            return [json.loads(body)["items"][0] for (body,) in found]

        assert [act["outcome"] for act in await asyncio.to_thread(acts)] == ["tested"] * 3
        sandbox.gate.app.scopes.discard("qyapi_base")
        said = await asyncio.to_thread(hub, "notices", "test", "--to", "finance", *place, code=1)
        assert "a permission is missing" in said
