"""The Yonyou connector on the wire: addresses, token, what is sent, and what each answer means."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest

from connectors.yonyou import YonyouConnector
from connectors.yonyou.outcomes import OUTCOMES, error_of, judge
from connectors.yonyou.pace import Pace
from connectors.yonyou.signing import signature
from hub.clock import SystemClock
from hub.sdk import (
    Answer,
    Applied,
    Cause,
    ConnectionDown,
    Failed,
    Found,
    Gone,
    IntegrityError,
    NotSent,
    OutcomeUnknown,
    Refused,
    SettingsError,
    TryAgain,
    VendorKey,
    VendorRef,
)
from hub.sdk.kit import Bench, Fault, latest, scripted
from tests.contract.yonyou_stand import (
    GREETING,
    ORG,
    PLACES,
    TOKEN,
    Recorder,
    YonyouStand,
    answer,
    bench,
    box,
    customer,
    refused,
    run,
    yonyou,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "yonyou.json").read_text("utf-8"))
ONE = 1_500_000_000_000_000_001


def ok(data: Any, code: Any = "200") -> Answer:
    return answer(code=code, message="操作成功", data=data)


# ------------------------------------------------------------------------------------------- token and addresses


def test_a_token_is_signed_as_openssl_signs_it():
    asked = {"timestamp": VECTORS["token"]["timestamp"], "appKey": VECTORS["app_key"]}
    assert signature(VECTORS["app_secret"], asked) == VECTORS["token"]["signature"]


async def test_signature_and_token_are_encoded_once_and_the_addresses_are_used_as_they_came(bench: Bench):
    recorder = Recorder(ok([]))
    connector = bench.connect(http=recorder)
    assert await connector.fetch("customer", []) == []
    await connector._client.read("/yonbip/digitalModel/merchant/newlist", {"pageIndex": 1})
    look_up, asked = recorder.greeted
    assert urlsplit(look_up).query == "tenantId=sandbox1"
    assert asked.startswith("https://c1.test/iuap-api-auth/open-auth/selfAppAuth/base/v1/getAccessToken?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(asked).query).items()}
    secret = bench.stand.settings()["app_secret"].reveal()
    assert query.pop("signature") == signature(secret, query)
    assert len(query["timestamp"]) == 13
    assert not set("+/ ") & set(urlsplit(asked).query.partition("signature=")[2])
    assert recorder.sent[0][1] == (
        "https://c1.test/iuap-api-gateway/yonbip/digitalModel/merchant/newlist?access_token=token%2Fof%2Bthe%3Dtest"
    )


async def test_the_token_may_ride_in_the_header_instead(bench: Bench):
    recorder = Recorder(ok([]))
    connector = bench.connect(bench.stand.settings() | {"token_in": "header"}, http=recorder)
    await connector._client.read("/yonbip/x", {})
    assert "access_token" not in recorder.sent[0][1]
    assert recorder.headers[0]["access_token"] == "token/of+the=test"


@pytest.mark.parametrize("token_in", ["query", "header"])
async def test_a_token_full_of_signs_arrives_at_the_sandbox_either_way(bench: Bench, token_in: str):
    connector = bench.connect(bench.stand.settings() | {"token_in": token_in})
    assert latest(await bench.pages(connector, "customer"))


async def test_a_tenant_that_moves_to_another_data_centre_is_found_there(
    bench: Bench, yonyou: YonyouConnector
):
    await bench.pages(yonyou, "customer")
    box(bench).gate.centre = "c2"  # a token of c1 is none there, and c1 knows the app no more
    with pytest.raises(ConnectionDown) as caught:
        await bench.pages(yonyou, "customer")
    assert caught.value.cause is Cause.CREDENTIAL
    assert latest(await bench.pages(yonyou, "customer"))


async def test_what_cannot_be_reached_is_forgotten(bench: Bench):
    class Broken(Recorder):
        async def request(self, method: str, url: str, **more: Any) -> Answer:
            if "/yonbip/" in url:
                raise TryAgain("cannot be reached", cause=Cause.UNREACHABLE)
            return await super().request(method, url, **more)

    recorder = Broken()
    connector = bench.connect(http=recorder)
    for _ in range(2):
        with pytest.raises(TryAgain):
            await bench.pages(connector, "customer")
    assert sum("getGatewayAddress" in url for url in recorder.greeted) == 2


async def test_an_unknown_tenant_is_a_matter_of_settings(bench: Bench):
    report = await bench.connect(bench.stand.settings() | {"tenant_id": "nobody"}).check()
    assert [step.name for step in report.steps] == ["data_centre"]
    assert report.steps[0].code == Cause.SETTINGS
    assert "tenant_id" in report.steps[0].en


async def test_a_disabled_app_and_a_wrong_clock_say_what_to_do(bench: Bench, yonyou: YonyouConnector):
    box(bench).gate.enabled = False
    report = await yonyou.check()
    assert (report.steps[-1].name, report.steps[-1].code) == ("token", Cause.CREDENTIAL)
    box(bench).gate.enabled = True
    box(bench).advance(3600)
    report = await bench.connect().check()
    assert (report.steps[-1].name, report.steps[-1].code) == ("token", Cause.SETTINGS)
    assert "clock" in report.steps[-1].en


async def test_a_token_that_is_refused_is_renewed_once_and_then_no_more(bench: Bench):
    bad = answer(code="310036", message="非法token")
    recorder = Recorder(bad, ok([]), bad, bad)
    connector = bench.connect(http=recorder)
    await connector._client.read("/yonbip/x", {})
    assert sum("getAccessToken" in url for url in recorder.greeted) == 2
    with pytest.raises(ConnectionDown) as caught:
        await connector._client.read("/yonbip/x", {})
    assert (caught.value.cause, caught.value.code) == (Cause.CREDENTIAL, "310036")
    assert sum("getAccessToken" in url for url in recorder.greeted) == 3


@pytest.mark.parametrize("fault", ["expire_token", "text_token"])
async def test_a_bad_token_is_renewed_in_silence_also_where_the_answer_is_plain_text(
    bench: Bench, yonyou: YonyouConnector, fault: str
):
    await bench.pages(yonyou, "customer")
    box(bench).inject(fault, op="digitalModel/merchant/idempotent/newinsert")
    assert isinstance(await bench.one(yonyou, bench.create("customer", 7)), Applied)
    assert len(bench.stand.effects("customer")) == 1


async def test_a_second_token_that_voids_the_first_is_borne(bench: Bench):
    box(bench).dials.new_token_voids_old = True
    one, two = bench.connect(), bench.connect()
    for connector in (one, two, one, two):
        assert latest(await bench.pages(connector, "customer"))


async def test_an_api_that_is_not_granted_pauses_the_connection_and_asks_for_no_new_token(bench: Bench):
    recorder = Recorder(answer(code="310037", message="应用未授权此API"))
    connector = bench.connect(http=recorder)
    with pytest.raises(ConnectionDown) as caught:
        await bench.pages(connector, "customer")
    assert caught.value.cause is Cause.PERMISSION
    assert sum("getAccessToken" in url for url in recorder.greeted) == 1


# ------------------------------------------------------------------------------------------- answers (U7, section 4)

TEXTS = [
    ("999", "收款组织不允许为空!", Cause.MISSING_FIELD, "financeOrgCode"),
    ("999", "付款组织不允许为空!", Cause.MISSING_FIELD, "付款组织"),
    ("999", "提交失败,当前单据已提交,不允许重复操作!", Cause.STATE, None),
    ("999", "撤回提交失败,当前单据未提交,不允许撤回操作!", Cause.STATE, None),
    ("999", "审核失败,当前单据已审核, 不允许重复操作!", Cause.STATE, None),
    ("999", "弃审失败,当前单据已弃审, 不允许重复操作!", Cause.STATE, None),
    ("999", "当前单据, 不允许提交!", Cause.STATE, None),
    ("999", "删除失败,数据库查询异常!", Cause.NOT_FOUND, None),
    ("999", "审核失败,数据库查询异常!", Cause.NOT_FOUND, None),
    ("999", "当前单据被删除或没有权限", Cause.NOT_FOUND, None),
    ("1002", "数据不存在", Cause.NOT_FOUND, None),
    ("999", "当前会计期间已经结账,单据不能维护", Cause.PERIOD_CLOSED, None),
    ("999", "服务端逻辑异常", Cause.INVALID, None),
    (0, "客户名称不能为空!", Cause.MISSING_FIELD, "name.simplifiedName"),
    (0, "不知道的话", Cause.INVALID, None),
    ("310008", "参数校验失败，参数[pageSize]是必填的。", Cause.MISSING_FIELD, "pageSize"),
]


@pytest.mark.parametrize(("code", "text", "cause", "field"), TEXTS)
def test_every_documented_text_is_a_cause(code: Any, text: str, cause: Cause, field: str | None):
    error = error_of({"code": code, "message": text, "data": None}, read=False)
    assert isinstance(error, Refused)
    assert (error.cause, error.field, error.code) == (cause, field, str(code))


@pytest.mark.parametrize("code", ["310046", "310032", "310039", "310042", "310050"])
@pytest.mark.parametrize("status", [200, 429])
def test_a_rate_limit_waits_a_minute_whatever_the_status(code: str, status: int):
    body = orjson.dumps({"code": code, "message": "API被限流"})
    with pytest.raises(TryAgain) as caught:
        judge(Answer(status, httpx.Headers(), body), read=False)
    assert (caught.value.cause, caught.value.after, caught.value.code) == (Cause.RATE, 60.0, code)


def test_a_retry_after_wins_over_the_minute():
    body = orjson.dumps({"code": "310046", "message": "API被限流"})
    with pytest.raises(TryAgain) as caught:
        judge(Answer(429, httpx.Headers({"retry-after": "7"}), body), read=False)
    assert caught.value.after == 7.0


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html><body>login</body></html>"), (200, b""), (200, b"null"), (200, b"[]"), (200, b'"200"'),
        (200, b'{"data": {}}'), (200, b'{"code": true, "data": {}}'), (200, b'{"code": null}'),
        (200, b'{"code": "OK"}'), (200, b'{"code": "200", "data": {"id": 1'), (200, b'{"code": NaN}'),
        (200, b"\xff\xfe"), (200, b"[" * 5000), (502, b"<html>Bad Gateway</html>"), (504, b""),
        (200, b'{"code":' + b"9" * 5000 + b"}"),
    ],
)  # fmt: skip
async def test_u7_an_answer_that_says_nothing_leaves_a_write_in_doubt_and_a_read_to_be_repeated(
    bench: Bench, status: int, content: bytes
):
    odd = Answer(status, httpx.Headers({"content-type": "text/html"}), content)
    connector = bench.connect(http=scripted(*GREETING, odd))
    assert type(await refused(bench, connector, bench.create("customer"))) is OutcomeUnknown
    with pytest.raises(TryAgain):
        await bench.pages(bench.connect(http=scripted(*GREETING, odd)), "receipt")


async def test_u7_a_success_with_nothing_in_it_is_in_doubt(bench: Bench):
    for data in (None, [], {}, [{}], [{"code": "CRM-000001"}], "1"):
        connector = bench.connect(http=scripted(*GREETING, ok(data)))
        assert type(await refused(bench, connector, bench.create("customer"))) is OutcomeUnknown
        connector = bench.connect(http=scripted(*GREETING, ok(data)))
        assert type(await refused(bench, connector, bench.create("receipt"))) is OutcomeUnknown


@pytest.mark.parametrize("code", ["200", 200])
async def test_a_code_is_a_number_or_a_text_and_extras_change_nothing(bench: Bench, code: Any):
    made = {"id": ONE, "code": "CRM-000001"}
    reply = answer(code=code, message="操作成功", data=[made], success=True, displayCode="000-1", level=1)
    result = await bench.one(bench.connect(http=scripted(*GREETING, reply)), bench.create("customer"))
    assert result == Applied(VendorRef(str(ONE), "CRM-000001"))


async def test_dials_that_turn_codes_into_numbers_and_add_extras_change_nothing(
    bench: Bench, yonyou: YonyouConnector
):
    box(bench).dials.number_codes = box(bench).dials.extras = True
    made = await run(bench, yonyou, bench.create("receipt"), ("save", "submit", "audit"))
    assert made.stage == "2"


@pytest.mark.parametrize("status", [301, 302, 404, 418])
async def test_a_page_of_somebody_else_pauses_the_connection(bench: Bench, status: int):
    page = Answer(status, httpx.Headers(), b"<html>moved</html>")
    error = await refused(bench, bench.connect(http=scripted(*GREETING, page)), bench.create("customer"))
    assert (type(error), error.cause) == (ConnectionDown, Cause.SETTINGS)


async def test_a_path_that_is_not_registered_is_a_matter_of_settings(bench: Bench, yonyou: YonyouConnector):
    with pytest.raises(ConnectionDown) as caught:
        await yonyou._client.read("/yonbip/digitalModel/merchant/newinsert_copy", {})
    assert (caught.value.cause, caught.value.code) == (Cause.SETTINGS, "310404")


def test_a_batch_with_a_failed_row_is_no_success_though_its_code_is_200():
    data = {"count": 1, "sucessCount": 0, "failCount": 1, "messages": ["单据不存在 id:5"], "infos": []}
    with pytest.raises(Refused) as caught:
        judge(ok(data), read=False)
    assert caught.value.cause is Cause.NOT_FOUND
    good = {"count": 1, "sucessCount": 1, "failCount": 0, "messages": [""], "infos": [{"id": 5}]}
    assert judge(ok(good), read=False)["data"] == good


@pytest.mark.parametrize("failed", [1, "1"])
def test_a_batch_without_words_is_refused_all_the_same(failed: Any):
    with pytest.raises(Refused):
        judge(ok({"count": 1, "sucessCount": 0, "failCount": failed, "messages": [""]}), read=False)


def test_every_code_of_the_fact_sheet_has_a_meaning():
    codes = "202 10004 100004 310001 310003 310036 10018 310002 310005 310006 310007 310008 310009 310015 310023 310024"
    codes += " 310025 310031 310038 310041 310047 310032 310039 310042 310046 310050 310037 310043 310061 310062 310063"
    codes += " 310064 310065 310066 310071 310072 310076 310077 310078 310504 310101 315001 310404 310405 999 0 1001 1002"
    assert not set(codes.split()) - OUTCOMES.keys()


# ------------------------------------------------------------------------------------------- customers


async def test_an_insert_carries_the_key_of_32_digits_and_no_nulls(bench: Bench):
    recorder = Recorder(ok([{"id": ONE, "code": "CRM-000001"}]))
    write = replace(bench.create("customer"), payload=customer(1, email=None, fax=None), key="a" * 32)
    assert await bench.one(bench.connect(http=recorder), write) == Applied(VendorRef(str(ONE), "CRM-000001"))
    (method, url, body) = recorder.sent[0]
    assert (method, urlsplit(url).path) == (
        "POST",
        "/iuap-api-gateway/yonbip/digitalModel/merchant/idempotent/newinsert",
    )
    assert body["data"]["resubmitCheckKey"] == "a" * 32
    assert "email" not in body["data"]
    assert body["data"]["merchantContactInfos"] == [
        {"fullName": {"simplifiedName": "张三"}, "mobile": "13800000000", "isDefault": True}
    ]


async def test_an_update_names_what_the_vendor_insists_on_and_sends_a_null_only_to_clear(
    bench: Bench, yonyou: YonyouConnector
):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    write = bench.write("customer", "save", {"contactTel": None, "email": "ap@example.test"}, ref=made)
    await run(bench, yonyou, write, ("save",))
    (kept,) = box(bench).books.where("customer", code="CRM-000001")
    assert (kept.body["contactTel"], kept.body["email"]) == (None, "ap@example.test")
    assert kept.body["name"] == {"simplifiedName": "示例科技1号有限公司"}
    assert len(kept.body["merchantContactInfos"]) == 1
    (found,) = await yonyou.find([write])
    assert isinstance(found, Found)
    assert found.as_sent


async def test_the_other_languages_of_a_name_stay(bench: Bench, yonyou: YonyouConnector):
    three = {"simplifiedName": "旧名", "englishName": "Old Ltd", "traditionalName": "舊名"}
    made = box(bench).desk.seed("customer", customer(5, name=three))
    write = bench.write(
        "customer", "save", {"name": {"simplifiedName": "新名"}}, ref=VendorRef(str(made["id"]))
    )
    await run(bench, yonyou, write, ("save",))
    (kept,) = box(bench).books.where("customer", code="CRM-000005")
    assert kept.body["name"] == {**three, "simplifiedName": "新名"}


async def test_an_update_of_a_contact_changes_its_row_and_adds_none(bench: Bench, yonyou: YonyouConnector):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    same = {
        "fullName": {"simplifiedName": "张三"},
        "mobile": "13800000000",
        "isDefault": True,
        "email": "z@example.test",
    }
    other = {"fullName": {"simplifiedName": "李四"}, "mobile": "13900000000", "isDefault": False}
    write = bench.write("customer", "save", {"merchantContactInfos": [same, other]}, ref=made)
    (before,) = await yonyou.find([write])
    await run(bench, yonyou, write, ("save",))
    (after,) = await yonyou.find([write])
    (kept,) = box(bench).books.where("customer", code="CRM-000001")
    rows = kept.body["merchantContactInfos"]
    assert [(row["fullName"]["simplifiedName"], row.get("email")) for row in rows] == [
        ("张三", "z@example.test"), ("李四", None)
    ]  # fmt: skip
    assert isinstance(before, Found)
    assert isinstance(after, Found)
    assert (before.as_sent, after.as_sent) == (False, True)


async def test_a_code_somebody_else_has_is_looked_up_and_told_as_a_duplicate(
    bench: Bench, yonyou: YonyouConnector
):
    box(bench).desk.seed("customer", customer(1, name={"simplifiedName": "另一家公司"}))
    error = await refused(bench, yonyou, bench.create("customer"))
    assert error.cause is Cause.ALREADY_DONE
    (found,) = await yonyou.find([bench.create("customer")])
    assert isinstance(found, Failed)
    assert found.error.cause is Cause.DUPLICATE


async def test_an_update_of_a_customer_that_was_deleted_says_that_it_is_gone(
    bench: Bench, yonyou: YonyouConnector
):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    box(bench).desk.act("customer", made.vendor_id, "delete")
    write = bench.write("customer", "save", {"contactTel": "1"}, ref=made)
    assert await bench.one(yonyou, write) == Gone(VendorKey(ORG, made.vendor_id))
    assert await yonyou.find([write]) == [Gone(VendorKey(ORG, made.vendor_id))]


async def test_an_update_refused_for_its_data_leaves_the_customer_alone(
    bench: Bench, yonyou: YonyouConnector
):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    error = await refused(
        bench, yonyou, bench.write("customer", "save", {"customerClassCode": "99"}, ref=made)
    )
    assert (type(error), error.cause) == (Refused, Cause.NOT_FOUND)
    assert len(bench.stand.effects("customer")) == 1


async def test_ids_of_nineteen_digits_keep_their_digits(bench: Bench, yonyou: YonyouConnector):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    assert len(made.vendor_id) == 19
    (record,) = await yonyou.fetch("customer", [VendorKey(ORG, made.vendor_id)])
    assert record.key.id == made.vendor_id  # type: ignore[union-attr]
    assert record.body["id"] == made.vendor_id  # type: ignore[union-attr,call-overload,index]


# ------------------------------------------------------------------------------------------- foreign answers (U8)


@pytest.mark.parametrize("data", [[{"id": ONE, "code": "CRM-999999"}], {"id": ONE, "code": "CRM-999999"}])
async def test_u8_a_create_answered_for_another_code_stops_the_sync(bench: Bench, data: Any):
    with pytest.raises(IntegrityError) as caught:
        await bench.one(bench.connect(http=scripted(*GREETING, ok(data))), bench.create("customer"))
    assert caught.value.cause is Cause.FOREIGN


async def test_u8_another_customers_detail_stops_the_sync(bench: Bench, yonyou: YonyouConnector):
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    box(bench).dials.foreign_row = True
    with pytest.raises(IntegrityError):
        await yonyou.fetch("customer", [VendorKey(ORG, made.vendor_id)])
    with pytest.raises(IntegrityError):
        await yonyou.find([bench.create("customer")])
    with pytest.raises(IntegrityError):
        await bench.pages(yonyou, "customer")


async def test_u8_another_receipt_in_an_answer_stops_the_sync(bench: Bench, yonyou: YonyouConnector):
    made = await run(bench, yonyou, bench.create("receipt"), ("save",))
    box(bench).dials.foreign_row = True
    with pytest.raises(IntegrityError):
        await bench.one(yonyou, bench.write("receipt", "submit", {}, ref=made))
    with pytest.raises(IntegrityError):
        await yonyou.fetch("receipt", [VendorKey(ORG, made.vendor_id)])


# ------------------------------------------------------------------------------------------- limits, settings


async def test_a_minutes_calls_are_spent_and_then_nothing_is_sent(bench: Bench):
    connector = bench.connect(bench.stand.settings() | {"per_minute": 2})
    for _ in range(2):
        await bench.pages(connector, "customer")
    with pytest.raises(TryAgain) as caught:
        await bench.pages(connector, "customer")
    assert caught.value.cause is Cause.RATE
    assert 0 < (caught.value.after or 0) <= 60
    assert await bench.pages(connector, "receipt")  # another API has its own minute
    for number in (1, 2):
        await bench.one(connector, bench.create("customer", number))
    result = await bench.one(connector, bench.create("customer", 3))
    assert isinstance(result, Failed)
    assert isinstance(result.error, NotSent)
    assert len(bench.stand.effects("customer")) == 2


async def test_an_api_that_is_called_too_often_is_left_alone_for_a_minute_by_everybody(bench: Bench):
    recorder = Recorder(answer(code="310032", message="系统被限流"), ok([]))
    connector = bench.connect(http=recorder)
    error = await refused(bench, connector, bench.create("customer", 1))
    assert (type(error), error.after) == (TryAgain, 60.0)
    assert isinstance(await refused(bench, connector, bench.create("customer", 2)), NotSent)
    assert len(recorder.sent) == 1
    await connector._client.read("/yonbip/another", {})


@pytest.mark.parametrize("one", ["9" * 19, "9" * 40, "abc", "-5"])
async def test_an_id_that_cannot_be_is_gone_and_no_bug(bench: Bench, yonyou: YonyouConnector, one: str):
    for stream in ("customer", "receipt"):
        (result,) = await yonyou.fetch(stream, [VendorKey(ORG, one)])
        assert isinstance(result, Gone), result


async def test_a_pace_never_exceeds_its_limit_in_any_minute():
    class Virtual(SystemClock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

        async def sleep(self, seconds: float) -> None:
            self.at += seconds

    clock, times = Virtual(), []
    pace = Pace(clock, 10)
    while clock.at < 300:
        try:
            await pace.turn("x", read=True)
        except TryAgain as error:
            clock.at += error.after or 0.0
            continue
        times.append(clock.at)
        clock.at += 0.7
    assert all(sum(at <= one < at + 59.999 for one in times) <= 10 for at in times)
    assert len(times) >= 45


def test_the_budget_is_the_settings():
    bought = YonyouConnector.spec.bought({"per_minute": 120})
    assert [(one.limit, one.per) for one in YonyouConnector.spec.budgets] == [(40, 60.0)]
    assert [one.limit for one in bought.budgets] == [120]


@pytest.mark.parametrize(
    ("name", "value"),
    [("token_in", "cookie"), ("receipts", "cmpreceivebill"), ("receive", "socket"), ("callback_ack", "none")],
)
async def test_a_setting_that_is_none_of_its_choices_is_named(bench: Bench, name: str, value: str):
    with pytest.raises(SettingsError) as caught:
        bench.connect(bench.stand.settings() | {name: value}, http=scripted())
    assert caught.value.field == name


async def test_the_fault_of_the_kit_really_hits_the_update(bench: Bench, yonyou: YonyouConnector):
    """The stand arms both calls of a save; this shows that the update's is one of them."""
    made = await run(bench, yonyou, bench.create("customer"), ("save",))
    bench.stand.inject(Fault.DROPPED, "save", "customer")
    error = await refused(bench, yonyou, bench.write("customer", "save", {"contactTel": "1"}, ref=made))
    assert type(error) is OutcomeUnknown
    assert isinstance(bench.stand, YonyouStand)
    assert [verb for verb, _ in bench.stand.effects("customer")] == ["save", "save"]


async def test_the_greeting_of_the_kit_is_what_the_sandbox_says(bench: Bench):
    async with httpx.AsyncClient(base_url=bench.stand.base_url) as client:
        said = (await client.get("/open-auth/dataCenter/getGatewayAddress?tenantId=sandbox1")).json()
    assert said.keys() == orjson.loads(PLACES.content).keys()
    assert said["data"].keys() == orjson.loads(PLACES.content)["data"].keys()
    assert orjson.loads(TOKEN.content)["data"].keys() == {"access_token", "expire"}
