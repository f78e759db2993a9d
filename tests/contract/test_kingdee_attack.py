"""The Kingdee connector against odd but documented cases, each once a doubt of a reviewer."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from connectors.kingdee import KingdeeConnector
from connectors.kingdee.objects import FORMS
from connectors.kingdee.outcomes import decode, error_of, refusal_of
from connectors.kingdee.shape import Shape
from hub.sdk import (
    Absent,
    Answer,
    Applied,
    Cause,
    Failed,
    Found,
    Gone,
    Json,
    Next,
    OutcomeUnknown,
    Refused,
    TryAgain,
    VendorKey,
    VendorRef,
)
from hub.sdk.kit import Bench, latest, scripted
from tests.kingdee_stand import (
    Recorder,
    bench,
    control,
    customer,
    flat,
    kingdee,
    receipt,
    refused,
    run,
    saved,
)


def no(*errors: tuple[str | None, str], code: int) -> Json:
    """Return a refusal with these (field, text) errors."""
    said: Json = [{"FieldName": field, "Message": text, "DIndex": 0} for field, text in errors]
    status: Json = {
        "ErrorCode": 500, "IsSuccess": False, "Errors": said, "SuccessEntitys": [], "SuccessMessages": [],
        "MsgCode": code,
    }  # fmt: skip
    return {"Result": {"ResponseStatus": status}}


def row(object_name: str, **values: Json) -> Json:
    """Return one row of a look-up, empty but for these columns."""
    return [[values.get(name) for name in Shape(FORMS[object_name], 8).columns]]


# ------------------------------------------------------------------------------------------- status steps


@pytest.mark.parametrize("text", ["操作失败", "该数据已存在下游业务"])
@pytest.mark.parametrize("code", [0, 11, 12])
@pytest.mark.parametrize(
    ("step", "stage", "outcome"),
    [("audit", "C", "done"), ("audit", "D", Cause.MOVED), ("submit", "B", "done"), ("unaudit", "D", "done")],
)
async def test_a_refused_step_reads_the_status_whatever_the_text_says(
    bench: Bench, text: str, code: int, step: str, stage: str, outcome: object
):
    known = VendorRef("5", "CRM-000001", {"audit": "B", "submit": "A", "unaudit": "C"}[step])
    shown = row("customer", FCUSTID=5, FNumber="CRM-000001", FDocumentStatus=stage)
    connector = bench.connect(http=Recorder(no((None, text), code=code), shown))
    result = await bench.one(connector, replace(bench.write("customer", step, {}, ref=known), plan=(step,)))
    if outcome == "done":
        assert result == Applied(replace(known, stage=stage))
    else:
        assert isinstance(result, Failed)
        assert result.error.cause is outcome


async def test_an_unaudit_that_a_successor_forbids_is_no_duplicate(bench: Bench):
    known = VendorRef("5", "CRM-000001", "C")
    shown = row("customer", FCUSTID=5, FNumber="CRM-000001", FDocumentStatus="C")
    connector = bench.connect(http=Recorder(no((None, "已存在下游单据，不允许反审核"), code=11), shown))
    error = await refused(bench, connector, bench.write("customer", "unaudit", {}, ref=known))
    assert (type(error), error.cause) == (Refused, Cause.STATE)


async def test_a_save_refused_in_unknown_words_shows_that_the_object_was_submitted_meanwhile(bench: Bench):
    known = VendorRef("5", "CRM-000001", "A")
    shown = row("customer", FCUSTID=5, FNumber="CRM-000001", FDocumentStatus="B")
    connector = bench.connect(http=Recorder(no((None, "单据处于流程中"), code=11), shown))
    error = await refused(bench, connector, bench.write("customer", "save", {"FTEL": "1"}, ref=known))
    assert error.cause is Cause.MOVED


async def test_a_user_who_unaudits_between_our_steps_moves_the_object(
    bench: Bench, kingdee: KingdeeConnector
):
    made = await run(bench, kingdee, bench.create("customer"), ("save", "submit"))
    await control(bench)("POST", "/objects/BD_Customer/CRM-000001/act", verb="cancelassign")
    error = await refused(bench, kingdee, bench.write("customer", "audit", {}, ref=made))
    assert (error.cause, error.detail) == (Cause.MOVED, {"stage": "D"})
    plan = KingdeeConnector.spec.objects["customer"].plan("D", "audited", due=False)
    assert (
        await run(
            bench, kingdee, bench.write("customer", plan[0], {}, ref=replace(made, stage="D")), tuple(plan)
        )
    ).stage == "C"


async def test_a_customer_deleted_between_save_and_submit_is_gone(bench: Bench, kingdee: KingdeeConnector):
    made = await run(bench, kingdee, bench.create("customer"), ("save",))
    await control(bench)("POST", "/objects/BD_Customer/CRM-000001/act", verb="delete")
    result = await bench.one(kingdee, bench.write("customer", "submit", {}, ref=made))
    assert result == Gone(VendorKey("100", made.vendor_id))


@pytest.mark.parametrize("step", ["submit", "audit"])
async def test_a_session_lost_inside_the_saga_neither_repeats_nor_skips_a_step(
    bench: Bench, kingdee: KingdeeConnector, step: str
):
    made = await run(
        bench, kingdee, bench.create("customer"), ("save", "submit")[: 1 if step == "submit" else 2]
    )
    bench.stand.sandbox.inject("lost_session", op={"submit": "Submit", "audit": "Audit"}[step])
    result = await bench.one(kingdee, bench.write("customer", step, {}, ref=made))
    assert isinstance(result, Applied | Next)
    assert [verb for verb, _ in bench.stand.effects("customer")].count(step) == 1


# ------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "content",
    [
        "<html><title>您访问的页面不存在</title></html>", "<html>没有访问权限</html>", "<html>审核中</html>",
        '{"Result": {"Id": 5, "Number": "不存在"}}', '{"Message": "字段必录"}',
    ],
)  # fmt: skip
async def test_words_on_a_page_that_is_no_result_say_nothing_about_a_write(bench: Bench, content: str):
    connector = bench.connect(http=scripted(Answer(200, httpx.Headers(), content.encode())))
    error = await refused(bench, connector, bench.create("customer"))
    assert type(error) is OutcomeUnknown


async def test_the_field_is_that_of_the_error_that_decides(bench: Bench):
    taken = ("FNumber", "违反字段唯一性要求：编码唯一。[CRM-000001]在当前系统中已经被使用。")
    connector = bench.connect(http=Recorder(no(("FTEL", "电话过长"), taken, code=11)))
    error = await refused(bench, connector, bench.create("customer"))
    assert error.cause is Cause.ALREADY_DONE
    refusal = refusal_of(no(("FTEL", "电话过长"), (None, "名称过长"), code=11))
    assert refusal is not None
    assert error_of(refusal, read=False).field == "FTEL"


@pytest.mark.parametrize("returned", [{}, {"FNumber": "CRM-000001"}, [None], ["x"], [], None])
async def test_a_save_is_believed_whatever_shape_its_returned_fields_have(bench: Bench, returned: Json):
    reply = saved(5, "CRM-000001")
    reply["Result"]["NeedReturnData"] = returned  # type: ignore[index,call-overload]
    result = await bench.one(bench.connect(http=Recorder(reply)), bench.create("customer"))
    assert result == Next(VendorRef("5", "CRM-000001", "A"))


async def test_a_lost_lock_and_an_exception_text_are_told_apart(bench: Bench, kingdee: KingdeeConnector):
    bench.stand.sandbox.inject("edited_by_other", op="Save")
    assert type(await refused(bench, kingdee, bench.create("customer"))) is TryAgain
    bench.stand.sandbox.inject("response_error", op="Save")
    assert type(await refused(bench, kingdee, bench.create("customer"))) is OutcomeUnknown
    assert await kingdee.find([bench.create("customer")]) == [Absent()]


# ------------------------------------------------------------------------------------------- what is sent


async def test_returned_fields_are_named_once_and_our_key_stands_before_the_rows(bench: Bench):
    recorder = Recorder(saved(5, "CRM-000001"), saved(6, "SKD1", FTHIRDBILLNO="KIT-receipt-1"))
    connector = bench.connect(http=recorder)
    await bench.one(connector, bench.create("customer"))
    payload = receipt(1)
    del payload["FTHIRDBILLNO"]
    await bench.one(connector, replace(bench.create("receipt"), payload=payload))
    data = [orjson.loads(content)["data"] for _, content, _ in recorder.sent]
    assert data[0]["NeedReturnFields"] == ["FNumber", "FCUSTID"]
    assert list(data[1]["Model"])[-2:] == ["FTHIRDBILLNO", "FRECEIVEBILLENTRY"]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("1000", b"1000.00"), (1000, b"1000.00"), (1000.5, b"1000.50"), ("0.1", b"0.10"), (0.00001, b"0.00001"),
        ("99999999999999.99", b"99999999999999.99"), ("-5.00", b"-5.00"), ("0", b"0.00"),
        (1e16, b"10000000000000000.00"),
    ],
)  # fmt: skip
def test_an_amount_is_sent_digit_by_digit(value: Json, sent: bytes):
    model = Shape(FORMS["receipt"], 8).model({"FEXCHANGERATE": value}, create=True)
    assert orjson.dumps(model) == b'{"FEXCHANGERATE":' + sent + b"}"


async def test_what_a_create_leaves_out_is_not_compared(bench: Bench, kingdee: KingdeeConnector):
    """A null field is not sent with a create; the default Kingdee gives it is no change by somebody else."""
    write = replace(bench.create("receipt"), payload=receipt(1, FEXCHANGERATE=None, FSALEDEPTID=None))
    await run(bench, kingdee, write, ("save",))
    (found,) = await kingdee.find([write])
    assert isinstance(found, Found)
    assert found.as_sent


async def test_large_amounts_and_chinese_text_come_back_as_sent(bench: Bench, kingdee: KingdeeConnector):
    entry = receipt(1)["FRECEIVEBILLENTRY"][0] | {
        "FRECAMOUNTFOR_E": "99999999999.99", "FRECTOTALAMOUNTFOR": "99999999999.99", "FCOMMENT": "货款“尾款”　O'Neil\\n𠮷",
    }  # fmt: skip
    write = replace(bench.create("receipt"), payload=receipt(1, FRECEIVEBILLENTRY=[entry]))
    await run(bench, kingdee, write, ("save",))
    (found,) = await kingdee.find([write])
    assert isinstance(found, Found)
    assert found.as_sent
    (kept,) = await control(bench)("GET", "/objects/AR_RECEIVEBILL")
    assert Decimal(kept["FRECEIVEBILLENTRY"][0]["FRECAMOUNTFOR_E"]) == Decimal("99999999999.99")
    assert kept["FRECEIVEBILLENTRY"][0]["FCOMMENT"] == entry["FCOMMENT"]


@pytest.mark.parametrize("number", ["O'Neil", "'", "a' or '1'='1", "%_", "客户'1", "a''b"])
async def test_a_number_with_signs_of_the_filter_language_finds_itself_alone(
    bench: Bench, kingdee: KingdeeConnector, number: str
):
    await run(bench, kingdee, bench.create("customer", 9), ("save",))
    write = replace(bench.create("customer"), payload=customer(1) | {"FNumber": number})
    assert await kingdee.find([write]) == [Absent()]
    made = await run(bench, kingdee, write, ("save",))
    (found,) = await kingdee.find([write])
    assert isinstance(found, Found)
    assert found.ref == made


# ------------------------------------------------------------------------------------------- polls


@pytest.mark.parametrize("page_size", [100, 1000])
async def test_customers_changed_in_one_instant_are_all_shown_over_page_borders(bench: Bench, page_size: int):
    now = bench.stand.sandbox.books.now()  # type: ignore[attr-defined]
    bench.stand.sandbox.books.now = lambda: now  # type: ignore[attr-defined]
    for number in range(2, 1202):
        bench.stand.sandbox.desk.seed("BD_Customer", flat(customer(number)))  # type: ignore[attr-defined]
    connector = bench.connect(bench.stand.settings() | {"page_size": page_size})
    pages = await bench.pages(connector, "customer")
    keys = [record.key.id for page in pages for record in page.records]
    assert len(keys) == len(set(keys)) == 1201
    cursor = orjson.loads(orjson.dumps(pages[-1].cursor))
    again = await bench.pages(connector, "customer", cursor)
    assert len(latest(again)) <= 1201  # more than a cursor remembers are shown again, none twice
    assert len(orjson.dumps(cursor)) < 100_000


async def test_a_time_in_the_future_does_not_end_the_stream(bench: Bench):
    """A site whose clock once ran ahead leaves such rows behind; what changes later must still be seen."""
    late = "2999-01-10T00:00:00"
    shown: Any = row("customer", FCUSTID=5, FNumber="C5", FDocumentStatus="C", FModifyDate=late)
    shown[0][Shape(FORMS["customer"], 8).columns.index("FUseOrgId.FNumber")] = "100"
    recorder = Recorder(shown, [])
    connector = bench.connect(http=recorder)
    pages = await bench.pages(connector, "customer")
    assert [record.key.id for page in pages for record in page.records] == ["5"]
    cursor: Any = pages[-1].cursor
    assert cursor["FModifyDate"]["since"] < "2900"
    await bench.pages(connector, "customer", cursor)
    asked = orjson.loads(recorder.sent[1][1])["data"]["FilterString"]
    assert "2999" not in asked


async def test_exact_amounts_survive_the_decoding_of_rows():
    assert decode(b'[["1", 99999999999999.99]]') == [["1", Decimal("99999999999999.99")]]


@pytest.mark.parametrize("expired", [{"code": -10001}, no((None, "？"), code=-10001), no(code=0)])
async def test_a_session_that_ended_in_an_unknown_way_is_not_echoed_for_ever(bench: Bench, expired: Json):
    recorder = Recorder([], expired, [])
    recorder._replies[0].headers["set-cookie"] = "kdservice-sessionid=abc; path=/"
    connector = bench.connect(http=recorder)
    for _ in range(3):
        await connector.find([bench.create("customer")])
    assert [headers.get("kdservice-sessionid") for _, _, headers in recorder.sent] == [None, "abc", None]


async def test_a_read_of_many_rows_remembers_a_bounded_number(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("connectors.kingdee.reading.REMEMBERED", 2)
    monkeypatch.setattr("connectors.kingdee.reading.HELD", 3)
    await bench.stand.seed("customer", 6)
    pages = await bench.pages(bench.connect(bench.stand.settings() | {"page_size": 2}), "customer")
    sizes: list[int] = [len(page.cursor["seen"]) for page in pages]  # type: ignore[index,call-overload,arg-type]
    assert max(sizes) == 2
    assert len([record for page in pages for record in page.records]) == 7
    kept: Any = pages[-1].cursor
    assert (
        list(kept["seen"])
        == sorted((record.key.id for page in pages for record in page.records), key=int)[-2:]
    )
