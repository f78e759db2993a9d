"""`make storm`: as many actions as one likes, from a seed; prints counts, seconds and the differences, which must be 0."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.storm.run import Weather, storm


def main() -> int:
    """Parse the knobs, play, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm")
    parser.add_argument("--actions", type=int, default=10_000)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lose", type=float, default=0.1)
    parser.add_argument("--double", type=float, default=0.2)
    parser.add_argument("--overtake", type=float, default=0.4)
    parser.add_argument(
        "--store", default=None, help="a PostgreSQL address; default: SQLite in a folder of its own"
    )
    wanted = parser.parse_args()
    print(f"seed {wanted.seed}: {wanted.actions} actions over {wanted.people} people", flush=True)
    started = time.monotonic()

    def told(played: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{played} / {wanted.actions}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="hub-storm-") as folder:
        outcome = asyncio.run(
            storm(Path(folder), actions=wanted.actions, seed=wanted.seed, people=wanted.people, store_url=wanted.store,
                  weather=Weather(wanted.lose, wanted.double, wanted.overtake), told=told)
        )  # fmt: skip
    for one in outcome.differences[:20]:
        print(f"{one.external}: {one.what}: wanted {one.wanted!r}, found {one.found!r}")
    print(outcome.story)
    seconds = round(time.monotonic() - started, 1)
    report = {"seed": wanted.seed, "actions": wanted.actions, "seconds": seconds, **outcome.counts,
              "differences": len(outcome.differences)}  # fmt: skip
    print(json.dumps(report, ensure_ascii=False))
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
