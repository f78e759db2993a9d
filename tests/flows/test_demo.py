"""The demo passes, and it can fail: a broken mapping, a lost delivery, a doubled one, a vendor that never answers,
a wrong tie, a lost callback that no sweep finds, another desk, another company's books, an open border."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from connectors.dingtalk.sandbox import DingTalkSandbox
from connectors.kingdee.sandbox import KingdeeSandbox
from connectors.wecom.sandbox import WeComSandbox
from hub.demo import (
    DINGTALK,
    EXPECTATION,
    KINGDEE,
    MAILCHIMP,
    PROJECT,
    STORY,
    VENDORS,
    WECOM,
    YONYOU,
    Outcome,
    opened,
    play,
)
from hub.demo.ledger import LEDGERS, differences, expected
from hub.errors import SettingsError
from hub.sdk.sandbox import Effect, Sandbox

ROOT = Path(__file__).resolve().parents[2]
LEDGER = ROOT / EXPECTATION
CHECKS = [*(step.name for step in STORY), *(f"ledger {name}" for name in VENDORS)]


def run(*options: str, project: Path = ROOT, lang: str = "C.UTF-8") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hub", "--project", str(project), "demo", "--once", *options],
        cwd=ROOT, env={**os.environ, "LANG": lang}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def project_at(folder: Path, **texts: Callable[[str], str]) -> Path:
    """Copy the demo's project, with some of its files changed."""
    shutil.copytree(ROOT / PROJECT, folder / PROJECT)
    for name, change in texts.items():
        (file,) = (folder / PROJECT).glob("hub.yaml" if name == "hub" else f"mappings/{name}.yaml")
        before = file.read_text("utf-8")
        file.write_text(change(before), "utf-8")
        assert file.read_text("utf-8") != before
    return folder


def quick(text: str) -> str:
    """Let the write that an outage delayed be tried again sooner."""
    return text.replace("    stop_at: audited\n", "    stop_at: audited\n    retry: {initial_interval: 1s}\n")


async def played(
    folder: Path,
    *scenes: str,
    patience: float = 60.0,
    vendors: dict[str, Sandbox] | None = None,
    **change: Any,
) -> Outcome:
    """Play the day, or the named scenes of it."""
    project = project_at(folder / "project", **{"hub": quick, **change})
    story = [step for step in STORY if step.name in scenes] or STORY
    async with opened(folder / "data", project / PROJECT, vendors=vendors, patience=patience) as stage:
        return await play(stage, LEDGER, story=story)


def amount_lost(text: str) -> str:
    return text.replace("FRECAMOUNTFOR_E: net ", 'FRECAMOUNTFOR_E: money(fee or "1.00", currency) ')


def phone_lost(text: str) -> str:
    return text.replace("FTEL: phone or", "FTEL: website or")


def remark_lost(text: str) -> str:
    return text.replace("remark: trim(remark)", "remark: trim(company_name)")


def another_company(text: str) -> str:
    return text.replace(
        "company_name: company_name(company)", "company_name: \"'星河示例智造（东莞）有限公司'\""
    )


@pytest.mark.slow
def test_the_demo_ends_with_a_ledger_that_is_exactly_as_a_person_wrote_it() -> None:
    done = run("--output", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), done.stdout + done.stderr
    assert told["checks"] == CHECKS
    assert told["seconds"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("kafka", "postgres_server")
def test_the_same_day_on_kafka_and_postgresql_ends_with_the_same_ledger() -> None:
    done = run("--output", "json", "--engine", "kafka")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), done.stdout + done.stderr
    assert told["checks"] == CHECKS
    assert done.stderr == ""


@pytest.mark.slow
def test_the_day_is_told_in_chinese_where_the_machine_speaks_it() -> None:
    done = run(lang="zh_CN.UTF-8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "五本账都与 demo/expectation.yaml 完全一致" in done.stdout
    assert all(step.zh in done.stdout for step in STORY)


@pytest.mark.slow
def test_every_step_is_told_with_the_command_that_shows_it(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path / "day"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(step.en in done.stdout for step in STORY)
    commands = re.findall(r"^ +\$ (.+)$", done.stdout, re.MULTILINE)
    assert len(commands) >= len(STORY)
    last = {_verb(one): one for one in commands}
    assert last.pop("run").split()[2] == "dingtalk.approval.in"  # there is nobody to read any more
    shown = {name: _again(command) for name, command in last.items()}
    assert {"trace", "status", "audit", "approvals", "exports", "hub/audit/verify.py"} <= shown.keys()
    assert all(answer.returncode == (1 if name.endswith(".py") else 0) for name, answer in shown.items()), (
        shown
    )
    assert "DAMAGED" in shown["hub/audit/verify.py"].stdout
    assert "north-branch → wecom" in shown["approvals"].stdout
    assert "mailchimp: 150 wait because contact.custom.email_opt_in may not leave" in shown["exports"].stdout


def _verb(command: str) -> str:
    return command.split()[1]


def _again(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that the demo printed, from the same folder."""
    _, *words = command.split()
    program = [] if words[0].endswith(".py") else ["-m", "hub"]
    return subprocess.run(
        [sys.executable, *program, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "where"),
    [
        ("kingdee/payment.out", amount_lost, "FRECAMOUNTFOR_E"),
        ("kingdee/customer.out", phone_lost, "FTEL"),
        ("wecom/follow.out", remark_lost, "remark"),
    ],
)
def test_the_demo_fails_when_a_mapping_is_broken(
    name: str, change: Callable[[str], str], where: str, tmp_path: Path
) -> None:
    done = run("--output", "json", project=project_at(tmp_path / "project", hub=quick, **{name: change}))
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    assert any(where in difference for difference in told["differences"])


class Swallowing(KingdeeSandbox):
    """Answers the first receipt as saved, and keeps nothing."""

    swallowed = False

    async def exchange(self, op: str, form: str, apply: Callable[[], Any]) -> Any:
        def forget() -> Any:
            before = list(self.ledger())
            answer = apply()
            if not self.swallowed and len(self.ledger()) > len(before):
                self.swallowed = True
                self.ledger()._effects[:] = before
                self.rebuild(before)
            return answer

        return await super().exchange(op, form, forget if _books(op, form) else apply)


class Doubling(KingdeeSandbox):
    """Books the first receipt twice, and answers once."""

    doubled = False

    async def exchange(self, op: str, form: str, apply: Callable[[], Any]) -> Any:
        def twice() -> Any:
            if not self.doubled:
                self.doubled = True
                apply()
            return apply()

        return await super().exchange(op, form, twice if _books(op, form) else apply)


def _books(op: str, form: str) -> bool:
    return (op.lower(), form.lower()) == ("save", "ar_receivebill")


class DoubleRemark(WeComSandbox):
    """Sets every remark twice, and answers once."""

    async def exchange(self, op: str, form: str, apply: Callable[[], Any]) -> Any:
        def twice() -> Any:
            apply()
            return apply()

        return await super().exchange(op, form, twice if op == "externalcontact/remark" else apply)


NOBODY = {"errcode": 0, "errmsg": "ok", "external_contact_list": [], "next_cursor": ""}


class NoSweep(WeComSandbox):
    """Shows nobody to a complete read."""

    async def exchange(self, op: str, form: str, apply: Callable[[], Any]) -> Any:
        if op == "externalcontact/batch/get_by_user":
            return await super().exchange(op, form, lambda: JSONResponse(NOBODY))
        return await super().exchange(op, form, apply)


@pytest.mark.slow
async def test_the_demo_fails_when_a_delivery_is_lost(tmp_path: Path) -> None:
    outcome = await played(tmp_path, vendors={KINGDEE: Swallowing()})
    assert not outcome.ok
    assert "k3: AR_RECEIVEBILL PAY-1: 0 objects instead of 1" in outcome.differences


@pytest.mark.slow
async def test_the_demo_fails_when_a_delivery_is_doubled(tmp_path: Path) -> None:
    outcome = await played(tmp_path, vendors={KINGDEE: Doubling()})
    assert not outcome.ok
    assert "k3: AR_RECEIVEBILL PAY-1: 2 objects instead of 1" in outcome.differences


@pytest.mark.slow
async def test_the_demo_fails_when_a_remark_is_written_twice(tmp_path: Path) -> None:
    outcome = await played(tmp_path, "numbered", "scanned", "both_edited", vendors={WECOM: DoubleRemark()})
    assert outcome.checks == ("numbered", "scanned")
    assert "both_edited: WeCom was written ['remark', 'remark', 'mark_tag']" in outcome.differences[0]
    assert any("api remark, api remark, api mark_tag instead of" in text for text in outcome.differences)


@pytest.mark.slow
async def test_the_demo_fails_when_no_sweep_finds_what_a_lost_callback_hid(tmp_path: Path) -> None:
    scenes = ("numbered", "waited", "scanned", "decided", "lost")
    outcome = await played(tmp_path, *scenes, vendors={WECOM: NoSweep()}, patience=5.0)
    assert outcome.checks == scenes[:-1]
    assert outcome.differences[0] == "lost: the customer of 孙悦: not within 5 s"


@pytest.mark.slow
async def test_the_demo_fails_when_a_person_is_tied_to_another_customer(tmp_path: Path) -> None:
    change: dict[str, Any] = {"wecom/follow.in": another_company}
    outcome = await played(tmp_path, "numbered", "admitted", "scanned", **change)
    assert outcome.checks == ("numbered", "admitted")
    assert outcome.differences[0] == "scanned: 王小明 was tied to another customer than C-1001"


class Stale(DingTalkSandbox):
    """Goes on showing an approval as it was shown first, and lists nothing: no read finds what became of it."""

    shown: bytes = b""

    async def exchange(self, op: str, form: str, apply: Callable[[], Any]) -> Any:
        if op == "list":
            return await super().exchange(
                op, form, lambda: JSONResponse({"result": {"list": []}, "success": True})
            )
        answer = await super().exchange(op, form, apply)
        if op != "get":
            return answer
        self.shown = self.shown or bytes(answer.body)
        return Response(self.shown, media_type="application/json")


def other_limit(text: str) -> str:
    return text.replace("from: 100000,", "from: 200000,").replace("below: 100000,", "below: 200000,")


def open_border(text: str) -> str:
    return quick(text).replace("        region: overseas\n        fields", "        fields")


def yuan(text: str) -> str:
    return text.replace("oriTaxIncludedAmount: net ", 'oriTaxIncludedAmount: money("1.00", currency) ')


def unheard(text: str) -> str:
    return text.replace('email_opt_out: status == "unsubscribed"', 'email_opt_out: status == "gone"')


@pytest.mark.slow
async def test_the_demo_fails_when_a_contract_goes_to_another_desk(tmp_path: Path) -> None:
    outcome = await played(tmp_path, "numbered", "routed", hub=other_limit, patience=5.0)
    assert outcome.checks == ("numbered",)
    assert any(
        f"{DINGTALK}: approval HT-1001-1: effect 1 (api create)" in text for text in outcome.differences
    )


@pytest.mark.slow
async def test_the_demo_fails_when_no_read_finds_a_decision_whose_event_was_lost(tmp_path: Path) -> None:
    scenes = ("numbered", "unheard")
    outcome = await played(tmp_path, *scenes, vendors={DINGTALK: Stale()}, patience=5.0)
    assert outcome.checks == scenes[:-1]
    assert outcome.differences[0] == "unheard: HT-1005-1: approved: not within 5 s"


@pytest.mark.slow
async def test_the_demo_fails_when_the_northern_receipt_is_of_another_amount(tmp_path: Path) -> None:
    change: dict[str, Any] = {"yonyou/payment.out": yuan}
    outcome = await played(tmp_path, "numbered", "routed", "booked", **change)
    wrong = "effect 1 (api create) set oriTaxIncludedAmount to '1.00' instead of '45000.00'"
    assert f"{YONYOU}: receipt PAY-6: {wrong}" in outcome.differences


@pytest.mark.slow
async def test_the_demo_fails_when_the_border_is_open(tmp_path: Path) -> None:
    outcome = await played(tmp_path, "numbered", "gated", hub=open_border, patience=20.0)
    assert outcome.checks == ("numbered",)
    assert any(
        "wmexpo001@example.cn: 1 object(s) that nobody expects" in text for text in outcome.differences
    )


@pytest.mark.slow
async def test_the_demo_fails_when_an_unsubscribe_does_not_come_home(tmp_path: Path) -> None:
    scenes = ("numbered", "gated", "left_there")
    change: dict[str, Any] = {"mailchimp/contact.in": unheard}
    outcome = await played(tmp_path, *scenes, patience=20.0, **change)
    assert outcome.checks[:2] == scenes[:-1], outcome.differences[0]
    assert outcome.differences[0] == "left_there: the unsubscribe in the CRM: not within 20 s"


async def test_a_step_that_waits_in_vain_ends_the_day_and_says_for_what(tmp_path: Path) -> None:
    vendor = KingdeeSandbox()
    vendor.dials.down = "503"
    async with opened(tmp_path / "data", ROOT / PROJECT, vendors={KINGDEE: vendor}, patience=0.5) as stage:
        outcome = await play(stage, LEDGER, story=STORY[:1])
    assert outcome.checks == ()
    assert outcome.differences[0] == "numbered: the end of what is owed about C-1001: not within 0.5 s"


async def test_the_demo_leaves_a_folder_alone_that_no_demo_made(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_text("somebody's")
    with pytest.raises(SettingsError, match="was not made by a demo"):
        async with opened(tmp_path, ROOT / PROJECT):
            pass
    assert (tmp_path / "hub.db").read_text() == "somebody's"


@pytest.mark.parametrize("name", VENDORS)
async def test_the_demo_writes_to_no_vendor_but_its_own(name: str, tmp_path: Path) -> None:
    address = VENDORS[name].address
    project = project_at(
        tmp_path / "project",
        hub=lambda text: text.replace(f": {address}\n", ": https://erp.example.com/k3cloud/\n"),
    )
    with pytest.raises(SettingsError, match=f"connection {name} does not name the sandbox"):
        async with opened(tmp_path / "data", project / PROJECT):
            pass


async def test_the_demo_goes_on_serving_and_stops_when_it_is_asked_to(tmp_path: Path) -> None:
    project = project_at(tmp_path / "project", hub=quick)
    serving = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub", "--project", str(project), "demo", "--output", "json",
        "--data", str(tmp_path / "day"), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert serving.stdout is not None
    text = ""
    async with asyncio.timeout(200):
        while not text.endswith("}\n"):
            line = await serving.stdout.readline()
            assert line, (await serving.stderr.read()).decode()  # type: ignore[union-attr]
            text += line.decode()
    told = json.loads(text)
    assert told["ok"]
    assert {"api", "token", "hooks"} <= told.keys()
    assert {f"{name}_{what}" for name in VENDORS for what in ("control", "ledger")} <= told.keys()
    serving.terminate()
    async with asyncio.timeout(60):
        out, err = await serving.communicate()
    assert (serving.returncode, out, err) == (0, b"", b"")


# the judge -----------------------------------------------------------------------------------------------------

WRITTEN = """
k3:
  BD_Customer:
    A:
      - api create: {FNumber: <A>, FName: A, FTEL: "1"}
      - api update: {FTEL: ""}
  AR_RECEIVEBILL:
    P:
      - api create: {FCONTACTUNIT: <A>, FTHIRDBILLNO: <K>, FRECEIVEBILLENTRY: [{FCOMMENT: P, FRECAMOUNTFOR_E: "10.00"}]}
wecom:
  follow:
    L/wm1:
      - api mark_tag: {userid: L, external_userid: wm1, tag_ids: [<T>]}
  tag:
    VIP:
      - api add_corp_tag: {id: <T>, name: VIP}
dingtalk:
  approval:
    HT-0001-1:
      - api create: {CRM单号: <HT-0001-1>, 合同金额: "1.00", approvers: [A, B]}
      - user agree: {"acted[0]": A AGREE 同意}
yonyou:
  customer:
    A:
      - api create: {code: <A>, name: {simplifiedName: A}}
mailchimp:
  member:
    g<1..3>@example.sg:
      - api create: {email_address: g<1..3>@example.sg, merge_fields: {FNAME: Guest <1..3>}}
"""
NUMBER, KEY = "a" * 32, "b" * 32


def effects(**change: Any) -> list[Effect]:
    """Return the effects that WRITTEN expects, with some things changed."""
    customer = {"FCUSTID": 7, "FNumber": NUMBER, "FName": "A", "FTEL": "1"}
    row = {"FEntryID": 9, "FCOMMENT": "P", "FRECAMOUNTFOR_E": change.get("amount", "10.00")}
    receipt = {
        "FCONTACTUNIT": change.get("customer", NUMBER),
        "FTHIRDBILLNO": change.get("key", KEY),
        "FRECEIVEBILLENTRY": [row],
    }
    told = [
        ("create", "BD_Customer", 7, customer),
        ("update", "BD_Customer", 7, customer | {"FTEL": change.get("phone", "")}),
        ("create", "AR_RECEIVEBILL", 8, receipt),
    ]
    return [
        Effect(at, at, verb, form, id_, "N", change.get("by", "api"), fields)
        for at, (verb, form, id_, fields) in enumerate(told)
    ]


@pytest.fixture
def written(tmp_path: Path) -> Any:
    file = tmp_path / "expectation.yaml"
    file.write_text(WRITTEN)
    return expected(file)


def test_a_ledger_as_expected_has_no_difference(written: Any) -> None:
    assert differences(LEDGERS[KINGDEE], written[KINGDEE], effects()) == []


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (effects(amount="10.01"), "FRECAMOUNTFOR_E to '10.01' instead of '10.00'"),
        (effects(phone="2"), "set FTEL to '2' instead of ''"),
        (effects(customer="c" * 32), f"set FCONTACTUNIT to {'c' * 32!r} instead of '<A>'"),
        (effects(key=NUMBER), f"set FTHIRDBILLNO to {NUMBER!r} instead of '<K>'"),
        (effects(key="not a number"), "set FTHIRDBILLNO to 'not a number'"),
        (effects(by="user"), "effects are user create, user update instead of api create, api update"),
        (effects()[:2], "AR_RECEIVEBILL P: 0 objects instead of 1"),
        (effects()[::2], "effects are api create instead of api create, api update"),
        ([*effects(), *effects()[1:2]], "effects are api create, api update, api update instead of"),
        (
            [
                *effects(),
                Effect(
                    9,
                    9,
                    "create",
                    "AR_RECEIVEBILL",
                    9,
                    "N",
                    "api",
                    {"FRECEIVEBILLENTRY": [{"FCOMMENT": "P"}]},
                ),
            ],
            "2 objects instead of 1",
        ),
        (
            [*effects(), Effect(9, 9, "create", "BD_Supplier", 9, "N", "api", {"FName": "S"})],
            "BD_Supplier S: 1 object(s) that nobody expects",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_ledger_that_differs_is_told_where(written: Any, found: list[Effect], text: str) -> None:
    assert any(text in difference for difference in differences(LEDGERS[KINGDEE], written[KINGDEE], found))


def tagged(**change: Any) -> list[Effect]:
    """Return the effects that WRITTEN expects of WeCom, with some things changed."""
    follow = {
        "serial": 5, "userid": "L", "external_userid": "wm1", "tag_ids": change.get("tag_ids", ["etSbxTag01"]),
        "wechat_channels": {}, "asked": {"add_tag": ["etSbxTag01"]},
    }  # fmt: skip
    tag = {"id": change.get("id", "etSbxTag01"), "name": "VIP", "deleted": False, "order": 0}
    return [
        Effect(1, 1, "mark_tag", "follow", "L:wm1", "wm1", "api", follow),
        Effect(2, 2, "add_corp_tag", "tag", tag["id"], "VIP", "api", tag),
    ]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (tagged(), ""),
        (
            tagged(id="etSbxTag02"),
            "tag VIP: effect 1 (api add_corp_tag) set id to 'etSbxTag02' instead of '<T>'",
        ),
        (tagged(tag_ids=[]), "follow L/wm1: effect 1 (api mark_tag) did not change tag_ids[0] to '<T>'"),
        (
            tagged(tag_ids=["etSbxTag01", "etSbxTag03"]),
            "follow L/wm1: effect 1 (api mark_tag) also changed tag_ids[1] to 'etSbxTag03'",
        ),
        (tagged()[:1], "tag VIP: 0 objects instead of 1"),
    ],
    ids=["as expected", "another tag", "no tag", "one tag more", "no library"],
)
def test_the_second_ledger_is_judged_by_the_same_rules(written: Any, found: list[Effect], text: str) -> None:
    assert differences(LEDGERS[WECOM], written[WECOM], found) == ([text] if text else [])


def decided(**change: Any) -> list[Effect]:
    """Return the effects that WRITTEN expects of DingTalk, with some things changed."""
    fields = {
        "CRM单号": change.get("number", "HT-0001-1 [0123abcd]"),
        "合同金额": "1.00",
        "bizAction": "NONE",
    }
    nodes = [{"users": ["A"]}, {"users": [change.get("second", "B")]}]
    agreed = {
        "type": "EXECUTE_TASK_NORMAL",
        "userId": change.get("who", "A"),
        "result": "AGREE",
        "remark": "同意",
    }
    told = [("create", "api", []), ("agree", change.get("by", "user"), [agreed])]
    return [
        Effect(at, at, verb, "approval", "I", "N", by, fields, {"nodes": nodes, "records": records})
        for at, (verb, by, records) in enumerate(told)
    ]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (decided(), "also changed bizAction to 'NONE'"),
        (decided(second="C"), "set approvers[1] to 'C' instead of 'B'"),
        (decided(who="B"), "set acted[0] to 'B AGREE 同意' instead of 'A AGREE 同意'"),
        (decided(by="api"), "effects are api create, api agree instead of api create, user agree"),
        (decided(number="HT-0001-1"), "set CRM单号 to 'HT-0001-1' instead of '<HT-0001-1>'"),
        (decided(number="HT-0002-1 [0123abcd]"), "HT-0001-1: 0 objects instead of 1"),
    ],
)
def test_an_approval_is_judged_by_its_form_by_who_was_asked_and_by_who_decided(
    written: Any, found: list[Effect], text: str
) -> None:
    assert any(text in difference for difference in differences(LEDGERS[DINGTALK], written[DINGTALK], found))


def test_one_entry_may_stand_for_many_objects_each_with_its_number(written: Any) -> None:
    def member(number: int, name: str) -> Effect:
        address = f"g{number}@example.sg"
        fields = {
            "email_address": address,
            "merge_fields": {"FNAME": name, "LNAME": ""},
            "tags": [],
            "vip": False,
        }
        return Effect(number, number, "create", "member", address, address, "api", fields)

    def judged(*found: Effect) -> list[str]:
        return differences(LEDGERS[MAILCHIMP], written[MAILCHIMP], found)

    everybody = [member(number, f"Guest {number}") for number in (1, 2, 3)]
    assert judged(*everybody) == []
    assert judged(*everybody[:2]) == ["member g3@example.sg: 0 objects instead of 1"]
    wrong = judged(*everybody[:2], member(3, "Guest 2"))
    assert wrong == [
        "member g3@example.sg: effect 1 (api create) set merge_fields.FNAME to 'Guest 2' instead of 'Guest 3'"
    ]
    (surplus,) = judged(*everybody, member(4, "Guest 4"))
    assert "g4@example.sg: 1 object(s) that nobody expects" in surplus


def test_an_object_that_two_entries_stand_for_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "expectation.yaml"
    file.write_text(f"{WRITTEN}    g3@example.sg:\n      - api create: {{a: b}}\n")
    with pytest.raises(SettingsError, match=r"g3@example\.sg stands there twice"):
        expected(file)


def test_a_field_that_nobody_expects_to_change_is_a_difference(written: Any) -> None:
    found = effects()
    found[0].fields["FADDRESS"] = "somewhere"  # type: ignore[index]
    assert "BD_Customer A: effect 1 (api create) also changed FADDRESS to 'somewhere'" in differences(
        LEDGERS[KINGDEE], written[KINGDEE], found
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "k3: 3\nwecom: 3",
        WRITTEN.partition("wecom:")[0],
        WRITTEN + "other: {a: 3}",
        WRITTEN.replace("      - api add_corp_tag: {id: <T>, name: VIP}", "      []"),
        WRITTEN.replace("{id: <T>, name: VIP}", "3"),
        "a: [",
        WRITTEN.replace("- api add_corp_tag: {id: <T>, name: VIP}", "- {}"),
    ],
)
def test_an_expectation_that_expects_nothing_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "expectation.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"expectation\.yaml"):
        expected(file)
