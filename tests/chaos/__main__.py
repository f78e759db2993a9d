"""`make chaos`: two vendors and their faults, the hub killed again and again, then the judges.

Processes with files of their own: this generator, the hub (killed with SIGKILL two seconds after each ready), and the
sandboxes of Kingdee and WeCom, whose ledgers are never killed. `python -m tests.chaos --help` lists the knobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import play

__all__: list[str] = []


def main() -> int:
    """Parse the knobs, play, print one JSON line per invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long the killing goes on")
    parser.add_argument("--alive", type=float, default=2.0, help="seconds from ready to kill -9")
    parser.add_argument("--rate", type=float, default=20.0, help="payments per second")
    parser.add_argument("--acts", type=float, default=8.0, help="acts of WeCom's users per second")
    parser.add_argument("--edits", type=float, default=4.0, help="edits of relations in the CRM per second")
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--drop", type=float, default=0.3, help="applied, answer cut off, at both vendors")
    parser.add_argument("--late", type=float, default=0.3, help="Kingdee: no answer, applied later")
    parser.add_argument("--late-by", type=float, default=1.5)
    parser.add_argument("--broken", type=float, default=0.1, help="WeCom: HTTP 502 to a write")
    parser.add_argument("--settle-after", type=float, default=3.0)
    parser.add_argument("--drain", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look")
    wanted = parser.parse_args()
    print(
        f"seed {wanted.seed}: {wanted.seconds:.0f} s, kill -9 {wanted.alive} s after each ready", flush=True
    )
    folder = Path(tempfile.mkdtemp(prefix="hub-chaos-"))
    report = asyncio.run(play(wanted, folder))
    for line in report.pop("invariants"):
        found = line["violations"]
        print(json.dumps({**line, "violations": len(found), "which": found[:5]}, ensure_ascii=False))
    print(json.dumps(report, ensure_ascii=False))
    if wanted.keep or report["violations"]:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if report["violations"] or report["audit"] != "ok" else 0


if __name__ == "__main__":
    sys.exit(main())
