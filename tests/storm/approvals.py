"""A storm of approvals between a CRM and WeCom or DingTalk, from a seed: prints a JSON line for each thing that must hold.

``python -m tests.storm.approvals --vendor dingtalk --approvals 1000 --seed 1``: the hub in this process, its time moved by hand.
``--kills 200``: the hub as a process of its own that dies so many times between a create and its answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.children import end_as_interrupted
from tests.storm.approval_judge import Invariant
from tests.storm.approval_kills import play_deaths
from tests.storm.approval_play import play
from tests.storm.approval_site import VENDORS
from tests.storm.approval_vendor import Sky

__all__ = ["lines", "main"]


def lines(found: Sequence[Invariant], seed: int, seconds: float) -> list[dict[str, Any]]:
    """Return a line for each invariant: how many were looked at and how many violate it, the first of them in words."""
    return [
        {
            "invariant": one.name, "looked_at": one.looked_at, "violations": len(one.violations), "seed": seed,
            "seconds": round(seconds, 1), **({"first": one.violations[:5]} if one.violations else {}),
        }
        for one in found
    ]  # fmt: skip


def main() -> int:
    """Parse the knobs, play, print; 1 if anything does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm.approvals")
    parser.add_argument("--vendor", choices=list(VENDORS), default="wecom")
    parser.add_argument("--approvals", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kills", type=int, default=0, help="as many deaths; one approval or more for each")
    for name in Sky.__dataclass_fields__:
        parser.add_argument(f"--{name}", type=float, default=getattr(Sky, name))
    wanted = parser.parse_args()
    end_as_interrupted()
    sky = Sky(**{name: getattr(wanted, name) for name in Sky.__dataclass_fields__})
    began = time.monotonic()

    def told(done: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} / {wanted.kills or wanted.approvals}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="hub-approvals-") as folder:
        storm = (
            play_deaths(Path(folder), kills=wanted.kills, seed=wanted.seed, vendor=wanted.vendor, told=told)
            if wanted.kills
            else play(
                Path(folder),
                approvals=wanted.approvals,
                seed=wanted.seed,
                vendor=wanted.vendor,
                sky=sky,
                told=told,
            )
        )
        found, counts = asyncio.run(storm)
    seconds = time.monotonic() - began
    print(json.dumps({"seed": wanted.seed, **counts}, ensure_ascii=False))
    for line in lines(found, wanted.seed, seconds):
        print(json.dumps(line, ensure_ascii=False))
    return int(any(one.violations for one in found))


if __name__ == "__main__":
    sys.exit(main())
