"""A subscriber of hub.changes: one line per change of a record, for whoever wants to react.

    HUB_DATA_DIR=var python examples/subscriber.py POSITION_FILE [--once]

The hub remembers no subscriber: its position is its own, kept here in a file, saved after the work is done. So a crash
repeats some events (an event's `ce_id` stays the same), it never skips one. Events carry field names, never a value:
fetch the record by its id from the API.
"""  # noqa: INP001 - an example, not a package

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from hub.bus import CHANGES, Bus
from hub.clock import SystemClock
from hub.settings import load_settings
from hub.wiring import open_bus


async def follow(bus: Bus, partition: int, saved: Path, *, once: bool) -> None:
    """Print the changes of one partition, from where the file says; ``once``: to the end, then stop."""
    known = saved.read_text() if saved.exists() else ""  # noqa: ASYNC240 - a file of a few bytes
    offset = int(known or (await bus.bounds(CHANGES, partition)).first)
    while True:
        batch = await bus.read(CHANGES, partition, offset, 200)
        for message in batch.events:
            change = json.loads(message.body)
            print(message.headers["ce_type"], change["id"], change["version"], *change["changed"], flush=True)  # noqa: T201
        if batch.next > offset:
            offset = batch.next
            (saved.parent / f"{saved.name}.new").write_text(str(offset))
            (saved.parent / f"{saved.name}.new").replace(saved)
        elif once:
            return
        else:
            await bus.wait(CHANGES, partition, offset, 30)


async def main(file: str, *options: str) -> None:
    """Follow every partition at once."""
    bus = open_bus(load_settings(), SystemClock())
    places = [Path(f"{file}.{number}") for number in range(await bus.partitions(CHANGES))]
    await asyncio.gather(*(follow(bus, n, place, once="--once" in options) for n, place in enumerate(places)))
    await bus.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
