"""What Kingdee's answers mean: three shapes, codes, texts (fact sheet 2.4, 8.1, 8.2)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connectors.kingdee.outcomes import (
    OUTCOMES,
    Refusal,
    SessionLost,
    decode,
    error_of,
    refusal_of,
    status_error,
)
from hub.sdk import Cause, ConnectionDown, OutcomeUnknown, Refused, TryAgain


def answer(code: object, text: str, field: str | None = None) -> dict[str, Any]:
    errors = [{"FieldName": field, "Message": text, "DIndex": 0}]
    status = {"ErrorCode": 500, "IsSuccess": False, "Errors": errors, "SuccessEntitys": [], "MsgCode": code}
    return {"Result": {"ResponseStatus": status}}


@pytest.mark.parametrize(
    ("code", "text", "error", "cause"),
    [
        (1, "会话信息已丢失，请重新登录", SessionLost, Cause.CREDENTIAL),
        (0, "ctx == null", SessionLost, Cause.CREDENTIAL),
        (11, "违反字段唯一性要求：编码唯一。[CRM-000123]在当前系统中已经被使用。", Refused, Cause.DUPLICATE),
        (0, "FBILLNO 重复", Refused, Cause.DUPLICATE),
        (11, "字段“结算币别”是必填项", Refused, Cause.MISSING_FIELD),
        (11, "单据体“收款单明细”第1行字段“结算方式”是必填项", Refused, Cause.MISSING_FIELD),
        (9, '编码值["X"]不存在', Refused, Cause.NOT_FOUND),
        (11, "基础资料“客户”编码“CRM-9”不存在", Refused, Cause.NOT_FOUND),
        (9, "元数据中标识为FNOPE的字段不存在", ConnectionDown, Cause.SETTINGS),
        (4, "业务对象不存在", ConnectionDown, Cause.SETTINGS),
        (0, "ResolveFiled_InnerEx at FEntity", ConnectionDown, Cause.SETTINGS),
        (0, "“user”使用业务单据：“销售订单”业务操作-“[…-修改]”冲突，请稍候再使用。", TryAgain, Cause.LOCKED),
        (0, "单据已被其他用户修改", TryAgain, Cause.LOCKED),
        (0, "没有“收款单”的“新增”权限", ConnectionDown, Cause.PERMISSION),
        (12, "单据已审核，不允许修改", Refused, Cause.STATE),
        (11, "2026年1期会计期间已关账", Refused, Cause.PERIOD_CLOSED),
        (0, "当前期间已结账，不能保存单据", Refused, Cause.PERIOD_CLOSED),
        (2, "没有会计期间权限", ConnectionDown, Cause.PERMISSION),
        (0, "名称过长", Refused, Cause.INVALID),
        (14, "冲突，请稍候再使用", TryAgain, Cause.RATE),
    ],
)
def test_an_answer_gives_its_error(code: int, text: str, error: type[Exception], cause: Cause):
    refusal = refusal_of(answer(code, text))
    assert refusal is not None
    found = error_of(refusal, read=False)
    assert (type(found), found.cause) == (error, cause)
    assert text in str(found)


@pytest.mark.parametrize("shape", [lambda a: a, lambda a: [a], lambda a: [[a]]])
def test_an_error_is_seen_in_each_of_its_shapes(shape: Any):
    refusal = refusal_of(shape(answer(9, "业务对象不存在", "FormId")))
    assert refusal == Refusal("9", "业务对象不存在", "FormId")


@pytest.mark.parametrize("rows", [[], [["SKD-1", 100029, "C"]], [[None]], [[[1]]]])
def test_rows_of_a_query_are_no_error(rows: Any):
    assert refusal_of(rows) is None


@pytest.mark.parametrize("success", [True, "true", "True"])
def test_an_old_server_says_no_more_than_success(success: object):
    assert refusal_of({"IsSuccess": success, "Id": 1}) is None


@pytest.mark.parametrize(
    "content",
    [
        b"response_error:System.NullReferenceException", b"<html><body>502</body></html>", b"", b"null", b"{}", b'"ok"',
        b"NaN", b'{"a": NaN}', b"[" * 100_000, b"\xff\xfe", b'{"Result": 7}', b'{"Result": {"ResponseStatus": []}}',
    ],
)  # fmt: skip
def test_what_is_no_result_leaves_a_write_in_doubt_and_lets_a_read_try_again(content: bytes):
    reply = decode(content)
    refusal = reply if isinstance(reply, Refusal) else refusal_of(reply)
    if refusal is None:  # the client asks for an object and finds none
        assert reply is None or isinstance(reply, str)
        return
    assert isinstance(error_of(refusal, read=False), OutcomeUnknown)
    assert isinstance(error_of(refusal, read=True), TryAgain)


def test_a_refusal_without_code_and_word_says_nothing_about_the_effect():
    assert isinstance(error_of(Refusal("0", ""), read=False), OutcomeUnknown)


def test_every_documented_code_is_in_the_table():
    assert [int(code) for code in OUTCOMES] == list(range(16))


def test_the_field_is_the_vendors_or_the_label_in_the_text():
    assert (
        error_of(Refusal("11", "字段“结算币别”是必填项", "FTRADINGCURRID"), read=False).field
        == "FTRADINGCURRID"
    )
    assert error_of(Refusal("11", "字段“结算币别”是必填项"), read=False).field == "结算币别"


def test_amounts_are_decoded_exactly():
    assert str(decode(b"[[12345678901234567.89, 0.1]]")[0][0]) == "12345678901234567.89"  # type: ignore[index]


@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (401, SessionLost, Cause.CREDENTIAL),
        (403, ConnectionDown, Cause.PERMISSION),
        (404, ConnectionDown, Cause.SETTINGS),
        (519, ConnectionDown, Cause.SETTINGS),
        (400, ConnectionDown, Cause.SETTINGS),
    ],
)
def test_a_status_that_is_kingdees_own_gives_its_error(status: int, error: type[Exception], cause: Cause):
    found = status_error(status, b"<html>", read=False)
    assert found is not None
    assert (type(found), found.cause) == (error, cause)


@pytest.mark.parametrize("status", [200, 408, 429, 500, 502, 503])
def test_other_statuses_are_the_clients(status: int):
    assert status_error(status, b"", read=False) is None


def test_a_session_lost_without_echo_is_a_bad_credential():
    lost = error_of(Refusal("1", "会话信息已丢失"), read=True)
    assert isinstance(lost, SessionLost)
    confirmed = lost.confirmed()
    assert type(confirmed) is ConnectionDown
    assert confirmed.cause is Cause.CREDENTIAL


def test_the_answer_of_a_lost_session_survives_a_round_trip():
    content = orjson.dumps([[answer(1, "会话信息已丢失，请重新登录")]])
    refusal = refusal_of(decode(content))  # type: ignore[arg-type]
    assert refusal is not None
    assert refusal.code == "1"
