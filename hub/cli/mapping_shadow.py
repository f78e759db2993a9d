"""``hub mapping shadow``: the draft beside what is in force over the last records; nothing is written, nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from hub.cli.command import add
from hub.cli.mapping_trial import (
    Trial,
    mapping_named,
    problems_told,
    require_used,
    result_json,
    result_text,
)
from hub.cli.screen import plain
from hub.cli.session import OK, PROBLEM, Failure, Session
from hub.mapping import Failed
from hub.pipe.shadow import Compared, Difference, Shadow, Value, Verdict, compare
from hub.pipe.shadow_masks import Mask, Masks
from hub.project import ProjectInvalid

__all__ = ["register", "shadow"]

SHOWN = 20
"""Lines of one list on the screen; a program gets all of them."""
_LISTS = (
    (Verdict.CHANGED, "trial_changed"),
    (Verdict.FAILING, "trial_failing"),
    (Verdict.WAITING, "trial_waiting"),
    (Verdict.LEFT, "trial_left_list"),
    (Verdict.MENDED, "trial_mended"),
)


def register(made: typer.Typer, lang: str) -> None:
    """Add the command to the group ``mapping``."""
    add(made, lang, shadow, "shadow", key="help.mapping.shadow")


def shadow(
    session: Session,
    name: Annotated[str, typer.Argument(help="opt.trial.name", metavar="NAME")],
    *,
    last: Annotated[int, typer.Option("--last", help="opt.trial.last", min=1, max=100_000)] = 500,
    read: Annotated[bool, typer.Option("--read", help="opt.trial.read")] = False,
) -> int:
    """Compare what the draft and the mapping in force make of the last records."""
    with session.hub() as hub:
        trial = Trial(session, mapping_named(session, name), hub)
        require_used(session, trial)
        old = trial.in_force()
        if old is None:
            raise Failure(session.text("trial_no_force", name=plain(trial.name)))
        try:
            new = trial.draft()
        except ProjectInvalid as error:
            return problems_told(session, error)
        found = compare(old, new, trial.given(trial.latest(last, read=read), [old, new]))
        masks = trial.masks([new, old])
    if session.as_json:
        session.screen.json(_json(trial, found, masks))
    else:
        _print(session, trial, found, masks)
    return PROBLEM if found.broke else OK


def _json(trial: Trial, found: Shadow, masks: Masks) -> dict[str, Any]:
    return {
        "ok": not found.broke,
        "mapping": trial.name,
        "revision": trial.number,
        "sources": trial.told,
        "records": found.records,
        "counts": {verdict.value: count for verdict, count in found.counts.items()},
        "broke": found.broke,
        "fields": dict(found.fields),
        **{
            verdict.value: [_one(one, masks.of_record(one.given)) for one in found.of(verdict)]
            for verdict, _ in _LISTS
        },
    }


def _one(one: Compared, mask: Mask) -> dict[str, Any]:
    told: dict[str, Any] = {
        "sync": one.given.sync,
        "record": one.given.record,
        "key": mask.key(one.given.key) or None,
        "fields": [
            {
                "field": each.field,
                "old": result_json(mask, each.field, each.old),
                "new": result_json(mask, each.field, each.new),
            }
            for each in one.differences
        ],
    }
    return told | ({"failed_before": not one.broke} if one.verdict is Verdict.FAILING else {})


def _print(session: Session, trial: Trial, found: Shadow, masks: Masks) -> None:
    screen, say = session.screen, session.text
    screen.line(say("trial_head", name=trial.name, number=trial.number), style="bold")
    screen.line(
        say("trial_counts", records=found.records, **{one.value: found.counts[one] for one in Verdict})
    )
    if found.fields:
        screen.table([say("head.field"), say("head.records")], list(found.fields.items()))
    for verdict, title in _LISTS:
        lines = list(_lines(session, found, masks, verdict))
        if not lines:
            continue
        screen.line(say(title), style="bold")
        heads = [say(f"head.{one}") for one in ("record", "field", "old", "new")]
        screen.table(heads, lines[:SHOWN])
        if len(lines) > SHOWN:
            screen.line(say("trial_more", count=len(lines) - SHOWN))
    if found.broke:
        screen.warn(say("trial_broke", count=found.broke))


def _lines(session: Session, found: Shadow, masks: Masks, verdict: Verdict) -> Iterator[tuple[object, ...]]:
    for one in found.of(verdict):
        mask = masks.of_record(one.given)
        name = one.given.record or mask.key(one.given.key)
        if not one.differences:
            yield name, "", "", ""
        for each in one.differences:
            old, new = (result_text(session, mask, each.field, side) for side in (each.old, each.new))
            if old == new and isinstance(each.new, Value):
                new += session.text("trial_masked")
            elif _failed_before(one, each):
                old = session.text("trial_already")
            yield name, each.field, old, new


def _failed_before(one: Compared, each: Difference) -> bool:
    return one.verdict is Verdict.FAILING and not one.broke and isinstance(each.new, Failed)
