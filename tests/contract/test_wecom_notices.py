"""Messages of the app at WeCom (fact sheet 6): who got them, what a repeat does, and what the stand-in drops without a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.wecom import WeComConnector
from connectors.wecom.notices import SEND
from hub.errors import Cause, NotSent, OutcomeUnknown, Refused, SettingsError, TryAgain
from hub.sdk import Notice
from hub.sdk.kit import Bench
from tests.contract.wecom_approval_stand import SELLER, bench, wecom

__all__ = ["bench", "wecom"]  # fixtures

NOTICE = Notice("回款被拒", "客户 示例有限公司：账户与合同主体不一致", "N-1")


def later(bench: Bench) -> float:
    return bench.clock.monotonic() + 30


async def test_a_notice_is_one_message_whose_answer_names_who_is_nobody(
    bench: Bench, wecom: WeComConnector
) -> None:
    told = await wecom.notify([SELLER, "lisi", "Nobody"], NOTICE, deadline=later(bench))
    (one,) = bench.stand.sandbox.corp.messages.values()
    assert told.receipts == (one.msgid,)
    assert set(told.missed) == {"Nobody"}
    assert one.delivered == [SELLER.lower(), "lisi"]
    assert one.body == {"content": f"回款被拒\n\n{NOTICE.text}\n\n[N-1]"}


async def test_a_repeat_within_four_hours_is_delivered_once_and_another_reference_again(
    bench: Bench, wecom: WeComConnector
) -> None:
    for reference in ("N-1", "N-1", "N-2"):
        await wecom.notify(["lisi"], replace(NOTICE, reference=reference), deadline=later(bench))
    messages = bench.stand.sandbox.corp.messages
    assert [one.delivered for one in messages.values()] == [["lisi"], [], ["lisi"]]
    bench.stand.sandbox.advance(4 * 3600)
    await wecom.notify(["lisi"], NOTICE, deadline=later(bench))
    assert [one.delivered for one in messages.values()][-1] == ["lisi"], (
        "later WeCom has forgotten: it is doubled"
    )


async def test_an_answer_that_was_lost_is_made_good_by_a_repeat_that_reaches_nobody_twice(
    bench: Bench, wecom: WeComConnector
) -> None:
    bench.stand.sandbox.inject("apply_then_drop", op=SEND)
    with pytest.raises(OutcomeUnknown):
        await wecom.notify(["lisi"], NOTICE, deadline=later(bench))
    await wecom.notify(["lisi"], NOTICE, deadline=later(bench))
    assert [one.delivered for one in bench.stand.sandbox.corp.messages.values()] == [["lisi"], []]


async def test_a_name_makes_no_link(bench: Bench, wecom: WeComConnector) -> None:
    trick = replace(NOTICE, text='<a href="http://evil.example">点这里</a>')
    await wecom.notify(["lisi"], trick, deadline=later(bench))
    (one,) = bench.stand.sandbox.corp.messages.values()
    assert "<" not in one.body["content"]


async def test_nobody_known_no_app_too_large_and_too_many_are_refused(
    bench: Bench, wecom: WeComConnector
) -> None:
    with pytest.raises(Refused) as caught:
        await wecom.notify(["nobody"], NOTICE, deadline=later(bench))
    assert (caught.value.code, caught.value.cause) == ("81013", Cause.NOT_FOUND)
    with pytest.raises(Refused):
        await wecom.notify(["lisi"], replace(NOTICE, text="字" * 700), deadline=later(bench))
    with pytest.raises(Refused):
        await wecom.notify([f"p{number}" for number in range(1001)], NOTICE, deadline=later(bench))
    nameless = bench.connect(bench.stand.settings() | {"agent_id": 0})
    with pytest.raises(SettingsError) as missing:
        await nameless.notify(["lisi"], NOTICE, deadline=later(bench))
    assert missing.value.field == "agent_id"
    with pytest.raises(NotSent):
        await wecom.notify(["lisi"], NOTICE, deadline=bench.clock.monotonic() - 1)
    assert bench.stand.sandbox.corp.messages == {}


async def test_a_limit_blocks_messages_alone_and_says_until_when(bench: Bench, wecom: WeComConnector) -> None:
    bench.stand.sandbox.inject("errcode_45009", op=SEND)
    with pytest.raises(TryAgain) as caught:
        await wecom.notify(["lisi"], NOTICE, deadline=later(bench))
    assert caught.value.after == 60.0


async def test_what_a_member_gets_beyond_thirty_a_minute_is_dropped_without_a_word(
    bench: Bench, wecom: WeComConnector
) -> None:
    answers = [
        await wecom.notify(["lisi"], replace(NOTICE, reference=f"N-{number}"), deadline=later(bench))
        for number in range(31)
    ]
    assert all(not one.missed for one in answers)
    got = [one.delivered for one in bench.stand.sandbox.corp.messages.values()]
    assert got == [["lisi"]] * 30 + [[]]
    person = [one for one in wecom.spec.budgets if one.kind == "person"]
    assert [(one.limit, one.per) for one in person] == [(30, 60.0), (1000, 3600.0)], (
        "so the hub counts them itself"
    )


async def test_the_stand_in_wants_its_own_agent_a_receiver_and_a_body(
    bench: Bench, wecom: WeComConnector
) -> None:
    client = wecom._client
    good = {"touser": "lisi", "msgtype": "text", "agentid": 1000002, "text": {"content": "a"}}
    for change, code in (
        ({"agentid": 1}, "301002"), ({"touser": ""}, "82001"), ({"msgtype": "voice"}, "40058"), ({"text": {}}, "40058"),
        ({"agentid": "1000002"}, "40058"),
    ):  # fmt: skip
        with pytest.raises(Exception, match=code):
            await client.write(SEND, {**good, **change}, deadline=later(bench))
    assert bench.stand.sandbox.corp.messages == {}
