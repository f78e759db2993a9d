"""T2 of a write: the table's verdict is carried out, and who waited is woken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hub.clock import SECOND
from hub.crm.decide import Change, change_of
from hub.crm.merge import Merged, agree, merge
from hub.errors import Cause, RemoteError
from hub.mapping import Mapped
from hub.pipe import rows
from hub.pipe.answers import count, held, later, noted_only, park_told, told
from hub.pipe.arrive import owe_reread
from hub.pipe.change import leave_taken, load_debts
from hub.pipe.claim import Attempt, note_row
from hub.pipe.decide import Action, Content, Due, Facts, Verdict, decide
from hub.pipe.limits import pause
from hub.pipe.render import is_reopening, next_step, satisfied
from hub.pipe.revise import apply_merge
from hub.pipe.world import World
from hub.sdk.connector import Applied, CannotTell, Failed, Found, Next, Several, VendorRef
from hub.store.engine import Tx
from hub.store.rows import Owed, Record, Xref
from hub.store.view import View

if TYPE_CHECKING:
    from hub.model.record import Json
    from hub.pipe.decide import Result
    from hub.project.values import Sync
    from hub.sdk.spec import ObjectSpec

__all__ = ["Settling", "settle_writes"]


def settle_writes(tx: Tx, pairs: Sequence[tuple[Attempt, Result]], world: World, holder: str) -> int:
    """Carry out what the table says for every result. Returns how many rows were still ours."""
    view = View(tx, world.vault)
    settling = Settling(view, world)
    ours = settling.load(pairs)
    for attempt, result in pairs:
        row = ours[attempt.row]
        if row is None:
            noted_only(view, attempt, result, world)
        else:
            settling.one(row, attempt, result)
    count(view, [(ours[a.row], r) for a, r in pairs], world)
    view.flush(f"worker:{holder}", "settle")
    return sum(row is not None for row in ours.values())


class Settling:
    """One settle: the rows are locked, the xrefs loaded, every result is carried out in turn."""

    def __init__(self, view: View, world: World) -> None:
        self.view = view
        self.world = world
        self.actions: dict[Action, Callable[[Owed, Attempt, Result, Verdict, Sync], None]] = {
            Action.AGREE: self._agree,
            Action.NEXT: self._next,
            Action.ADOPT: self._adopt,
            Action.BOTH_MOVED: self._both_moved,
            Action.DOUBT: self._doubt,
            Action.AGAIN: self._again,
            Action.STEP_AGAIN: self._step_again,
            Action.PARK: self._park_closed,
            Action.PARK_OPEN: self._park_open,
            Action.GONE: self._gone,
            Action.MOVED: self._moved,
            Action.INNOCENT: self._innocent,
        }

    def load(self, pairs: Sequence[tuple[Attempt, Result]]) -> dict[bytes, Owed | None]:
        """Lock records, rows and xrefs in the lock order."""
        view, world = self.view, self.world
        seen = {bytes.fromhex(a.subject) for a, r in pairs if _state_of(r) is not None}
        plain = {bytes.fromhex(a.subject) for a, _ in pairs}
        view.hold_records(sorted(plain))
        view.load_records(
            sorted(bytes.fromhex(a.subject) for a, r in pairs if isinstance(r, Found)), lock=True
        )
        if seen:
            load_debts(view, sorted(seen), world)
        ours = held(view, [attempt for attempt, _ in pairs])
        at, named, refs = [], [], []
        for attempt, result in pairs:
            sync, row = world.sync(attempt.sync), ours[attempt.row]
            if sync is None or row is None:
                continue
            at.append((sync.connection, sync.object, sync.org, bytes.fromhex(row.subject)))
            ref = getattr(result, "ref", None)
            if isinstance(ref, VendorRef):
                named.append((sync.connection, sync.object, sync.org, ref.vendor_id))
            if isinstance(result, Failed):
                refs += [rows.ref_of(target) for target, _ in row.refs or ()]
        view.load_primary(at, lock=True)
        view.load_xrefs(named, lock=True)
        view.load_primary(refs)
        view.load_targets([rows.target_key(*ref) for ref in refs])
        return ours

    def one(self, row: Owed, attempt: Attempt, result: Result) -> None:
        """Look the result up and carry the verdict out."""
        sync = self.world.sync(row.sync)
        obj = self.world.object(sync) if sync else None
        if sync is None or obj is None:
            rows.put_off(self.view, row, self.view.now + SECOND, doubt=True)
            return
        if self._is_foreign(row, result, sync):
            rows.park(self.view, row, Cause.FOREIGN, message=Cause.FOREIGN.en)
            note_row(self.view, row, "parked", cause=Cause.FOREIGN.value)
            return
        verdict = decide(self._facts(row, attempt, result, sync, obj), result)
        row.deaths = 0
        if verdict.refund:
            row.attempts -= 1
        self._tell(row, result, verdict)
        self.actions[verdict.action](row, attempt, result, verdict, sync)
        ref = getattr(result, "ref", None)
        if isinstance(ref, VendorRef) and ref.gone:  # whoever told of its end found nobody who knew it
            owe_reread(self.view, sync, ref.vendor_id, self.world, at=self.view.now, record=row.subject)
        if verdict.pause:
            error = result.error if isinstance(result, Failed | CannotTell) else None
            cause = error.cause if error else Cause.UNAVAILABLE
            pause(self.view, row.connection, cause, str(error), after=verdict.after)

    def _facts(self, row: Owed, attempt: Attempt, result: Result, sync: Sync, obj: ObjectSpec) -> Facts:
        step = obj.steps[row.plan[row.step]]
        assert attempt.send is not None  # a write
        return Facts(
            send=attempt.send,
            delivery=step.delivery,
            create=row.ref is None,
            last=next_step(row, obj, result) >= len(row.plan),
            step=row.step,
            write_step=step.name == obj.write_step,
            passed=attempt.passed,
            current=row.want == row.generation,
            innocent=isinstance(result, Failed) and self._is_innocent(row),
            spent=row.attempts >= sync.retry.max_attempts,
            content=self._content(row, result, sync) if isinstance(result, Found) else None,
        )

    def _is_innocent(self, row: Owed) -> bool:
        for target, act in row.refs or ():
            ref = rows.ref_of(target)
            xref = self.view.primary.get(ref)
            if xref is None or xref.act != act or not satisfied(self.view, ref, self.world):
                return True
        return False

    def _content(self, row: Owed, result: Found, sync: Sync) -> Content:
        if result.as_sent:
            return Content.SENT
        xref = self._xref(row, sync)
        fields = self._mapped(result.state, sync)
        if xref is None or fields is None:
            return Content.BASE if row.ref is not None else Content.OTHER
        digest = self.world.digests[sync.kind]
        shown = {name: digest(name, fields[name]) for name in row.base or () if name in fields}
        same = all(name in xref.snapshot and xref.snapshot[name][1] == value for name, value in shown.items())
        return Content.BASE if same else Content.OTHER

    def _mapped(self, state: Json | None, sync: Sync, own: Record | None = None) -> Mapping[str, Json] | None:
        """Pass a vendor's object through the inbound mapping: theirs is what the vendor stored, in our words."""
        source = self.world.project.sync_in(sync.connection, sync.object)
        if state is None or source is None or not source.mapped:
            return None
        outcome = source.mapping.run(state, self.world.inward(source, sync.org))
        if not isinstance(outcome, Mapped):
            return None
        return outcome.fields if own is None else self.world.visible(own, outcome.fields)

    def _is_foreign(self, row: Owed, result: Result, sync: Sync) -> bool:
        """Say whether the vendor answered with an object that belongs to another record."""
        ref = getattr(result, "ref", None)
        if not isinstance(ref, VendorRef):
            return False
        known = self.view.xrefs.get((sync.connection, sync.object, sync.org, ref.vendor_id))
        if row.ref is not None and row.ref["vendor_id"] != ref.vendor_id:
            return True
        return known is not None and known.record.hex() != row.subject

    def _xref(self, row: Owed, sync: Sync) -> Xref | None:
        return self.view.primary.get((sync.connection, sync.object, sync.org, bytes.fromhex(row.subject)))

    def _named(self, row: Owed, ref: VendorRef, sync: Sync) -> Xref:
        """Return the xref of this object, made if this is the first time we hear of it."""
        record = bytes.fromhex(row.subject)
        at = (sync.connection, sync.object, sync.org, ref.vendor_id)
        xref = self.view.xrefs.get(at) or Xref(*at, record)
        if (sync.connection, sync.object, sync.org, record) not in self.view.primary:
            xref.is_primary = True
        xref.gone = None
        xref.stable_key = ref.stable_key or xref.stable_key
        xref.stage = ref.stage or xref.stage
        return xref

    def _rest(self, row: Owed, xref: Xref, attempt: Attempt, verdict: Verdict, sync: Sync) -> None:
        if not verdict.rest or attempt.prior is None:
            return
        xref.rest_until = max(xref.rest_until, attempt.prior)
        owe_reread(self.view, sync, xref.vendor_id, self.world, at=xref.rest_until, record=row.subject)

    # the actions ----------------------------------------------------------------------------------------------

    def _agree(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        assert isinstance(result, Applied | Next | Found)
        view, world = self.view, self.world
        record = view.records.get(
            bytes.fromhex(row.subject)
        )  # read only where the vendor shows what it holds
        xref = self._named(row, result.ref, sync)
        merged = agree(
            record.body if record else {},
            self._mapped(_state_of(result), sync, record),
            xref.snapshot,
            sent=row.base or {},
            normalises=False,
            digest=world.digests[sync.kind],
            authority=sync.authority_of,
        )
        self._merged(row, xref, merged, sync)
        xref.sent = {**xref.sent, sync.name: world.sent(sync, xref, row, view.now)}
        xref.complete = xref.seen = view.now
        self._rest(row, xref, attempt, verdict, sync)
        view.save_xref(xref)
        view.wake(rows.xref_key(row.target or ""))
        rows.paid(view, row, reopens=True)

    def _merged(self, row: Owed, xref: Xref, merged: Merged, sync: Sync) -> None:
        """Store the pairs; take what a user changed in between, and owe the others."""
        record = self.view.records.get(bytes.fromhex(row.subject))
        if merged.taken and record is not None and leave_taken(self.view, record, merged):
            owe_reread(self.view, sync, xref.vendor_id, self.world, at=self.view.now)  # that arrival parks
        xref.snapshot = {**xref.snapshot, **merged.pairs}
        if record is None or not (merged.taken or merged.owe_back):
            return
        if merged.owe_back:  # the CRM won: what the vendor holds is to be overwritten, by a new debt
            row.want = self.view.act
        change = change_of(record, merged)
        if isinstance(change, Change):
            apply_merge(
                self.view, change, self.world, by=sync.name, origin=(xref.connection, xref.object, xref.org)
            )

    def _next(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        assert isinstance(result, Applied | Next | Found)
        obj = self.world.object(sync)
        xref = self._named(row, result.ref, sync)
        if is_reopening(row, obj) or (
            obj is not None and not obj.is_complete(xref.stage, self.world.stop_at(sync))
        ):
            xref.complete = None
        if obj is not None and row.plan[row.step] == obj.write_step:
            # the vendor holds what was sent: if the plan ends here, a user's later edit is an edit, not a conflict
            for name, sent in (row.base or {}).items():
                pair = xref.snapshot.get(name) or [None, None, 0, None]
                xref.snapshot[name] = [sent, sent, *pair[2:]]
        xref.seen = self.view.now
        self._rest(row, xref, attempt, verdict, sync)
        self.view.save_xref(xref)
        row.ref = {"vendor_id": xref.vendor_id, "stable_key": xref.stable_key, "stage": xref.stage}
        row.step, row.attempts, row.key_until = next_step(row, obj, result), 0, None
        rows.ready(self.view, row)

    def _adopt(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        assert isinstance(result, Found)
        obj = self.world.object(sync)
        xref = self._named(row, result.ref, sync)
        done = obj is not None and obj.is_complete(result.ref.stage, self.world.stop_at(sync))
        xref.complete = self.view.now if done else None
        for name, sent in (row.base or {}).items():  # it exists, so it was made with these
            xref.snapshot[name] = [sent, sent, 0, None]
        self._both(row, xref, result, sync)
        self._rest(row, xref, attempt, verdict, sync)
        self.view.save_xref(xref)
        self._anew(row, verdict)

    def _both_moved(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt
        assert isinstance(result, Found)
        xref = self._named(row, result.ref, sync)
        self._both(row, xref, result, sync)
        self.view.save_xref(xref)
        self._anew(row, verdict)

    def _both(self, row: Owed, xref: Xref, result: Found, sync: Sync) -> None:
        record = self.view.records[bytes.fromhex(row.subject)]
        fields = self._mapped(result.state, sync)
        xref.seen = self.view.now
        if fields is not None:
            merged = merge(record.body, fields, xref.snapshot, digest=self.world.digests[sync.kind],
                           authority=sync.authority_of)  # fmt: skip
            self._merged(row, xref, merged, sync)

    def _doubt(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt
        at = {Due.NOW: self.view.now, Due.ABSENT: row.absent_after or self.view.now}.get(verdict.due)
        error = getattr(result, "error", None)
        if isinstance(error, RemoteError):
            row.cause = told(error)
        rows.put_off(self.view, row, self._due(row, verdict, sync) if at is None else at, doubt=True)

    def _due(self, row: Owed, verdict: Verdict, sync: Sync) -> int:
        return self.view.now if verdict.due is Due.NOW else later(self.view, row, sync, verdict.after)

    def _to_ready(self, row: Owed, *, at: int | None = None) -> None:
        rows.close(self.view, row, reopens=True)
        rows.ready(self.view, row, at=at)

    def _anew(self, row: Owed, verdict: Verdict) -> None:
        """Close and make ready as a new debt: what is rendered next is another request and needs another key."""
        moved = row.want not in (row.generation, self.view.act)
        row.want = self.view.act
        rows.close(self.view, row, reopens=True)
        if verdict.cause is Cause.GAVE_UP and not moved:
            park_told(self.view, row, Cause.GAVE_UP, None)
            return
        if moved:
            row.attempts = 0
        rows.ready(self.view, row)

    def _again(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt
        self._look_again(row, verdict, sync)
        self._to_ready(row, at=self._due(row, verdict, sync))
        row.cause = told(result.error) if isinstance(result, Failed) else None

    def _look_again(self, row: Owed, verdict: Verdict, sync: Sync) -> None:
        """An update ends although an earlier copy of it may have landed: one more read tells what is there."""
        ref, at = row.ref, row.absent_after
        if verdict.unsure and ref is not None and at is not None:
            owe_reread(self.view, sync, ref["vendor_id"], self.world, at=at, record=row.subject)

    def _step_again(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt, result
        rows.ready(self.view, row, at=self._due(row, verdict, sync))

    def _park_closed(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt
        current = row.want == row.generation
        self._look_again(row, verdict, sync)
        rows.close(self.view, row, reopens=True)
        if current:
            park_told(self.view, row, verdict.cause or Cause.INVALID, getattr(result, "error", None))
        else:
            row.attempts = 0
            rows.ready(self.view, row)

    def _park_open(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt, sync
        refs = [ref.vendor_id for ref in result.refs] if isinstance(result, Several) else None
        error = getattr(result, "error", None)
        known = {"message": str(error), "vendor_code": error.code} if isinstance(error, RemoteError) else {}
        rows.park(self.view, row, verdict.cause or Cause.DOUBT, refs=refs, **known)
        note_row(self.view, row, "parked", cause=(verdict.cause or Cause.DOUBT).value, refs=refs)

    def _gone(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt, result
        xref = self._xref(row, sync)
        if xref is not None:
            xref.gone, xref.is_primary, xref.complete = self.view.now, False, None
            self.view.save_xref(xref)
        self._anew(row, verdict)
        if sync.on_missing == "park":
            park_told(self.view, row, Cause.MISSING_TARGET, None)

    def _moved(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        """The object changed there before our write: read it again, and plan by the stage it has now."""
        del attempt
        xref, error = self._xref(row, sync), getattr(result, "error", None)
        detail = error.detail if isinstance(error, RemoteError) else None
        if xref is not None and isinstance(detail, dict) and isinstance(detail.get("stage"), str):
            xref.stage = detail["stage"]
            self.view.save_xref(xref)
        self._anew(row, verdict)
        if xref is not None:
            owe_reread(self.view, sync, xref.vendor_id, self.world, at=self.view.now)

    def _innocent(self, row: Owed, attempt: Attempt, result: Result, verdict: Verdict, sync: Sync) -> None:
        del attempt, result, sync
        self._anew(row, verdict)

    def _tell(self, row: Owed, result: Result, verdict: Verdict) -> None:
        error = getattr(result, "error", None)
        ref = getattr(result, "ref", None)
        known: dict[str, Any] = {"step": row.plan[row.step], "answer": type(result).__name__.lower()}
        if isinstance(error, RemoteError):
            known |= {"error": type(error).__name__, "cause": error.cause.value, "code": error.code,
                      "message": str(error), "field": error.field}  # fmt: skip
        if isinstance(ref, VendorRef):
            known |= {"vendor_id": ref.vendor_id, "number": ref.stable_key, "stage": ref.stage}
        note_row(self.view, row, verdict.action.value, key=row.key, **known)


def _state_of(result: object) -> Json | None:
    stored = result.stored if isinstance(result, Applied) else None
    return result.state if isinstance(result, Found) else stored
