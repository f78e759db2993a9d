"""The Kingdee connector on the wire: what it sends, its sessions, its polls, its set-up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from connectors.kingdee import KingdeeConnector
from hub.sdk import (
    Answer,
    Cause,
    ConnectionDown,
    Found,
    IntegrityError,
    Json,
    Next,
    OutcomeUnknown,
    SettingsError,
    Several,
    TryAgain,
    VendorRef,
)
from hub.sdk.kit import Bench, Fault, latest, scripted
from tests.kingdee_stand import Recorder, bench, control, kingdee, receipt, ref, refused, run, saved

# ------------------------------------------------------------------------------------------- what is sent


async def test_a_model_keeps_the_order_of_the_payload_and_exact_amounts(bench: Bench):
    recorder = Recorder(saved(100118, "SKD00000007", FTHIRDBILLNO="PAY-0001"))
    row = {**receipt(1)["FRECEIVEBILLENTRY"][0], "FRECAMOUNTFOR_E": "12345678901234567.89"}
    payload = receipt(1, FRECEIVEBILLENTRY=[row])
    result = await bench.one(bench.connect(http=recorder), replace(bench.create("receipt"), payload=payload))
    assert result == Next(VendorRef("100118", "SKD00000007", "A"))
    url, content, _ = recorder.sent[0]
    assert url.endswith("/k3cloud/Kingdee.BOS.WebApi.ServicesStub.DynamicFormService.Save.common.kdsvc")
    assert b'"FRECAMOUNTFOR_E":12345678901234567.89' in content
    sent = orjson.loads(content)
    assert list(sent["data"]["Model"]) == ["FID", *payload]
    assert sent["data"]["IsVerifyBaseDataField"] == "true"
    assert sent["data"]["NeedReturnFields"] == ["FBillNo", "FTHIRDBILLNO"]


async def test_an_update_names_its_fields_and_deletes_no_rows(bench: Bench):
    recorder = Recorder(saved(100029, "CRM-000001"))
    write = bench.write(
        "customer", "save", {"FTEL": None, "FGroup": ref("01")}, ref=VendorRef("100029", "CRM-000001", "D")
    )
    assert await bench.one(bench.connect(http=recorder), write) == Next(
        VendorRef("100029", "CRM-000001", "D")
    )
    data = orjson.loads(recorder.sent[0][1])["data"]
    assert data["IsDeleteEntry"] == "false"
    assert data["NeedUpDateFields"] == ["FTEL", "FGroup"]
    assert data["Model"] == {"FCUSTID": 100029, "FTEL": "", "FGroup": {"FNumber": "01"}}


async def test_an_update_of_a_row_keeps_the_row(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("receipt"), ("save",))
    before = (await control(bench)("GET", "/objects/AR_RECEIVEBILL"))[0]["FRECEIVEBILLENTRY"]
    await run(
        bench, kingdee, bench.write("receipt", "save", bench.stand.change("receipt"), ref=made), ("save",)
    )
    after = (await control(bench)("GET", "/objects/AR_RECEIVEBILL"))[0]["FRECEIVEBILLENTRY"]
    assert len(before) == len(after) == 1
    assert after[0]["FEntryID"] == before[0]["FEntryID"]
    assert Decimal(str(after[0]["FRECAMOUNTFOR_E"])) == 2000
    assert after[0]["FCOMMENT"] == "hub"


async def test_an_update_with_another_number_of_rows_is_left_to_a_person(
    bench: Bench, kingdee: KingdeeConnector
):
    made = await run(bench, kingdee, bench.create("receipt"), ("save",))
    rows = bench.stand.change("receipt")["FRECEIVEBILLENTRY"]
    write = bench.write("receipt", "save", {"FRECEIVEBILLENTRY": [*rows, *rows]}, ref=made)  # type: ignore[misc]
    assert (await refused(bench, kingdee, write)).cause is Cause.CONFLICT


async def test_a_payload_without_number_gets_the_business_key(bench: Bench, kingdee: KingdeeConnector):
    for name, key in (("customer", "FNumber"), ("receipt", "FTHIRDBILLNO")):
        payload = {field: value for field, value in bench.stand.payload(name, 1).items() if field != key}
        write = replace(bench.create(name), payload=payload)
        made = await run(bench, kingdee, write, ("save",))
        (found,) = await kingdee.find([write])
        assert isinstance(found, Found)
        assert found.ref == made


# ------------------------------------------------------------------------------------------- sessions


async def test_the_session_is_echoed_and_a_write_lost_in_it_is_looked_up_before_it_is_sent_again(
    bench: Bench,
):
    status: Json = {
        "IsSuccess": False,
        "ErrorCode": 500,
        "MsgCode": 1,
        "Errors": [{"Message": "会话信息已丢失，请重新登录"}],
    }
    recorder = Recorder([], {"Result": {"ResponseStatus": status}}, [], saved(1, "CRM-000001"))
    recorder._replies[0].headers["set-cookie"] = "kdservice-sessionid=abc; path=/"
    connector = bench.connect(http=recorder)
    await connector.find([bench.create("customer")])
    assert await bench.one(connector, bench.create("customer")) == Next(VendorRef("1", "CRM-000001", "A"))
    assert [url.split(".")[-3] for url, _, _ in recorder.sent] == [
        "ExecuteBillQuery",
        "Save",
        "ExecuteBillQuery",
        "Save",
    ]
    assert [headers.get("kdservice-sessionid") for _, _, headers in recorder.sent] == [
        None,
        "abc",
        None,
        None,
    ]


async def test_every_session_dropped_at_once_costs_no_effect_and_doubles_none(
    bench: Bench, kingdee: KingdeeConnector
):
    await kingdee.write([bench.create("customer", number) for number in range(1, 7)])
    await control(bench)("POST", "/sessions/drop")
    results = await kingdee.write([bench.create("customer", number) for number in range(7, 13)])
    assert all(isinstance(result, Next) for result in results)
    assert len(bench.stand.effects("customer")) == 12


async def test_a_connection_uses_no_more_sessions_than_it_is_given(bench: Bench):
    busy, most = 0, 0

    class Counting(Recorder):
        async def request(self, *args: Any, **kwargs: Any) -> Answer:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await bench.clock.sleep(0)
            busy -= 1
            return Answer(200, httpx.Headers(), b"[]")

    connector = bench.connect(bench.stand.settings() | {"sessions": 2}, http=Counting())
    await connector.write([bench.create("customer", number) for number in range(9)])
    assert most == 2


async def test_a_site_that_is_gone_is_told_good_bye_once_a_session(
    bench: Bench, kingdee: KingdeeConnector, monkeypatch: pytest.MonkeyPatch
):
    await kingdee.write([bench.create("customer", 1)])
    signed_in = [session for session in kingdee._client._sessions if session.id]
    assert len(signed_in) == 1
    asked = 0

    async def unreachable(_call: object) -> Answer:
        nonlocal asked
        asked += 1
        raise TryAgain("nobody listens", cause=Cause.UNREACHABLE)

    http = kingdee.tools.http
    monkeypatch.setattr(http, "_once", unreachable)
    monkeypatch.setattr(http, "_rules", replace(http._rules, pauses=(0.001, 0.001)))
    await kingdee.close()
    assert asked == 1


# ------------------------------------------------------------------------------------------- polls


async def test_an_audit_in_kingdee_comes_back_by_poll_though_the_document_did_not_change(
    bench: Bench, kingdee: KingdeeConnector
):
    await bench.stand.seed("receipt", 2)
    cursor = (await bench.pages(kingdee, "receipt"))[-1].cursor
    for verb in ("submit", "audit"):
        await control(bench)("POST", "/objects/AR_RECEIVEBILL/SKD00000001/act", verb=verb)
    shown = latest(await bench.pages(kingdee, "receipt", cursor))
    assert [(record.stable_key, record.stage) for record in shown.values()] == [("SKD00000001", "C")]


async def test_a_row_that_committed_late_is_inside_the_overlap(bench: Bench, kingdee: KingdeeConnector):
    first = await bench.stand.seed("customer", 2)
    cursor = (await bench.pages(kingdee, "customer"))[-1].cursor
    listed = await control(bench)("GET", "/objects/BD_Customer")
    times = sorted(one["FModifyDate"] for one in listed if str(one["FCUSTID"]) in first)
    assert isinstance(cursor, dict)
    since = cursor["FModifyDate"]["since"]  # type: ignore[index,call-overload]
    assert str(since) < times[0].replace("T", " ")


async def test_times_leave_in_utc(bench: Bench, kingdee: KingdeeConnector):
    (made,) = await bench.stand.seed("customer", 1)
    listed = await control(bench)("GET", "/objects/BD_Customer")
    local = next(one["FModifyDate"] for one in listed if str(one["FCUSTID"]) == made)
    body = latest(await bench.pages(kingdee, "customer"))[made].body
    assert isinstance(body, dict)
    hours = (int(local[11:13]) - int(str(body["FModifyDate"])[11:13])) % 24
    assert (hours, str(body["FModifyDate"])[-1]) == (8, "Z")


def rows(*keys: tuple[str, int], org: str = "100") -> Json:
    names = list(KingdeeConnector.spec.streams["customer"].fields)
    known = {"FDocumentStatus": "C", "FUseOrgId.FNumber": org}
    return [
        [{**known, "FModifyDate": time, "FCUSTID": one, "FNumber": f"C{one}"}.get(name) for name in names]
        for time, one in keys
    ]


async def test_a_page_that_repeats_forever_stops_the_read(bench: Bench):
    full = rows(("2026-01-10T00:00:00", 1), ("2026-01-10T00:00:00", 2), ("2026-01-10T00:00:01", 3))
    connector = bench.connect(http=Recorder(*[full] * 5))
    with pytest.raises(IntegrityError) as caught:
        await bench.pages(connector, "customer")
    assert caught.value.cause is Cause.CURSOR


async def test_a_row_of_another_organisation_stops_the_read(bench: Bench):
    connector = bench.connect(http=Recorder(rows(("2026-01-10T00:00:00", 1), org="200")))
    with pytest.raises(IntegrityError) as caught:
        await bench.pages(connector, "customer")
    assert caught.value.cause is Cause.FOREIGN


async def test_an_answer_about_somebody_elses_object_stops_the_write(bench: Bench):
    made = VendorRef("5", "CRM-000001", "A")
    submitted: Json = {"Result": {"ResponseStatus": {"IsSuccess": True, "SuccessEntitys": [{"Id": 6}]}}}
    for reply, write in (
        (saved(5, "CRM-000099"), bench.create("customer")),
        (saved(6, "CRM-000001"), bench.write("customer", "save", {"FTEL": "1"}, ref=made)),
        (submitted, bench.write("customer", "submit", {}, ref=made)),
    ):
        with pytest.raises(IntegrityError) as caught:
            await bench.connect(http=Recorder(reply)).write([write])
        assert caught.value.cause is Cause.FOREIGN


@pytest.mark.parametrize("reply", [[["1"]], [[1, 2], 3], {"a": 1}, "text", None, 7])
async def test_a_query_answered_in_another_shape_is_tried_again(bench: Bench, reply: Json):
    with pytest.raises(TryAgain):
        await bench.pages(bench.connect(http=Recorder(reply)), "customer")


async def test_success_without_an_id_leaves_the_write_in_doubt(bench: Bench):
    reply: Json = {"Result": {"ResponseStatus": {"IsSuccess": True, "SuccessEntitys": []}, "Id": ""}}
    assert isinstance(
        await refused(bench, bench.connect(http=Recorder(reply)), bench.create("customer")), OutcomeUnknown
    )


# ------------------------------------------------------------------------------------------- set-up


@pytest.mark.parametrize(
    ("change", "step", "code"),
    [
        ({"acct_id": "00000000000000"}, "address", Cause.SETTINGS),
        ({"user_name": "nobody"}, "sign_in", Cause.CREDENTIAL),
        ({"receipt_key_field": "F_NOT_THERE"}, "receipt", Cause.SETTINGS),
    ],
)
async def test_the_check_stops_at_the_step_that_fails(
    bench: Bench, change: dict[str, str], step: str, code: Cause
):
    report = await bench.connect(bench.stand.settings() | change).check()
    assert (report.steps[-1].name, report.steps[-1].ok, report.steps[-1].code) == (step, False, code)
    assert all(one.ok for one in report.steps[:-1])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"server_url": "http://127.0.0.1:1/"}, "server_url"),
        ({"app_id": "226543_short"}, "app_id"),
        ({"sessions": 0}, "sessions"),
        ({"page_size": 20_000}, "page_size"),
        ({"time_zone": float("nan")}, "time_zone"),
    ],
)
async def test_a_setting_that_cannot_work_is_refused_with_its_name(
    bench: Bench, change: dict[str, Any], field: str
):
    with pytest.raises(SettingsError) as caught:
        bench.connect(bench.stand.settings() | change, http=scripted())
    assert caught.value.field == field


async def test_settle_after_is_the_connections_own(bench: Bench):
    connector = bench.connect(bench.stand.settings() | {"settle_after": 3})
    assert isinstance(connector, KingdeeConnector)
    assert connector.settle_after("receipt") == 3


async def test_a_receipt_held_twice_is_several(bench: Bench, kingdee: KingdeeConnector):
    first = await run(bench, kingdee, bench.create("receipt"), ("save",))
    bench.stand.inject(Fault.DROPPED, "save", "receipt")
    await bench.one(kingdee, bench.create("receipt"))
    (found,) = await kingdee.find([bench.create("receipt")])
    assert isinstance(found, Several)
    assert first in found.refs
    with pytest.raises(ConnectionDown):
        bench.stand.sandbox.inject("msgcode_2", op="ExecuteBillQuery")
        await bench.pages(kingdee, "receipt")
