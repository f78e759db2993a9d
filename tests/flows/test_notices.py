"""Who must act on a dead letter is told by DingTalk, once and in plain words; who asked for an approval, how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from connectors.dingtalk import DingTalkConnector
from connectors.wecom import WeComConnector
from hub.errors import Cause, Refused, TryAgain
from hub.pipe import desk
from hub.pipe.notice_groups import groups
from hub.pipe.notices import pin, settle
from hub.pipe.queries import status
from hub.project.notices import Addressee, NoticeRule
from hub.sdk.connector import Failed
from hub.sdk.kit import Bench
from hub.sdk.notice import Told
from tests.contract.dingtalk_stand import DingTalkStand
from tests.contract.wecom_approval_stand import WeComApprovalStand, see_everybody
from tests.notice_site import Died, Office, Post

WECOM_SELLER = "Seller.One"
SEND = "topapi/message/corpconversation/asyncsend_v2"


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    async with Bench.open(DingTalkConnector, DingTalkStand) as bench:
        bench.stand.sandbox.dials.qps = 0
        made = Post(bench)
        await made.tell()  # nothing stands still yet
        yield made
        made.close()


async def test_refused_payments_are_one_notice_to_their_owner_that_says_in_plain_chinese_what_to_do(
    post: Post,
) -> None:
    post.refuse("HK-1", "HK-2", "HK-3", "HK-4", "HK-5", "HK-6", "HK-7")
    await post.tell()
    assert post.notices() == []  # more may come
    await post.tell(301)
    (text,) = post.notices("seller")
    assert len(post.notices()) == 1
    lines = text.splitlines()
    assert lines[0] == "7 笔回款未能写入内存系统（mem）：对方系统拒绝了数据"
    assert lines[2] == "- HK-1，示例科技有限公司，1500.00 CNY"
    assert lines[7:10] == ["……另有 2 笔", "对方说明：账号 ACC-9 不存在", "在哪里处理：记录：改正数据"]
    await post.tell(1000)
    assert len(post.notices()) == 1
    (act,) = post.acts()
    assert (act["to"], act["who"], act["people"], act["count"]) == ("owner", "li.lei", ["li.lei"], 7)
    assert act["receipts"] == [str(task) for task in post.company.notices]


async def test_each_cause_has_its_addressee_and_it_is_told_where_nobody_is_named(post: Post) -> None:
    post.refuse("HK-1", cause=Cause.INVALID)
    post.refuse("HK-2", cause=Cause.PERIOD_CLOSED, said="2026 年 1 月已关账")
    post.refuse("HK-3", cause=Cause.PERMISSION)
    (stranger,) = post.refuse("HK-4", cause=Cause.PERIOD_CLOSED)
    post.own(stranger, owner=None, entity="other")
    await post.tell()
    await post.tell(301)
    told = {user: post.notices(user) for user in ("seller", "finance", "head")}
    assert [text.splitlines()[2][:6] for text in told["seller"]] == ["- HK-1"]
    assert ["2026 年 1 月已关账" in text for text in told["finance"]] == [True]
    assert sorted(text.splitlines()[2][:6] for text in told["head"]) == ["- HK-3", "- HK-4"]
    assert ["本应通知签约主体的财务" in text for text in told["head"]].count(True) == 1


async def test_a_payment_without_an_owner_is_its_customers_owners(post: Post) -> None:
    (payment,) = post.refuse("HK-1")
    post.own(payment, owner=None)
    post.own(post.body(payment)["customer"])
    await post.tell()
    await post.tell(301)
    assert len(post.notices("seller")) == 1


async def test_what_was_mended_meanwhile_is_told_to_nobody(post: Post) -> None:
    post.refuse("HK-1", "HK-2")
    await post.tell()
    (first, second) = [row for row in post.rows() if row["state"] == "parked"]
    post.replay(first["id"])
    post.run()
    await post.tell(301)
    assert [text.splitlines()[0][:3] for text in post.notices()] == ["1 笔"]
    post.replay(second["id"])
    post.run()
    post.refuse("HK-3")
    await post.tell()
    post.replay(next(row["id"] for row in post.rows() if row["state"] == "parked"))
    post.run()
    await post.tell(301)
    assert len(post.notices()) == 1
    assert post.ask("SELECT name FROM jobs WHERE kind = 'notice'") == []


async def test_what_no_rule_names_is_told_to_nobody(post: Post) -> None:
    post.rules(NoticeRule(Addressee.FINANCE, frozenset((Cause.PERIOD_CLOSED,)), frozenset(("payment",))))
    post.refuse("HK-1", cause=Cause.INVALID)
    post.refuse("HK-2", cause=Cause.PERIOD_CLOSED)
    await post.tell()
    await post.tell(301)
    assert len(post.notices()) == len(post.notices("finance")) == 1


async def test_dead_letters_from_before_notices_were_switched_on_are_told_once(post: Post) -> None:
    post.refuse("HK-1")
    post.seal()
    post.refuse("HK-2")
    post.store.run_now(lambda tx: tx.cursor.execute("DELETE FROM jobs WHERE name = 'notices'"))
    post.messenger = post.start()
    await post.messenger.turn()  # HK-2 is not sealed yet: its act will come
    post.clock.at += 301_000_000
    await post.messenger.turn()
    await post.tell()
    await post.tell(301)
    await post.tell(301)
    assert [text.splitlines()[2][:6] for text in post.notices("seller")] == ["- HK-1", "- HK-2"]


async def test_what_is_tried_again_by_itself_is_told_to_nobody(post: Post) -> None:
    post.refuse("HK-1", cause=Cause.UNAVAILABLE)
    await post.tell()
    post.replay(next(row["id"] for row in post.rows() if row["state"] == "parked"))
    for attempt in post.claim(0):
        post.settle(attempt, Failed(TryAgain("busy", cause=Cause.UNAVAILABLE, after=3600.0)))
    await post.tell(301)
    assert post.company.notices == {}


async def test_one_that_is_refused_twice_in_that_time_counts_once(post: Post) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.replay(next(row["id"] for row in post.rows() if row["state"] == "parked"))
    for attempt in post.claim(0):
        post.settle(attempt, Failed(Refused("账号 ACC-9 不存在")))
    await post.tell()
    (group,) = post.store.read_now(groups)
    assert len(group.rows) == 1
    await post.tell(301)
    assert [text.splitlines()[0][:3] for text in post.notices()] == ["1 笔"]


# nothing twice, nothing lost ------------------------------------------------------------------------------------


async def test_who_dies_between_the_send_and_its_note_leaves_a_notice_that_is_repeated_and_read_once(
    post: Post,
) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.mortal.dies = "notice.sent"
    with pytest.raises(Died):
        await post.tell(301)
    assert post.acts() == []
    post.refuse("HK-2")  # comes while nobody knows: it does not change the words
    post.messenger = post.start("b")
    await post.tell(100)
    assert len(post.company.notices) == 1, "the other one may still be at it"
    await post.tell(60)
    first, second = post.company.notices.values()
    assert first.msg == second.msg
    assert (first.dropped, second.dropped) == ({}, {"seller": 143106})
    (act,) = post.acts()
    assert (act["count"], act["sends"]) == (1, 2)
    await post.tell(301)
    assert [text.splitlines()[2][:6] for text in post.notices()] == ["- HK-1", "- HK-2"]


@pytest.mark.parametrize("fault", ["apply_then_drop", "apply_then_502", "fail_before"])
async def test_a_send_whose_answer_is_lost_is_repeated_and_read_once(post: Post, fault: str) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.bench.stand.sandbox.inject(fault, op=SEND)
    await post.tell(301)
    assert post.acts() == []
    await post.tell(31)
    assert len(post.notices("seller")) == 1
    assert len(post.acts()) == 1


async def test_who_dies_while_reading_loses_nothing_and_tells_nothing_twice(post: Post) -> None:
    post.refuse("HK-1")
    post.seal()
    held = post.messenger._held
    assert held is not None

    def half(tx: object) -> None:
        from hub.pipe.notice_groups import follow

        follow(tx, held, post.world, post.messenger._seq, 500)  # type: ignore[arg-type]
        raise Died

    with pytest.raises(Died):
        post.store.run_now(half)
    assert post.ask("SELECT name FROM jobs WHERE kind = 'notice'") == []
    post.clock.at += 11_000_000  # the dead one's lease lapses
    post.messenger = post.start("b")
    await post.tell()
    post.clock.at += 11_000_000
    post.messenger = post.start("c")
    await post.tell()
    await post.tell(301)
    assert [text.splitlines()[0][:3] for text in post.notices()] == ["1 笔"]


async def test_who_wakes_up_late_with_an_answer_only_notes_it(post: Post) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.clock.at += 301_000_000
    (group,) = post.store.read_now(groups)
    late = post.store.run_now(pin, post.world, group.spec.name)
    assert late is not None
    post.clock.at += (
        160_000_000  # its process stood still; another one takes over and does not know the outcome yet
    )
    again = post.store.run_now(pin, post.world, group.spec.name)
    assert again is not None
    assert again.notice == late.notice
    post.store.run_now(settle, post.world, late, Told(("1",)), "a")
    assert [act["outcome"] for act in post.acts()] == ["late"]
    assert len(post.store.read_now(groups)) == 1
    post.store.run_now(settle, post.world, again, Told(("2",)), "b")
    assert [act["outcome"] for act in post.acts()] == ["late", "told"]
    assert post.store.read_now(groups) == []


async def test_one_process_of_a_cluster_tells(post: Post) -> None:
    post.refuse("HK-1")
    other = post.start("b")
    await post.tell()
    assert await other.turn() == 1.0
    await post.tell(301)
    await other.turn()
    assert len(post.company.notices) == 1


# what cannot be sent --------------------------------------------------------------------------------------------


async def test_a_notice_that_cannot_be_sent_is_an_alarm_and_is_tried_again_ever_more_seldom(
    post: Post,
) -> None:
    sandbox = post.bench.stand.sandbox
    post.refuse("HK-1")
    await post.tell()
    sandbox.gate.app.scopes.discard("qyapi_base")
    for _ in range(30):
        await post.tell(60)
    (alarm,) = post.store.read_now(status, post.world.project).alarms
    assert (alarm.about, alarm.holder) == ("notices", "owner li.lei")
    assert "60011" in alarm.text
    assert alarm.since < post.clock.now() - 1_000_000_000
    (group,) = post.store.read_now(groups)
    assert 4 <= group.failures <= 7  # in half an hour: after 30 s, 1, 2, 4, 8 minutes
    assert post.company.notices == {}
    sandbox.gate.app.scopes.add("qyapi_base")
    await post.tell(3600)
    assert len(post.notices("seller")) == 1
    assert post.store.read_now(status, post.world.project).alarms == ()


async def test_an_owner_whom_dingtalk_does_not_know_is_reached_through_it(post: Post) -> None:
    (payment,) = post.refuse("HK-1")
    post.own(payment, owner="gone.away")
    await post.tell()
    for _ in range(20):
        await post.tell(60)
    (text,) = post.notices("head")
    assert "本应通知负责人" in text
    assert post.acts()[-1]["people"] == ["it.wu"]


async def test_a_paused_connection_holds_its_notices_and_ends_no_pause(post: Post) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.store.run_now(desk.pause, "ding", post.world, by="user:a")
    for _ in range(5):
        await post.tell(301)
    assert post.company.notices == {}
    assert post.store.read_now(status, post.world.project).alarms == ()  # the pause is shown already
    post.store.run_now(desk.resume, "ding", post.world, by="user:a")
    await post.tell(301)
    assert len(post.notices()) == 1


async def test_a_store_whose_writes_are_stopped_tells_nobody_for_its_hub_may_run_elsewhere(
    post: Post,
) -> None:
    post.refuse("HK-1")
    await post.tell()
    post.store.run_now(lambda tx: tx.cursor.execute("UPDATE hub SET writes = 'stopped'"))
    await post.tell(301)
    assert post.company.notices == {}
    post.store.run_now(lambda tx: tx.cursor.execute("UPDATE hub SET writes = 'open'"))
    await post.tell()
    assert len(post.notices()) == 1


async def test_a_person_gets_no_more_notices_than_the_vendor_delivers(post: Post) -> None:
    spec = post.world.specs["ding"]
    few = tuple(replace(one, limit=2) if one.kind == "person" else one for one in spec.budgets)
    post.world = replace(post.world, specs={**post.world.specs, "ding": replace(spec, budgets=few)})
    post.messenger = post.start()
    for number, cause in enumerate((Cause.INVALID, Cause.NOT_FOUND, Cause.CONFLICT)):
        post.refuse(f"HK-{number}", cause=cause)
    await post.tell()
    await post.tell(301)
    await post.tell(60)
    assert len(post.notices("seller")) == 2
    await post.tell(86_400)
    assert len(post.notices("seller")) == 3


async def test_a_month_whose_calls_are_used_up_sends_no_notice(post: Post) -> None:
    spec = post.world.specs["ding"]
    few = tuple(replace(one, limit=1) if one.name == "calls_month" else one for one in spec.budgets)
    post.world = replace(post.world, specs={**post.world.specs, "ding": replace(spec, budgets=few)})
    post.messenger = post.start()
    post.refuse("HK-1")
    await post.tell()
    await post.tell(301)
    assert post.company.notices == {}
    post.world = replace(post.world, specs={**post.world.specs, "ding": spec})
    post.messenger = post.start()
    await post.tell(31)
    assert len(post.notices()) == 1


async def test_the_same_by_wecom_where_a_lost_answer_is_read_once_too() -> None:
    async with Bench.open(WeComConnector, WeComApprovalStand) as bench:
        see_everybody(bench.stand)  # type: ignore[arg-type]
        post = Post(bench, users={"li.lei": WECOM_SELLER, "zhao.liu": "lisi", "it.wu": "ZhaoLiu"})
        await post.tell()
        post.refuse("HK-1", "HK-2")
        post.refuse("HK-3", cause=Cause.PERIOD_CLOSED)
        await post.tell()
        bench.stand.sandbox.inject("apply_then_drop", op="message/send")
        await post.tell(301)
        await post.tell(31)
        await post.tell(1000)
        messages = list(bench.stand.sandbox.corp.messages.values())
        assert sorted(user for one in messages for user in one.delivered) == ["lisi", WECOM_SELLER.lower()]
        assert [one.delivered for one in messages].count([]) == 1, "the repeat"
        assert sorted(act["receipts"][0] for act in post.acts()) == sorted(
            one.msgid for one in messages if not one.delivered or one is not messages[0]
        )
        post.close()


# words ----------------------------------------------------------------------------------------------------------


async def test_a_region_whose_people_read_english_is_told_in_english(post: Post) -> None:
    post.rules(english=("cn/south/",))
    post.refuse("HK-1", "HK-2")
    await post.tell()
    await post.tell(301)
    (text,) = post.notices("seller")
    assert text.splitlines()[0] == "2 payments not written to Memory (mem): the other system refused the data"


async def test_two_notices_of_the_same_words_in_one_day_both_arrive(post: Post) -> None:
    post.refuse("HK-1")
    await post.tell()
    await post.tell(301)
    (row,) = [row for row in post.rows() if row["state"] == "parked"]
    post.replay(row["id"])
    for attempt in post.claim(0):
        post.settle(attempt, Failed(Refused("账号 ACC-9 不存在")))
    await post.tell()
    await post.tell(301)
    first, second = post.notices("seller")
    assert first.rpartition("[")[0] == second.rpartition("[")[0]


async def test_what_strangers_wrote_stays_on_its_line_and_a_notice_stays_small(post: Post) -> None:
    trick = "甲\n公司\u202e点这里\x1b[31m" + "长" * 150
    post.put("C-1", name=trick, entity="demo")
    post.refuse(*[f"HK-{number}" for number in range(9)], said="因" * 3000)
    customer = post.body(next(row for row in post.rows() if row["state"] == "parked")["subject"])["customer"]
    assert post.body(customer)["name"] != trick
    await post.tell()
    await post.tell(301)
    (text,) = post.notices("seller")
    assert len(text.encode()) < 1700
    assert all(one >= " " or one == "\n" for one in text)
    assert "\u202e" not in text


# approvals ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with Bench.open(DingTalkConnector, DingTalkStand) as bench:
        bench.stand.sandbox.dials.qps = 0
        made = Office(bench)
        await made.tell()
        yield made
        made.close()


def ask_for(office: Office, id_: str, **fields: object) -> None:
    """Have li.lei ask for the approval of a contract of its own."""
    contract = office.sign(f"HT-{id_}")
    office.ask_for(id_, contract=contract, title=f"年度框架合同 {id_}", applicant="li.lei", **fields)


async def test_an_applicant_is_told_by_the_system_that_decided_how_it_ended(office: Office) -> None:
    for id_ in ("A-1", "A-2", "A-3", "A-4"):
        ask_for(office, id_)
    await office.tell()
    assert office.notices() == []
    agreed = [{"seq": 1, "approver": "han.mei", "action": "agree", "opinion": "同意，尽快签"}]
    office.decide("A-1", "approved", nodes=agreed)
    office.decide("A-2", "rejected", opinion="折扣太大，请重新报价")
    office.decide("A-3", "approved")
    office.decide("A-4", "withdrawn")
    await office.tell()
    office.decide("A-3", "revoked", opinion="客户撤单")
    for _ in range(3):
        await office.tell(10)
    told = {text.splitlines()[0]: text for text in office.notices("seller")}
    assert set(told) == {
        "审批已通过：年度框架合同 A-1", "审批被驳回：年度框架合同 A-2", "审批已通过：年度框架合同 A-3",
        "审批在通过后被撤销：年度框架合同 A-3",
    }  # fmt: skip
    assert "审批意见：折扣太大，请重新报价" in told["审批被驳回：年度框架合同 A-2"]
    passed = told["审批已通过：年度框架合同 A-1"]
    assert all(word in passed for word in ("事项：合同", "150000.00 CNY", "同意，尽快签", "审批人：han.mei"))
    assert {act["connection"] for act in office.acts()} == {"oa"}
    assert len(office.company.notices) == 4


def ends(office: Office) -> list[str]:
    """Return what applicants read."""
    return [text for text in office.notices() if text.startswith("审批")]


async def test_a_decision_that_is_told_again_or_is_old_news_is_told_to_nobody(office: Office) -> None:
    ask_for(office, "A-1")
    office.says("2026001", subject="contract", status="approved", contract_no="HT-A-1", applicant="li.lei")
    office.decide("A-1", "approved")
    await office.tell()
    assert len(ends(office)) == 1
    office.decide("A-1", "approved", opinion="同意")
    await office.tell()
    assert len(ends(office)) == 1
    ask_for(office, "A-3")
    office.decide("A-3", "rejected")
    office.clock.at += 2 * 86_400_000_000  # the hub was off
    office.messenger = office.start()
    await office.tell()
    assert len(ends(office)) == 1


async def test_applicants_are_told_nothing_where_that_is_switched_off(office: Office) -> None:
    office.rules(approvals=False)
    ask_for(office, "A-1")
    office.decide("A-1", "approved")
    await office.tell()
    assert office.notices() == []


async def test_it_is_told_where_an_applicant_cannot_be_reached(office: Office) -> None:
    contract = office.sign("HT-1")
    office.ask_for("A-1", contract=contract, applicant="gone.away")
    office.decide("A-1", "rejected", opinion="不同意")
    await office.tell()
    for _ in range(10):
        await office.tell(60)
    (text,) = office.notices("head")
    assert "本应通知申请人 gone.away" in text
