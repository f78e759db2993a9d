"""One storm of approvals: the CRM submits, answers are lost, people decide, callbacks come twice, late or never."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.storm.approval_judge import Held, Invariant, judged
from tests.storm.approval_people import OWN_AMOUNT, People, body_of
from tests.storm.approval_site import ApprovalSite, Crm, opened
from tests.storm.approval_vendor import USUAL, Sky
from tests.storm.site import Site

__all__ = ["held", "play"]

BATCHES = (1, 2, 5, 10, 25)
TOGETHER = 8
"""Calls of the CRM at the same time."""
OWN = 0.05
"""Of forms, the share that people start at the vendor themselves."""
AGAIN = 0.1
"""Of approvals, the share that the CRM sends twice in a row."""
LATE = 3
"""Approvals that the CRM sends again in each round, whatever became of them meanwhile."""
SWEEP_EVERY = 40
STEPS = 40
"""Steps of the event loop between two acts while the hub works, at most."""


async def play(
    folder: Path, *, approvals: int, seed: int, vendor: str = "wecom", sky: Sky = USUAL, swept: bool = True,
    told: Callable[[int], Any] = lambda _: None,
) -> tuple[list[Invariant], dict[str, Any]]:  # fmt: skip
    """Play a storm of so many approvals of the CRM; return what must hold and what there was. ``told``: how many are submitted."""
    async with opened(folder, vendor, seed) as site:
        draw = random.Random(f"approvals {seed}")
        people = People(site.vendor, lambda: _tick(site), random.Random(f"people of approvals {seed}"))
        await site.crm.introduce()
        await site.swept()
        site.vendor.weather(sky)
        waiting = [f"HT-{seed}-{number:05}-1" for number in range(approvals)]
        rounds = 0
        while waiting or people.plans or set(site.vendor.ids()) - people.known:
            batch, waiting = _split(waiting, draw)
            await _submitted(site, batch, draw)
            if waiting and draw.random() < OWN * len(batch):
                await _begun(site, people, draw)
            people.meet()
            people.play(draw.choice(BATCHES) * 2)
            await _between(site, people, draw, swept=swept)
            rounds += 1
            if swept and rounds % SWEEP_EVERY == 0:
                await site.swept(lambda: people.play(draw.choice(BATCHES)))
            if not waiting and not people.plans:
                await site.until_nothing_is_owed()  # also creates in doubt: they have a form by now
            told(approvals - len(waiting))
        await site.flush()
        await site.until_nothing_is_owed()
        if swept:
            site.hours.ahead += 1200.0
            await site.swept()
        await site.rest()
        found = judged(site.vendor, await held(site.crm, await site.owed()))
        return found, _counts(site, people, rounds)


def _tick(site: Site) -> None:
    site.hours.ahead += 1.0


def _split(waiting: list[str], draw: random.Random) -> tuple[list[str], list[str]]:
    size = draw.choice(BATCHES)
    return waiting[:size], waiting[size:]


async def _submitted(site: ApprovalSite, batch: list[str], draw: random.Random) -> None:
    """Have the CRM send new approvals, and some of the old ones once more."""
    for no in batch:
        site.crm.bodies[no] = body_of(no, list(site.vendor.applicants), draw)
    again = [no for no in batch if draw.random() < AGAIN]
    again += [draw.choice(list(site.crm.bodies)) for _ in range(LATE)]
    site.count("sent_again", len(again))
    await together([(site.crm.submit, no) for no in batch])
    await together([(site.crm.submit, no) for no in again])


async def _begun(site: ApprovalSite, people: People, draw: random.Random) -> None:
    """Have somebody start a form himself: every second one names a contract that the CRM has signed."""
    if draw.random() < 0.5:
        people.begin()
        return
    no = f"ZF-{len(site.crm.signed):05}"
    await site.crm.sign(no, OWN_AMOUNT)
    people.begin(no)


async def together(calls: list[tuple[Callable[[str], Any], str]]) -> list[Any]:
    """Call a few at a time; return the answers in order."""
    answers: list[Any] = []
    for start in range(0, len(calls), TOGETHER):
        answers += await asyncio.gather(*(call(no) for call, no in calls[start : start + TOGETHER]))
    return answers


async def _between(site: ApprovalSite, people: People, draw: random.Random, *, swept: bool) -> None:
    """Let the hub do something, or all, or nothing, before people go on; also while callbacks are still coming."""
    match draw.randrange(6):
        case 0:
            return
        case 1:
            await site.flush()
        case 2:
            await asyncio.gather(site.flush(), site.turn(), _acting(people, draw))
        case 3:
            await site.flush()
            await site.turn()
        case 4:
            await site.turn()
        case _:
            await site.flush()
            await site.until_nothing_is_owed()
            if swept and draw.random() < 0.2:
                await site.swept(lambda: people.play(draw.choice(BATCHES)))


async def _acting(people: People, draw: random.Random) -> None:
    """Have people go on while the hub reads."""
    for _ in range(draw.choice(BATCHES)):
        for _ in range(draw.randrange(STEPS)):
            await asyncio.sleep(0)
        people.play(1)


async def held(crm: Crm, owed: list[dict[str, Any]]) -> Held:
    """Return what the hub has: what the API shows the CRM, and every approval there is."""
    numbers = list(crm.bodies)
    deals = [*(no for no in numbers if crm.bodies[no]["subject"] == "contract"), *crm.signed]
    shown = await together([(crm.held, no) for no in numbers])
    contracts = await together([(lambda no: crm.held(no, "contracts"), no) for no in deals])
    return Held(
        dict(zip(numbers, shown, strict=True)),
        dict(zip(deals, contracts, strict=True)),
        await crm.everything(),
        owed,
    )


def _counts(site: ApprovalSite, people: People, rounds: int) -> dict[str, Any]:
    forms, met = site.vendor.forms(), site.vendor.faults
    return {
        "vendor": site.vendor.name, "approvals": len(site.crm.bodies), "rounds": rounds, "forms": len(forms),
        "started_by_people": people.done["start"] + people.done["start_with_number"],
        "creates_without_answer": met.total(), "faults": dict(met),
        "states": dict(sorted(Counter("deleted" if form.deleted else form.state for form in forms).items())),
        "deleted_unseen": sum(bool(form.number) and form.unseen for form in forms),
        "forms_of_the_hub": len(site.vendor.created()),
        **{f"callbacks_{name}": count for name, count in site.vendor.counts().items()}, **site.counts,
        "acts": sum(people.done.values()), "done": dict(people.done), "hours_played": round(site.hours.ahead / 3600, 1),
    }  # fmt: skip
