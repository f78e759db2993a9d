"""The whole table of pipe.md section 4, as data: result × send → what happens to the row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hub.errors import Cause, ConnectionDown, NotSent, OutcomeUnknown, Refused, TryAgain
from hub.pipe.decide import Action, Content, Due, Facts, Send, decide
from hub.sdk.connector import Absent, Applied, CannotTell, Failed, Found, Gone, Next, Several, VendorRef
from hub.sdk.spec import Delivery

REF = VendorRef("V1", "N1", "A")
FIRST, REPEAT, FIND = Send.FIRST, Send.REPEAT, Send.FIND
KEYED, PUT, FINDABLE, LEAST = Delivery.KEYED, Delivery.PUT, Delivery.FINDABLE, Delivery.AT_LEAST_ONCE
BASE = Facts(
    send=FIRST, delivery=FINDABLE, create=True, last=True, step=0, write_step=True, passed=True, current=True
)
UPDATE: dict[str, Any] = {"create": False}
LATER_STEP: dict[str, Any] = {"create": False, "step": 1, "write_step": False}
EARLY: dict[str, Any] = {"passed": False}
MOVED_WANT: dict[str, Any] = {"current": False}
SPENT: dict[str, Any] = {"spent": True}
SENT = Found(REF, as_sent=True)
OTHER = Found(REF, as_sent=False, state={})
TRY, DOWN, NOT_SENT = (
    Failed(TryAgain("busy", after=3.0)),
    Failed(ConnectionDown("no", until=9.0)),
    Failed(NotSent()),
)
BAD = Failed(Refused("bad", cause=Cause.INVALID))
MOVED = Failed(Refused("moved", cause=Cause.MOVED))
DONE = Failed(Refused("done", cause=Cause.ALREADY_DONE))
SILENT = Failed(OutcomeUnknown("nothing came"))
INNOCENT: dict[str, Any] = {"innocent": True}

TABLE = [
    # result, send, delivery, facts, action, what else the verdict must say
    # Applied, last step
    (Applied(REF), FIRST, FINDABLE, {}, Action.AGREE, {"rest": False}),
    (Applied(REF), FIRST, LEAST, UPDATE, Action.AGREE, {"rest": False}),
    (Applied(REF), REPEAT, KEYED, {}, Action.AGREE, {"rest": False}),
    (Applied(REF), REPEAT, PUT, UPDATE, Action.AGREE, {"rest": True}),
    (Applied(REF), REPEAT, LEAST, {}, Action.AGREE, {"rest": True}),
    # Applied or Next, not the last step
    (Next(REF), FIRST, FINDABLE, {"last": False}, Action.NEXT, {"rest": False}),
    (Applied(REF), FIRST, FINDABLE, {"last": False}, Action.NEXT, {"rest": False}),
    (Next(REF), REPEAT, KEYED, {"last": False}, Action.NEXT, {"rest": False}),
    (Next(REF), REPEAT, PUT, {"last": False}, Action.NEXT, {"rest": True}),
    (
        Next(REF),
        FIRST,
        FINDABLE,
        {},
        Action.AGREE,
        {"rest": False},
    ),  # our own plan says which step is the last
    # the object is there as it was sent
    (SENT, FIND, FINDABLE, {"content": Content.SENT}, Action.AGREE, {"rest": False}),
    (SENT, FIND, FINDABLE, {"content": Content.SENT, **EARLY}, Action.AGREE, {"rest": True}),
    (SENT, FIND, KEYED, {"content": Content.SENT, **EARLY}, Action.AGREE, {"rest": True}),  # keyed too
    (SENT, FIND, FINDABLE, {"content": Content.SENT, "last": False}, Action.NEXT, {"rest": False}),
    (SENT, FIND, FINDABLE, {"content": Content.SENT, "last": False, **EARLY}, Action.NEXT, {"rest": True}),
    # Found, other content, of a create
    (OTHER, FIND, FINDABLE, {"content": Content.OTHER}, Action.ADOPT, {"rest": False}),
    (OTHER, FIND, FINDABLE, {"content": Content.OTHER, **EARLY}, Action.ADOPT, {"rest": True}),
    (OTHER, FIND, FINDABLE, {"content": Content.OTHER, **SPENT}, Action.ADOPT, {"cause": Cause.GAVE_UP}),
    # an update found neither as sent nor as before
    (OTHER, FIND, FINDABLE, {"content": Content.OTHER, **UPDATE}, Action.BOTH_MOVED, {}),
    (OTHER, FIND, FINDABLE, {"content": Content.OTHER, **UPDATE, **EARLY}, Action.DOUBT, {"due": Due.ABSENT}),
    # Absent; an update: content = base
    (Absent(), FIND, FINDABLE, {}, Action.AGAIN, {"due": Due.NOW, "refund": False}),
    (Absent(), FIND, FINDABLE, EARLY, Action.DOUBT, {"due": Due.ABSENT}),
    (Absent(), FIND, FINDABLE, SPENT, Action.PARK, {"cause": Cause.GAVE_UP}),
    (OTHER, FIND, FINDABLE, {"content": Content.BASE, **UPDATE}, Action.AGAIN, {}),
    (OTHER, FIND, FINDABLE, {"content": Content.BASE, **UPDATE, **EARLY}, Action.DOUBT, {"due": Due.ABSENT}),
    (OTHER, FIND, FINDABLE, {"content": Content.BASE, **LATER_STEP}, Action.STEP_AGAIN, {}),
    (OTHER, FIND, FINDABLE, {"content": Content.BASE, **LATER_STEP, **MOVED_WANT}, Action.AGAIN, {}),
    # Several
    (Several((REF, REF)), FIND, FINDABLE, {}, Action.PARK_OPEN, {"cause": Cause.DOUBLED}),
    (Several((REF, REF)), FIND, FINDABLE, EARLY, Action.PARK_OPEN, {"cause": Cause.DOUBLED}),
    # Gone
    (Gone(), FIRST, FINDABLE, UPDATE, Action.GONE, {}),
    (Gone(), FIRST, FINDABLE, {**UPDATE, **SPENT}, Action.GONE, {"cause": Cause.GAVE_UP}),
    (Gone(), REPEAT, KEYED, UPDATE, Action.DOUBT, {"due": Due.ABSENT}),
    (Gone(), REPEAT, PUT, {**UPDATE, **EARLY}, Action.DOUBT, {"due": Due.ABSENT}),
    (Gone(), FIND, FINDABLE, UPDATE, Action.GONE, {}),
    (Gone(), FIND, FINDABLE, {**UPDATE, **EARLY}, Action.DOUBT, {"due": Due.ABSENT}),
    # CannotTell
    (CannotTell("?"), FIND, FINDABLE, {}, Action.DOUBT, {"due": Due.LATER}),
    (CannotTell("?"), FIND, FINDABLE, SPENT, Action.PARK_OPEN, {"cause": Cause.DOUBT}),
    (CannotTell("?", DOWN.error), FIND, FINDABLE, SPENT, Action.DOUBT, {"pause": True, "refund": True}),
    # NotSent, TryAgain, ConnectionDown
    (NOT_SENT, FIRST, FINDABLE, {}, Action.AGAIN, {"due": Due.NOW, "refund": True}),
    (TRY, FIRST, FINDABLE, {}, Action.AGAIN, {"due": Due.LATER, "after": 3.0, "refund": False}),
    (DOWN, FIRST, FINDABLE, {}, Action.AGAIN, {"pause": True, "refund": True, "after": 9.0}),
    (TRY, FIRST, FINDABLE, LATER_STEP, Action.STEP_AGAIN, {"after": 3.0}),
    (DOWN, FIRST, FINDABLE, LATER_STEP, Action.STEP_AGAIN, {"pause": True}),
    (NOT_SENT, FIRST, FINDABLE, LATER_STEP, Action.STEP_AGAIN, {}),
    (TRY, FIRST, FINDABLE, {**LATER_STEP, **MOVED_WANT}, Action.AGAIN, {}),
    (TRY, FIRST, FINDABLE, SPENT, Action.PARK, {"cause": Cause.GAVE_UP}),
    (DOWN, FIRST, FINDABLE, SPENT, Action.AGAIN, {"pause": True}),
    (NOT_SENT, FIRST, FINDABLE, SPENT, Action.AGAIN, {}),
    *(
        (error, REPEAT, delivery, {}, Action.DOUBT, {})
        for error in (TRY, DOWN, NOT_SENT)
        for delivery in (KEYED, PUT, LEAST)
    ),
    (TRY, REPEAT, PUT, UPDATE, Action.AGAIN, {"unsure": True}),
    (TRY, REPEAT, PUT, {**UPDATE, **SPENT}, Action.PARK, {"cause": Cause.GAVE_UP}),
    (DOWN, REPEAT, PUT, UPDATE, Action.AGAIN, {"unsure": True, "pause": True}),
    (TRY, REPEAT, PUT, {**UPDATE, **EARLY}, Action.DOUBT, {}),
    (TRY, REPEAT, KEYED, UPDATE, Action.DOUBT, {}),
    (TRY, FIND, FINDABLE, {}, Action.DOUBT, {}),
    (DOWN, FIND, FINDABLE, {}, Action.DOUBT, {"pause": True}),
    # refused because the object moved there
    (MOVED, FIRST, FINDABLE, UPDATE, Action.MOVED, {}),
    (MOVED, REPEAT, PUT, UPDATE, Action.DOUBT, {}),
    # refused for our own re-opening
    (BAD, FIRST, FINDABLE, INNOCENT, Action.INNOCENT, {"cause": None}),
    (BAD, FIRST, FINDABLE, {**INNOCENT, **SPENT}, Action.INNOCENT, {"cause": Cause.GAVE_UP}),
    (BAD, REPEAT, KEYED, INNOCENT, Action.DOUBT, {}),
    # refused for its own sake
    (BAD, FIRST, FINDABLE, {}, Action.PARK, {"cause": Cause.INVALID}),
    (BAD, FIRST, FINDABLE, LATER_STEP, Action.PARK, {"cause": Cause.INVALID}),
    (BAD, REPEAT, KEYED, {}, Action.PARK_OPEN, {"cause": Cause.INVALID}),
    (BAD, REPEAT, KEYED, EARLY, Action.DOUBT, {"due": Due.ABSENT}),
    (BAD, REPEAT, PUT, {}, Action.PARK_OPEN, {"cause": Cause.INVALID}),
    (BAD, REPEAT, PUT, UPDATE, Action.PARK, {"unsure": True}),
    (BAD, REPEAT, PUT, {**UPDATE, **EARLY}, Action.DOUBT, {"due": Due.ABSENT}),
    # Refused(already done)
    (DONE, FIRST, FINDABLE, {}, Action.DOUBT, {}),
    (DONE, REPEAT, KEYED, {}, Action.DOUBT, {}),
    # no usable answer
    (SILENT, FIRST, FINDABLE, {}, Action.DOUBT, {}),
    (SILENT, FIRST, PUT, UPDATE, Action.DOUBT, {}),
    (SILENT, REPEAT, KEYED, {}, Action.DOUBT, {}),
    (SILENT, REPEAT, LEAST, {}, Action.DOUBT, {}),
]


def _name(line: tuple[Any, ...]) -> str:
    result, send, delivery, facts, *_ = line
    error = getattr(result, "error", None)
    what = f"{type(error).__name__}({error.cause.value})" if error is not None else type(result).__name__
    return f"{what} to a {send} of {delivery} {facts}"


@pytest.mark.parametrize("line", TABLE, ids=_name)
def test_the_table_says(line: tuple[Any, ...]) -> None:
    result, send, delivery, facts, action, more = line
    verdict = decide(replace(BASE, send=send, delivery=delivery, **facts), result)
    assert verdict.action is action
    assert {name: getattr(verdict, name) for name in more} == more


EVERY = [
    Applied(REF),
    Next(REF),
    SENT,
    OTHER,
    Absent(),
    Several((REF,)),
    Gone(),
    CannotTell("?"),
    TRY,
    DOWN,
    NOT_SENT,
    BAD,
    MOVED,
    DONE,
    SILENT,
]
WRITES = [Applied(REF), Next(REF), Gone(), TRY, DOWN, NOT_SENT, BAD, MOVED, DONE, SILENT]
CLOSES = {
    Action.AGAIN,
    Action.PARK,
    Action.GONE,
    Action.MOVED,
    Action.INNOCENT,
    Action.ADOPT,
    Action.BOTH_MOVED,
}


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("result", WRITES, ids=lambda result: _name((result, FIRST, FINDABLE, {})))
def test_a_definite_answer_to_a_repeat_never_closes_while_an_earlier_send_may_land(
    result: Any, delivery: Delivery, create: bool
) -> None:
    if isinstance(result, Gone) and create:
        return  # never of a create
    verdict = decide(replace(BASE, send=REPEAT, delivery=delivery, create=create, passed=False), result)
    assert verdict.action not in CLOSES


@pytest.mark.parametrize("delivery", Delivery)
def test_a_look_up_before_absent_after_never_says_that_nothing_happened(delivery: Delivery) -> None:
    for create in (True, False):
        for result in (Absent(), Gone(), replace_content(Content.BASE)):
            verdict = decide(
                replace(
                    BASE, send=FIND, delivery=delivery, create=create, passed=False, content=Content.BASE
                ),
                result,
            )
            assert verdict.action in (Action.DOUBT, Action.ADOPT)
            if not (create and isinstance(result, Found)):
                assert verdict == replace(verdict, action=Action.DOUBT, due=Due.ABSENT)


def replace_content(content: Content) -> Found:
    return Found(REF, as_sent=content is Content.SENT, state={})


@pytest.mark.parametrize("send", Send)
@pytest.mark.parametrize("result", EVERY, ids=lambda result: _name((result, FIRST, FINDABLE, {})))
def test_every_result_has_a_verdict_and_an_outage_never_spends_the_budget(send: Send, result: Any) -> None:
    for delivery in Delivery:
        for create in (True, False):
            verdict = decide(
                replace(BASE, send=send, delivery=delivery, create=create, spent=True, content=Content.OTHER),
                result,
            )
            error = getattr(result, "error", None)
            if isinstance(error, ConnectionDown | NotSent):
                assert verdict.refund
                assert verdict.action not in (Action.PARK, Action.PARK_OPEN)
