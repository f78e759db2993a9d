"""The CRM sends customers and payments. Of what got no answer half is sent again, half stays unknown for ever."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator

from tests.chaos.sending import Sender

__all__ = ["Payments", "credit_code", "customer_name"]

_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"
TWICE = 0.02
"""How many payments are sent once more though they were accepted: the same id must not book twice."""
FIRST_POISON = 20
POISON = ({"account_no": "ACC-404"}, {"method": "cheque", "account_no": "账号" * 60})
"""What the vendor refuses for ever: an account it does not know, one that cannot be."""


class Payments:
    """Sends payments of customers at a rate in several lanes, until told to stop.

    ``zipf``: 0 chooses customers alike, 1 and more makes a few of them hot. ``poison``: the share that is refused.
    ``north``: the share that the second company receives.
    """

    def __init__(
        self, sender: Sender, *, customers: int, rate: float, seed: int, lanes: int = 1, zipf: float = 0.0, poison: float = 0.0,
        north: float = 0.0,
    ) -> None:  # fmt: skip
        self._sender, self._customers, self._lanes = sender, customers, lanes
        self._pause, self._poison, self._north = lanes / rate, poison, north
        self._random = random.Random(seed)
        self._weights = list(itertools.accumulate((number + 1) ** -zipf for number in range(customers)))
        self.number = 0
        self.accepted = 0

    async def run(self, stop: asyncio.Event) -> None:
        customers = iter(range(self._customers))
        await asyncio.gather(*(self._introduce(customers, stop) for _ in range(self._lanes)))
        await asyncio.gather(*(self._lane(stop) for _ in range(self._lanes)))

    async def _introduce(self, customers: Iterator[int], stop: asyncio.Event) -> None:
        for customer in customers:
            body = {"name": customer_name(customer), "uscc": credit_code(customer)}
            path = f"customers/by-external/crm/C-{customer}"
            while not stop.is_set() and not await self._sender.send("PUT", path, body):
                await asyncio.sleep(0.1)

    async def _lane(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._pay(stop)
            await asyncio.sleep(self._pause)

    async def _pay(self, stop: asyncio.Event) -> None:
        self.number += 1
        draw = self._random
        no = f"PAY-{self.number}"
        amount = f"{draw.randint(1, 99_999)}.{draw.randint(0, 99):02d}"
        customer = draw.choices(range(self._customers), cum_weights=self._weights)[0]
        poison = self._poison > 0 and self.number % round(1 / self._poison) == FIRST_POISON
        north = not poison and self._north > 0 and draw.random() < self._north
        body = {
            "no": no, "amount": amount, "currency": "CNY", "received_on": "2026-01-10", "method": "bank",
            "account_no": "ACC-001", "customer": {"external": f"C-{customer}"},
            **(draw.choice(POISON) if poison else {}),
            **({"entity": "north", "account_no": "ACC-N01"} if north else {}),
        }  # fmt: skip
        intent = {
            "no": no,
            "amount": amount,
            "customer": customer_name(customer),
            **({"poison": True} if poison else {}),
            **({"north": True} if north else {}),
        }
        self._sender.intend(**intent)
        again = draw.random() < 0.5
        path = f"payments/by-external/crm/{no}"
        answer = await self._sender.send("PUT", path, body)
        while answer is None and again and not stop.is_set():
            await asyncio.sleep(0.2)
            answer = await self._sender.send("PUT", path, body)
        self._sender.intend(**intent, answer=answer or "unknown")
        self.accepted += answer == "ok"
        if answer == "ok" and draw.random() < TWICE:
            await self._sender.send("PUT", path, body)


def customer_name(number: int) -> str:
    """Return what a customer is called."""
    return f"示例{number}号有限公司"


def credit_code(number: int) -> str:
    """Compose a credit code with the check character of GB 32100-2015, written apart from the hub's own."""
    head = f"91440300MA{number:07d}"
    total = sum(_SIGNS.index(sign) * weight for sign, weight in zip(head, _WEIGHTS, strict=True))
    return head + _SIGNS[(31 - total % 31) % 31]
