"""Approvals of WeCom through the pipe with the shipped mappings: routed, started, decided there, and home again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.declared import SPEC
from connectors.wecom.sandbox.acts import ActOnForm, PutMember, Submit
from hub.clock import SystemClock
from hub.pipe.claim import Attempt
from hub.pipe.decide import Send
from hub.pipe.items import Item
from hub.pipe.settle import Settling
from hub.project import load_project
from hub.sdk.connector import Failed, SourceRecord, VendorKey
from hub.sdk.kit import Bench
from hub.settings import load_settings
from hub.store.rows import Record
from hub.wiring import open_hub
from tests.contract.wecom_approval_stand import CONTRACT, LABEL, SELLER, WeComApprovalStand, see_everybody
from tests.pipe_stand import Stand

MAPPINGS = Path(__file__).parents[2] / "mappings" / "wecom"
HUB_YAML = f"""\
version: 1
regions: [cn, cn/south]
owners:
  seller: {{region: cn/south, users: {{wecom: {SELLER}}}}}
  li.si: {{region: cn/south, users: {{wecom: lisi}}}}
entities:
  demo: {{title: 示例, currency: CNY}}
connections:
  crm: {{connector: api, region: cn/south, entity: demo}}
  wecom:
    connector: wecom
    region: cn/south
    entity: demo
    settings: {{corp_id: ww0, agent_id: 1, secret: "${{secret:a}}", token: "${{secret:b}}", encoding_aes_key: "${{secret:c}}"}}
approvals:
  routes:
    south:
      region: cn
      subjects: [contract, payment, refund, discount, transfer, custom]
      connection: wecom
      template: {CONTRACT}
      approvers: [{{all: [li.si]}}]
      cc: [seller]
syncs:
  wecom.approval.out: {{target: wecom.approval, mapping: wecom/approval.out, mode: write, accept_window: true}}
  wecom.approval.in: {{source: wecom.approval, mapping: wecom/approval.in, mode: write, schedule: 1h}}
"""


class Shared(SystemClock):
    """The connector's time is the hub's."""

    def __init__(self, office: Office) -> None:
        super().__init__()
        self._office = office

    def now(self) -> int:
        return self._office.clock.at


class Office(Stand):
    """A hub in front of one WeCom corp; its worker's calls go over a socket."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        shutil.copytree(MAPPINGS, folder / "mappings" / "wecom")
        (folder / "hub.yaml").write_text(HUB_YAML, "utf-8")
        project = load_project(folder, {"wecom": SPEC})
        super().__init__(made=project)
        self.world = replace(self.world, specs={"wecom": SPEC})
        self.clock.at = bench.clock.now()
        bench.clock = Shared(self)
        self.bench, self.wecom = bench, bench.connect()
        self.customer = self.put("C-1", name="示例科技有限公司")
        self.corp = bench.stand.sandbox.corp

    def ask_for(self, no: str, applicant: str = "seller", **form: Any) -> str:
        """Have the CRM ask for the approval of a contract; return its id."""
        deal = {"no": f"C-{no}", "customer": self.customer, "amount_total": "150000.00", "currency": "CNY"}
        contract = self.put(f"C-{no}", "contract", status="draft", **deal)
        filled = {"客户名称": "示例科技有限公司", "合同金额": "150000.00", **form}
        return self.put(
            no, "approval", no=no, subject="contract", title="年度框架合同", status="submitted", applicant=applicant, contract=contract,
            amount="150000.00", currency="CNY", form=filled,
        )  # fmt: skip

    async def work(self) -> None:
        """Send and settle until nothing is due."""
        for _ in range(20):
            attempts = self.claim(connection="wecom")
            if not attempts:
                return
            for attempt in attempts:
                self.settle(attempt, await self.call(attempt))
            self.clock.at += 1_000_000
        raise AssertionError(f"still busy: {self.rows()}")

    async def call(self, attempt: Attempt) -> Any:
        if attempt.send is None:
            try:
                return (await self.wecom.fetch(attempt.stream, [attempt.key]))[0]
            except Exception as error:
                return Failed(error)  # type: ignore[arg-type]
        deadline = replace(attempt.write, deadline=self.bench.clock.monotonic() + 30)
        if attempt.send is Send.FIND:
            return (await self.wecom.find([deadline]))[0]
        return (await self.wecom.write([deadline]))[0]

    def hear(self, sp_no: str, record: SourceRecord | None = None) -> None:
        """Take an event in, or what a read showed."""
        sync = self.world.inbound("wecom", "approval")
        self.take_items([Item("wecom", "approval", VendorKey("", sp_no), record, sync, event="e")])

    async def sweep_in(self, cursor: Any = None) -> Any:
        """Read what has changed, as the schedule does; return the cursor."""
        async for page in self.wecom.read("approval", cursor):
            for one in page.records:
                self.hear(one.key.id, one)
            cursor = page.cursor
        return cursor

    def decide(self, act: str, sp_no: str, userid: str = "", speech: str = "") -> None:
        self.bench.stand.sandbox.advance(1)
        one = {"act": act, "sp_no": sp_no, "userid": userid, "speech": speech}
        self.bench.stand.sandbox.act(ActOnForm.model_validate(one))
        self.clock.at += 5_000_000


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with Bench.open(WeComConnector, WeComApprovalStand) as bench:
        see_everybody(bench.stand)  # type: ignore[arg-type]
        opened = Office(bench, tmp_path)
        yield opened
        opened.close()


async def test_an_approval_is_started_by_its_route_decided_in_wecom_and_home_by_the_event(
    office: Office,
) -> None:
    record = office.ask_for("HT-2026-0001-1")
    await office.work()
    (form,) = office.corp.forms.values()
    assert [[sub["userid"] for sub in node["subs"]] for node in form.nodes] == [["lisi"]]
    assert (form.userid, form.notifyer, form.template_id) == (SELLER, [SELLER], CONTRACT)
    assert office.body(record)["status"] == "in_progress"
    office.decide("agree", form.sp_no, "lisi", "同意")
    office.hear(form.sp_no)
    await office.work()
    body = office.body(record)
    assert (body["status"], body["opinion"], body["no"], body["subject"]) == (
        "approved",
        "同意",
        "HT-2026-0001-1",
        "contract",
    )
    assert [(node["approver"], node["action"]) for node in body["nodes"]] == [("li.si", "agree")]
    assert len(office.corp.forms) == 1
    assert office.body(body["contract"])["status"] == "active"
    assert [row for row in office.rows() if row["state"] == "parked"] == []


async def test_an_event_that_never_came_is_made_good_by_the_next_read(office: Office) -> None:
    record = office.ask_for("HT-2026-0001-1")
    await office.work()
    (sp_no,) = office.corp.forms
    office.clock.at += 5_000_000
    cursor = await office.sweep_in()
    office.decide("reject", sp_no, "lisi", "折扣太大")
    await office.sweep_in(cursor)
    await office.work()
    body = office.body(record)
    assert (body["status"], body["opinion"]) == ("rejected", "折扣太大")
    assert len(office.ask("SELECT id FROM records WHERE kind = 'approval'")) == 1


async def test_one_that_was_revoked_after_approval_is_told_as_revoked_also_if_its_approval_comes_late(
    office: Office,
) -> None:
    record = office.ask_for("HT-2026-0001-1")
    await office.work()
    (sp_no,) = office.corp.forms
    office.decide("agree", sp_no)
    late = (await office.wecom.fetch("approval", [VendorKey("", sp_no)]))[0]
    assert isinstance(late, SourceRecord)
    office.decide("revoke", sp_no)
    office.hear(sp_no)
    await office.work()
    office.hear(sp_no, replace(late, observed_at=office.clock.at))
    await office.work()
    assert office.body(record)["status"] == "revoked"


async def test_an_answer_that_is_lost_starts_nothing_twice(office: Office) -> None:
    record = office.ask_for("HT-2026-0001-1")
    office.bench.stand.sandbox.inject("apply_then_drop", op="oa/applyevent")
    await office.work()
    for _ in range(5):
        office.clock.at += 200_000_000
        office.sweep()
        await office.work()
    assert len(office.corp.forms) == 1
    assert office.body(record)["status"] == "in_progress"


@pytest.mark.parametrize("heard", ["never", "before", "after"])
@pytest.mark.parametrize("late", [0, 600])
async def test_a_form_that_was_deleted_before_it_was_found_is_the_end_of_its_approval_and_no_second_is_sent(
    office: Office, heard: str, late: int
) -> None:
    record = office.ask_for("HT-2026-0001-1")
    office.bench.stand.sandbox.inject("apply_then_drop", op="oa/applyevent")
    for attempt in office.claim(connection="wecom"):
        office.settle(attempt, await office.call(attempt))
    (sp_no,) = office.corp.forms
    office.decide("delete", sp_no)
    if heard == "before":
        office.hear(sp_no)
        (read,) = [one for one in office.claim(connection="wecom") if one.send is None]
        office.settle(read, await office.call(read))
    office.clock.at += late * 1_000_000  # by then a copy of the lost request may land no more
    await office.work()
    for _ in range(5):
        office.clock.at += 200_000_000
        office.sweep()
        await office.work()
    if heard == "after":
        office.hear(sp_no)
        await office.sweep_in()
        await office.work()
    assert office.rows() == []
    assert office.body(record)["status"] == "terminated"
    assert office.body(record)["external_ref"] == sp_no
    assert office.body(office.body(record)["contract"])["status"] == "draft"  # back, for another attempt
    assert len(office.corp.forms) == 1


async def test_what_a_settle_sees_at_the_vendor_names_people_as_the_crm_knows_them(office: Office) -> None:
    office.ask_for("HT-2026-0001-1", applicant="li.si")
    await office.work()
    (form,) = office.corp.forms.values()
    (shown,) = await office.wecom.fetch("approval", [VendorKey("", form.sp_no)])
    assert isinstance(shown, SourceRecord)
    settling = Settling(None, office.world)  # type: ignore[arg-type]
    seen = settling._mapped(shown.body, office.world.project.syncs["wecom.approval.out"])
    assert (form.userid, seen and seen["applicant"]) == ("lisi", "li.si")


async def test_an_approval_that_is_routed_to_another_system_is_not_started_here(office: Office) -> None:
    out, seen = office.world.project.syncs["wecom.approval.out"], []
    for connection in ("wecom", "oa", None):
        body = {"no": "A-1", "status": "submitted", "connection": connection}
        seen.append(
            office.world.serves(out, Record(b"1" * 16, "approval", 1, "cn/south/", "demo", None, body))
        )
    assert seen == [True, False, False]


async def test_a_form_that_does_not_fit_is_a_dead_letter_that_names_the_field(office: Office) -> None:
    office.ask_for("HT-2026-0001-1", 合同类型="转让")
    office.bench.stand.sandbox.act(PutMember(userid="lisi", status=5))
    office.ask_for("HT-2026-0002-1")
    await office.work()
    parked = [row for row in office.rows() if row["state"] == "parked"]
    assert {(row["cause"]["code"], row["cause"]["field"]) for row in parked} == {
        ("invalid", "合同类型"),
        ("not_found", "approvers[0]"),
    }
    assert not office.corp.forms


async def test_one_that_people_started_in_wecom_comes_in_with_its_contracts_number(office: Office) -> None:
    values = {"客户名称": "示例", "合同金额": "5000", LABEL: "HT-2026-0009"}
    (made,) = office.bench.stand.sandbox.act(Submit(template_id=CONTRACT, userid=SELLER, values=values))
    office.hear(str(made["sp_no"]))
    await office.work()
    ((body,),) = office.ask("SELECT body FROM records WHERE kind = 'approval'")
    assert '"status":"in_progress"' in body
    assert '"subject":"contract"' in body
    assert '"no":"HT-2026-0009"' in body
    assert '"applicant":"seller"' in body


async def test_every_object_has_its_own_time_in_which_a_lost_write_may_land(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, length in (("a", 43), ("b", 32), ("c", 43)):
        monkeypatch.setenv(f"WECOM_{name}", "a" * length)
    text = HUB_YAML.replace("${secret:", "${env:WECOM_").replace(
        "agent_id: 1,", "agent_id: 1, receive: poll,"
    )
    shutil.copytree(MAPPINGS, tmp_path / "mappings" / "wecom")
    (tmp_path / "hub.yaml").write_text(text, "utf-8")
    hub = open_hub(load_settings(data_dir=tmp_path / "var", project_dir=tmp_path), start=True)
    try:
        assert hub.down == {}
        times = {object_: one.settle_after for object_, one in SPEC.objects.items()}
        assert {object_: hub.world.settle_after["wecom", object_] for object_ in times} == times
        assert len(set(times.values())) == 2
    finally:
        hub.store.close()
