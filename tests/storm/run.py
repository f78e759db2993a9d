"""One storm: people settle in, the hub reads them, then users act while callbacks come twice, late or never."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from connectors.wecom.sandbox.control import shown_person
from tests.storm.model import Crm, Difference, Model, compare, left_at
from tests.storm.players import Players
from tests.storm.site import Site, opened

__all__ = ["Outcome", "Weather", "storm"]

BATCHES = (1, 2, 5, 10, 25)
TIMELINES = 3
"""Of so many people who differ the whole story is told."""


@dataclass(frozen=True)
class Weather:
    """How often a callback is lost, doubled, overtaken (0 to 1)."""

    lose: float = 0.1
    double: float = 0.2
    overtake: float = 0.4


@dataclass(frozen=True)
class Outcome:
    """How a storm ended; ``story``: the timelines of people who differ."""

    differences: list[Difference]
    counts: dict[str, int]
    story: str


async def storm(
    folder: Path, *, actions: int, seed: int, people: int = 200, store_url: str | None = None,
    weather: Weather = Weather(), swept: bool = True, told: Callable[[int], Any] = lambda _played: None,
) -> Outcome:  # fmt: skip
    """Play a storm of so many actions and compare. ``told``: is called with how many are over."""
    async with opened(folder, seed, store_url=store_url) as site:
        draw = random.Random(f"weather of {seed}")
        players = Players(site.sandbox, lambda: _tick(site), people=people, seed=seed)
        players.settle_in()
        customers = await _customers(site, players)
        await site.whole_sweep()
        dials = site.sandbox.dials
        dials.callback_lose, dials.callback_duplicate, dials.callback_reorder = (
            weather.lose, weather.double, weather.overtake,
        )  # fmt: skip
        played, sweep_at = 0, actions // 2
        while played < actions:
            batch = min(draw.choice(BATCHES), actions - played)
            players.play(batch)
            played += batch
            await _between(site, draw)
            if played >= sweep_at and swept:
                sweep_at = actions + 1
                played += await _sweep_amid(site, players, draw, min(40, actions - played))
            told(played)
        await site.flush()
        await site.until_nothing_is_owed()
        if swept:
            await site.whole_sweep()
        await site.rest()
        return await _judged(site, players, customers)


def _tick(site: Site) -> None:
    site.hours.ahead += 1.0


async def _between(site: Site, draw: random.Random) -> None:
    """Let the hub do something, or all, or nothing, before users go on; also while callbacks are still coming."""
    match draw.randrange(5):
        case 0:
            return
        case 1:
            await site.flush()
        case 2:
            await asyncio.gather(site.flush(), site.turn())
        case 3:
            await site.flush()
            await site.turn()
        case _:
            await site.flush()
            await site.until_nothing_is_owed()


async def _sweep_amid(site: Site, players: Players, draw: random.Random, most: int) -> int:
    """Read everything while users go on between the pages."""
    played = 0

    def progress(_report: Any) -> None:
        nonlocal played
        if played < most:
            count = min(draw.choice((0, 1, 3)), most - played)
            players.play(count)
            played += count

    await site.whole_sweep(progress)
    return played


async def _customers(site: Site, players: Players) -> dict[str, str]:
    """Have the CRM know some customers before anybody comes."""
    found: dict[str, str] = {}
    for person in players.people:
        key = person.mobile if person.sort == "mobile" else person.company
        if person.sort not in ("joined", "unsure", "core", "mobile") or key in found:
            continue
        name, region = person.company, person.home
        fields: dict[str, Any] = {}
        if person.sort == "mobile":
            name, fields = f"示例电话{person.number:04}号有限公司", {"phone": "+86" + person.mobile}
        elif person.sort == "core":
            name = f"深圳{name}有限公司"
        elif person.sort == "unsure":
            region = "cn/north/" if region != "cn/north/" else "cn/west/"
        found[key] = await site.customer(f"C-{person.number}", region, name=name, **fields)
    return found


async def _judged(site: Site, players: Players, customers: dict[str, str]) -> Outcome:
    corp = site.sandbox.corp
    people = {one.external: one for one in players.people if one.external}
    shown = {external: shown_person(corp, corp.person(external)) for external in people}  # type: ignore[arg-type]
    ever = {(userid, person.external) for userid, person in players.pairs}
    model = Model(people, shown, ever, left_at(site.told), customers)
    debts = await site.owed()
    questions = {
        _pair(one["subject"]): one["cause"]
        for one in debts
        if (one["sync"], one["state"]) == ("wecom.follow.in", "parked")
        and one["cause"]["code"] == "candidate"
    }
    others = [one for one in debts if one["cause"] is None or one["cause"].get("code") != "candidate"]
    crm = Crm(
        await site.records("contact"),
        await site.records("follow"),
        await site.records("customer"),
        questions,
        others,
    )
    found = compare(model, crm)
    counts = {
        "people": len(crm.contacts), "follows": len(crm.follows), "customers": len(crm.customers),
        "questions": len(questions), **{f"callbacks_{k}": v for k, v in site.sandbox.callbacks.shown().items()},
        "left_told": sum(map(len, model.left.values())), **site.counts, **players.done,
    }  # fmt: skip
    return Outcome(found, counts, await _story(site, found))


def _pair(subject: str) -> tuple[str, str]:
    userid, _, external = subject.rpartition("/")
    return userid.lstrip("/"), external


async def _story(site: Site, found: list[Difference]) -> str:
    lines: list[str] = []
    for external in list(dict.fromkeys(one.external for one in found))[:TIMELINES]:
        lines += await timeline(site, external)
    return "\n".join(lines)


async def timeline(site: Site, external: str) -> list[str]:
    """Tell what happened to one person: what was done, what was told, what the hub's acts say."""
    events: list[tuple[int, str]] = []
    for effect in site.sandbox.ledger():
        if external in str(effect.id) or external == effect.number:
            noted = {
                k: effect.fields.get(k)
                for k in ("remark_mobiles", "tag_ids", "remark_corp_name", "stage", "createtime")
            }
            events.append((effect.at, f"{effect.verb} {effect.id} {noted}"))
    sent = [
        f"  told {one['status']} try {one['attempt']} {one['plain'].partition('<Event>')[2]}"
        for one in site.told
        if external in one["plain"]
    ]
    rows = await site.query("SELECT vendor_id, record FROM xrefs WHERE object IN ('contact', 'follow')")
    mine = {bytes(record).hex() for vendor_id, record in rows if external in vendor_id}
    for at, actor, verb, body in await site.query("SELECT at, actor, verb, body FROM acts ORDER BY id"):
        for item in orjson.loads(body).get("items", ()):
            if external in str(item.get("subject")) or item.get("record") in mine:
                kept = {
                    k: item.get(k)
                    for k in ("sync", "subject", "outcome", "version", "cause", "waits_for", "fields")
                }
                events.append((at, f"    {actor} {verb} { ({k: v for k, v in kept.items() if v}) }"))
    return [f"--- {external}", *(f"{at} {text}" for at, text in sorted(events)), *sent]
