"""The CRM sends customers and payments; what got no answer stays unknown and is not sent again."""

from __future__ import annotations

import asyncio
import random

from tests.chaos.sending import Sender

__all__ = ["Payments"]

_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"


class Payments:
    """Sends payments of some customers at a rate, until told to stop."""

    def __init__(self, sender: Sender, *, customers: int, rate: float, seed: int) -> None:
        self._sender, self._customers, self._rate = sender, customers, rate
        self._random = random.Random(seed)
        self.number = 0

    async def run(self, stop: asyncio.Event) -> None:
        for customer in range(self._customers):
            body = {"name": f"示例{customer}号有限公司", "uscc": credit_code(customer)}
            while not await self._sender.send("PUT", f"customers/by-external/crm/C-{customer}", body):
                await asyncio.sleep(0.1)
        while not stop.is_set():
            await self._pay()
            await asyncio.sleep(1 / self._rate)

    async def _pay(self) -> None:
        self.number += 1
        no = f"PAY-{self.number}"
        amount = f"{self._random.randint(1, 99_999)}.{self._random.randint(0, 99):02d}"
        body = {
            "no": no, "amount": amount, "currency": "CNY", "received_on": "2026-01-10", "method": "bank",
            "account_no": "ACC-001", "customer": {"external": f"C-{self._random.randrange(self._customers)}"},
        }  # fmt: skip
        self._sender.intend(no=no, amount=amount)
        answer = await self._sender.send("PUT", f"payments/by-external/crm/{no}", body)
        self._sender.intend(no=no, amount=amount, answer=answer or "unknown")


def credit_code(number: int) -> str:
    """Compose a credit code with the check character of GB 32100-2015, written apart from the hub's own."""
    head = f"91440300MA{number:07d}"
    total = sum(_SIGNS.index(sign) * weight for sign, weight in zip(head, _WEIGHTS, strict=True))
    return head + _SIGNS[(31 - total % 31) % 31]
