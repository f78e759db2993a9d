"""Any order of events: a Hypothesis state machine over the real transactions and a real store (invariants: pipe.md 8)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import make_url

from hub.pipe import desk
from hub.store import Store
from tests.simulation.bugs import planted
from tests.simulation.rules import Call, Site, SteppedClock
from tests.vendor import SETTLE_AFTER, Fate

EXAMPLES = int(os.environ.get("HUB_EXAMPLES", "0"))
"""How many examples each machine plays; 0: few enough for every run of the suite."""
CUSTOMERS, PAYMENTS = ("C-0", "C-1", "C-2"), ("P-0", "P-1", "P-2")
EXTRA = ((), ("keyed",), ("card",), ("mail",))
NAMES = ("name", "street", "remark")
SEEN = ("customer", "card")
DEATHS = st.sampled_from((None,) * 8 + ("store.commit.before", "store.commit.after"))
SENDS = (
    Fate.OK,
    Fate.OK,
    Fate.OK,
    Fate.LOST,
    Fate.LOST,
    Fate.LATE,
    Fate.LATE,
    Fate.NEVER,
    Fate.REFUSE,
    Fate.TRY,
    Fate.DOWN,
)

Open = Callable[[], tuple[Store, SteppedClock, Callable[[str], list[tuple[Any, ...]]], Callable[[], None]]]


def open_memory() -> tuple[Store, SteppedClock, Callable[[str], list[tuple[Any, ...]]], Callable[[], None]]:
    """Open a new store in memory."""
    clock = SteppedClock()
    store = Store.open("sqlite://", clock, inline=True)
    driver: Any = store._runner._driver
    return store, clock, lambda text: list(driver.execute(text).fetchall()), store.close


class Workers(RuleBasedStateMachine):
    """Callers, workers that die or come back late, and time, in any order."""

    claims: Bundle[Call] = Bundle("claims")
    answers: Bundle[Call] = Bundle("answers")

    def __init__(self, open_: Open = open_memory) -> None:
        super().__init__()
        self.outside = sys.exc_info()[1]
        store, self.clock, peek, self.close = open_()
        self.make = partial(Site, store, self.clock, peek)

    @initialize(
        seed=st.integers(0, 9),
        extra=st.sampled_from(EXTRA),
        on_doubt=st.sampled_from(("repeat", "park")),
        customers=st.integers(0, 2),
        payments=st.integers(0, 3),
        delivered=st.booleans(),
    )
    def begin(self, seed, extra, on_doubt, customers, payments, delivered):
        self.clock.start(seed)
        self.site = self.make(("customer", "receipt", *extra), on_doubt)
        for id_ in CUSTOMERS[:customers]:
            self.accept_customer(id_, "name", None)
        if delivered:
            self.site.work()
        for id_ in PAYMENTS[:payments] if customers else ():
            self.accept_payment(id_, 0, 1, None)

    # callers

    @rule(id_=st.sampled_from(CUSTOMERS), name=st.sampled_from(NAMES), at=DEATHS)
    def accept_customer(self, id_, name, at):
        body = dict(self.site.model.bodies.get(("customer", id_), {"phone": f"+86138000000{id_[-1]:0>2}"}))
        for field in {name, "name"} if "name" not in body else {name}:
            body[field] = self.site.values.new(f"{id_} {field}", body.get(field))
        self.site.put("customer", id_, body, at=at)

    @precondition(lambda self: any(kind == "customer" for kind, _ in self.site.model.records))
    @rule(id_=st.sampled_from(PAYMENTS), of=st.integers(0, 2), amount=st.integers(1, 9), at=DEATHS)
    def accept_payment(self, id_, of, amount, at):
        known = sorted(record for (kind, _), record in self.site.model.records.items() if kind == "customer")
        body = {"no": id_, "customer": known[of % len(known)], "currency": "CNY", "received_on": "2026-01-10"}
        body |= self.site.model.bodies.get(("payment", id_), {}) | {"amount": f"{amount}.00"}
        self.site.put("payment", id_, body, at=at)

    @precondition(lambda self: self.site.model.bodies)
    @rule(pick=st.integers(0, 4))
    def accept_the_same_again(self, pick):
        known = sorted(self.site.model.bodies)
        key = known[pick % len(known)]
        self.site.put(*key, self.site.model.bodies[key])

    @precondition(lambda self: self.site.model.bodies)
    @rule(pick=st.integers(0, 4))
    def accept_out_of_order(self, pick):
        known = sorted(self.site.model.bodies)
        key = known[pick % len(known)]
        self.site.put_stale(*key, self.site.model.bodies[key])

    # workers

    @precondition(lambda self: self.site.due())
    @rule(target=claims, pick=st.integers(0, 3), room=st.sampled_from((1, 1, 3)), at=DEATHS)
    def claim(self, pick, room, at):
        return multiple(*self.claim_row(pick, room, at=at))

    def claim_row(self, pick: int, room: int, *, at: str | None = None) -> list[Call]:
        due = self.site.due()
        row = due[pick % len(due)]
        connection = "crm" if row["sync"].startswith("api:") else "mem"
        return self.site.claim(connection, self.site._lane(row), room, at=at)

    @rule(
        target=answers,
        call=consumes(claims),
        fate=st.sampled_from(SENDS),
        late=st.sampled_from((5.0, 19.0)),
    )
    def send(self, call, fate, late):
        self.site.late_by = late
        self.site.send(call, fate)
        return call

    @precondition(lambda self: self.site.due())
    @rule(
        target=answers, pick=st.integers(0, 3), fate=st.sampled_from(SENDS), late=st.sampled_from((5.0, 19.0))
    )
    def claim_and_send(self, pick, fate, late):
        calls = self.claim_row(pick, 1)
        self.site.late_by = late
        for call in calls:
            self.site.send(call, fate)
        return multiple(*calls)

    @rule(target=answers, call=consumes(claims))
    def send_nothing(self, call):
        if call.attempt.write is None:
            self.site.send(call, Fate.NEVER)
        else:
            self.site.not_sent(call)
        return call

    @rule(call=consumes(answers), at=DEATHS)
    def settle(self, call, at):
        self.site.settle([call], at=at)

    @precondition(lambda self: self.site.due())
    @rule(pick=st.integers(0, 3), fate=st.sampled_from(SENDS), at=DEATHS)
    def deliver(self, pick, fate, at):
        for call in self.claim_row(pick, 3):
            self.site.send(call, fate)
            self.site.settle([call], at=at)

    @rule(target=claims, call=consumes(answers))
    def zombie_returns(self, call):
        self.leases_expire()
        calls = self.claim_row(0, 20) if self.site.due() else []
        self.site.settle([call])
        return multiple(*calls)

    @rule(call=consumes(claims))
    def crash_before_the_call(self, call):
        del call

    @rule(call=consumes(answers))
    def crash_before_the_settle(self, call):
        del call

    @rule(call=claims)
    def renew_the_lease(self, call):
        self.site.renew(call)

    @precondition(lambda self: len(self.site.due()) > 1)
    @rule()
    def work(self):
        self.site.work()

    @precondition(lambda self: any(row["state"] == "claimed" for row in self.site.judge.owed.values()))
    @rule()
    def leases_expire(self):
        self.site.advance(self.site.world.timing.lease + 0.5)
        self.site.sweep()

    @precondition(lambda self: any(row["state"] == "in_doubt" for row in self.site.judge.owed.values()))
    @rule()
    def settle_after_passes(self):
        self.site.advance(SETTLE_AFTER + self.site.world.timing.send_window)
        self.site.sweep()

    @rule(seconds=st.sampled_from((0.5, 3.0, 11.0, 61.0, 310.0)))
    def advance_the_clock(self, seconds):
        self.site.advance(seconds)

    @rule()
    def restart(self):
        self.site.restart()

    # judgement

    @invariant()
    def holds(self):
        if hasattr(self, "site"):
            self.judge(self.site.wrong())

    def judge(self, wrong: list[str]) -> None:
        assert not wrong, "\n".join([*dict.fromkeys(wrong[:8]), self.site.story()])

    def teardown(self) -> None:
        try:
            if hasattr(self, "site") and sys.exc_info()[1] is self.outside:
                self.raise_again_what_was_discarded()
                self.judge(list(self.site.settle_down()))
        finally:
            if hasattr(self, "site"):
                self.site.loop.close()
            self.close()

    def raise_again_what_was_discarded(self) -> None:
        """A caller who hears of a discard sends anew: then the last version must arrive after all."""
        for (kind, id_), record in list(self.site.model.records.items()):
            if any(subject == record for _, subject in self.site.model.discarded):
                body = dict(self.site.model.bodies[kind, id_])
                body["remark"] = self.site.values.new(f"{id_} remark", body.get("remark"))
                self.site.put(kind, id_, body)


class Pipe(Workers):
    """And users of the vendor, readers of its streams, an operator."""

    pages: Bundle[list[Any]] = Bundle("pages")

    # what comes in

    @precondition(lambda self: self.site.things())
    @rule(pick=st.integers(0, 5), name=st.sampled_from(NAMES))
    def user_edits(self, pick, name):
        things = self.site.things()
        thing = things[pick % len(things)]
        value = self.site.values.new(f"{thing.id} {name}", thing.fields.get(name))
        self.site.vendor.edit(thing.object, thing.id, **{name: value})
        self.site.judge.tell(f"USER edits {thing.object} {thing.id}.{name} = {value}")

    @precondition(lambda self: self.site.things())
    @rule(pick=st.integers(0, 5), hint=st.booleans())
    def user_deletes(self, pick, hint):
        things = self.site.things()
        thing = things[pick % len(things)]
        self.site.vendor.remove(thing.object, thing.id)
        self.site.judge.touched_by_user.add((thing.object, thing.id))
        self.site.judge.tell(f"USER deletes {thing.object} {thing.id}")
        if hint:
            self.site.hint(thing)

    @precondition(lambda self: len(self.site.things()) < 5)
    @rule()
    def user_makes(self):
        number = self.site.vendor.numbers
        self.site.vendor.add(
            "customer", name=self.site.values.new(f"U{number} name", None), phone=f"+861390000{number:04d}"
        )

    @precondition(lambda self: self.site.things())
    @rule(target=pages, stream=st.sampled_from(SEEN))
    def look(self, stream):
        return self.site.page(stream) if f"{stream}.in" in self.site.project.syncs else []

    @rule(page=consumes(pages))
    def publish_what_was_seen(self, page):
        self.site.publish(page)

    @rule(reader=st.integers(0, 1), limit=st.sampled_from((1, 5)), at=DEATHS)
    def take(self, reader, limit, at):
        self.site.take(reader, limit, at=at)

    @precondition(lambda self: self.site.things())
    @rule()
    def poll_and_take(self):
        self.site.poll()
        self.site.take(0)

    # people of ours

    @precondition(lambda self: self.site.parked())
    @rule(pick=st.integers(0, 3))
    def replay(self, pick):
        parked = self.site.parked()
        self.site.now(desk.replay, parked[pick % len(parked)]["id"], self.site.world, by="operator")

    @precondition(lambda self: self.site.parked())
    @rule(pick=st.integers(0, 3))
    def repair(self, pick):
        parked = self.site.parked()
        self.site.repair(parked[pick % len(parked)])

    @precondition(lambda self: any(row["target"] for row in self.site.parked()))
    @rule(pick=st.integers(0, 3))
    def edit_a_dead_letter(self, pick):
        parked = [row for row in self.site.parked() if row["target"]]
        row = parked[pick % len(parked)]
        value = self.site.values.new("operator remark", self.site.judge.records[row["subject"]].get("remark"))
        self.site.now(desk.edit, row["id"], {"remark": value}, self.site.world, by="operator")

    @precondition(
        lambda self: any(row["state"] in ("parked", "waiting") for row in self.site.judge.owed.values())
    )
    @rule(pick=st.integers(0, 3))
    def discard(self, pick):
        rows = [row for row in self.site.judge.owed.values() if row["state"] in ("parked", "waiting")]
        rows.sort(key=lambda row: row["id"])
        self.site.discard(rows[pick % len(rows)])

    @precondition(lambda self: not self.site.paused)
    @rule(pick=st.integers(0, 5))
    def pause(self, pick):
        names = ["mem", *sorted(self.site.project.syncs)]
        self.site.paused = names[pick % len(names)]
        self.site.now(desk.pause, self.site.paused, self.site.world, by="operator")

    @precondition(lambda self: self.site.paused)
    @rule()
    def resume(self):
        self.site.now(desk.resume, self.site.paused, self.site.world, by="operator")
        self.site.paused = ""


def play(machine: Callable[[], Workers], few: int, **known: Any) -> None:
    """Play examples; `HUB_EXAMPLES` for depth."""
    known.setdefault("stateful_step_count", 40)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES or few,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            **known,
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Workers, Pipe])
def test_every_order_of_events_keeps_the_invariants_on_sqlite(machine):
    play(machine, 80)


# PostgreSQL: the same machine, one database, emptied before every example

TABLES = (
    "records", "keys", "xrefs", "owed", "acts", "touched", "seals", "jobs", "connections", "budgets", "revisions",
)  # fmt: skip
EMPTY = (
    "SET session_replication_role = replica",  # the journal refuses to be emptied
    f"TRUNCATE {', '.join(TABLES)}",
    "ALTER SEQUENCE acts_id RESTART",
)


@contextmanager
def postgres(url: str) -> Iterator[Open]:
    """Give a function that hands out the one store, emptied."""
    clock = SteppedClock()
    store = Store.open(url, clock, inline=True)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection, connection.cursor(binary=True) as cursor:

        def peek(text: str) -> list[tuple[Any, ...]]:
            return list(cursor.execute(text).fetchall())

        def open_() -> Any:
            for statement in EMPTY:
                cursor.execute(statement)
            return store, clock, peek, lambda: None

        try:
            yield open_
        finally:
            store.close()


@pytest.mark.slow
def test_every_order_of_events_keeps_the_invariants_on_postgresql(fresh_postgres_url):
    with postgres(fresh_postgres_url) as open_:
        play(lambda: Pipe(open_), 20)


# the machine can fail

HUNTED = (
    "no claim",
    "no fence",
    "fence counted in the row",
    "lapse to ready",
    "delete on want >= generation",
    "complete kept by UnAudit",
)
"""Found within some dozen examples; the simulator's tests catch the others."""


@pytest.mark.parametrize("bug", HUNTED)
def test_the_machine_finds_a_planted_bug(bug):
    with planted(bug), pytest.raises(AssertionError, match=r"^\[\w+\] "):  # a broken invariant, not a crash
        play(Workers, 400, phases=(Phase.generate,), derandomize=True, database=None)
