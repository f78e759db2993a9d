"""Work notices of DingTalk (fact sheet 5): who got them, who did not and why, and what a repeat does."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.dingtalk.notices import RESULT, SEND
from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, Refused, SettingsError
from hub.sdk import Notice
from hub.sdk.kit import Bench, scripted
from hub.sdk.notice import MOST_BYTES
from tests.contract.dingtalk_stand import TOKEN, bench, dingtalk, old

__all__ = ["bench", "dingtalk"]  # fixtures

NOTICE = Notice("回款被拒", "客户 示例有限公司：账户与合同主体不一致", "N-1")


def later(bench: Bench) -> float:
    return bench.clock.monotonic() + 30


async def test_a_notice_is_one_call_and_what_people_read_is_plain_text(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    told = await dingtalk.notify(["seller", "finance"], NOTICE, deadline=later(bench))
    ((task, one),) = bench.stand.sandbox.company.notices.items()
    assert told.receipts == (str(task),)
    assert (dict(told.missed), told.already) == ({}, frozenset())
    assert one.userids == ["seller", "finance"]
    assert one.msg == {"msgtype": "text", "text": {"content": f"回款被拒\n\n{NOTICE.text}\n\n[N-1]"}}


async def test_a_repeat_is_told_as_one_and_another_reference_is_another_notice(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    await dingtalk.notify(["seller"], NOTICE, deadline=later(bench))
    again = await dingtalk.notify(["seller", "finance"], NOTICE, deadline=later(bench))
    assert (dict(again.missed), again.already) == ({}, frozenset({"seller"}))
    other = await dingtalk.notify(["seller"], replace(NOTICE, reference="N-2"), deadline=later(bench))
    assert (dict(other.missed), other.already) == ({}, frozenset())


async def test_who_is_nobody_there_or_had_five_hundred_today_is_missed_and_named(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    company = bench.stand.sandbox.company
    await dingtalk.notify(["seller"], replace(NOTICE, reference="N-0"), deadline=later(bench))
    (first,) = company.notices.values()
    for number in range(499):
        company.notices[number] = replace(
            first, task_id=number, msg={"msgtype": "text", "text": {"content": str(number)}}
        )
    told = await dingtalk.notify(["seller", "finance", "nobody"], NOTICE, deadline=later(bench))
    assert set(told.missed) == {"seller", "nobody"}
    assert "daily cap" in told.missed["seller"]


async def test_without_an_app_too_large_or_to_too_many_nothing_is_sent(
    bench: Bench, dingtalk: DingTalkConnector
) -> None:
    with pytest.raises(Refused):
        await dingtalk.notify(["seller"], replace(NOTICE, text="字" * 700), deadline=later(bench))
    with pytest.raises(Refused):
        await dingtalk.notify([f"p{number}" for number in range(101)], NOTICE, deadline=later(bench))
    nameless = bench.connect(bench.stand.settings() | {"agent_id": 0})
    with pytest.raises(SettingsError) as caught:
        await nameless.notify(["seller"], NOTICE, deadline=later(bench))
    assert caught.value.field == "agent_id"
    with pytest.raises(NotSent):
        await dingtalk.notify(["seller"], NOTICE, deadline=bench.clock.monotonic() - 1)
    assert bench.stand.sandbox.company.notices == {}


async def test_the_largest_text_the_hub_writes_is_sent(bench: Bench, dingtalk: DingTalkConnector) -> None:
    text = "\n".join(["长" * 49] * 9)
    notice = Notice("题" * 20, text, "N-00000000")
    assert MOST_BYTES - 150 < len(notice.content.encode()) <= MOST_BYTES
    told = await dingtalk.notify(["seller"], notice, deadline=later(bench))
    assert not told.missed
    (one,) = bench.stand.sandbox.company.notices.values()
    assert len(orjson.dumps(one.msg)) <= 2048


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("apply_then_drop", OutcomeUnknown),
        ("apply_then_502", OutcomeUnknown),
        ("errcode_90020", ConnectionDown),
    ],
)
async def test_a_send_that_fails_says_whether_it_may_have_arrived(
    bench: Bench, dingtalk: DingTalkConnector, fault: str, kind: type[Exception]
) -> None:
    bench.stand.sandbox.inject(fault, op=SEND)
    with pytest.raises(kind):
        await dingtalk.notify(["seller"], NOTICE, deadline=later(bench))
    told = await dingtalk.notify(["seller"], NOTICE, deadline=later(bench))
    assert told.already == (frozenset({"seller"}) if kind is OutcomeUnknown else frozenset())


async def test_who_got_it_is_asked_again_while_dingtalk_does_not_know_and_never_fails_the_send(
    bench: Bench,
) -> None:
    empty = old(send_result={"unread_user_id_list": [], "forbidden_list": []})
    lost = old(send_result={"forbidden_list": [{"code": "143106", "count": 1, "userid": "seller"}]})
    one = bench.connect(http=scripted(TOKEN, old(task_id=7), empty, lost))
    told = await one.notify(["seller"], NOTICE, deadline=later(bench))
    assert (told.receipts, told.already) == (("7",), frozenset({"seller"}))
    bench.stand.sandbox.inject("errcode_-1", op=RESULT)
    real = bench.connect()
    assert (await real.notify(["seller"], NOTICE, deadline=later(bench))).missed == {}


async def test_an_answer_without_a_task_leaves_the_outcome_open(bench: Bench) -> None:
    one = bench.connect(http=scripted(TOKEN, old(task_id=None)))
    with pytest.raises(OutcomeUnknown) as caught:
        await one.notify(["seller"], NOTICE, deadline=later(bench))
    assert caught.value.cause is Cause.BAD_ANSWER
