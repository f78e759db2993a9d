"""Work notices: who must act on a dead letter is told once, and who asked for an approval how it ended.

A leased job, one in a cluster. A notice is pinned before it is sent and sent again word for word while nobody knows
whether it arrived: no vendor has a key for that, but each drops what one person was sent before (DingTalk until its day
ends, WeCom for four hours). So a notice is never lost, and is doubled only if a repeat comes later than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hub.clock import SECOND, Clock
from hub.errors import Cause, HubError, OutcomeUnknown, Refused, SettingsError
from hub.log import get_logger
from hub.pipe.jobs import Lease, finish, lease
from hub.pipe.limits import Gate, admit, gate_of, spend, spend_on
from hub.pipe.notice_groups import Group, begin, follow, groups, load, save, sealed, still_stuck
from hub.pipe.notice_texts import Stuck, ended, stuck
from hub.pipe.share import LEASE
from hub.pipe.times import has_come
from hub.project.notices import Addressee
from hub.sdk.notice import Notice, Told

if TYPE_CHECKING:
    from hub.pipe.shown import RowShown
    from hub.pipe.world import World
    from hub.sdk.connector import Connector
    from hub.store.engine import Store, Tx
    from hub.store.view import View

__all__ = ["NOTICES", "Messenger", "Sending", "pin", "settle"]

NOTICES: Final = "notices"
"""Name of the job; its position is ``{"seq": the last act that was read}``, null before the first."""
LOOK: Final = 1.0
"""Seconds between two looks."""
ACTS: Final = 500
MOST: Final = 20
"""Acts of one transaction, and notices of one turn: a process that must end does not wait for more."""
WINDOW: Final = 10.0
"""Seconds after its pin in which a notice may go out."""
ORPHAN: Final = 150.0
"""Seconds after which a notice whose sender died is sent again: longer than a call and its questions last."""
SOON, FIRST, LAST = 30.0, 30.0, 3600.0
"""Seconds until another look where nothing may be sent now; the first and the longest pause after a failure."""
PATIENCE: Final = 3
"""After so many refusals of whom it is for, IT is told instead."""
CALLS: Final = 2
"""Calls that a notice costs of a connection's budgets: the send, and the question who got it."""

log = get_logger("notices")


@dataclass(frozen=True, slots=True)
class Sending:
    """A notice on its way. ``users``: their ids at the vendor; ``token``: whose pin it is."""

    name: str
    token: str
    connection: str
    users: tuple[str, ...]
    notice: Notice


class Messenger:
    """Gathers what is to be told and tells it. Call :meth:`turn` while the job is ours."""

    def __init__(
        self, store: Store, world: World, clock: Clock, connectors: Mapping[str, Connector], holder: str
    ) -> None:
        """Take the parts; no lease is taken yet."""
        self._store, self.world, self._clock = store, world, clock
        self._connectors, self._holder = connectors, holder
        self._held: Lease | None = None
        self._seq = 0
        self._until = 0.0

    async def turn(self) -> float:
        """Read what was sealed, send what is due; return the seconds until the next turn.

        Raises:
            IntegrityError: somebody else took over meanwhile; what was read is read again by them.
        """
        if not await self._hold():
            return LOOK
        more = await self._read()
        due = await self._store.read(_due, self.world)
        for name in due[:MOST]:
            await self._tell(name)
        return 0.0 if more or len(due) > MOST else LOOK

    async def _hold(self) -> bool:
        """Keep the lease, or take it and read where the last one ended; the first one of all gathers what is there."""
        now = self._clock.monotonic()
        if self._held is not None and now < self._until:
            return True
        held = await self._store.run(lease, NOTICES, NOTICES, self._holder, LEASE)
        self._held = None
        if held is None:
            return False
        seq = await self._store.run(begin, held, self.world) if held.at is None else held.at["seq"]
        self._held, self._seq, self._until = held, seq, now + LEASE / 3
        return True

    async def _read(self) -> bool:
        held = self._held
        assert held is not None  # _hold says so
        if await self._store.read(sealed) <= self._seq:
            return False
        self._held = None  # if the next line fails: read the position again
        was, self._seq = self._seq, await self._store.run(follow, held, self.world, self._seq, ACTS)
        self._held = held
        return self._seq - was >= ACTS

    async def _tell(self, name: str) -> None:
        sending = await self._store.run(pin, self.world, name)
        if sending is None:
            return
        answer: Told | HubError
        try:
            connector = self._connectors.get(sending.connection)
            if connector is None:
                raise SettingsError(f"the connection {sending.connection} did not start")
            deadline = self._clock.monotonic() + WINDOW
            answer = await connector.notify(sending.users, sending.notice, deadline=deadline)
        except HubError as error:
            answer = error
        self._clock.crash_point("notice.sent")
        await self._store.run(settle, self.world, sending, answer, self._holder)


def _due(tx: Tx, world: World) -> list[str]:
    """Return the groups that are due; one that is further ahead than any is set was set by a clock that ran ahead.

    None while writes are stopped: this may be a copy of the store whose hub tells people elsewhere.
    """
    told = world.project.notices
    if not tx.writes_open:
        return []
    far = max(LAST, told.every if told else 0.0)
    return [group.spec.name for group in groups(tx) if has_come(group.due, tx.now, far)]


def pin(tx: Tx, world: World, name: str) -> Sending | None:
    """Fix what is sent to whom, before it is; None: nothing is to be sent now."""
    told, group = world.project.notices, load(tx, name)
    if told is None or group is None or not has_come(group.due, tx.now, max(LAST, told.every)):
        return None
    made = group.pin or _made(tx, group, world)
    if made is None:
        finish(tx, name)  # all of it was mended meanwhile
        return None
    if not _may_send(tx, made, world):
        group.due = tx.now + int(SOON * SECOND)
        save(tx, group)
        return None
    group.pin = {**made, "sends": made["sends"] + 1, "token": tx.clock.token(8).hex()}
    group.due = tx.now + int(ORPHAN * SECOND)
    save(tx, group)
    notice = Notice(made["title"], made["text"], made["reference"])
    return Sending(name, group.pin["token"], made["connection"], tuple(made["users"]), notice)


def _may_send(tx: Tx, made: Mapping[str, Any], world: World) -> bool:
    """Say whether the connection is open and its budgets leave room, and count the calls; a pause is not ours to end."""
    connection = made["connection"]
    if gate_of(tx, connection) is not Gate.OPEN or admit(tx, connection, CALLS, world, Gate.OPEN) < CALLS:
        return False
    if not spend_on(tx, connection, made["users"], world):
        return False
    spend(tx, connection, CALLS, world)
    return True


def _made(tx: Tx, group: Group, world: World) -> dict[str, Any] | None:
    """Return what a group is told as now; None: nothing of it stands still any more."""
    reference = f"N-{tx.clock.token(4).hex()}"
    made = (
        _approval(tx, group, world, reference)
        if group.spec.approval
        else _letters(tx, group, world, reference)
    )
    return None if made is None else {**made, "reference": reference, "sends": 0}


def _letters(tx: Tx, group: Group, world: World, reference: str) -> dict[str, Any] | None:
    told = world.project.notices
    assert told is not None  # pin() asked
    view, found = still_stuck(tx, group, world)
    if not found:
        return None
    to = Addressee(group.spec.to)  # type: ignore[call-arg]  # looked up by value
    people = () if group.to_it else told.people(to, group.spec.who)
    missing = None if people else to
    lines = [_line(view, one, world) for one in found]
    cause = Cause(group.spec.about)  # type: ignore[call-arg]  # looked up by value
    notice = stuck(lines, len(found) + group.more, cause, group.spec.lang, reference, missing)
    return _addressed(told.connection, people or told.it, notice, world) | {
        "rows": group.rows, "more": group.more, "count": len(found) + group.more,
        "records": [one.record.hex() for one in found if one.record],
    }  # fmt: skip


def _line(view: View, one: RowShown, world: World) -> Stuck:
    record = view.records.get(one.record or b"")
    body = record.body if record else {}
    known = body.get("customer")
    customer = view.records.get(bytes.fromhex(known)) if isinstance(known, str) and len(known) == 32 else None
    amount = body.get("amount") or body.get("amount_total")
    spec = world.specs.get(one.connection)
    zh, en = (spec.title_zh, spec.title_en) if spec else ("", "")
    where = one.connection
    return Stuck(
        kind=one.kind,
        inbound=one.inbound,
        system=(f"{zh}（{where}）" if zh else where, f"{en} ({where})" if en else where),
        title=one.title or one.subject,
        who=str(customer.body.get("name") or "") if customer else "",
        amount=f"{amount} {body.get('currency') or ''}".strip() if amount else "",
        said=(one.cause.message or "") if one.cause else "",
        place=one.place,
    )


def _approval(tx: Tx, group: Group, world: World, reference: str) -> dict[str, Any] | None:
    """Return how an approval ended, for its applicant, by the system that decided; None: it went on meanwhile."""
    told = world.project.notices
    assert told is not None  # pin() asked
    view, id_ = still_stuck(tx, group, world)[0], bytes.fromhex(group.spec.approval)
    view.load_records([id_], lock=False)
    record = view.records.get(id_)
    if record is None or record.body.get("status") != group.spec.about:
        return None
    by = str(record.body.get("connection") or "")
    spec = world.specs.get(by)
    notice = ended(record.body, group.spec.lang, reference, group.spec.who if group.to_it else "")
    connection = by if spec is not None and spec.notifies else told.connection
    people = told.it if group.to_it else (group.spec.who,)
    return _addressed(connection, people, notice, world) | {
        "rows": [], "more": 0, "count": 1, "records": [group.spec.approval],
    }  # fmt: skip


def _addressed(connection: str, people: tuple[str, ...], notice: Notice, world: World) -> dict[str, Any]:
    users = list(dict.fromkeys(world.project.user_id(connection, one) for one in people))
    return {
        "connection": connection, "people": list(people), "users": users, "title": notice.title, "text": notice.text,
    }  # fmt: skip


def settle(tx: Tx, world: World, sending: Sending, answer: Told | HubError, holder: str) -> None:
    """Keep what became of a notice: an act if somebody was told, else when it is tried again."""
    group = load(tx, sending.name)
    ours = group is not None and group.pin is not None and group.pin["token"] == sending.token
    if group is None or not ours:  # another one went on with it after a long silence
        if isinstance(answer, Told):
            items = [
                {"outcome": "late", "notice": sending.notice.reference, "receipts": list(answer.receipts)}
            ]
            tx.journal(f"notices:{holder}", "notice", {"items": items})
        return
    assert group.pin is not None  # ours
    reached = [user for user in sending.users if isinstance(answer, Told) and user not in answer.missed]
    if isinstance(answer, Told) and reached:
        _told(tx, world, group, answer, holder)
        return
    _failed(tx, group, answer if isinstance(answer, HubError) else _nobody(answer))


def _nobody(answer: Told) -> Refused:
    why = "; ".join(f"{user}: {said}" for user, said in answer.missed.items())
    return Refused(f"nobody was reached: {why}", cause=Cause.NOT_FOUND)


def _told(tx: Tx, world: World, group: Group, answer: Told, holder: str) -> None:
    pinned, told = group.pin or {}, world.project.notices
    group.rows = [row for row in group.rows if row not in pinned["rows"]]
    group.more -= pinned["more"]
    if group.rows or group.more:  # came while this was on its way
        group.pin, group.failures, group.why, group.to_it = None, 0, "", False
        group.due = tx.now + int((told.every if told else LAST) * SECOND)
        save(tx, group)
    else:
        finish(tx, group.spec.name)
    item = {
        "outcome": "told", "notice": pinned["reference"], "connection": pinned["connection"], "to": group.spec.to,
        "who": group.spec.who or None, "people": pinned["people"], "about": group.spec.about, "count": pinned["count"],
        "receipts": list(answer.receipts), "missed": dict(answer.missed) or None,
        "sends": pinned["sends"] if pinned["sends"] > 1 else None,
    }  # fmt: skip
    items: list[dict[str, Any]] = [{name: value for name, value in item.items() if value is not None}]
    items += [{"outcome": "told", "notice": pinned["reference"], "record": one} for one in pinned["records"]]
    tx.journal(f"notices:{holder}", "notice", {"items": items}, map(bytes.fromhex, pinned["records"]))
    if answer.missed:
        log.warning("notice.missed", notice=pinned["reference"], missed=sorted(answer.missed))


def _failed(tx: Tx, group: Group, error: HubError) -> None:
    """Try again later. Only what may have been sent keeps its words; else the next try says how it stands then."""
    refused, unknown = isinstance(error, Refused), isinstance(error, OutcomeUnknown)
    group.failures += 1
    group.since = group.since if group.why else tx.now
    group.why = str(error)[:300]
    if refused or (not unknown and (group.pin or {}).get("sends") == 1):
        group.pin = None
    group.to_it = group.to_it or (
        refused and group.failures >= PATIENCE and group.spec.to != Addressee.IT.value
    )
    asked = getattr(error, "after", None) or getattr(error, "until", None) or 0.0
    pause = max(FIRST * 2.0 ** min(group.failures - 1, 16), asked)
    group.due = tx.now + int(min(LAST, pause) * SECOND)
    save(tx, group)
    log.warning(
        "notice.failed", to=group.spec.to, about=group.spec.about, failures=group.failures, error=group.why
    )
