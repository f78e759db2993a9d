"""The scenes with WeCom: people come in by callback, join or make customers, and remarks go back. Every name is invented.

As in :mod:`hub.demo.story` a step acts from outside only and waits for conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hub.demo.scene import ACTOR, Seen, Step
from hub.demo.seen import owed, parked, read_stream_of, settled, shown_since, waits_for
from hub.demo.stage import Stage, StoryFailed
from hub.demo.vendors import KINGDEE, WECOM
from hub.errors import Cause
from hub.pipe import desk

__all__ = ["PEOPLE", "UNDECIDED"]

WANG: Final = {
    "userid": "LiLei", "external_userid": "wmDemo0001", "name": "王小明", "state": "展会2026",
    "remark_corp_name": "云帆示例科技（深圳）有限公司",
}  # fmt: skip
LI: Final = {
    "userid": "HanMei", "external_userid": "wmDemo0002", "name": "李静", "remark_corp_name": "海岳示例贸易",
}  # fmt: skip
CHEN: Final = {
    "userid": "LiLei", "external_userid": "wmDemo0003", "name": "陈工", "remark_corp_name": "恒光示例智能（佛山）有限公司",
}  # fmt: skip
CHEN_CODE: Final = "91440605MA4EXA4042"
SUN: Final = {
    "userid": "HanMei", "external_userid": "wmDemo0004", "name": "孙悦", "remark_corp_name": "海岳示例贸易（北京）有限公司",
}  # fmt: skip
ZHOU: Final = {
    "userid": "LiLei", "external_userid": "wmDemo0005", "name": "周敏", "remark_corp_name": "云帆示例科技",
}  # fmt: skip
REMARK, TAG, MOBILE = "云帆 王总", "重点客户", "13800138000"
NOTES: Final = (("展会认识", WANG), ("要报价", LI), ("周三回访", WANG), ("寄样品", LI))
"""What employees note in one moment, in this order; the last of each person counts."""
TROUBLE: Final = {"callback_auto": False, "callback_duplicate": 1.0, "callback_reorder": 1.0}
CALM: Final = {
    "callback_auto": True,
    "callback_duplicate": 0.0,
    "callback_reorder": 0.0,
    "callback_lose": 0.0,
}
FOLLOWS, CUSTOMERS = f"{WECOM}.follow.in", f"{KINGDEE}.customer.in"


# what they share ------------------------------------------------------------------------------------------------


def _id(person: Mapping[str, str]) -> str:
    return person["external_userid"]


def _relation(person: Mapping[str, str]) -> str:
    """Return what a follow is called in a trace."""
    return f"{person['userid'].lower()}/{_id(person)}"


async def _act(stage: Stage, act: str, person: Mapping[str, str], **fields: Any) -> None:
    """Let a user of WeCom do something about a relation."""
    pair = {"userid": person["userid"], "external_userid": _id(person)}
    await stage.at_vendor(WECOM, "POST", "/act", {"act": act, **pair, **fields})


async def _add(stage: Stage, person: Mapping[str, str]) -> None:
    await _act(stage, "add_contact", person, **person)


async def _dial(stage: Stage, dials: Mapping[str, Any]) -> None:
    await stage.at_vendor(WECOM, "PATCH", "/dials", dials)


async def _contact(stage: Stage, person: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a person's record as the API shows it, None while the CRM has none."""
    everybody = await stage.records_of("contacts")
    return next((one for one in everybody if one["fields"].get("wecom_external_userid") == _id(person)), None)


async def _follow(stage: Stage, person: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the record of who has this person, None while the CRM has none."""
    contact = await _contact(stage, person)
    follows = await stage.records_of("follows") if contact else []
    return next((one for one in follows if contact and one["fields"]["contact"] == contact["id"]), None)


async def _known(stage: Stage, person: Mapping[str, str], **wanted: Any) -> dict[str, Any]:
    """Wait until the CRM knows who has a person, with these fields, and return that follow."""

    async def found() -> dict[str, Any] | None:
        one = await _follow(stage, person)
        return (
            one if one and all(one["fields"].get(name) == value for name, value in wanted.items()) else None
        )

    return await stage.until(
        f"{_relation(person)} in the CRM with {', '.join(wanted) or 'its contact'}", found
    )


async def _customer_of(stage: Stage, person: Mapping[str, str]) -> str:
    """Wait until a person belongs to a customer and return that record's id."""

    async def found() -> str | None:
        contact = await _contact(stage, person)
        customer: str | None = contact["fields"].get("customer") if contact else None
        if contact is not None and customer is None and (rows := await owed(stage, _relation(person))):
            cause = rows[0].cause
            if cause is not None and cause.code is Cause.CANDIDATE:
                raise StoryFailed(f"{person['name']} waits for a person: {cause.message}")
        return customer

    return await stage.until(f"the customer of {person['name']}", found)


async def _belongs(stage: Stage, person: Mapping[str, str], customer: str) -> None:
    """Wait for a person's customer; it must be the one with this CRM id."""
    if await _customer_of(stage, person) != stage.records[customer]:
        raise StoryFailed(f"{person['name']} was tied to another customer than {customer}")


# the scenes -----------------------------------------------------------------------------------------------------


async def _scanned(stage: Stage) -> Seen:
    began = stage.hub.clock.monotonic()
    await _add(stage, WANG)
    await _belongs(stage, WANG, "C-1001")
    seconds = stage.hub.clock.monotonic() - began
    await settled(stage, _relation(WANG))
    return Seen(
        f"王小明扫码添加李雷：回调到达后 {seconds:.2f} 秒，他已在 CRM 里，按备注企业全称归到客户 C-1001，归属人 li.lei。",
        f"王小明 scanned 李雷's code: {seconds:.2f} s from the callback he was in the CRM, tied to C-1001 by the company's full "
        "name in the remark, owned by li.lei.",
        (f"hub trace {_id(WANG)}", f"hub trace {_relation(WANG)}"),
    )


async def _decided(stage: Stage) -> Seen:
    await _add(stage, LI)
    await _known(stage, LI)
    row = await parked(stage, _relation(LI))
    found = row.cause.candidates if row.cause else ()
    if row.cause is None or row.cause.code is not Cause.CANDIDATE or list(found) != [stage.records["C-1002"]]:
        raise StoryFailed(f"{LI['name']} was not asked about with C-1002 as the one candidate: {row.cause}")
    contact = await _contact(stage, LI)
    if contact is None or contact["fields"].get("customer"):
        raise StoryFailed(f"{LI['name']} did not wait for a decision")
    chosen = bytes.fromhex(stage.records["C-1002"])
    await stage.hub.store.run(desk.choose, row.id, chosen, stage.hub.world, by=ACTOR)
    await _belongs(stage, LI, "C-1002")
    await settled(stage, _relation(LI))
    return Seen(
        "韩梅给李静备注的企业是“海岳示例贸易”，只是简称：不自动归并，等人决定；hub dlq choose 选定 C-1002。",
        "韩梅 noted 海岳示例贸易 for 李静, a short name only: nothing is merged on a guess, a person decides; hub dlq choose named C-1002.",
        (f"hub trace {_relation(LI)}", f"hub trace {_id(LI)}"),
    )


async def _made(stage: Stage) -> Seen:
    await _add(stage, CHEN)
    customer = await _customer_of(stage, CHEN)
    key = await stage.until("the new customer's wait for admission", lambda: waits_for(stage, customer))
    if not key.startswith("admit:"):
        raise StoryFailed(f"the new customer waits for {key}, not for its admission")
    await stage.patch("customers", customer, uscc=CHEN_CODE)
    await settled(stage, customer)
    await read_stream_of(stage, CUSTOMERS)

    async def number() -> str | None:
        everybody = await stage.records_of("customers")
        return next((one["fields"].get("account_no") for one in everybody if one["id"] == customer), None)

    found = await stage.until("the new customer's number in the CRM", number)
    return Seen(
        f"陈工的备注企业还不是客户：自动建档，等待准入；补上信用代码后进入星空，编码 {found} 已回到 CRM。",
        f"Nobody had the company noted for 陈工: it became a customer, waited for admission, got its credit code, went to Kingdee, "
        f"and its number {found} is back in the CRM.",
        (f"hub trace {CHEN['remark_corp_name']}", f"hub trace {_id(CHEN)}"),
    )


async def _both_edited(stage: Stage) -> Seen:
    follow = await _known(stage, WANG)
    before = len(stage.effects(WECOM))
    await _dial(stage, {"callback_auto": False})  # the hub cannot know yet
    await _act(stage, "edit_follow", WANG, remark_mobiles=[MOBILE])
    await stage.patch("follows", follow["id"], remark=REMARK, tags=[TAG])
    await settled(stage, follow["id"])
    await _dial(stage, CALM)
    await stage.at_vendor(WECOM, "POST", "/callbacks/flush")
    await _known(stage, WANG, remark=REMARK, tags=[TAG], mobiles=[f"+86{MOBILE}"])
    await settled(stage, follow["id"])
    verbs = [one.verb for one in stage.effects(WECOM)[before:] if one.by == "api" and one.form == "follow"]
    if sorted(verbs) != ["mark_tag", "remark"]:
        raise StoryFailed(f"WeCom was written {verbs}, not one remark and one mark_tag")
    return Seen(
        f"CRM 改备注“{REMARK}”并加标签“{TAG}”，同时李雷在企业微信加备注手机：两边都保留，标签按需新建，各写一次，没有回声。",
        f"The CRM set the remark {REMARK} and the tag {TAG} while 李雷 added a mobile in WeCom: all three are on both sides, the tag "
        "was made on demand, each was written once, and nothing echoed.",
        (f"hub trace {_relation(WANG)} --values",),
    )


async def _lost(stage: Stage) -> Seen:
    before = await stage.at_vendor(WECOM, "GET", "/callbacks")
    await _dial(stage, TROUBLE)
    for note, person in NOTES:
        await _act(stage, "edit_follow", person, description=note)
    await _dial(stage, {"callback_lose": 1.0})
    await _add(stage, SUN)
    await _dial(stage, {"callback_lose": 0.0})
    after = await stage.at_vendor(WECOM, "POST", "/callbacks/flush")
    await _dial(stage, CALM)
    counts = {name: after[name] - before[name] for name in ("events", "sent", "reordered", "lost")}
    if counts["sent"] != 2 * len(NOTES) or counts["reordered"] != counts["sent"]:
        raise StoryFailed(f"the callbacks were not doubled and reordered: {counts}")
    for note, person in NOTES[2:]:
        await _known(stage, person, **{"custom.description": note})
        await settled(stage, _relation(person))
    if counts["lost"] != 1 or await _contact(stage, SUN) is not None:
        raise StoryFailed(f"the callback about {SUN['name']} was not lost: nothing was proven")
    await read_stream_of(stage, FOLLOWS)
    await _belongs(stage, SUN, "C-1002")
    return Seen(
        f"企业微信的 {counts['events']} 个事件：{counts['sent']} 次投递，次次重复、乱序，CRM 里是最后一次的备注；"
        f"孙悦的那个丢了 {counts['lost']} 次，由全量读取找回，已归到 C-1002。",
        f"{counts['events']} events of WeCom came as {counts['sent']} deliveries, each doubled and out of order, and the CRM has the "
        f"last note of each; {counts['lost']} was lost, the one about 孙悦: the complete sweep found her, tied to C-1002.",
        (f"hub run {FOLLOWS}", f"hub trace {_id(SUN)}"),
    )


async def _removed(stage: Stage) -> Seen:
    began = stage.hub.clock.monotonic()
    await _act(stage, "delete_by_customer", LI)
    await _known(stage, LI, state="deleted_by_contact")
    seconds = stage.hub.clock.monotonic() - began
    swept = stage.hub.clock.now()
    await read_stream_of(stage, FOLLOWS)  # it shows the relation as if nothing had been
    await stage.until("the end of the sweep", lambda: shown_since(stage, _relation(LI), swept))
    await settled(stage, _relation(LI))
    await _known(stage, LI, state="deleted_by_contact")
    await _belongs(stage, LI, "C-1002")
    return Seen(
        f"李静删除了韩梅：{seconds:.2f} 秒后 CRM 已记下；企业微信的读取不再显示这件事，全量读取之后它仍在，客户关系也还在。",
        f"李静 removed 韩梅: known after {seconds:.2f} s. No read of WeCom shows it, and after a complete sweep it is still remembered; "
        "she still belongs to C-1002.",
        (f"hub trace {_relation(LI)}",),
    )


async def _undecided(stage: Stage) -> Seen:
    await _add(stage, ZHOU)
    await _known(stage, ZHOU)
    row = (await parked(stage, _relation(ZHOU))).id.hex()
    return Seen(
        "周敏的备注企业“云帆示例科技”是不是客户 C-1001，由你决定（或写 new，新建客户）：",
        "Is 云帆示例科技, noted for 周敏, the customer C-1001? It is yours to decide (or say new, for another customer):",
        (f"hub dlq show {row}", f"hub dlq choose {row} {stage.records['C-1001']}", f"hub trace {_id(ZHOU)}"),
    )


PEOPLE: Final[tuple[Step, ...]] = (
    Step(
        "scanned",
        "企业微信扫码添加：归到已有客户",
        "A scan in WeCom: the person is tied to a customer",
        _scanned,
    ),
    Step("decided", "拿不准是哪家客户：等人决定", "Unsure which customer: a person decides", _decided),
    Step(
        "made",
        "备注企业成为客户：准入，编码回到 CRM",
        "A noted company becomes a customer and gets its number",
        _made,
    ),
    Step(
        "both_edited",
        "CRM 与员工同时修改：都保留，只写一次",
        "CRM and employee edit at once: both kept, written once",
        _both_edited,
    ),
    Step(
        "lost",
        "回调重复、乱序、丢失：全量读取找回",
        "Callbacks doubled, reordered, one lost: the sweep finds it",
        _lost,
    ),
    Step("removed", "客户删除员工：记得住", "A customer removes the employee: remembered", _removed),
)

UNDECIDED: Final = Step("undecided", "留给你的一个决定", "A decision left for you", _undecided)
