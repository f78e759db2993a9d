"""``hub notices``: who is told of what stands still, and a test that a notice arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub import registry, wiring
from hub.cli.command import add, group
from hub.cli.screen import duration, local, plain
from hub.cli.session import OK, PROBLEM, USAGE, Failure, Session
from hub.clock import SECOND
from hub.errors import Cause
from hub.model.kinds import KINDS
from hub.pipe.notice_groups import Group, groups
from hub.pipe.notice_texts import trial
from hub.project import load_project
from hub.project.notices import Addressee

if TYPE_CHECKING:
    from hub.project.notices import NoticeRule, Notices
    from hub.project.values import Project
    from hub.sdk.notice import Notice, Told
    from hub.store.engine import Tx
    from hub.wiring import Hub

__all__ = ["register", "send_test", "show"]

WINDOW = 30.0
"""Seconds in which a test may go out."""

To = Annotated[str, typer.Option("--to", help="opt.notice.to", show_default=False)]
Entity = Annotated[str | None, typer.Option("--entity", help="opt.notice.entity", show_default=False)]
Owner = Annotated[str | None, typer.Option("--owner", help="opt.notice.owner", show_default=False)]


def register(app: typer.Typer, lang: str) -> None:
    """Add the group."""
    made = group(app, lang, "notices")
    add(made, lang, show, "show", key="help.notices.show")
    add(made, lang, send_test, "test", key="help.notices.test")


def show(session: Session) -> None:
    """Say whom each rule tells now, and which notices wait or fail."""
    project = load_project(session.project, registry.specs())
    told, waiting = project.notices, _waiting(session)
    if session.as_json:
        session.screen.json(None if told is None else _as_json(told, project, waiting))
    elif told is None:
        session.screen.line(session.text("notice.none"))
    else:
        _tell(session, told, project, waiting)


def _waiting(session: Session) -> list[Group]:
    """Return what is not sent yet, if there is a store."""
    settings = session.settings
    if settings.store_url is None and not (settings.data_dir / "hub.db").exists():
        return []
    with session.hub() as hub:
        return hub.store.read_now(groups)


def _tell(session: Session, told: Notices, project: Project, waiting: Sequence[Group]) -> None:
    line, text = session.screen.line, session.text
    line(
        text(
            "notice.by", connection=told.connection, title=_title(session, told, project),
            every=duration(int(told.every * SECOND)), approvals=text("notice.on" if told.approvals else "notice.off"),
        )
    )  # fmt: skip
    for number, rule in enumerate(told.rules, 1):
        line("  " + _rule(session, number, rule))
    if all(rule.causes or rule.kinds for rule in told.rules):
        line("  " + text("notice.rest"))
    for to, who in _addressees(told, project):
        people = (
            text("notice.each") if to is Addressee.OWNER else _people(told.people(to, who), told, project)
        )
        named = session.cause(to) + (f" {who}" if who else "")
        line(
            text("notice.people", to=named, people=people or text("notice.nobody")),
            style="" if people else "yellow",
        )
    for one in waiting:
        whom = f"{one.spec.to} {one.spec.who}".strip()
        count = max(1, len(one.rows) + one.more)
        line(text("notice.waiting", what=_about(session, one), to=whom, count=count, due=local(one.due)[:19]))
        if one.failures:
            line("  " + text("notice.failing", failures=one.failures, why=plain(one.why)), style="red")


def _title(session: Session, told: Notices, project: Project) -> str:
    spec = registry.specs()[project.connections[told.connection].connector]
    return spec.title_zh if session.lang == "zh" else spec.title_en


def _rule(session: Session, number: int, rule: NoticeRule) -> str:
    zh = session.lang == "zh"
    mark = "、" if zh else ", "
    kinds = mark.join(KINDS[name].title_zh if zh else KINDS[name].title_en for name in sorted(rule.kinds))
    causes = mark.join(f"{session.cause(cause)} ({cause.value})" for cause in sorted(rule.causes))
    return session.text(
        "notice.rule", number=number, kinds=kinds or session.text("notice.any_kind"),
        causes=causes or session.text("notice.any_cause"), to=session.cause(rule.to),
    )  # fmt: skip


def _addressees(told: Notices, project: Project) -> list[tuple[Addressee, str]]:
    """Return whom the rules name, and IT, who is told where nobody else is."""
    named = {rule.to for rule in told.rules}
    owner = [(Addressee.OWNER, "")] if Addressee.OWNER in named else []
    finance = [(Addressee.FINANCE, name) for name in project.entities] if Addressee.FINANCE in named else []
    return [*owner, *finance, (Addressee.IT, "")]


def _people(people: Sequence[str], told: Notices, project: Project) -> str:
    """Return ``zhao.liu (ZhaoLiu)``: the code, and the user id it has over there."""
    return ", ".join(f"{one} ({project.user_id(told.connection, one)})" for one in people)


def _about(session: Session, one: Group) -> str:
    if one.spec.approval:
        return one.spec.about
    return session.cause(Cause(one.spec.about))  # type: ignore[call-arg]  # looked up by value


def _as_json(told: Notices, project: Project, waiting: Sequence[Group]) -> dict[str, Any]:
    def users(people: Sequence[str]) -> dict[str, str]:
        return {one: project.user_id(told.connection, one) for one in people}

    return {
        "connection": told.connection, "every": told.every, "approvals": told.approvals,
        "rules": [
            {"kinds": sorted(rule.kinds), "causes": sorted(rule.causes), "to": rule.to.value} for rule in told.rules
        ],
        "finance": {name: users(told.people(Addressee.FINANCE, name)) for name in project.entities},
        "it": users(told.it),
        "waiting": [
            {"to": one.spec.to, "who": one.spec.who, "about": one.spec.about, "approval": one.spec.approval or None,
             "count": max(1, len(one.rows) + one.more), "failures": one.failures, "why": one.why or None}
            for one in waiting
        ],
    }  # fmt: skip


def send_test(session: Session, *, to: To, entity: Entity = None, owner: Owner = None) -> int:
    """Send a test notice to somebody and say what the other system answered; an act keeps it."""
    with session.hub(create=True) as hub:
        told = hub.project.notices
        if told is None:
            raise Failure(session.text("notice.none"))
        addressee = Addressee(_known(session, to, tuple(Addressee)))  # type: ignore[call-arg]  # looked up by value
        who = _who(session, addressee, entity, owner, hub.project)
        people = told.people(addressee, who) or told.it
        users = {hub.project.user_id(told.connection, one): one for one in people}
        reference = f"N-{hub.clock.token(4).hex()}"
        notice = trial(addressee, who, session.lang, reference)
        answer = asyncio.run(_send(hub, told.connection, list(users), notice))
        hub.store.run_now(
            partial(_note, by=session.actor), told.connection, addressee, people, answer, reference
        )
        title = _title(session, told, hub.project)
    missed = {users.get(user, user): why for user, why in answer.missed.items()}
    reached = [one for one in people if one not in missed]
    if session.as_json:
        session.screen.json(
            {"ok": bool(reached), "connection": told.connection, "notice": reference, "people": list(people),
             "receipts": list(answer.receipts), "missed": missed}
        )  # fmt: skip
        return OK if reached else PROBLEM
    if reached:
        named, receipts = _people(reached, told, hub.project), ", ".join(answer.receipts)
        session.screen.line(session.text("notice.sent", people=named, title=title, receipts=receipts))
    for user, why in missed.items():
        session.screen.warn(session.text("notice.missed", user=user, why=plain(why)), style="red")
    return OK if reached else PROBLEM


def _known(session: Session, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise Failure(session.text("notice.no_such", what=plain(value), known=", ".join(known) or "-"), USAGE)
    return value


def _who(session: Session, to: Addressee, entity: str | None, owner: str | None, project: Project) -> str:
    """Return the legal entity, or the owner, that is meant."""
    if to is Addressee.FINANCE:
        known = list(project.entities)
        named = entity if entity is not None or len(known) != 1 else known[0]
        if named is None:
            raise Failure(session.text("notice.need_entity", known=", ".join(known) or "-"), USAGE)
        return _known(session, named, known)
    if to is Addressee.OWNER:
        if owner is None:
            raise Failure(session.text("notice.need_owner"), USAGE)
        return _known(session, owner, {*project.owners, *(name for _, name in project.user_ids)})
    return ""


async def _send(hub: Hub, connection: str, users: list[str], notice: Notice) -> Told:
    try:
        connector = wiring.connect(hub, connection)
        return await connector.notify(users, notice, deadline=hub.clock.monotonic() + WINDOW)
    finally:
        await hub.disconnect()


def _note(
    tx: Tx, connection: str, to: Addressee, people: Sequence[str], answer: Told, reference: str, *, by: str
) -> None:
    item = {
        "outcome": "tested", "notice": reference, "connection": connection, "to": to.value, "people": list(people),
        "receipts": list(answer.receipts), "missed": dict(answer.missed),
    }  # fmt: skip
    tx.journal(by, "notice", {"items": [item]})
