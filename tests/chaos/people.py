"""What happens in WeCom meanwhile, and what the CRM changes of it.

Persons with an even number are the CRM's: it writes their remark and tags; their employees change everything else. Of
the others everything is the employees'. Every fifth person has a company, shared with the next fifth.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import httpx

from tests.chaos.project import EMPLOYEES
from tests.chaos.sending import Sender

__all__ = ["Editor", "Users"]

TAGS = ("重要客户", "普通客户")


class Users:
    """WeCom's users at their screens, by the sandbox's control door."""

    def __init__(self, control: httpx.AsyncClient, *, rate: float, seed: int) -> None:
        self._control, self._rate = control, rate
        self._random = random.Random(f"users of {seed}")
        self._people: list[tuple[int, str]] = []
        """(number, external_userid)."""
        self._pairs: dict[tuple[str, str], str] = {}
        """(userid, external_userid) -> there, left, gone."""
        self.done = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._random.choices(
                (self._add, self._meet, self._edit, self._delete, self._leave, self._again), (5, 3, 10, 2, 2, 2)
            )[0]()  # fmt: skip
            await asyncio.sleep(1 / self._rate)

    async def _act(self, act: str, **fields: Any) -> dict[str, Any] | None:
        answer = await self._control.post("act", json={"act": act, **fields})
        if answer.is_error:
            return None
        self.done += 1
        found: dict[str, Any] = answer.json()
        return found

    async def _add(self) -> None:
        number = len(self._people)
        made = await self._added(self._userid(), "", number)
        if made is not None:
            self._people.append((number, str(made["external_userid"])))

    async def _meet(self) -> None:
        if self._people:
            number, external = self._random.choice(self._people)
            await self._added(self._userid(), external, number)

    async def _again(self) -> None:
        pair = self._pick("left", "gone")
        if pair is not None:
            number = next(number for number, external in self._people if external == pair[1])
            await self._added(*pair, number)

    async def _added(self, userid: str, external: str, number: int) -> dict[str, Any] | None:
        company = {"remark_corp_name": f"示例混沌{number // 10}号有限公司"} if number % 5 == 0 else {}
        made = await self._act(
            "add_contact", userid=userid, external_userid=external, name=f"人{number}", remark_mobiles=self._mobiles(number),
            **company,
        )  # fmt: skip
        if made is not None:
            self._pairs[userid, str(made["external_userid"])] = "there"
        return made

    async def _edit(self) -> None:
        pair = self._pick("there", "left")
        if pair is None:
            return
        number = next(number for number, external in self._people if external == pair[1])
        changes: dict[str, Any] = {"remark_mobiles": self._mobiles(number)}
        if number % 2:
            changes |= {
                "remark": f"备注{self.done}",
                "tags": self._random.sample(TAGS, self._random.randrange(3)),
            }
        await self._act("edit_follow", userid=pair[0], external_userid=pair[1], **changes)

    async def _delete(self) -> None:
        pair = self._pick("there", "left")
        if (
            pair
            and await self._act("delete_by_employee", userid=pair[0], external_userid=pair[1]) is not None
        ):
            self._pairs[pair] = "gone"

    async def _leave(self) -> None:
        pair = self._pick("there")
        if (
            pair
            and await self._act("delete_by_customer", userid=pair[0], external_userid=pair[1]) is not None
        ):
            self._pairs[pair] = "left"

    def _userid(self) -> str:
        return f"Sales{self._random.randrange(EMPLOYEES):02}"

    def _mobiles(self, number: int) -> list[str]:
        return [f"13{number % 10_000:04}{self.done % 100_000:05}"]

    def _pick(self, *states: str) -> tuple[str, str] | None:
        found = [pair for pair, state in self._pairs.items() if state in states]
        return self._random.choice(found) if found else None


class Editor:
    """The CRM: writes remark and tags of the even persons' relations; each edit has a number, and no value comes back."""

    def __init__(self, sender: Sender, *, rate: float, seed: int) -> None:
        self._sender, self._rate = sender, rate
        self._random = random.Random(f"edits of {seed}")
        self._known: list[tuple[str, str]] = []
        """(record id of a relation, its pair as ``employee/external_userid``)."""
        self.number = 0
        self.accepted = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self.number % 20 == 0 or not self._known:
                await self._look()
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
