"""What happens in WeCom meanwhile, and what the CRM changes of it.

Persons with an even number are the CRM's: it writes their remark and tags; their employees change everything else. Of
the others everything is the employees'. Every fifth person has a company, shared with the next fifth.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from tests.chaos.project import EMPLOYEES
from tests.chaos.sending import Sender

__all__ = ["CALM", "Editor", "Users"]

TAGS = ("重要客户", "普通客户")
CROWD = 500
"""Callbacks that wait at the vendor: while there are more, nobody acts, for a backlog there is no load on the hub."""
CALM = 6000
"""What may wait in the hub at the end: it must come to rest in time then."""
TRIES = 20
RESTED = 3.0
"""Seconds between beginnings and ends of one relation: WeCom tells of them in whole seconds."""
Pair: TypeAlias = tuple[str, str]
"""(userid, external_userid)."""


class Pairs:
    """The relations there have been, the earlier the hotter, and how each stands: there, left, gone."""

    def __init__(self, draw: random.Random, zipf: float) -> None:
        self._draw, self._zipf = draw, zipf
        self._order: list[Pair] = []
        self._weights: list[float] = []
        self._stands: dict[Pair, tuple[str, float]] = {}

    def put(self, pair: Pair, state: str) -> None:
        """Note how a relation stands from now on."""
        if pair not in self._stands:
            self._order.append(pair)
            weight = len(self._order) ** -self._zipf
            self._weights.append(weight + (self._weights[-1] if self._weights else 0.0))
        self._stands[pair] = state, time.monotonic()

    def __contains__(self, pair: Pair) -> bool:
        return pair in self._stands

    def pick(self, *states: str, rested: float = 0.0) -> Pair | None:
        """Return one that stands so, for as many seconds at least; None if some tries show none."""
        for pair in (
            self._draw.choices(self._order, cum_weights=self._weights, k=TRIES) if self._order else ()
        ):
            state, since = self._stands[pair]
            if state in states and time.monotonic() - since >= rested:
                return pair
        return None


class Users:
    """WeCom's users at their screens, by the sandbox's control door; ``batch`` acts in one moment.

    ``people``: 0 lets them come as it goes, otherwise so many come first and no more later. ``zipf``: how uneven the acts
    are spread over relations. ``waiting``: a file that says how much waits in the hub; while it is more than ``backlog``, or
    than the events that are still to come (``left``), nobody acts, for what is judged is a hub that keeps up.
    """

    def __init__(
        self, control: httpx.AsyncClient, *, rate: float, seed: int, people: int = 0, zipf: float = 0.0, batch: int = 1,
        waiting: Path | None = None, backlog: int = CALM, left: Callable[[], int] = lambda: CALM,
    ) -> None:  # fmt: skip
        self._control, self._rate, self._people, self._batch = control, rate, people, batch
        self._waiting, self._backlog, self._left = waiting, backlog, left
        self._random = random.Random(f"users of {seed}")
        self._known: list[str] = []
        """external_userid of everybody who came."""
        self._numbers: dict[str, int] = {}
        self._pairs = Pairs(self._random, zipf)
        self._born = self._drawn = 0
        self.done = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Act until told to stop; everybody who is to be there comes first."""
        while self._born < self._people and not stop.is_set():
            await self._act([self._add() for _ in range(min(self._batch, self._people - self._born))])
        acts = (self._add, self._meet, self._edit, self._delete, self._leave, self._again)
        weights = (0, 0, 94, 2, 2, 2) if self._people else (5, 3, 10, 2, 2, 2)
        while not stop.is_set():
            drawn = [act() for act in self._random.choices(acts, weights, k=self._batch)]
            await self._act([one for one in drawn if one is not None])

    async def _act(self, acts: list[dict[str, Any]]) -> None:
        """Do them in one moment and pause; nobody acts while vendor or hub have too much on their hands.

        Raises:
            httpx.HTTPStatusError: one cannot be done: who is there was noted wrong.
        """
        began = time.monotonic()
        if acts:
            answer = (await self._control.post("acts", json=acts)).raise_for_status()
            for act, made in zip(acts, answer.json(), strict=True):
                if act["act"] == "add_contact" and not act["external_userid"]:
                    self._numbers[made["external_userid"]] = int(act["name"].removeprefix("人"))
                    self._known.append(made["external_userid"])
                    self._pairs.put((act["userid"], made["external_userid"]), "there")
            self.done += len(acts)
        while self._batch > 1 and (self._behind() > self._bearable() or await self._pending() > CROWD):
            await asyncio.sleep(0.1)
        await asyncio.sleep(max(0.0, self._batch / self._rate - (time.monotonic() - began)))

    async def _pending(self) -> int:
        return int((await self._control.get("callbacks")).json()["pending"])

    def _bearable(self) -> int:
        return min(self._backlog, max(CALM, self._left()))

    def _behind(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self._waiting.read_text()) if self._waiting else 0
        return 0

    def _add(self) -> dict[str, Any]:
        self._born += 1
        return self._added(self._userid(), "", self._born - 1)

    def _meet(self) -> dict[str, Any] | None:
        if not self._known:
            return None
        external = self._random.choice(self._known)
        pair = self._userid(), external
        if pair in self._pairs:
            return None
        self._pairs.put(pair, "there")
        return self._added(*pair, self._numbers[external])

    def _again(self) -> dict[str, Any] | None:
        pair = self._pairs.pick("left", "gone", rested=RESTED)
        if pair is None:
            return None
        self._pairs.put(pair, "there")
        return self._added(*pair, self._numbers[pair[1]])

    def _added(self, userid: str, external: str, number: int) -> dict[str, Any]:
        company = {"remark_corp_name": f"示例混沌{number // 10}号有限公司"} if number % 5 == 0 else {}
        return {
            "act": "add_contact", "userid": userid, "external_userid": external, "name": f"人{number}",
            "remark_mobiles": self._mobiles(number), **company,
        }  # fmt: skip

    def _edit(self) -> dict[str, Any] | None:
        pair = self._pairs.pick("there", "left")
        if pair is None:
            return None
        number = self._numbers[pair[1]]
        changes: dict[str, Any] = {"remark_mobiles": self._mobiles(number)}
        if number % 2:
            tags = self._random.sample(TAGS, self._random.randrange(3))
            changes |= {"remark": f"备注{self._drawn}", "tags": tags}
        return {"act": "edit_follow", "userid": pair[0], "external_userid": pair[1], **changes}

    def _delete(self) -> dict[str, Any] | None:
        return self._end("delete_by_employee", "gone", "there", "left")

    def _leave(self) -> dict[str, Any] | None:
        return self._end("delete_by_customer", "left", "there")

    def _end(self, act: str, becomes: str, *states: str) -> dict[str, Any] | None:
        pair = self._pairs.pick(*states, rested=RESTED)
        if pair is None:
            return None
        self._pairs.put(pair, becomes)
        return {"act": act, "userid": pair[0], "external_userid": pair[1]}

    def _userid(self) -> str:
        return f"Sales{self._random.randrange(EMPLOYEES):02}"

    def _mobiles(self, number: int) -> list[str]:
        """Return a number nobody else has, another one each time."""
        self._drawn += 1
        return [f"13{number % 100_000:05}{self._drawn % 10_000:04}"]


class Editor:
    """The CRM: writes remark and tags of the even persons' relations; each edit has a number, and no value comes back."""

    def __init__(self, sender: Sender, *, rate: float, seed: int) -> None:
        self._sender, self._rate = sender, rate
        self._random = random.Random(f"edits of {seed}")
        self._known: list[tuple[str, str]] = []
        """(record id of a relation, its pair as ``employee/external_userid``)."""
        self._looks_at = 0
        self.number = 0
        self.accepted = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self.number >= self._looks_at or not self._known:
                await self._look()
                self._looks_at = self.number + max(20, len(self._known) // 4)
            if self._known:
                await self._edit()
            await asyncio.sleep(1 / self._rate)

    async def _look(self) -> None:
        contacts, follows = (
            await self._sender.everything("contacts"),
            await self._sender.everything("follows"),
        )
        if contacts is None or follows is None:
            return
        ours = {
            one["id"]: one["fields"].get("wecom_external_userid")
            for one in contacts
            if _is_ours(one["fields"]["name"])
        }
        self._known = [
            (one["id"], f"{one['fields']['employee']}/{ours[one['fields']['contact']]}")
            for one in follows
            if one["fields"].get("contact") in ours and one["fields"]["state"] != "deleted_by_employee"
        ]

    async def _edit(self) -> None:
        self.number += 1
        record, pair = self._random.choice(self._known)
        body: dict[str, Any] = {"remark": f"客户经理{self.number}"}
        if self._random.random() < 0.5:
            body["tags"] = [f"批次{self.number // 10}"]
        intent = {"edit": self.number, "pair": pair, "at": time.time_ns() // 1000, **body}
        self._sender.intend(**intent)
        answer = await self._sender.send("PATCH", f"follows/{record}", body)
        self._sender.intend(**intent, answer=answer or "unknown")
        self.accepted += answer == "ok"


def _is_ours(name: str) -> bool:
    number = name.removeprefix("人")
    return number.isdecimal() and int(number) % 2 == 0
