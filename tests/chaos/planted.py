"""Broken builds of the hub for the judge to find: one line in the nursery breaks every process that is forked from it.

``python -m tests.chaos.planted [NAME]…`` plays a short run on each, and ends with 1 if a judge found nothing: a judge
that cannot fail proves nothing. Each also tells which invariants it breaks.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["PLANTED", "Plant"]

Plant = Callable[[], None]
LATER = 3.0
"""Seconds after which a remark is sent once more."""
RUN = (
    "--no-plan",
    "--seconds",
    "45",
    "--kills",
    "8",
    "--drop",
    "0.15",
    "--late",
    "0.0",
    "--rate",
    "30",
    "--acts",
    "15",
)
"""A short run with the faults that a broken build stumbles over."""


def _doubt_means_absent() -> None:
    """Receipts in doubt are sent again without a look-up."""
    from connectors.kingdee.connector import KingdeeConnector
    from hub.sdk import Absent, Write

    asked = KingdeeConnector.find

    async def find(self: KingdeeConnector, writes: Sequence[Write]) -> Sequence[Any]:
        if writes and writes[0].object == "receipt":
            return [Absent() for _ in writes]
        return await asked(self, writes)

    KingdeeConnector.find = find  # type: ignore[method-assign]


def _tenth_callback_dropped() -> None:
    """Every tenth callback is acknowledged and never published."""
    from hub.api.hooks import Doors

    store, number = Doors._store, itertools.count(1)

    async def kept(self: Doors, name: str, messages: Any) -> None:
        if next(number) % 10:
            await store(self, name, messages)

    Doors._store = kept  # type: ignore[method-assign]


def _remark_again() -> None:
    """Each remark is sent once more a while later, whatever was written since."""
    from connectors.wecom.connector import WeComConnector
    from hub.sdk import Write

    written, later = WeComConnector.write, set[asyncio.Future[None]]()

    async def write(self: WeComConnector, writes: Sequence[Write]) -> Sequence[Any]:
        async def again() -> None:
            await asyncio.sleep(LATER)
            await written(self, writes)

        results = await written(self, writes)
        later.add(asyncio.ensure_future(again()))
        return results

    WeComConnector.write = write  # type: ignore[method-assign]


PLANTED: dict[str, tuple[Plant, str]] = {
    "doubt means absent": (_doubt_means_absent, "nothing doubled: one receipt per payment"),
    "tenth callback dropped": (
        _tenth_callback_dropped,
        "nothing lost: what was acknowledged shows, before the sweep",
    ),
    "remark again": (_remark_again, "order kept: no write of a relation behind a newer one"),
}
"""Name -> how to break the hub, and the invariant that must then be found broken."""


async def _found(name: str, seed: int) -> list[str]:
    """Play a run on a broken build and return the invariants found broken."""
    from tests.chaos import children

    run = await children.start("-m", "tests.chaos", *RUN, "--planted", name, "--seed", str(seed))
    out, _ = await run.communicate()
    lines = [json.loads(line) for line in out.decode().splitlines() if line.startswith('{"invariant"')]
    return [line["invariant"] for line in lines if line["violations"]]


def main() -> int:
    """Play a run on each broken build; print which invariants were found broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.planted")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of: {', '.join(PLANTED)}")
    parser.add_argument("--seed", type=int, default=5)
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - PLANTED.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    unnoticed = 0
    for name in wanted.names or PLANTED:
        found = asyncio.run(_found(name, wanted.seed))
        unnoticed += PLANTED[name][1] not in found
        print(json.dumps({"planted": name, "found": found, "seed": wanted.seed}), flush=True)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
