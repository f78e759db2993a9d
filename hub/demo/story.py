"""The business day: what CRM, the vendors' users and the network do, and what must then be true. Every name is invented.

A step acts from outside only (the API, a sandbox's control door, an operator's action) and then waits for a condition,
never for a time. What the day must leave in the vendors' ledgers stands in ``demo/expectation.yaml``. Here are the scenes
with Kingdee; the others are in modules of their own: people (WeCom), approvals (DingTalk and WeCom), north (Yonyou) and
overseas (Mailchimp).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub.demo import ending
from hub.demo.approvals import APPROVALS
from hub.demo.north import NORTH
from hub.demo.overseas import OVERSEAS
from hub.demo.people import PEOPLE, UNDECIDED
from hub.demo.scene import ACTOR, Seen, Step
from hub.demo.seen import alive, hops, left, owed, parked, read_stream_of, settled, waits_for
from hub.demo.stage import Stage, StoryFailed
from hub.demo.vendors import KINGDEE
from hub.errors import Cause
from hub.pipe import desk
from hub.pipe.shown import RowShown, Shown

__all__ = ["LEFT_OVER", "STORY"]

CLOUD: Final[Mapping[str, Any]] = {
    "name": "云帆示例科技（深圳）有限公司", "uscc": "91440300MA5EXA1016", "phone": "0755-86000001",
    "street": "深圳市南山区示例路1号", "owner": "li.lei", "custom.segment": "strategic",
    "custom.service_halls": ["nanshan"], "custom.cross_border": True,
}  # fmt: skip
SEA: Final[Mapping[str, Any]] = {
    "name": "海岳示例贸易（北京）有限公司", "uscc": "91110105MA01EXA20A", "owner": "han.mei", "custom.tender_no": "ZB-2026-017",
}  # fmt: skip
STAR: Final = {"name": "星河示例智造（东莞）有限公司", "owner": "li.lei"}
STAR_CODE: Final = "91441900MA4EXA303W"
MONEY: Final = {"currency": "CNY", "method": "bank", "account_no": "ACC-001", "received_on": "2026-01-12"}
EDITS: Final = (
    ("phone", "0755-86000002"), ("website", "https://yunfan.example.com"), ("postal_code", "518000"),
    ("remark", "老客户"), ("phone", "0755-86000003"),
)  # fmt: skip
"""Five edits during an outage; the CRM sends its whole record each time."""
NEW_STREET: Final = "深圳市福田区示例大道8号"
CUSTOMERS: Final = f"{KINGDEE}.customer.in"
SLOW: Final = 1500
"""ms a call takes at the vendor while the hub shall be seen to wait for a number."""


async def _numbered(stage: Stage) -> Seen:
    await stage.put("customers", "C-1001", **CLOUD)
    await settled(stage, "C-1001")
    await read_stream_of(stage, CUSTOMERS)

    async def number() -> str | None:
        await alive(stage, "C-1001")
        return (await stage.get("customers", "C-1001")).get("account_no")

    found = await stage.until("the customer's number in the CRM", number)
    return Seen(
        f"客户 C-1001 已在星空保存、提交、审核，编码 {found} 已回到 CRM。",
        f"C-1001 is saved, submitted and audited in Kingdee; its number {found} is back in the CRM.",
        ("hub trace C-1001",),
    )


async def _waited(stage: Stage) -> Seen:
    await stage.at_vendor(KINGDEE, "PATCH", "/dials", {"latency_ms": SLOW})
    await stage.put("customers", "C-1002", **SEA)
    await stage.put(
        "payments",
        "PAY-1",
        no="PAY-1",
        customer={"external": "C-1002"},
        amount="12800.00",
        bank_ref="B-1",
        **MONEY,
    )
    key = await stage.until("the receipt's wait", lambda: waits_for(stage, "PAY-1"))
    await stage.at_vendor(KINGDEE, "PATCH", "/dials", {"latency_ms": 0})
    if not key.startswith("xref:"):
        raise StoryFailed(f"PAY-1 waits for {key}, not for its customer's number")
    await settled(stage, "C-1002")
    await settled(stage, "PAY-1")
    return Seen(
        "回款 PAY-1 先到，客户 C-1002 还没审核：它等到客户有了编码才入账。",
        "PAY-1 came before its customer was audited: it waited for the number, then it was booked.",
        ("hub trace PAY-1",),
    )


async def _once(stage: Stage) -> Seen:
    await stage.at_vendor(
        KINGDEE,
        "PATCH",
        "/dials",
        {"next": [{"fault": "apply_then_drop", "op": "Save", "form": "AR_RECEIVEBILL"}]},
    )
    await stage.put(
        "payments",
        "PAY-2",
        no="PAY-2",
        customer={"external": "C-1001"},
        amount="36500.50",
        bank_ref="B-2",
        **MONEY,
    )
    await settled(stage, "PAY-2")
    if "found" not in {hop.known.get("answer") for hop in await hops(stage, "PAY-2")}:
        raise StoryFailed(
            "the answer about PAY-2 was not cut off, or it was not looked up: nothing was proven"
        )
    count = sum(
        _comment(effect.fields) == "PAY-2" and effect.verb == "create" for effect in stage.effects(KINGDEE)
    )
    return Seen(
        f"星空存好了收款单，回答却在路上断了。中枢没有重发，而是按单号去查，查到 {count} 张：只记一次。",
        f"Kingdee saved the receipt and the answer was cut off. The hub looked it up instead of sending again: {count} receipt.",
        ("hub trace PAY-2",),
    )


async def _repaired(stage: Stage) -> Seen:
    await stage.put("payments", "PAY-3", no="PAY-3", customer={"external": "C-1001"}, amount="980.00", bank_ref="B-3",
                    **(MONEY | {"account_no": "ACC-009"}))  # fmt: skip
    row = await parked(stage, "PAY-3")
    await stage.hub.store.run(desk.edit, row.id, {"account_no": "ACC-001"}, stage.hub.world, by=ACTOR)
    await settled(stage, "PAY-3")
    return Seen(
        f"{_said(row, 'zh')}。用 hub dlq edit 改正收款账号，自动重发，已入账。",
        f"{_said(row, 'en')}. hub dlq edit corrected the account, and the receipt went out again.",
        ("hub trace PAY-3",),
    )


async def _replayed(stage: Stage) -> Seen:
    await stage.at_vendor(KINGDEE, "PUT", "/periods/100/2025-12", {"closed": True})
    await stage.put("payments", "PAY-4", no="PAY-4", customer={"external": "C-1002"}, amount="5000.00", bank_ref="B-4",
                    **(MONEY | {"received_on": "2025-12-31"}))  # fmt: skip
    row = await parked(stage, "PAY-4")
    if row.cause is None or row.cause.code is not Cause.PERIOD_CLOSED:
        raise StoryFailed(f"PAY-4 stopped for another cause: {row.cause}")
    await stage.at_vendor(KINGDEE, "PUT", "/periods/100/2025-12", {"closed": False})
    await stage.hub.store.run(desk.replay, row.id, stage.hub.world, by=ACTOR)
    await settled(stage, "PAY-4")
    return Seen(
        f"{_said(row, 'zh')}。会计开期，hub dlq replay 重放，已入账。",
        f"{_said(row, 'en')}. The accountant opened the period; hub dlq replay sent it again.",
        ("hub trace PAY-4",),
    )


async def _left_over(stage: Stage) -> Seen:
    await stage.put("payments", "PAY-5", no="PAY-5", customer={"external": "C-1001"}, amount="66.00", bank_ref="B-5",
                    **(MONEY | {"account_no": "ACC-009"}))  # fmt: skip
    row = (await parked(stage, "PAY-5")).id.hex()
    return Seen(
        "回款 PAY-5 的收款账号也写错了，留给你来修：",
        "PAY-5 names a wrong account, too. It is yours to repair:",
        ("hub dlq list", f"hub dlq show {row}", f"hub dlq edit {row} account_no=ACC-001", "hub trace PAY-5"),
    )


async def _outage(stage: Stage) -> Seen:
    await stage.sites[KINGDEE].stop()
    for count in range(1, len(EDITS) + 1):
        await stage.put("customers", "C-1001", **{**CLOUD, **dict(EDITS[:count])})

    async def retrying() -> bool:  # and nothing is on its way any more: what is tried next carries all five
        return any(row.state is Shown.RETRYING for row in await owed(stage, "C-1001"))

    await stage.until("the failed attempt", retrying)
    debts = len(await owed(stage, "C-1001"))
    before = len(stage.effects(KINGDEE))
    await stage.sites[KINGDEE].start()
    await settled(stage, "C-1001")
    saves = sum(effect.verb == "update" for effect in stage.effects(KINGDEE)[before:])
    return Seen(
        f"星空断线，CRM 改了 5 次：只欠 {debts} 次写入；恢复后写了 {saves} 次。",
        f"Kingdee was unreachable while the CRM made 5 edits: {debts} debt, and {saves} write once it was back.",
        ("hub status", "hub trace C-1001"),
    )


async def _both_kept(stage: Stage) -> Seen:
    number = (await stage.get("customers", "C-1001"))["account_no"]
    await stage.at_vendor(
        KINGDEE, "PATCH", f"/objects/BD_Customer/{number}", {"fields": {"FADDRESS": NEW_STREET}}
    )
    await stage.put(
        "customers", "C-1001", **{**CLOUD, **dict(EDITS), "phone": "0755-86000009"}
    )  # with the old street
    await settled(stage, "C-1001")
    await read_stream_of(stage, CUSTOMERS)

    async def merged() -> bool:
        await alive(stage, "C-1001")
        now = await stage.get("customers", "C-1001")
        return now.get("street") == NEW_STREET and now.get("phone") == "+8675586000009"

    await stage.until("both edits in the CRM", merged)
    await settled(stage, "C-1001")
    return Seen(
        f"张三在星空改地址为“{NEW_STREET}”，同时 CRM 改电话：两边的修改都保留，谁也没有覆盖谁。",
        "A user changed the address in Kingdee while the CRM changed the phone: both edits are on both sides.",
        ("hub trace C-1001 --values",),
    )


async def _admitted(stage: Stage) -> Seen:
    await stage.put("customers", "C-1003", **STAR)
    key = await stage.until("the wait for admission", lambda: waits_for(stage, "C-1003"))
    if not key.startswith("admit:"):
        raise StoryFailed(f"C-1003 waits for {key}, not for its admission")
    await stage.put("customers", "C-1003", **STAR, uscc=STAR_CODE)
    await settled(stage, "C-1003")
    return Seen(
        "客户 C-1003 没有统一社会信用代码，不准入星空，只是等着；补上代码后自动继续。",
        "C-1003 had no credit code: not admitted to the ERP, it waited, and went on when the code was filled in.",
        ("hub trace C-1003",),
    )


async def _sealed(stage: Stage) -> Seen:
    await left(stage)
    said = await ending.verified(stage)
    return Seen(
        f"所有操作记录都已封签，独立的核对程序说：{said}",
        f"Every act is sealed; the verifier, a program of its own, says: {said}",
        ("hub audit verify",),
    )


async def _flipped(stage: Stage) -> Seen:
    act, damage, copy = await ending.flipped(stage)
    if damage is None or damage.seq != act:
        raise StoryFailed(
            f"a byte of act number {act} was flipped, but the verifier found {damage and damage.seq}"
        )
    return Seen(
        f"在数据库的副本里翻转第 {act} 条记录的一个字节：核对指出第 {damage.seq} 条（{damage.kind}）。",
        f"One byte of act number {act} was flipped in a copy of the store: the verifier names number {damage.seq} ({damage.kind}).",
        (f"python hub/audit/verify.py {copy} --public-key {stage.folder / 'audit.pub'}",),
    )


def _said(row: RowShown, lang: str) -> str:
    """Tell a dead letter in one sentence: cause, the vendor's words, where the fix belongs."""
    cause, place = row.cause, row.place
    if cause is None or place is None:
        raise StoryFailed(f"the dead letter {row.id.hex()} says no cause")
    return f"{getattr(cause.code, lang)} ({cause.message}) → {getattr(place, lang)}"


def _comment(fields: Any) -> str:
    return str((fields.get("FRECEIVEBILLENTRY") or [{}])[0].get("FCOMMENT", ""))


STORY: Final[tuple[Step, ...]] = (
    Step(
        "numbered",
        "CRM 发来客户，客户在星空得到编码",
        "The CRM sends a customer; it gets its number in Kingdee",
        _numbered,
    ),
    Step(
        "waited",
        "回款先于客户审核到达：等编码",
        "A receipt comes before its customer is audited: it waits",
        _waited,
    ),
    Step("once", "回答断在路上：只入账一次", "The answer is cut off: booked once", _once),
    Step(
        "repaired", "星空拒绝：死信，改正，入账", "Kingdee refuses: dead letter, repaired, booked", _repaired
    ),
    Step(
        "replayed",
        "会计期间已关账：开期，重放",
        "The accounting period is closed: opened, replayed",
        _replayed,
    ),
    Step("outage", "星空断线：五次修改并成一次写入", "An outage: five edits become one write", _outage),
    Step("both_kept", "两边同时修改：双向合并", "Both sides edit at once: a two-way merge", _both_kept),
    Step("admitted", "缺信用代码：等待准入", "No credit code: waiting for admission", _admitted),
    *PEOPLE,
    *APPROVALS,
    *NORTH,
    *OVERSEAS,
    Step("sealed", "审计封签核对", "The audit trail is verified", _sealed),
    Step("flipped", "改动一个字节，立即被发现", "One byte is changed, and found", _flipped),
)

LEFT_OVER: Final = (
    Step("left_over", "留给你的一条死信", "A dead letter left for you", _left_over),
    UNDECIDED,
)
"""Played behind the verdict, when the demo goes on serving."""
