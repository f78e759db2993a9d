"""The CRM asks for approvals of contracts, and people decide in DingTalk and in WeCom, whatever the hub is doing meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any

import httpx

from tests.chaos.project import APPLICANTS, APPROVERS
from tests.chaos.sending import Sender

__all__ = ["Approvals", "Deciders"]

LOOK = 0.5
"""Seconds between two looks at the forms."""
DECISIONS = {"agree": 6, "refuse": 2, "withdraw": 1, "": 1}
"""What becomes of a form and how often; "": nobody ever decides."""


class Approvals:
    """Sends contracts and asks for their approval, until told to stop; what gets no answer is sent again."""

    def __init__(self, sender: Sender, *, customers: int, rate: float, seed: int) -> None:
        self._sender, self._customers, self._pause = sender, customers, 1 / rate
        self._random = random.Random(f"approvals of {seed}")
        self.number = 0
        self.accepted = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Ask for one after the other."""
        while not stop.is_set():
            await self._ask(stop)
            await asyncio.sleep(self._pause)

    async def _ask(self, stop: asyncio.Event) -> None:
        self.number += 1
        deal, who = f"HT-{self.number}", self._random.choice(list(APPLICANTS))
        no, amount = f"{deal}-1", f"{self._random.randint(1_000, 300_000)}.00"
        customer = {"external": f"C-{self._random.randrange(self._customers)}"}
        contract = {
            "no": deal, "customer": customer, "amount_total": amount, "currency": "CNY", "status": "draft", "owner": who,
        }  # fmt: skip
        approval = {
            "no": no, "subject": "contract", "title": f"示例合同 {deal}", "status": "submitted", "applicant": who, "owner": who,
            "contract": {"external": deal}, "form": {"客户名称": f"示例{deal}有限公司", "合同金额": amount},
        }  # fmt: skip
        intent = {"approval": no, "contract": deal, "region": APPLICANTS[who], "amount": amount}
        self._sender.intend(**intent)
        answer = None
        for path, body in (
            (f"contracts/by-external/crm/{deal}", contract),
            (f"approvals/by-external/crm/{no}", approval),
        ):
            answer = await self._sender.send("PUT", path, body)
            while answer is None and not stop.is_set():
                await asyncio.sleep(0.2)
                answer = await self._sender.send("PUT", path, body)
        self._sender.intend(**intent, answer=answer or "unknown")
        self.accepted += answer == "ok"


class Deciders:
    """Those who decide at the vendors' screens, by the sandboxes' control doors."""

    def __init__(self, dingtalk: httpx.AsyncClient, wecom: httpx.AsyncClient, *, seed: int) -> None:
        self._doors = {"dingtalk": dingtalk, "wecom": wecom}
        self._random = random.Random(f"deciders of {seed}")
        self._met: set[str] = set()
        self.done = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look for new forms and do with each what is drawn for it."""
        while not stop.is_set():
            for vendor, door in self._doors.items():
                for form in (await door.get("approvals", timeout=60.0)).raise_for_status().json():
                    id_ = str(form["id"] if vendor == "dingtalk" else form["sp_no"])
                    if id_ not in self._met:
                        self._met.add(id_)
                        await self._decide(vendor, door, id_)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK)

    async def _decide(self, vendor: str, door: httpx.AsyncClient, id_: str) -> None:
        decision = self._random.choices(list(DECISIONS), list(DECISIONS.values()))[0]
        if decision:
            act = _act(vendor, decision, id_)
            (await door.post("act", json=act, timeout=60.0)).raise_for_status()
            self.done += 1


def _act(vendor: str, decision: str, id_: str) -> Mapping[str, Any]:
    region = "south" if vendor == "dingtalk" else "north"
    who = "" if decision == "withdraw" else APPROVERS[region]
    if vendor == "dingtalk":
        return {"act": decision, "id": id_, "remark": "示例意见", **({"userid": who} if who else {})}
    act = "reject" if decision == "refuse" else decision
    return {"act": act, "sp_no": id_, "userid": who, "speech": "示例意见"}
