"""`make chaos`: two vendors and their faults, the hub broken again and again, then an independent judge.

Processes with files of their own: the generator, the hub (killed with SIGKILL some time after each ready, at every
named crash point, stopped for a while, rolled), the sandboxes of Kingdee and WeCom, whose ledgers are never killed, a
faulty line between each pair, and at the end the checker, which imports nothing from the hub.
``python -m tests.chaos --help`` lists the knobs; ``--level 2`` sets those of a long run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos import children
from tests.chaos.engines import ENGINES
from tests.chaos.people import CALM
from tests.chaos.planted import PLANTED
from tests.chaos.run import play

__all__: list[str] = []

LEVELS = {
    1: {},
    2: {
        "seconds": math.inf, "events": 1_000_000, "customers": 2_000, "people": 18_000, "zipf": 1.0, "batch": 50, "acts": 500.0, "backlog": 60_000,
        "rate": 5.0, "edits": 5.0, "alive": 5.0, "kills": 200, "drop": 0.1, "late": 0.1, "broken": 0.1,
        "patience": 600.0, "workers": 3, "lines": False,
    },
}  # fmt: skip
"""Level -> the knobs it sets; one given on the command line wins."""


def main() -> int:
    """Parse the knobs, play, have it judged, print one JSON line per invariant."""
    parser = _parser()
    parser.set_defaults(**LEVELS[parser.parse_args().level])
    wanted = parser.parse_args()
    wanted.workers = wanted.workers or (1 if wanted.engine == "embedded" else 3)
    print(f"seed {wanted.seed}: {wanted.engine}, kill -9 {wanted.alive} s after each ready", flush=True)
    children.end_as_interrupted()
    folder = Path(tempfile.mkdtemp(prefix="hub-chaos-"))
    started = time.monotonic()
    code = asyncio.run(_judged(wanted, folder, started))
    if wanted.keep or code:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return code


async def _judged(wanted: argparse.Namespace, folder: Path, started: float) -> int:
    try:
        report = await play(wanted, folder)
    except BaseException:
        print(f"kept: {folder}", flush=True)
        raise
    checker = await children.start("-m", "tests.chaos.checker", str(folder))
    out, _ = await checker.communicate()
    print(out.decode(), end="")
    report |= {
        "seconds": round(time.monotonic() - started),
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}, Python {platform.python_version()}",
    }
    print(json.dumps(report, ensure_ascii=False))
    return await children.end(checker)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--level", type=int, choices=LEVELS, default=1)
    parser.add_argument("--engine", choices=ENGINES, default="embedded")
    parser.add_argument(
        "--workers", type=int, default=0, help="0: one process on the embedded engine, 3 workers on Kafka"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="also a second company that books in Yonyou, and approvals in DingTalk and WeCom",
    )
    parser.add_argument(
        "--approvals", type=float, default=1.0, help="approvals asked for per second, with --all"
    )
    parser.add_argument("--seconds", type=float, default=90.0, help="how long the breaking goes on at least")
    parser.add_argument(
        "--events", type=int, default=0, help="end after so many payments, acts and edits; 0: by the seconds"
    )
    parser.add_argument("--alive", type=float, default=2.0, help="seconds from ready to kill -9")
    parser.add_argument("--kills", type=int, default=20, help="how many there must have been")
    parser.add_argument("--stops", type=float, nargs="*", default=[1.0, 6.0, 16.0], help="seconds of SIGSTOP")
    parser.add_argument("--rolls", type=int, default=2, help="rolling restarts")
    parser.add_argument(
        "--no-plan", dest="plan", action="store_false", help="kills only: no points, stops, rolls, outages"
    )
    parser.add_argument("--rate", type=float, default=40.0, help="payments per second")
    parser.add_argument("--lanes", type=int, default=8, help="how many payments are under way at once")
    parser.add_argument("--acts", type=float, default=8.0, help="acts of WeCom's users per second")
    parser.add_argument("--edits", type=float, default=4.0, help="edits of relations in the CRM per second")
    parser.add_argument("--customers", type=int, default=50)
    parser.add_argument(
        "--people", type=int, default=0, help="known from the beginning; 0: they come as it goes"
    )
    parser.add_argument("--batch", type=int, default=1, help="acts of WeCom's users in one moment")
    parser.add_argument(
        "--backlog", type=int, default=CALM, help="what may wait in the hub: while it is more, nobody acts"
    )
    parser.add_argument(
        "--zipf",
        type=float,
        default=0.5,
        help="how uneven payments and acts are spread over customers and relations",
    )
    parser.add_argument(
        "--poison", type=float, default=0.01, help="payments that the vendor refuses for ever"
    )
    parser.add_argument("--drop", type=float, default=0.05, help="applied, answer cut off, at both vendors")
    parser.add_argument("--late", type=float, default=0.05, help="Kingdee: no answer, applied later")
    parser.add_argument("--late-by", type=float, default=1.5)
    parser.add_argument("--broken", type=float, default=0.05, help="WeCom: HTTP 502 to a write")
    parser.add_argument("--latency", type=float, default=0.0, help="ms a sandbox takes before it applies")
    parser.add_argument("--network", type=float, default=0.05, help="connections to which something happens")
    parser.add_argument(
        "--lines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also before database and brokers",
    )
    parser.add_argument(
        "--sessions", type=float, default=10.0, help="seconds between lost sessions and tokens"
    )
    parser.add_argument("--settle-after", type=float, default=3.0)
    parser.add_argument("--drain", type=float, default=120.0, help="seconds it may take to come to rest")
    parser.add_argument(
        "--takeover", type=float, default=15.0, help="seconds until a dead process's claims are others'"
    )
    parser.add_argument(
        "--patience", type=float, default=300.0, help="seconds after which waiting for rest ends the run"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--planted", choices=["", *PLANTED], default="", help="a broken build of the hub")
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    return parser


if __name__ == "__main__":
    sys.exit(main())
