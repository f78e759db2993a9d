"""The scene with the northern company, which books in Yonyou. Every name is invented."""

from __future__ import annotations

from typing import Final

from hub.demo.scene import Seen, Step
from hub.demo.seen import settled
from hub.demo.stage import Stage, StoryFailed
from hub.demo.vendors import KINGDEE, YONYOU

__all__ = ["NORTH"]


async def _booked(stage: Stage) -> Seen:
    await settled(stage, "C-1004")
    kingdee = len(stage.effects(KINGDEE))
    await stage.put(
        "payments", "PAY-6", no="PAY-6", customer={"external": "C-1004"}, contract_no="HT-1002", entity="north",
        amount="45000.00", currency="CNY", method="bank", account_no="ACC-N01", bank_ref="B-6", received_on="2026-01-15",
    )  # fmt: skip
    await settled(stage, "PAY-6")
    receipts = [one for one in stage.effects(YONYOU) if one.form == "receipt"]
    if len(receipts) != 1 or len(stage.effects(KINGDEE)) != kingdee:
        raise StoryFailed(f"PAY-6 is {len(receipts)} receipts in Yonyou, or Kingdee was touched")
    return Seen(
        f"北方公司收到 HT-1002 的首款 45,000 元：按签约主体入账，在用友记收款单 {receipts[0].number}，金蝶没有动。",
        f"The northern company received 45,000 for HT-1002: booked where its legal entity books, as receipt {receipts[0].number} in "
        "Yonyou; Kingdee was not touched.",
        ("hub trace PAY-6", "hub trace C-1004"),
    )


NORTH: Final[tuple[Step, ...]] = (
    Step("booked", "北方公司的回款：记在用友", "The northern company's receipt: booked in Yonyou", _booked),
)
