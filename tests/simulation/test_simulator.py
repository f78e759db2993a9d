"""The simulator itself: time jumps, the same seed is the same history, a broken run says so."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation import __main__ as program
from tests.simulation.bugs import planted
from tests.simulation.loop import Deadlock, VirtualClock, VirtualLoop, run
from tests.simulation.model import Values
from tests.simulation.world import Options, simulate


def test_a_day_passes_in_no_time_and_timers_fire_in_order():
    loop = VirtualLoop()
    clock = VirtualClock(loop.time, "a")
    seen: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append(name)

    async def main() -> int:
        began = clock.now()
        await asyncio.gather(sleeper("late", 86_400), sleeper("early", 60))
        return clock.now() - began

    assert run(loop, main()) == 86_400_000_000
    assert seen == ["early", "late"]


def test_a_program_that_waits_for_nothing_is_a_deadlock_not_a_hang():
    loop = VirtualLoop()

    async def main() -> None:
        await loop.create_future()

    with pytest.raises(Deadlock):
        run(loop, main())


def test_the_same_seed_is_the_same_history_and_another_seed_another():
    first, again, other = simulate(3), simulate(3), simulate(4)
    assert first.digest == again.digest
    assert first.digest != other.digest
    assert first.faults == again.faults


def test_a_few_seeds_show_no_violation_and_a_lot_of_faults():
    outcomes = [simulate(seed) for seed in range(100, 110)]
    assert [violation for outcome in outcomes for violation in outcome.violations] == []
    assert sum(outcome.faults.total() for outcome in outcomes) > 100
    assert all(outcome.branches["agree"] for outcome in outcomes)


def test_without_faults_nothing_is_in_doubt():
    outcome = simulate(7, Options(faults=False, objects=()))
    assert outcome.violations == []
    assert outcome.branches["doubt"] == 0
    assert outcome.branches["lapsed"] == 0


def test_a_violation_names_the_seed_and_shows_the_timeline_of_its_record(capsys: pytest.CaptureFixture[str]):
    with planted("delete on want >= generation"):
        broken = next(outcome for outcome in map(simulate, range(1, 20)) if outcome.violations)
    assert program.report([broken], 1.0) == 1
    shown = capsys.readouterr().out
    assert f"seed {broken.seed}: " in shown
    assert "[17]" in shown
    assert "VIOLATION 17" in shown


def test_a_crash_of_the_simulator_is_a_violation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "simulate", lambda seed, options: 1 / 0)
    outcome = program.one(5)
    assert outcome.violations[0].invariant == "crash"
    assert "ZeroDivisionError" in outcome.violations[0].text


def test_a_rare_branch_that_a_large_batch_never_reaches_fails_the_batch(capsys: pytest.CaptureFixture[str]):
    quiet = [simulate(1, Options(faults=False, operations=2, objects=()))] * 200
    assert program.report(quiet, 1.0) == 1
    assert "NEVER REACHED" in capsys.readouterr().out


def test_a_value_descends_from_what_its_author_saw():
    values = Values()
    first = values.new("name", None)
    second = values.new("name", first)
    other = values.new("name", first)
    assert values.descends(second, first)
    assert values.descends(second, None)
    assert not values.descends(second, other)
    assert not values.descends(None, first)


def test_processes_die_at_one_crash_point_and_then_at_another():
    deaths, outcomes, reached = program.pair(("claimed", "answered"))
    assert deaths == ("claimed", "answered")
    assert reached
    assert not any(outcome.violations for outcome in outcomes)
    assert outcomes[-1].faults["crash at claimed"] == outcomes[-1].faults["crash at answered"] == 1
