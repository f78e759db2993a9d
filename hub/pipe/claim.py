"""T1: claim due rows of one (connection, lane), decide what each does next and pin what will be sent.

Nothing leaves before this transaction is committed: no bytes without a claim whose fence they carry.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hub.clock import SECOND
from hub.errors import Cause
from hub.mapping import Wait
from hub.pipe import rows
from hub.pipe.decide import Send
from hub.pipe.limits import Gate, admit, gate_of, spend
from hub.pipe.render import Finished, Gone, Lookups, Ref, Rendered, Stop, Unchanged, render, satisfied
from hub.pipe.tally import tally
from hub.pipe.waits import Waits, awaited
from hub.pipe.world import UNFIT, World, business_key, step_key
from hub.pipe.writes import Look, look_of
from hub.sdk.connector import VendorKey, VendorRef, Write
from hub.sdk.spec import Delivery
from hub.store import sql
from hub.store.rows import OWED_COLUMNS, XREF_COLUMNS, Owed, Xref
from hub.store.schema import owed, xrefs
from hub.store.view import View

if TYPE_CHECKING:
    from hub.project.values import Sync
    from hub.sdk.spec import ObjectSpec, Step
    from hub.store.engine import Tx

__all__ = ["Attempt", "Claim", "claim", "note_row"]

log = logging.getLogger(__name__)

_DUE = (
    f"SELECT {', '.join(OWED_COLUMNS.split())} FROM owed "
    "WHERE connection = ? AND lane = ? AND state IN ('ready', 'in_doubt') AND due <= ? "
    "AND (target IS NULL OR (? AND NOT EXISTS (SELECT 1 FROM owed AS other WHERE other.target = owed.target "
    "AND other.generation IS NOT NULL AND other.id <> owed.id))) "
    "AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.name = 'sync:' || owed.sync AND jobs.state = 'paused') "
    "ORDER BY due LIMIT ?"
)
select_due = sql.query(_DUE, lock="update skip locked", of=owed)
select_xrefs_of = sql.bulk_select(xrefs, XREF_COLUMNS, key="record connection")

ARRIVAL_PAUSE = SECOND // 10
"""How long a delivery steps aside for an arrival of its object that is being read."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Which rows: of one connection and lane, at most ``room``; ``holder`` is the worker, ``started`` monotonic."""

    connection: str
    lane: int
    room: int
    holder: str
    started: float


@dataclass(slots=True)  # not frozen: that makes five times as dear what is made for every row
class Attempt:
    """One claimed row on its way to the vendor and back; never changed.

    ``send`` is None for a read; ``source``: the row's own answer, nothing is fetched. ``passed``: at the claim,
    earlier sends could no longer land; ``prior``: until when one of them may (µs). ``generation``: the debt it pays.
    """

    row: bytes
    sync: str
    subject: str
    fence: int
    epoch: bytes
    attempts: int
    send: Send | None
    stream: str = ""
    key: VendorKey | None = None
    source: dict[str, Any] | None = None
    write: Write | None = None
    passed: bool = True
    prior: int | None = None
    generation: int = 0
    traceparent: str = ""


def claim(tx: Tx, wanted: Claim, world: World) -> list[Attempt]:
    """Claim; return the attempts to make once this is committed."""
    gate = gate_of(tx, wanted.connection)
    if gate is Gate.SHUT:
        return []
    columns = select_due(tx, wanted.connection, wanted.lane, tx.now, tx.writes_open, wanted.room)
    if columns:
        columns = columns[: admit(tx, wanted.connection, len(columns), world, gate)]
    if not columns:
        return []
    look = look_of(tx)
    view = View(tx, world.vault)
    due = _one_per_target(view.add_owed(columns))
    view.load_sealed([row for row in due if row.is_read or row.open])
    claiming = _Claiming(view, wanted, world, look)
    claiming.load(due)
    for row in due:
        claiming.next_step(row)
    claiming.render_all()
    claiming.waits.settle()
    view.flush(f"worker:{wanted.holder}", "claim")
    tally(view, world)
    spend(tx, wanted.connection, len(claiming.attempts) if gate is Gate.OPEN else 0, world)
    return claiming.attempts


def _one_per_target(due: list[Owed]) -> list[Owed]:
    """Keep one row per target; a row whose claim died comes alone."""
    if due[0].deaths:
        return due[:1]
    kept: dict[str, Owed] = {}
    for row in due:
        if not row.deaths:
            kept.setdefault(row.target or row.id.hex(), row)
    return list(kept.values())


class _Claiming:
    """The rows of one claim while it is decided what each does."""

    def __init__(self, view: View, wanted: Claim, world: World, look: Look | None) -> None:
        self.view = view
        self.world = world
        self.wanted = wanted
        self.look = look
        self.waits = Waits(view, world)
        self.attempts: list[Attempt] = []
        self.fresh: list[tuple[Owed, Sync]] = []
        self.resting: dict[bytes, int] = {}
        self.arriving: set[tuple[str, str]] = set()
        self.awaited: frozenset[bytes] = frozenset()
        timing = world.timing
        self.deadline = view.now + int(timing.send_window * SECOND)
        self.lease = view.now + int(timing.lease * SECOND)

    def load(self, due: Sequence[Owed]) -> None:
        """Load records (unlocked), every xref they have at the connection, and which of their objects have an arrival."""
        view, out = self.view, [row for row in due if not row.is_read]
        ids = [bytes.fromhex(row.subject) for row in out]
        view.load_records(ids, lock=False)
        at_vendor: dict[tuple[str, str], list[Owed]] = {}
        by_record: dict[bytes, list[Xref]] = {}
        for columns in select_xrefs_of(view.tx, [(id_, self.wanted.connection) for id_ in ids]):
            xref = view.take_xref(columns)
            by_record.setdefault(xref.record, []).append(xref)
        for row in out:
            sync = self.world.sync(row.sync)
            for xref in by_record.get(bytes.fromhex(row.subject), ()) if sync else ():
                if sync is None or (xref.object, xref.org) != (sync.object, sync.org):
                    continue
                self.resting[row.id] = max(self.resting.get(row.id, 0), xref.rest_until)
                source = self.world.project.sync_in(xref.connection, xref.object)
                if source is not None:
                    at_vendor.setdefault((source.name, f"{xref.org}/{xref.vendor_id}"), []).append(row)
        view.peek_owed(at_vendor)
        for pair, behind in at_vendor.items():
            if view.peeked.get(pair) in (rows.READY, rows.CLAIMED):
                self.arriving.update((row.sync, row.subject) for row in behind)
        self.awaited = awaited(view, out, self.world)
        self._load_refs(out)

    def _load_refs(self, out: Sequence[Owed]) -> None:
        refs = [rows.ref_of(ref[0]) for row in out if row.refs for ref in row.refs]
        self.view.load_primary(refs)
        self.view.load_targets([rows.target_key(*ref) for ref in refs])

    def next_step(self, row: Owed) -> None:
        """Decide what the row does: read, wait its turn, render, resend, look up or give up."""
        sync = self.world.sync(row.sync)
        if sync is None:
            rows.park(self.view, row, Cause.SETTINGS, message=f"{row.sync} is not configured any more")
            self._note(row, "parked", cause=Cause.SETTINGS.value)
        elif sync.name in self.world.unfit:
            rows.put_off(self.view, row, self.view.now + UNFIT)
        elif row.is_read:
            self._read(row, sync)
        elif self.resting.get(row.id, 0) > self.view.now:
            rows.put_off(self.view, row, self.resting[row.id])
        elif (row.sync, row.subject) in self.arriving and not row.open:
            rows.put_off(self.view, row, self.view.now + ARRIVAL_PAUSE)
        elif not row.open:
            self.fresh.append((row, sync))
        elif row.state == rows.READY:
            self._send(row, sync, Send.FIRST)
        else:
            self._in_doubt(row, sync)

    def _read(self, row: Owed, sync: Sync) -> None:
        row.generation = row.want
        self._hold(row)
        org, _, vendor_id = row.subject.partition("/")
        self.attempts.append(
            Attempt(row.id, row.sync, row.subject, self.view.act, self.view.tx.epoch, row.attempts, None,
                    stream=sync.stream or sync.object, key=VendorKey(org, vendor_id), source=row.source, generation=row.want)
        )  # fmt: skip

    def _in_doubt(self, row: Owed, sync: Sync) -> None:
        """The last line of the table of section 4."""
        obj = self.world.object(sync)
        if obj is None or row.absent_after is None:
            rows.park(self.view, row, Cause.SETTINGS)
            return
        step = obj.steps[row.plan[row.step]]
        send = self._repeat_or_find(row, sync, step)
        if send is Send.REPEAT and not all(
            satisfied(self.view, rows.ref_of(ref[0]), self.world) for ref in row.refs or ()
        ):
            wait_for_refs = step.delivery is not Delivery.KEYED or (row.key_until or 0) > self.view.now
            if wait_for_refs:
                rows.put_off(self.view, row, self.view.now + int(self.world.timing.doubt_retry * SECOND))
                return
            send = None
        if send is not None:
            if send is Send.REPEAT and step.delivery is Delivery.AT_LEAST_ONCE:
                self._note(row, "possible_duplicate")
            self._send(row, sync, send)
        elif self.view.now < row.absent_after:
            rows.put_off(self.view, row, row.absent_after)
        else:
            rows.park(self.view, row, Cause.DOUBT)
            self._note(row, "parked", cause=Cause.DOUBT.value)

    def _repeat_or_find(self, row: Owed, sync: Sync, step: Step) -> Send | None:
        passed = self.view.now >= (row.absent_after or 0)
        match step.delivery:
            case Delivery.PUT:
                return Send.REPEAT
            case Delivery.FINDABLE:
                return Send.FIND
            case Delivery.KEYED:
                settle = int(self.world.settles_after(sync) * SECOND)
                if self.deadline + settle < (row.key_until or 0):
                    return Send.REPEAT
                return Send.FIND if step.findable else None
            case Delivery.AT_LEAST_ONCE:
                return Send.REPEAT if passed and sync.options.get("on_doubt") == "repeat" else None

    def render_all(self) -> None:
        """Render the fresh rows; xrefs they ask for are loaded for all of them at once and they are rendered again."""
        todo, rounds = self.fresh, 0
        while todo:
            again: list[tuple[Owed, Sync]] = []
            missing: dict[Ref, None] = {}
            for row, sync in todo:
                asked = Lookups(awaited=row.id in self.awaited)
                made = self._guarded(row, sync, asked)
                unseen = [ref for ref in asked.missing if ref not in self.view.asked_primary]
                if isinstance(made, Wait) and unseen and rounds < _ROUNDS:
                    missing.update(dict.fromkeys(unseen))
                    again.append((row, sync))
                else:
                    self._rendered(row, sync, made)
            self.view.asked_primary.update(missing)
            self.view.load_primary(missing)
            self.view.load_targets([rows.target_key(*ref) for ref in missing])
            todo, rounds = again, rounds + 1

    def _guarded(self, row: Owed, sync: Sync, asked: Lookups) -> Any:
        try:
            return render(self.view, row, sync, self.world, asked)
        except Exception as error:
            log.exception("render.bug sync=%s record=%s", row.sync, row.subject)
            return Stop(Cause.BUG, message=f"{type(error).__name__}: {error}")

    def _rendered(self, row: Owed, sync: Sync, made: Any) -> None:
        match made:
            case Rendered() if sync.mode != "write":
                verdict = {
                    "verdict": "create" if made.xref is None else "update",
                    "fields": sorted(made.base),
                }
                rows.wait(self.view, row, f"mode:{sync.name}", **verdict)
                self._note(row, "observed", **verdict)
            case Rendered():
                self._pin(row, sync, made)
            case Unchanged():
                rows.delete(self.view, row)
                self._note(row, "unchanged")
            case Finished(xref=xref):
                self.view.hold_records([xref.record])  # whoever wakes holds the row that the key names
                xref.complete = self.view.now
                self.view.save_xref(xref)
                self.view.wake(rows.xref_key(row.target or ""))
                rows.delete(self.view, row)
                self._note(row, "unchanged")
            case Gone():
                self.waits.never(row)
                rows.delete(self.view, row)
                self._note(row, "left")
            case Wait(key=key):
                self.waits.add(row, key, raises=sync.mode == "write")
            case Stop(cause=cause):
                rows.park(self.view, row, cause, field=made.field, message=made.message)
                self._note(row, "parked", cause=cause.value, field=made.field)

    def _pin(self, row: Owed, sync: Sync, made: Rendered) -> None:
        row.payload, row.operation, row.step = made.payload, ",".join(made.plan), 0
        row.base, row.version, row.revision = made.base, made.version, sync.revision
        row.generation, row.pinned_force, row.cause = row.want, row.force, None
        row.ref, row.key_until = None, None
        row.refs = [[rows.target_key(*ref), 0] for ref in made.refs]
        if made.xref is not None:
            xref = made.xref
            row.ref = {"vendor_id": xref.vendor_id, "stable_key": xref.stable_key, "stage": xref.stage}
            digest = self.world.digests[sync.kind]
            for name, sent in made.base.items():
                pair = xref.snapshot.get(name) or [None, digest(name, None), 0, None]
                if pair[1] != sent:  # what a forced write merely repeats stays agreed whatever happens
                    xref.snapshot[name] = [None, *pair[1:]]
            self.view.save_xref(xref)
        if self.look is not None and self.look.concerns(row, self.view.now, creates=made.xref is None):
            self._send_doubted(row, sync, self.look)
        else:
            self._send(row, sync, Send.FIRST)

    def _send_doubted(self, row: Owed, sync: Sync, look: Look) -> None:
        """It may have been sent in a time that a restore lost: an attempt in doubt that nobody made (section 6)."""
        obj = self.world.object(sync)
        send = look.first(row, None if obj is None else obj.steps[row.plan[0]])
        if send is not Send.FIRST:
            row.absent_after = row.key_until = look.safe_at  # nothing was sent under this key: never a repeat
        if send is not None:
            self._send(row, sync, send)
            return
        row.key = step_key(self.view.tx.epoch, row.sync, row.subject, row.generation or 0, row.plan[0])
        rows.park(self.view, row, Cause.DOUBT)
        self._note(row, "parked", cause=Cause.DOUBT.value)

    def _send(self, row: Owed, sync: Sync, send: Send) -> None:
        """Hold the row for a send or a look-up; a send moves ABS, a look-up does not."""
        view, obj = self.view, self.world.object(sync)
        if obj is None:
            rows.park(view, row, Cause.SETTINGS)
            return
        name = row.plan[row.step]
        step, settle = obj.steps[name], int(self.world.settles_after(sync) * SECOND)
        prior = row.absent_after
        if send is not Send.FIND:
            row.absent_after = max(prior or 0, self.deadline + settle)
            row.refs = [[ref[0], self._ref_act(ref[0])] for ref in row.refs or ()]
        if send is not Send.REPEAT:  # a repeat bears the key of what it repeats, also after a restore
            row.key = step_key(view.tx.epoch, row.sync, row.subject, row.generation or 0, name)
        if row.key_until is None and step.delivery is Delivery.KEYED:
            row.key_until = view.now + int(step.key_window * SECOND)
        self._hold(row)
        write = self._write(row, sync, obj, name)
        self.attempts.append(
            Attempt(row.id, row.sync, row.subject, view.act, view.tx.epoch, row.attempts, send, write=write,
                    passed=prior is None or view.now >= prior, prior=prior, generation=row.generation or 0)
        )  # fmt: skip

    def _write(self, row: Owed, sync: Sync, obj: ObjectSpec, step: str) -> Write:
        ref = VendorRef(**row.ref) if row.ref else None
        create = step == obj.write_step and ref is None
        return Write(
            object=sync.object,
            org=sync.org,
            step=step,
            plan=row.plan,
            ref=ref,
            payload=row.payload or {},
            key=row.key or "",
            business_key=business_key(sync.connection, sync.object, bytes.fromhex(row.subject)),
            generation=row.generation or 0,
            deadline=self.wanted.started + self.world.timing.send_window,
            create=create,
            options=dict(sync.options),
        )

    def _ref_act(self, target: str) -> int:
        xref = self.view.primary.get(rows.ref_of(target))
        return xref.act if xref else 0

    def _hold(self, row: Owed) -> None:
        rows.hold(self.view, row, holder=self.wanted.holder, lease=self.lease)
        self._note(row, "claimed", step=row.plan[row.step] if row.operation else "read", attempt=row.attempts)

    def _note(self, row: Owed, outcome: str, **known: Any) -> None:
        note_row(self.view, row, outcome, **known)


_ROUNDS = 4


def note_row(view: View, row: Owed, outcome: str, **known: Any) -> None:
    """Tell in this transaction's act what happened to a row."""
    record = None if row.is_read else row.subject
    view.note(record=record, row=row.id.hex(), sync=row.sync, subject=row.subject, outcome=outcome,
              version=row.version, revision=row.revision, **known)  # fmt: skip
