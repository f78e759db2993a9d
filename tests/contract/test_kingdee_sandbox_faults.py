"""The Kingdee stand-in: faults on demand, the control door, restarts (9.7)."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from connectors.kingdee.sandbox import KingdeeDials, KingdeeSandbox
from hub.clock import SystemClock
from tests.contract.kingdee_site import (
    FORMS,
    LOST,
    Body,
    Site,
    customer,
    open_site,
    receipt,
    signed,
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_apply_then_drop_books_once_and_answers_nothing(site: Site) -> None:
    await site.audited_customer()
    fault = {"op": "Save", "form": "AR_RECEIVEBILL", "fault": "apply_then_drop"}
    await site.http.patch("/control/dials", json={"next": [fault]})
    assert (await site.save("BD_Customer", customer("OTHER")))["ResponseStatus"]["IsSuccess"]
    with pytest.raises(httpx.TransportError):
        await site.save("AR_RECEIVEBILL", receipt())
    assert await site.query("AR_RECEIVEBILL", "FTHIRDBILLNO") == [["PAY-2026-0001"]]
    assert site.created() == 1
    assert site.box.dials.next == []


async def test_fail_before_applies_nothing_and_cut_body_breaks_the_answer_off(site: Site) -> None:
    site.box.inject("fail_before", op="Save")
    site.box.inject("cut_body", op="Save")
    for number in ("A", "B"):
        with pytest.raises(httpx.TransportError):
            await site.save("BD_Customer", customer(number))
    assert await site.query("BD_Customer", "FNumber") == [["B"]]


async def test_a_late_operation_takes_effect_only_when_its_time_has_come(site: Site) -> None:
    site.box.dials.late_by = 30
    site.box.inject("apply_late", op="Save")
    with pytest.raises(httpx.TransportError):
        await site.save("BD_Customer", customer())
    site.box.advance(29)
    assert await site.query("BD_Customer", "FNumber") == []
    await site.http.post("/control/clock", json={"advance_seconds": 2})
    assert await site.query("BD_Customer", "FNumber") == [["CRM-000123"]]


async def test_a_late_operation_needs_no_further_request(site: Site) -> None:
    site.box.dials.late_by = 0.01
    site.box.inject("apply_late", op="Save")
    with pytest.raises(httpx.TransportError):
        await site.save("BD_Customer", customer())
    assert not site.created("BD_Customer")
    async with asyncio.timeout(5):
        while not site.created("BD_Customer"):
            await asyncio.sleep(0)


async def test_calls_of_one_session_wait_for_each_other_and_those_of_two_do_not() -> None:
    class Busy(SystemClock):
        now_busy = most_busy = 0

        async def sleep(self, seconds: float) -> None:
            self.now_busy += 1
            self.most_busy = max(self.most_busy, self.now_busy)
            await super().sleep(0.01)
            self.now_busy -= 1

    clock = Busy()
    box = KingdeeSandbox(clock=clock)
    async with httpx.AsyncClient(transport=box.transport(), base_url="http://sandbox") as http:
        site = Site(box, http)
        await site.login()
        box.dials.latency_ms = 10
        await asyncio.gather(*(site.query("BD_Currency", "FNumber") for _ in range(3)))
        assert clock.most_busy == 1
        path = f"/k3cloud/{FORMS}View.common.kdsvc"
        http.cookies.clear()
        ask: Body = {"json": {"formid": "BD_Currency", "data": {"Number": "PRE001"}}}
        ask["headers"] = signed(path, box.account)
        await asyncio.gather(*(http.post(path, **ask) for _ in range(3)))
        assert clock.most_busy == 3


async def test_probabilities_are_seeded_and_limited_to_their_operations() -> None:
    def faults() -> list[str]:
        dials = KingdeeDials(seed=7, only=["Save"], form="AR_RECEIVEBILL", apply_then_drop=0.3)
        assert dials.draw("Audit", "AR_RECEIVEBILL") == dials.draw("Save", "BD_Customer") == ""
        return [dials.draw("save", "ar_receivebill") for _ in range(1000)]

    assert faults() == faults()
    assert 250 < faults().count("apply_then_drop") < 350


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("http_502", 502, "<html>"), ("http_429", 429, "<html>"), ("html_200", 200, "<html>"),
        ("response_error", 200, "response_error:"),
        ("lock_conflict", 200, "冲突，请稍候再使用"), ("edited_by_other", 200, "已被其他用户修改"),
        ("lost_session", 200, LOST), ("msgcode_14", 200, '"MsgCode":14'), ("msgcode_7", 200, '"MsgCode":7'),
    ],
)  # fmt: skip
async def test_each_dialled_failure_has_its_shape_and_applies_nothing(
    site: Site, fault: str, status: int, text: str
) -> None:
    site.box.inject(fault)
    answer = await site.raw("Save", {"formid": "BD_Customer", "data": {"Model": customer()}})
    assert (answer.status_code, text in answer.text) == (status, True)
    assert len(site.box.ledger()) == 0


async def test_counted_faults_and_the_outage_end_when_they_should(site: Site) -> None:
    site.box.dials.lock_conflict, site.box.dials.call_limit = 2, 1
    codes = [(await site.status("Save", "BD_Customer", Model=customer()))["MsgCode"] for _ in range(4)]
    assert codes == [0, 0, 14, 0]
    assert site.created("BD_Customer") == 1
    site.box.inject("apply_then_502")
    assert (
        await site.raw("Save", {"formid": "BD_Customer", "data": {"Model": customer("Z")}})
    ).status_code == 502
    assert site.created("BD_Customer") == 2
    site.box.dials.down = "503"
    assert (await site.raw("View", {})).status_code == 503
    await site.http.patch("/control/dials", json={"down": True})
    with pytest.raises(httpx.TransportError):
        await site.raw("View", {})
    await site.http.patch("/control/dials", json={"down": False})
    assert len(await site.query("BD_Customer", "FNumber")) == 2


async def test_the_vendors_user_edits_whatever_the_status_and_moves_the_modify_date(site: Site) -> None:
    await site.audited_customer()
    [[before]] = await site.query("BD_Customer", "FModifyDate")
    site.box.advance(60)
    edit = {"fields": {"FTEL": "021-9", "FSELLER": "0001"}}
    assert (await site.http.patch("/control/objects/BD_Customer/CRM-000123", json=edit)).status_code == 200
    keys = "FTEL,FSELLER.FNumber,FDocumentStatus,FModifierId.FNumber"
    assert await site.query("BD_Customer", keys, f"FModifyDate>'{before}'") == [
        ["021-9", "0001", "C", "zhangsan"]
    ]
    await site.http.post("/control/objects/BD_Customer/CRM-000123/act", json={"verb": "unaudit"})
    assert [(one.verb, one.by) for one in site.box.ledger()][-2:] == [("update", "user"), ("unaudit", "user")]
    typo = await site.http.patch("/control/objects/BD_Customer/CRM-000123", json={"fields": {"FTELL": "1"}})
    assert (typo.status_code, typo.json()["field"]) == (409, "FTELL")


async def test_the_control_door_describes_itself_seeds_and_resets(site: Site) -> None:
    described = (await site.http.get("/control/openapi.json")).json()["paths"]
    assert {"/ledger", "/dials", "/clock", "/reset", "/objects/{form}", "/periods/{org}/{month}"} <= set(
        described
    )
    assert (await site.http.patch("/control/dials", json={"next": [{"fault": "nope"}]})).status_code == 422
    assert (await site.http.patch("/control/dials", json={"aply_late": 1})).status_code == 422
    seeded = await site.http.post(
        "/control/objects/BD_Customer", json={"fields": {"FNumber": "S1", "FName": "甲"}}
    )
    assert (seeded.status_code, seeded.json()["FDocumentStatus"]) == (201, "C")
    assert (await site.http.get("/control/ledger?by=api")).json() == []
    assert len((await site.http.get("/control/objects/BD_Customer")).json()) == 1
    await site.http.post("/control/reset")
    await site.login()
    assert await site.query("BD_Customer", "FNumber") == []


async def test_the_sandbox_answers_without_a_socket_and_cuts_there_too() -> None:
    box = KingdeeSandbox()
    async with httpx.AsyncClient(transport=box.transport(), base_url="http://sandbox") as http:
        site = Site(box, http)
        await site.login()
        assert (await site.save("BD_Customer", customer()))["ResponseStatus"]["IsSuccess"]
        box.inject("apply_then_drop")
        with pytest.raises(httpx.ReadError):
            await site.save("BD_Customer", customer("B"))
    assert site.created("BD_Customer") == 2


async def test_a_killed_sandbox_goes_on_from_its_journal(tmp_path: Path) -> None:
    journal = tmp_path / "ledger.jsonl"
    code = (
        "import sys, pathlib; from connectors.kingdee.sandbox import KingdeeSandbox; "
        "from hub.sdk.sandbox import serve_forever; serve_forever(KingdeeSandbox(state=pathlib.Path(sys.argv[1])))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(journal)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        try:
            async with httpx.AsyncClient(base_url=about["base_url"]) as http:
                box = KingdeeSandbox()  # for its account only
                first = Site(box, http)
                await first.login()
                await first.audited_customer()
                await first.save("AR_RECEIVEBILL", receipt())
                assert (await http.get(about["ledger"])).json()[-1]["fields"]["FRECAMOUNTFOR"] == "1000.10"
        finally:
            process.send_signal(signal.SIGKILL)
    assert about["credentials"]["server_url"] == about["base_url"] + "/k3cloud/"
    with journal.open("ab") as torn:
        torn.write(b'{"seq":5,"at":17')
    again = KingdeeSandbox(state=journal)
    assert [one.verb for one in again.ledger()] == ["create", "submit", "audit", "create"]
    assert [one["FTHIRDBILLNO"] for one in again.desk.objects("AR_RECEIVEBILL")] == ["PAY-2026-0001"]
    seeded = again.desk.seed("AR_RECEIVEBILL", {"FCONTACTUNIT": "CRM-000123", "FDATE": "2026-01-11"})
    assert seeded["FBillNo"] == "SKD00000002"
    assert seeded["FID"] > again.desk.objects("AR_RECEIVEBILL")[0]["FID"]
    again.ledger().close()
    last = KingdeeSandbox(state=journal).ledger()
    assert len(last) == 6
    last.close()
