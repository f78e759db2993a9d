"""The scenes with approvals: contracts are decided in DingTalk and in WeCom, by people there. Every name is invented.

As in :mod:`hub.demo.story` a step acts from outside only and waits for conditions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from hub.demo.papers import contract_pdf
from hub.demo.scene import Seen, Step, Told
from hub.demo.seen import alive, heard, read_stream_of, settled
from hub.demo.stage import Stage, StoryFailed
from hub.demo.vendors import DINGTALK, PAPERS, WECOM, WECOM_CONTRACT
from hub.project.routes import Facts, Why, route_of

__all__ = ["APPROVALS", "Deal"]

NORTHERN: Final = {
    "name": "北辰示例能源（北京）有限公司", "uscc": "91110108MA01EXA848", "owner": "han.mei", "entity": "north",
}  # fmt: skip
PAPER: Final = "年度框架合同.pdf"
PHONE: Final = "Mozilla/5.0 (Linux; Android 14) Mobile DingTalk/7.5"
SWEEP: Final = f"{DINGTALK}.approval.in"
MARKS: Final = {Why.CHOSEN: "✓", Why.FARTHER: "·", Why.WIDER: "·"}


@dataclass(frozen=True, slots=True)
class Deal:
    """A contract of the story; its approval is its number with the attempt."""

    no: str
    customer: str
    company: str
    amount: str
    region: str
    owner: str
    entity: str

    @property
    def approval(self) -> str:
        """Return the number of the first attempt."""
        return f"{self.no}-1"

    @property
    def facts(self) -> Facts:
        """Return what its route is chosen by."""
        return Facts("contract", self.region, self.entity, amount=Decimal(self.amount), currency="CNY")


SOUTH: Final = Deal(
    "HT-1001", "C-1001", "云帆示例科技（深圳）有限公司", "150000.00", "cn/south/", "li.lei", "demo"
)
SMALL: Final = Deal(
    "HT-1003", "C-1003", "星河示例智造（东莞）有限公司", "60000.00", "cn/south/", "li.lei", "demo"
)
TYPED: Final = Deal("HT-1004", "C-1004", NORTHERN["name"], "80000.00", "cn/north/", "han.mei", "north")
UNHEARD: Final = Deal(
    "HT-1005", "C-1001", "云帆示例科技（深圳）有限公司", "90000.00", "cn/south/", "li.lei", "demo"
)
NORTH: Final = Deal("HT-1002", "C-1004", NORTHERN["name"], "150000.00", "cn/north/", "han.mei", "north")


# what they share ------------------------------------------------------------------------------------------------


async def _sign(stage: Stage, deal: Deal, *, paper: bool = False) -> None:
    """Let the CRM send a contract; ``paper``: with its PDF, which the CRM keeps."""
    files: dict[str, Any] = {}
    if paper:
        stage.papers.files[f"{deal.no}.pdf"] = contract_pdf(
            f"{PAPER[:-4]} {deal.no}", deal.company, f"{deal.amount} CNY"
        )
        files = {"attachments": [{"name": PAPER, "url": f"{stage.papers_url}{deal.no}.pdf"}]}
    plan = [{"period_no": 1, "due_on": "2026-02-28", "amount_due": deal.amount}]
    await stage.put(
        "contracts", deal.no, no=deal.no, name="年度框架合同", customer={"external": deal.customer}, status="draft",
        amount_total=deal.amount, currency="CNY", entity=deal.entity, owner=deal.owner, payment_plan=plan, **files,
    )  # fmt: skip


async def _ask(stage: Stage, deal: Deal) -> None:
    """Let the CRM ask for a contract's approval; the form has the fields of both systems' templates."""
    form = {"客户名称": deal.company, "合同编号": deal.no, "合同金额": deal.amount, "合同类型": "新签"}
    await stage.put(
        "approvals", deal.approval, no=deal.approval, subject="contract", title=f"{deal.company} 年度框架合同",
        contract={"external": deal.no}, applicant=deal.owner, owner=deal.owner, status="submitted", form=form,
    )  # fmt: skip


async def _known(stage: Stage, kind: str, id_: str, status: str) -> dict[str, Any]:
    """Wait until the CRM knows a record in a state, and return its fields."""

    async def found() -> dict[str, Any] | None:
        await alive(stage, id_)
        fields = await stage.get(kind, id_)
        return fields if fields.get("status") == status else None

    return await stage.until(f"{id_}: {status}", found)


async def _form(stage: Stage, deal: Deal) -> str:
    """Wait until the hub has started a contract's approval and knows it, and return its number over there."""
    fields = await _known(stage, "approvals", deal.approval, "in_progress")
    return str(fields["external_ref"])


async def _opened(stage: Stage, deal: Deal, form: str) -> str:
    """Open the link in a contract's form in DingTalk as its approver's phone does, and return it.

    Raises:
        StoryFailed: there is none, or it does not lead to the PDF that the CRM keeps.
    """
    shown = await stage.at_vendor(DINGTALK, "GET", f"/approvals/{form}")
    text = next((str(one["value"]) for one in shown["values"] if one["name"] == PAPERS), "")
    link = re.search(r"https?://\S+", text)
    if link is None:
        raise StoryFailed(f"the form of {deal.no} has no link to its PDF")
    answer = await stage.control.get(link[0], headers={"User-Agent": PHONE})
    if answer.content != stage.papers.files[f"{deal.no}.pdf"]:
        raise StoryFailed(
            f"the link in the form of {deal.no} answers HTTP {answer.status_code}, not the CRM's PDF"
        )
    return link[0]


async def _agree(stage: Stage, connection: str, form: str, *people: str, said: str = "同意") -> None:
    """Let people agree in turn, each on his own phone."""
    for userid in people:
        await _decide(stage, connection, "agree", form, userid, said)


async def _decide(stage: Stage, connection: str, act: str, form: str, userid: str, said: str) -> None:
    words = {"id": form, "remark": said} if connection == DINGTALK else {"sp_no": form, "speech": said}
    await stage.at_vendor(connection, "POST", "/act", {"act": act, "userid": userid, **words})


def _explained(stage: Stage, deal: Deal) -> tuple[Told, ...]:
    """Return what `hub approvals route --explain` says of a contract."""
    found = route_of(stage.hub.project.routes, deal.facts)
    head = found.route.name if found.route else "-"
    lines = [Told(f"{deal.no} → {head}", f"{deal.no} → {head}")]
    for tried in found.tried:
        place = f"  {MARKS.get(tried.why, '✗')} {tried.route.name} ({tried.route.region or '/'}): "
        lines.append(Told(place + tried.told("zh"), place + tried.told("en")))
    return tuple(lines)


# the scenes -----------------------------------------------------------------------------------------------------


async def _routed(stage: Stage) -> Seen:
    await stage.put("customers", "C-1004", **NORTHERN)
    for deal in (SOUTH, NORTH):
        await _sign(stage, deal, paper=True)
        await _ask(stage, deal)
    form = await _form(stage, SOUTH)
    link = await _opened(stage, SOUTH, form)
    await _agree(stage, DINGTALK, form, "ZhaoQiang", "WangFang")
    await _agree(stage, WECOM, await _form(stage, NORTH), "SunLi")
    for deal in (SOUTH, NORTH):
        await _known(stage, "approvals", deal.approval, "approved")
        await _known(stage, "contracts", deal.no, "active")
        await settled(stage, deal.approval)
    return Seen(
        "同样 150,000 元的合同：华南的 HT-1001 送总部（钉钉：赵强、王芳），华北的 HT-1002 由分公司（企业微信：孙丽）决定；都同意了，合同生效，回款计划打开。",
        "The same contract of 150,000: HT-1001 of the south goes to headquarters (DingTalk: 赵强, then 王芳), HT-1002 of the north to its "
        "branch (WeCom: 孙丽). All agreed, both contracts are active and their payment plans open.",
        (
            "hub approvals route --region cn/south --subject contract --amount 150000 --explain",
            "hub approvals route --region cn/north --subject contract --amount 150000 --explain",
            f"hub trace {SOUTH.approval}",
        ),
        (
            *_explained(stage, SOUTH),
            *_explained(stage, NORTH),
            Told(
                f"{SOUTH.no} 的表单里有合同文件，手机可以打开：{link}",
                f"the form of {SOUTH.no} has the contract, a phone opens it: {link}",
            ),
        ),
    )


async def _rejected(stage: Stage) -> Seen:
    await _sign(stage, SMALL)
    await _ask(stage, SMALL)
    await _decide(stage, DINGTALK, "refuse", await _form(stage, SMALL), "ZhaoQiang", "折扣太大")
    await _known(stage, "approvals", SMALL.approval, "rejected")
    contract = await _known(stage, "contracts", SMALL.no, "draft")
    if contract.get("approval_comment") != "折扣太大":
        raise StoryFailed(f"{SMALL.no} came back without the approver's words")
    return Seen(
        f"60,000 元的 HT-1003 由华南分公司决定：赵强驳回，意见“{contract['approval_comment']}”；合同退回草稿，意见写在合同上。",
        f"HT-1003 of 60,000 is for the southern branch: 赵强 refused it ({contract['approval_comment']}); the contract is a draft again "
        "and carries his words.",
        (f"hub trace {SMALL.no} --values",),
    )


async def _revoked(stage: Stage) -> Seen:
    form = str((await stage.get("approvals", SOUTH.approval))["external_ref"])
    await stage.at_vendor(DINGTALK, "POST", "/act", {"act": "revoke", "id": form})
    await _known(stage, "approvals", SOUTH.approval, "revoked")
    await _known(stage, "contracts", SOUTH.no, "suspended")
    await settled(stage, SOUTH.approval)
    return Seen(
        "HT-1001 通过之后，李雷在钉钉撤销了审批，经批准人同意：合同转为中止。",
        "After HT-1001 was approved, its approval was revoked in DingTalk and the approvers agreed: the contract is suspended.",
        (f"hub trace {SOUTH.no}",),
    )


async def _typed(stage: Stage) -> Seen:
    await _sign(stage, TYPED)
    values = {"客户名称": TYPED.company, "合同编号": TYPED.no, "合同金额": TYPED.amount}
    act = {"act": "submit_form", "template_id": WECOM_CONTRACT, "userid": "HanMei", "values": values}
    form = str((await stage.at_vendor(WECOM, "POST", "/act", act))["sp_no"])
    await _known(stage, "contracts", TYPED.no, "in_approval")
    await _agree(stage, WECOM, form, "SunLi")
    await _known(stage, "contracts", TYPED.no, "active")
    found = [
        one["fields"]
        for one in await stage.records_of("approvals")
        if one["fields"].get("external_ref") == form
    ]
    if [(one["status"], one["contract"]) for one in found] != [("approved", stage.records[TYPED.no])]:
        raise StoryFailed(f"the form {form} is not one approved approval of {TYPED.no}: {found}")
    return Seen(
        f"韩梅自己在企业微信里发起审批 {form}，填了合同编号 HT-1004：中枢收进来，按编号归到合同；孙丽同意，合同生效。",
        f"韩梅 started the approval {form} in WeCom herself and typed the contract's number: it was taken in and tied to HT-1004; 孙丽 "
        "agreed, the contract is active.",
        (f"hub trace {TYPED.no}",),
    )


async def _unheard(stage: Stage) -> Seen:
    await _sign(stage, UNHEARD)
    await _ask(stage, UNHEARD)
    form = await _form(stage, UNHEARD)
    before = await stage.at_vendor(DINGTALK, "POST", "/events/flush")
    await heard(
        stage, UNHEARD.approval
    )  # else what its start told could still be read, and show the decision
    await stage.at_vendor(DINGTALK, "PATCH", "/dials", {"push_lose": 1.0})
    await _agree(stage, DINGTALK, form, "ZhaoQiang")
    await stage.at_vendor(DINGTALK, "PATCH", "/dials", {"push_lose": 0.0})
    after = await stage.at_vendor(DINGTALK, "POST", "/events/flush")
    lost = after["events"] - before["events"]
    if not lost or after["stream_pushed"] != before["stream_pushed"]:
        raise StoryFailed(f"the events about {UNHEARD.no} were not lost: nothing was proven")
    await _known(stage, "contracts", UNHEARD.no, "in_approval")
    await read_stream_of(stage, SWEEP)
    await _known(stage, "approvals", UNHEARD.approval, "approved")
    await _known(stage, "contracts", UNHEARD.no, "active")
    return Seen(
        f"赵强同意了 HT-1005，钉钉的 {lost} 个事件全部丢失：合同仍在审批中；定时读取找回了结果，合同生效。",
        f"赵强 agreed to HT-1005 and all {lost} events of it were lost: the contract stayed in approval until the scheduled read found "
        "the decision; now it is active.",
        (f"hub run {SWEEP}", f"hub trace {UNHEARD.approval}"),
    )


APPROVALS: Final[tuple[Step, ...]] = (
    Step(
        "routed",
        "同样的合同，两个大区，两个审批系统",
        "The same contract in two regions: two approval systems",
        _routed,
    ),
    Step(
        "rejected", "驳回：合同退回，带着意见", "Refused: the contract comes back with the words", _rejected
    ),
    Step("revoked", "通过之后撤销：合同中止", "Revoked after approval: the contract is suspended", _revoked),
    Step("typed", "员工在企业微信里自己发起的审批", "An approval that an employee started in WeCom", _typed),
    Step(
        "unheard",
        "审批结果的事件丢失：读取找回",
        "The event of a decision is lost: a read finds it",
        _unheard,
    ),
)
