"""The table of ``pipe.md`` section 4 as one pure function: facts of an attempt and its result → a verdict.

The verdict says what happens to the row; :mod:`hub.pipe.rows` and :mod:`hub.pipe.settle` carry it out.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TypeAlias

from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, Refused, RemoteError, TryAgain
from hub.sdk.connector import Absent, Applied, CannotTell, Failed, Found, Gone, Next, Several
from hub.sdk.spec import Delivery

__all__ = ["Action", "Content", "Due", "Facts", "Result", "Send", "Verdict", "decide"]


class Send(enum.StrEnum):
    """What the claim sent: the only send of its attempt, a repeat while an earlier one is unanswered, a look-up."""

    FIRST = "first"
    REPEAT = "repeat"
    FIND = "find"


class Content(enum.StrEnum):
    """What a look-up saw: what was sent, what was there before, or something else."""

    SENT = "sent"
    BASE = "base"
    OTHER = "other"


class Action(enum.StrEnum):
    """What the engine carries out."""

    AGREE = "agree"
    """xref, merge on what was sent, wake, paid."""
    NEXT = "next"
    """xref, ours stays NULL, step + 1, ready."""
    ADOPT = "adopt"
    """xref, merge, close → ready: renders again as an update."""
    BOTH_MOVED = "both_moved"
    """merge as both moved, close → ready."""
    DOUBT = "doubt"
    """in doubt; the next claim decides."""
    AGAIN = "again"
    """close → ready."""
    STEP_AGAIN = "step_again"
    """keep the attempt, the same step, ready."""
    PARK = "park"
    """close → parked (ready if want ≠ generation)."""
    PARK_OPEN = "park_open"
    """parked, the attempt stays open: a person must look."""
    GONE = "gone"
    """xref gone, close → ready (create) or parked per ``on_missing``."""
    MOVED = "moved"
    """close → ready, want := act, owe a read."""
    INNOCENT = "innocent"
    """close → ready, want := act: our own re-opening caused the refusal."""


class Due(enum.StrEnum):
    """When the row is looked at next."""

    NOW = "now"
    LATER = "later"
    ABSENT = "absent"
    """When a late copy of the send can no longer land."""
    GIVEN = "given"
    """After ``Verdict.after`` seconds."""


Result: TypeAlias = Applied | Next | Failed | Gone | Found | Several | Absent | CannotTell


@dataclass(slots=True)  # not frozen: that makes five times as dear what is made for every row
class Facts:
    """Everything the table looks at; never changed.

    ``passed``: at the claim, earlier sends could no longer land. ``current``: want = generation. ``innocent``: an
    xref the payload names was re-opened meanwhile. ``spent``: the retry budget is used up. ``content``: what a
    look-up saw (None unless Found).
    """

    send: Send
    delivery: Delivery
    create: bool
    last: bool
    step: int
    write_step: bool
    passed: bool
    current: bool
    innocent: bool = False
    spent: bool = False
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens.

    ``rest``: a late copy may still land. ``pause``: the connection pauses. ``refund``: the claim does not count against
    the retry budget. ``unsure``: ours := NULL of the pinned fields.
    """

    action: Action
    due: Due = Due.NOW
    after: float | None = None
    cause: Cause | None = None
    rest: bool = False
    pause: bool = False
    refund: bool = False
    unsure: bool = False


_AGREE = {rest: Verdict(Action.AGREE, rest=rest) for rest in (False, True)}
_NEXT = {rest: Verdict(Action.NEXT, rest=rest) for rest in (False, True)}
_DOUBT = Verdict(Action.DOUBT)
_WAIT = Verdict(Action.DOUBT, Due.ABSENT)


def decide(facts: Facts, result: Result) -> Verdict:
    """Look the result up in the table; whatever would make the row ready again parks it once its budget is spent."""
    verdict = _table(facts, result)
    if facts.spent and verdict.action in _READY_AGAIN and not verdict.refund:
        return replace(verdict, cause=Cause.GAVE_UP)
    return verdict


_READY_AGAIN = frozenset({Action.ADOPT, Action.BOTH_MOVED, Action.GONE, Action.MOVED, Action.INNOCENT})
"""They do their work first, so the engine parks the row after it (``gave_up``)."""


def _table(facts: Facts, result: Result) -> Verdict:
    match result:
        case Applied() | Next():
            return _applied(facts, rest=facts.send is Send.REPEAT and facts.delivery is not Delivery.KEYED)
        case Found():
            return _found(facts)
        case Absent():
            return _absent(facts)
        case Several():
            return Verdict(Action.PARK_OPEN, cause=Cause.DOUBLED)
        case Gone():
            return _gone(facts)
        case CannotTell(error=error):
            return _cannot_tell(facts, error)
        case Failed(error=error):
            return _failed(facts, error)


def _applied(facts: Facts, *, rest: bool) -> Verdict:
    return (_AGREE if facts.last else _NEXT)[rest]


def _found(facts: Facts) -> Verdict:
    if facts.content is Content.SENT:
        return _applied(facts, rest=not facts.passed)
    if facts.create and facts.write_step:
        return Verdict(Action.ADOPT, rest=not facts.passed)
    if facts.content is Content.OTHER and facts.write_step:
        return Verdict(Action.BOTH_MOVED) if facts.passed else _WAIT
    return _absent(facts)


def _absent(facts: Facts) -> Verdict:
    if not facts.passed:
        return _WAIT
    return _ready(facts, Verdict(Action.AGAIN))


def _gone(facts: Facts) -> Verdict:
    if facts.send is Send.FIRST:
        return Verdict(Action.GONE)
    if not facts.passed or facts.delivery is Delivery.KEYED:
        return _WAIT  # a keyed vendor may repeat an old answer; any other repeat moves ABS, so not before it
    return Verdict(Action.GONE)


def _cannot_tell(facts: Facts, error: RemoteError | None) -> Verdict:
    down = isinstance(error, ConnectionDown)
    if facts.spent and not down:
        return Verdict(Action.PARK_OPEN, cause=Cause.DOUBT)
    after = getattr(error, "until" if down else "after", None)
    return Verdict(Action.DOUBT, Due.LATER, after=after, pause=down, refund=down)


def _ready(facts: Facts, verdict: Verdict) -> Verdict:
    """Make a row ready again after a definite answer: a later step keeps its attempt; a spent budget parks."""
    if facts.spent and not verdict.refund:
        return replace(verdict, action=Action.PARK, cause=Cause.GAVE_UP)
    if facts.step > 0 and facts.current and verdict.action is Action.AGAIN:
        return replace(verdict, action=Action.STEP_AGAIN)
    return verdict


def _failed(facts: Facts, error: RemoteError) -> Verdict:
    match error:
        case NotSent() | TryAgain() | ConnectionDown():
            return _not_done(facts, error)
        case Refused(cause=Cause.MOVED):
            return Verdict(Action.MOVED) if facts.send is Send.FIRST else _DOUBT
        case Refused(cause=Cause.ALREADY_DONE):
            return _DOUBT if facts.send is not Send.FIND else _WAIT
        case Refused():
            return _refused(facts, error)
        case OutcomeUnknown():
            return _DOUBT if facts.send is Send.FIRST else Verdict(Action.DOUBT, Due.LATER)
        case _:
            return Verdict(Action.DOUBT, Due.LATER)


def _not_done(facts: Facts, error: NotSent | TryAgain | ConnectionDown) -> Verdict:
    down = isinstance(error, ConnectionDown)
    refund = down or isinstance(error, NotSent)
    after = error.until if isinstance(error, ConnectionDown) else getattr(error, "after", None)
    later = Due.NOW if isinstance(error, NotSent) else Due.LATER
    if facts.send is Send.FIRST:
        return _ready(facts, Verdict(Action.AGAIN, later, after=after, pause=down, refund=refund))
    if facts.send is Send.REPEAT and facts.delivery is Delivery.PUT and not facts.create and facts.passed:
        verdict = Verdict(Action.AGAIN, later, after=after, pause=down, refund=refund, unsure=True)
        return _ready(replace(facts, step=0), verdict)
    return Verdict(Action.DOUBT, Due.LATER, after=after, pause=down, refund=refund)


def _refused(facts: Facts, error: Refused) -> Verdict:
    if facts.send is Send.FIND:
        return Verdict(Action.PARK, cause=error.cause) if facts.passed else _WAIT
    if facts.send is Send.REPEAT:
        if facts.innocent:
            return _DOUBT
        if not facts.passed:
            return _WAIT
        if facts.delivery is Delivery.PUT and not facts.create:
            return Verdict(Action.PARK, cause=error.cause, unsure=True)
        return Verdict(Action.PARK_OPEN, cause=error.cause)
    if facts.innocent:
        return Verdict(Action.INNOCENT)
    return Verdict(Action.PARK, cause=error.cause)
