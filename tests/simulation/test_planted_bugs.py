"""The checks can fail: each mistake of pipe.md 8 is planted into the real code, and somebody notices.

Some are caught by the first seeds of the simulator, the others by the flow test that tells of them, run in a process
of its own with the mistake planted. "no unique index on target" and "wake without the row lock" need two real
connections: they are in ``tests/flows/test_pipe_postgres.py``. "merge at any time": two records are not merged yet.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.bugs import BUGS, planted
from tests.simulation.world import Options, simulate

ROOT = Path(__file__).parents[2]
CALM = dict.fromkeys(
    ("lost", "never", "late", "try", "down", "refuse", "kill", "freeze", "crash", "find"), 0.0
)


def few(*objects: str, customers: int = 2, **rates: float) -> Options:
    """Return a small world in which these faults, and no others, happen often."""
    return Options(objects=objects, customers=customers, rates={**CALM, **rates}, enough=1)


BY_SEEDS = {
    "no claim": (1, few()),
    "lapse to ready": (8, few("card", customers=4, freeze=0.12, kill=0.1, lost=0.1)),
    "delete on want >= generation": (4, few("card")),
    "a repeat's definite answer closes the attempt": (3, few("card", late=0.3, refuse=0.1, down=0.1)),
    "no rest": (3, few("card", late=0.3)),
    "no stale check": (6, few("card")),
    "fence counted in the row": (1, few()),
    "no compare-and-set on positions": (6, few("card", customers=8, freeze=0.12, kill=0.12, lost=0.1)),
    "xref satisfied by its row alone": (4, few(customers=8, lost=0.2)),
    "complete kept by UnAudit": (4, few(refuse=0.1)),
    "ABS ignored": (4, few(late=0.3)),
}
"""Mistake -> how many of the first seeds are tried, and in what world."""

WRITES, ARRIVALS, WAITS = (f"tests/flows/test_pipe_{name}.py" for name in ("writes", "arrivals", "waits"))
BY_TEST = {
    "lapse to ready": f"{WRITES}::test_a_worker_that_comes_back_before_anybody_took_over_settles_its_own_write",
    "snapshot = what we sent": f"{WRITES}::test_a_user_s_edit_between_our_write_and_the_look_up_is_taken_not_absorbed",
    "no rest": f"{WRITES}::test_an_object_made_again_waits_until_a_late_copy_for_the_old_one_can_no_longer_land",
    "force cleared at claim": f"{WRITES}::test_a_replay_sends_everything_even_if_its_first_try_was_not_done",
    "one digest instead of the pair": "tests/unit/test_merge.py",
    "xref satisfied by its row alone": f"{WRITES}::test_nothing_is_due_but_the_plan_is_not_at_its_end_so_it_goes_on",
    "open attempt not looked at": f"{WAITS}::test_a_receipt_waits_while_nobody_knows_whether_its_customer_is_re_opened",
    "close without wake of xref": f"{WAITS}::test_a_plan_that_ends_without_having_re_opened_anything_wakes_who_waits",
    "innocent refusal parks": f"{WAITS}::test_a_refusal_that_our_own_re_opening_caused_parks_nothing",
    "plan by complete only": f"{WRITES}::test_a_refusal_at_a_later_step_plans_anew_from_the_stage_the_object_has",
    "Unchanged of an object not complete": f"{WRITES}::test_nothing_is_due_but_the_plan_is_not_at_its_end_so_it_goes_on",
    "rest of the primary xref only": f"{WRITES}::test_an_object_made_again_waits_until_a_late_copy_for_the_old_one_can_no_longer_land",
    "Gone taken as Refused": f"{WRITES}::test_an_object_that_is_gone_is_made_again",
    "Several taken as Absent": f"{WRITES}::test_of_two_objects_under_our_key_a_person_names_the_one",
    "no fence": f"{WRITES}::test_a_worker_that_comes_back_after_its_claim_was_taken_over_changes_nothing",
    "no stale check": f"{ARRIVALS}::test_a_read_that_began_before_the_last_settle_is_read_again",
}
"""Mistake -> the test that fails with it (each of them passes without it, in this same suite)."""


def test_every_planted_bug_has_somebody_who_notices() -> None:
    assert BY_SEEDS.keys() | BY_TEST.keys() == BUGS.keys()


@pytest.mark.parametrize("bug", BY_SEEDS)
def test_the_simulator_notices(bug: str) -> None:
    count, options = BY_SEEDS[bug]
    with planted(bug):
        found = any(simulate(seed, options).violations for seed in range(count))
    assert found, f"{bug}: {count} seeds and no violation"
    assert not any(simulate(seed, options).violations for seed in range(min(count, 2)))


@pytest.mark.parametrize("bug", BY_TEST)
def test_a_flow_test_notices(bug: str) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "tests.simulation.plant",
            "-p",
            "no:cacheprovider",
            BY_TEST[bug],
        ],
        cwd=ROOT,
        env={**os.environ, "HUB_PLANT": bug},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 1, run.stdout[-2000:] + run.stderr[-2000:]
    assert "failed" in run.stdout.splitlines()[-1], run.stdout[-2000:]
