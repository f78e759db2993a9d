"""The probes of the Kingdee connector: what they find on a stand-in, that they write nothing and show nothing."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from starlette.types import Receive, Scope, Send

from connectors.kingdee import KingdeeConnector
from connectors.kingdee.probing import POINTS
from connectors.kingdee.sandbox import KingdeeSandbox
from connectors.kingdee.sandbox.answers import SESSION_LOST, RefusalError
from hub.sdk import Probe
from hub.sdk.kit import Bench
from tests.kingdee_stand import KingdeeStand, Recorder, control, customer, flat, receipt, run

READING = {"executebillquery", "querybusinessinfo", "logout"}
WRITTEN_ONLY = {
    "1.2 LoginBySign: timestamp skew", "1.2 LoginBySignature, ValidateUser2", "3.1 Save on B: text",
    "3.1 references audited only", "3.1 Audit without Submit: text", "3.1 FDOCUMENTSTATUS in a Model",
    "3.7 text: unknown number", "4 settle_after", "4 ValidateRepeatJson", "5 events to the outside",
    "7 other product lines", "9 unknown key in a Model",
}  # fmt: skip
CANARIES = ("CANARY甲乙丙丁有限公司", "CANARY-5566778", "13800138000")


class Listening(KingdeeSandbox):
    """Keeps the operation of every call that reached it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/control"):
            self.calls.append(scope["path"].removesuffix(".common.kdsvc").rpartition(".")[2].lower())
        await super().__call__(scope, receive, send)


class ListeningStand(KingdeeStand):
    sandbox: Listening
    plans: ClassVar = KingdeeStand.plans

    def make(self) -> Listening:
        return Listening()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench.open(KingdeeConnector, ListeningStand) as opened:
        yield opened


def box(bench: Bench) -> Listening:
    sandbox = bench.stand.sandbox
    assert isinstance(sandbox, Listening)
    return sandbox


async def probed(bench: Bench, **settings: Any) -> dict[str, Probe]:
    connector = bench.connect(bench.stand.settings() | settings)
    found = await connector.probe()
    await connector.close()
    return {one.point: one for one in found}


async def seeded(bench: Bench, *, name: str = "O'Hub'", remark: str = "hub") -> None:
    """Put a customer there and have a receipt written and, a minute later, audited through the API."""
    fields = customer(1) | {"FNumber": "C1", "FName": name, "FTEL": CANARIES[2]}
    await control(bench)("POST", "/objects/BD_Customer", fields=flat(fields), status="C")
    connector = bench.connect()
    write = bench.write("receipt", "save", receipt(1, FREMARK=remark, FTHIRDBILLNO=CANARIES[1]))
    made = await run(bench, connector, write, ("save",))
    box(bench).advance(60)
    await run(bench, connector, replace(write, ref=made), ("submit", "audit"))
    await connector.close()


async def test_every_open_point_is_answered_and_what_takes_a_write_is_skipped_with_the_reason(bench: Bench):
    await seeded(bench)
    found = await probed(bench)
    assert list(found) == [point.name for point in POINTS]
    assert {name for name, one in found.items() if one.outcome == "skipped"} == WRITTEN_ONLY
    for name in WRITTEN_ONLY:
        assert "未测" in found[name].zh
        assert "skipped" in found[name].en
    assert {name: one.outcome for name, one in found.items() if name not in WRITTEN_ONLY} == {
        "1.3 nonce reuse": "contradicted",
        "2.6 quotes in FilterString": "confirmed",
        "3.2 audit moves FModifyDate": "contradicted",
        "3.3 FT_BD_CUSTLOCATION.FContactId": "confirmed",
        "3.4 contact fields": "contradicted",
        "3.7 FBUSINESSTYPE": "confirmed",
        "3.7 text: unknown unit": "confirmed",
        "3.7 text: missing row field": "confirmed",
        "3.8 FSETTLEMAINBOOKID inner key": "unclear",
        "3.8 case of inner keys": "confirmed",
        "1.3 age of a timestamp": "contradicted",
    }


async def test_no_probe_writes(bench: Bench):
    await seeded(bench)
    before = list(box(bench).ledger())
    box(bench).calls.clear()
    await probed(bench)
    assert list(box(bench).ledger()) == before
    assert {"executebillquery", "querybusinessinfo"} <= set(box(bench).calls) <= READING


async def test_every_session_that_a_probe_opened_is_ended(bench: Bench):
    await probed(bench)
    assert box(bench).gate.drop_sessions() == 0


async def test_an_empty_site_leaves_what_needs_documents_unclear(bench: Bench):
    found = await probed(bench)
    assert found["3.2 audit moves FModifyDate"].outcome == "unclear"
    assert found["3.7 FBUSINESSTYPE"].outcome == "unclear"
    assert found["2.6 quotes in FilterString"].outcome == "confirmed"


async def test_an_audit_that_moves_the_modify_date_is_seen(bench: Bench):
    box(bench).dials.audit_moves_modify_date = True
    await seeded(bench)
    one = (await probed(bench))["3.2 audit moves FModifyDate"]
    assert (one.outcome, one.seen[:20]) == ("confirmed", "audited receipts 1, ")


async def test_a_site_that_checks_times_and_nonces_is_seen_and_not_asked_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    gate, used = box(bench).gate, set()
    verify = gate._verify

    def strict(headers: Any, raw_path: bytes) -> tuple[str, str]:
        stamp = headers["x-api-timestamp"]
        old = bench.clock.now() // 1_000_000 - int(stamp) > 900
        if old or stamp in used:
            raise RefusalError(SESSION_LOST.message, SESSION_LOST.code)
        used.add(stamp)
        return verify(headers, raw_path)

    monkeypatch.setattr(gate, "_verify", strict)
    found = await probed(bench)
    assert found["1.3 nonce reuse"].outcome == "confirmed"
    age = found["1.3 age of a timestamp"]
    assert (age.outcome, age.seen) == (
        "confirmed",
        "refused (credential, code 1) at 3600 s; accepted at 600 s",
    )


async def test_a_form_without_permission_is_unclear_and_the_others_are_still_looked_at(bench: Bench):
    box(bench).inject("msgcode_2", op="querybusinessinfo", form="BD_CommonContact")
    found = await probed(bench)
    one = found["3.4 contact fields"]
    assert (one.outcome, one.seen) == ("unclear", "refused (permission, code 2)")
    assert found["3.7 text: unknown unit"].outcome == "confirmed"


async def test_a_site_that_goes_away_is_not_asked_on(bench: Bench):
    box(bench).dials.down = "503"
    found = await probed(bench)
    asked = [one for name, one in found.items() if name not in WRITTEN_ONLY]
    assert {one.outcome for one in asked} == {"unclear"}
    assert len(box(bench).calls) <= 2
    assert "not asked" in asked[-1].seen


@pytest.mark.parametrize(
    "reply",
    [
        {},
        [],
        [["x", "y"]],
        {"Result": {"ResponseStatus": {"IsSuccess": True}, "NeedReturnData": "CANARY甲乙丙丁有限公司"}},
        {"Result": {"ResponseStatus": {"IsSuccess": True}, "NeedReturnData": {"Entrys": [1, {"Fields": 2}]}}},
        {"Result": {"ResponseStatus": {"IsSuccess": False, "MsgCode": "CANARY-5566778", "Errors": [
            {"Message": "CANARY甲乙丙丁有限公司", "FieldName": "13800138000"}]}}},
    ],
    ids=["nothing", "no rows", "other rows", "no entities", "odd entities", "odd refusal"],
)  # fmt: skip
async def test_whatever_a_site_answers_a_probe_ends_and_repeats_none_of_it(bench: Bench, reply: Any):
    connector = bench.connect(http=Recorder(*[reply] * 60))
    found = await connector.probe()
    assert len(found) == len(POINTS)
    assert {one.outcome for one in found} <= {"confirmed", "contradicted", "unclear", "skipped"}
    assert not leaks(repr(found), CANARIES)


async def test_no_value_of_a_record_or_a_setting_is_in_what_a_probe_says(bench: Bench):
    await seeded(bench, name=f"{CANARIES[0]}'", remark=CANARIES[0])
    found = await probed(bench)
    settings = bench.stand.settings()
    own = [settings[name] for name in ("acct_id", "app_id", "server_url")]
    assert not leaks(repr(found.values()), [*CANARIES, *own, settings["app_secret"].reveal()])
    assert "127.0.0.1" not in repr(found)


def leaks(text: str, values: Any) -> list[str]:
    """Return the values that stand in a text as they are, in base64, hex or percent form."""
    forms = {
        value: (value, base64.b64encode(value.encode()).decode().rstrip("="), value.encode().hex(), quote(value, safe=""))
        for value in values
    }  # fmt: skip
    return [value for value, shapes in forms.items() if any(one.lower() in text.lower() for one in shapes)]


# the check ------------------------------------------------------------------------------------------------------


async def test_the_check_ends_with_what_is_in_view_and_that_no_callback_is_needed(bench: Bench):
    empty = await bench.connect().check()
    assert [step.name for step in empty.steps] == [
        "address", "sign_in", "organisation", "customer", "receipt", "visible_range", "callback",
    ]  # fmt: skip
    assert "数据权限" in empty.steps[5].zh
    await seeded(bench)
    full = await bench.connect().check()
    assert full.ok
    assert full.steps[5].en == "visible range: customers and receipts in view"
    assert full.steps[5].zh == "可见范围：看得到客户、收款单"


async def test_a_missing_permission_names_the_module_the_code_and_the_click(bench: Bench):
    box(bench).inject("msgcode_2", op="executebillquery", form="AR_RECEIVEBILL")
    last = (await bench.connect().check()).steps[-1]
    assert (last.name, last.ok, last.code) == ("receipt", False, "permission")
    assert last.zh.startswith("收款单：缺少权限")
    assert "批量授权" in last.zh
    assert last.en.startswith("receipts: a permission is missing")
    assert all("MsgCode 2" in said for said in (last.zh, last.en))
