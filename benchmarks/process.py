"""One `hub up` as a user starts it, its store already made: seconds until ready, and what it costs to do nothing.

Ready is the quickest of three starts (a start is all CPU: whatever else runs on the machine only adds to it). Memory is the resident set of the process three seconds after ready; idle CPU is the share of one core over the next
three seconds (polls of the store, the sweep, the sealer), without a budget.
"""

from __future__ import annotations

import time

import orjson

from benchmarks.measure import Row, row
from benchmarks.running import running_hub

READY, MEMORY = 2.0, 150.0
STARTS = 3
SETTLED, WATCHED = 3.0, 3.0


def run() -> list[Row]:
    """Start it, leave it alone, look at it."""
    starts = []
    for _ in range(STARTS - 1):
        with running_hub() as hub:
            starts.append(hub.ready)
    with running_hub() as hub:
        starts.append(hub.ready)
        time.sleep(SETTLED)
        memory = hub.process.memory_info().rss / 2**20
        used, began = hub.cpu, time.perf_counter()
        time.sleep(WATCHED)
        share = (hub.cpu - used) / (time.perf_counter() - began)
    return [
        row("hub up, start to ready", min(starts), None, READY, "s"),
        row("hub up, idle, resident memory", memory, None, MEMORY, "MiB"),
        row("hub up, idle, share of one core", share, None, None, "core"),
    ]


if __name__ == "__main__":
    print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
