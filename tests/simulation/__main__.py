"""`python -m tests.simulation --seeds 500`: run seeds, say what was violated, what went wrong on purpose, what was reached."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import multiprocessing
import signal
import sys
import time
import traceback
from collections import Counter
from typing import Any

from tests.simulation.invariants import Violation
from tests.simulation.world import Options, Outcome, simulate

REPEAT_EVERY = 50
TELL = 500
"""Seeds between two lines of a long run."""
RARE = (
    "agree", "next", "adopt", "both_moved", "doubt", "again", "step_again", "park", "park_open", "gone", "innocent",
    "claimed", "unchanged", "waiting", "lapsed", "late", "stale", "same", "created", "changed", "retry",
    "paused", "resumed", "possible_duplicate", "resolved", "replayed", "conflict:crm", "conflict:source",
)  # fmt: skip
"""Branches that a batch of a few hundred seeds must reach: a check that is never asked proves nothing."""


def one(seed: int, options: Options | None = None) -> Outcome:
    """Run a seed; a crash of the simulator is a violation too."""
    try:
        made = simulate(seed, options)
        if seed % REPEAT_EVERY == 0 and simulate(seed, options).digest != made.digest:
            made.violations.append(Violation("determinism", "the same seed gave another history"))
    except Exception:
        return Outcome(seed, "", [Violation("crash", traceback.format_exc())], Counter(), Counter(), 0.0)
    if not made.violations:
        made.timeline.clear()
    return made


POINTS = (
    "claimed", "before_send", "after_send", "answered", "settled", "store.commit.before", "store.commit.after", "published",
)  # fmt: skip
"""Where a process of the simulator can die; the log's own are killed by its suite, the daily sweep's by its flow tests."""
TRIES = 20
"""Seeds until a pair of deaths counts as never reached."""


def pair(deaths: tuple[str, str]) -> tuple[tuple[str, str], list[Outcome], bool]:
    """Run seeds until in one of them a process died at the first point and later one at the second."""
    made = []
    for seed in range(TRIES):
        made.append(one(seed, Options(deaths=deaths)))
        if made[-1].faults["killed at a crash point"] >= len(deaths) or made[-1].violations:
            return deaths, made, True
    return deaths, made, False


def pairs(pool: Any) -> int:
    """Kill at every ordered pair of crash points; return how many pairs broke something or were never reached."""
    started, bad, runs = time.monotonic(), 0, 0
    for deaths, made, reached in pool.imap(pair, itertools.product(POINTS, POINTS), chunksize=2):
        runs += len(made)
        broken = [outcome for outcome in made if outcome.violations]
        bad += bool(broken) or not reached
        if broken or not reached:
            print(f"dead at {deaths[0]}, then at {deaths[1]}: {'broken' if broken else 'NEVER REACHED'}")
        for outcome in broken[:1]:
            show(outcome, everything=False)
    print(f"{len(POINTS) ** 2} pairs of crash points in {runs} runs, {bad} broken or never reached, "
          f"{time.monotonic() - started:.1f} s")  # fmt: skip
    return bad


def show(outcome: Outcome, *, everything: bool) -> None:
    """Print what was violated and the timeline of the one record concerned."""
    print(f"seed {outcome.seed}: {len(outcome.violations)} violations, history {outcome.digest}")
    for violation in outcome.violations[:8]:
        print(f"  {violation}")
    first = outcome.violations[0].record if outcome.violations else None
    for at, record, text in outcome.timeline:
        if everything or (
            first is not None and (record == first or (record is None and not text.startswith("act")))
        ):
            print(f"    {(at % 3_600_000_000) / 1e6:10.3f}  {text[:400]}")


def main() -> int:
    """Run as asked; return 1 if anything was violated or, in a large batch, never reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, default=None, help="run this one and print its whole history")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    wanted = parser.parse_args()
    if wanted.seed is not None:
        outcome = simulate(wanted.seed)
        show(outcome, everything=True)
        return int(bool(outcome.violations))
    started = time.monotonic()
    seeds = range(wanted.start, wanted.start + wanted.seeds)
    with multiprocessing.get_context("fork").Pool(wanted.jobs, _quiet) as pool:
        outcomes: list[Outcome] = []
        with contextlib.suppress(KeyboardInterrupt):  # what was run is told all the same
            for outcome in pool.imap(one, seeds, chunksize=4):
                outcomes.append(outcome)
                _progress(outcomes, wanted.seeds, started)
        found = report(outcomes, time.monotonic() - started)
        return found or int(pairs(pool) > 0)


def _quiet() -> None:
    """Log nothing in the pool's own processes, and leave an interrupt to whoever gathers what they find."""
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _progress(outcomes: list[Outcome], seeds: int, started: float) -> None:
    """Say now and then how far a long run is, and at once which seed was violated."""
    if outcomes[-1].violations:
        print(f"seed {outcomes[-1].seed} is broken", file=sys.stderr, flush=True)
    if len(outcomes) % TELL == 0 and seeds > TELL:
        broken = sum(bool(outcome.violations) for outcome in outcomes)
        took = time.monotonic() - started
        print(f"{len(outcomes)} of {seeds} seeds, {broken} broken, {took:.0f} s", file=sys.stderr, flush=True)


def report(outcomes: list[Outcome], seconds: float) -> int:
    """Print the batch's numbers; return the exit code."""
    broken = [outcome for outcome in outcomes if outcome.violations]
    for outcome in broken[:3]:
        show(outcome, everything=False)
    kinds = Counter(violation.invariant for outcome in broken for violation in outcome.violations)
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    branches = sum((outcome.branches for outcome in outcomes), Counter[str]())
    unreached = [name for name in RARE if not branches[name]] if len(outcomes) >= 200 else []
    print(
        f"faults injected {sum(faults.values())}: " + ", ".join(f"{k} {v}" for k, v in faults.most_common())
    )
    print("reached: " + ", ".join(f"{k} {v}" for k, v in sorted(branches.items())))
    if unreached:
        print(f"NEVER REACHED: {', '.join(unreached)}")
    days = sum(outcome.seconds for outcome in outcomes) / 86_400
    repeated = sum(outcome.seed % REPEAT_EVERY == 0 for outcome in outcomes)
    print(
        f"violations by invariant: {dict(kinds)}; broken seeds: {[outcome.seed for outcome in broken][:40]}"
    )
    print(f"{len(outcomes)} seeds, {days:.2f} virtual days, {len(broken)} seeds with violations, "
          f"{repeated} run twice with equal hashes, {seconds:.1f} s")  # fmt: skip
    return int(bool(broken or unreached))


if __name__ == "__main__":
    sys.exit(main())
