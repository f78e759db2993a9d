"""The tag library of the corp: names for the ids a page shows, ids for the names a write asks for (fact sheet 2.4).

Corp tags (type 1) come from the library. Strategy-group tags (type 3) are in no list we may read: their names are
learnt from ``externalcontact/get``. Personal tags (type 2) have no id and are left out (pitfall 18).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.wecom.client import WeComClient
from connectors.wecom.outcomes import bad_answer
from hub.sdk import Json, Refused, SettingsError

__all__ = ["CORP", "PERSONAL", "STRATEGY", "Tag", "TagLibrary", "tag_type"]

CORP, PERSONAL, STRATEGY = 1, 2, 3
LONGEST_NAME = 30
FRESH = 600.0
"""Seconds a loaded library serves writes."""


def tag_type(tag: Mapping[str, Any]) -> int:
    """Return the type a follower's tag says, CORP if it says none; a digit as a text counts (pitfall 19)."""
    said = tag.get("type", CORP)
    return int(said) if str(said) in ("1", "2", "3") else 0


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag as a follow record shows it."""

    id: str
    name: str
    group: str
    type: int = CORP

    def shown(self) -> dict[str, Json]:
        """Return it as ``externalcontact/get`` spells it."""
        return {"tag_name": self.name, "tag_id": self.id, "type": self.type, "group_name": self.group}


class TagLibrary:
    """Names and ids of tags; loaded when first asked, again on an unknown id, a stale entry or ``forget``."""

    def __init__(self, client: WeComClient, clock: Any, group: str) -> None:
        """``group``: name of the group in which missing tags are made."""
        if not 0 < len(group) <= LONGEST_NAME:
            raise SettingsError(f"must have 1 to {LONGEST_NAME} characters", field="tag_group")
        self._client = client
        self._clock = clock
        self._group = group
        self._tags: dict[str, Tag] = {}
        self._learnt: dict[str, Tag] = {}
        self._loaded: float | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Load anew before the next use: a tag event came, or a read begins."""
        self._loaded = None

    def learn(self, tags: Iterable[Mapping[str, Any]]) -> None:
        """Take the names of strategy tags from a follower's ``tags`` of ``externalcontact/get``."""
        for tag in tags:
            if tag_type(tag) == STRATEGY and isinstance(tag.get("tag_id"), str):
                one = Tag(
                    tag["tag_id"], str(tag.get("tag_name") or ""), str(tag.get("group_name") or ""), STRATEGY
                )
                self._learnt[one.id] = one

    async def unknown(self, ids: Iterable[str]) -> set[str]:
        """Return the ids that have no name even after the library was loaded again."""
        wanted = set(ids)
        await self._load()
        left = wanted - self._tags.keys() - self._learnt.keys()
        if left:
            self.forget()
            await self._load()
        return left - self._tags.keys()

    def named(self, ids: Iterable[str]) -> list[Tag]:
        """Return the tags of the ids that have a name, in their order."""
        known = {**self._learnt, **self._tags}
        return [known[one] for one in ids if one in known]

    async def ids_of(self, names: Sequence[str], *, deadline: float) -> list[str]:
        """Return a corp tag id for each name; names that are not there are made in our group.

        Raises:
            Refused: the vendor makes no such tag.
            RemoteError: as the client.
        """
        await self._load()
        missing = self._missing(names)
        if missing:
            async with self._lock:  # two writes may ask for the same new name
                await self._make(missing, deadline)
        by_name = self._by_name()
        return [by_name[name].id for name in names]

    async def _make(self, names: Sequence[str], deadline: float) -> None:
        self.forget()
        await (
            self._load()
        )  # list first: somebody may have made them, and a name may stand only once in a group
        missing = self._missing(names)
        if not missing:
            return
        wanted = {"group_name": self._group, "tag": [{"name": name} for name in missing]}
        try:
            made = (await self._client.write("externalcontact/add_corp_tag", wanted, deadline=deadline)).get(
                "tag_group"
            )
            self._take([made] if isinstance(made, dict) else [])
        except Refused as error:
            error.field = "tags"
            if error.code != "40071":
                raise
            self.forget()
            await self._load()
            if self._missing(missing):
                raise
        if self._missing(missing):
            self.forget()
            await self._load()
        if left := self._missing(missing):
            raise bad_answer(f"WeCom made {len(left)} tags less than it was asked for", read=True)

    def _missing(self, names: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(name for name in names if name not in self._by_name()))

    def _by_name(self) -> dict[str, Tag]:
        """Return one tag per name: the one of our group, else the first as the vendor lists them."""
        found: dict[str, Tag] = {}
        for tag in self._tags.values():
            if tag.name not in found or (tag.group == self._group != found[tag.name].group):
                found[tag.name] = tag
        return found

    async def _load(self) -> None:
        now = self._clock.monotonic()
        if self._loaded is not None and now - self._loaded < FRESH:
            return
        groups = (await self._client.look("externalcontact/get_corp_tag_list", {})).get("tag_group")
        if not isinstance(groups, list):
            raise bad_answer("externalcontact/get_corp_tag_list answered no tag_group", read=True)
        self._tags = {}
        self._take(groups)
        self._loaded = now

    def _take(self, groups: Iterable[Any]) -> None:
        for group in groups:
            if not isinstance(group, dict):
                continue
            for tag in group.get("tag") or ():
                if isinstance(tag, dict) and isinstance(tag.get("id"), str) and not tag.get("deleted"):
                    name, title = str(tag.get("name") or ""), str(group.get("group_name") or "")
                    self._tags[tag["id"]] = Tag(tag["id"], name, title)
