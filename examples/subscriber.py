"""A subscriber: one line a change. Usage: HUB_DATA_DIR=var python examples/subscriber.py POSITION_FILE [--once].

Its position is its own and saved after the work: a crash repeats some events (with the same `ce_id`), it skips none.
Events carry field names, never a value: fetch the record by its id from the API.
"""  # noqa: INP001 - an example, not a package

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
    offset = int(saved.read_text()) if saved.exists() else (await bus.bounds(CHANGES, partition)).first  # noqa: ASYNC240
    while await bus.wait(CHANGES, partition, offset, 0 if once else 30) or not once:
        batch = await bus.read(CHANGES, partition, offset, 200)
        for message in batch.events:
            change = json.loads(message.body)
            print(message.headers["ce_type"], change["id"], change["version"], *change["changed"], flush=True)  # noqa: T201
        new = saved.with_name(f"{saved.name}.new")
        new.write_text(str(offset := batch.next))
        new.replace(saved)


async def main(file: str, *options: str) -> None:
    """Follow every partition at once."""
    bus = open_bus(load_settings(), SystemClock())
    places = [Path(f"{file}.{number}") for number in range(await bus.partitions(CHANGES))]
    await asyncio.gather(*(follow(bus, n, place, once="--once" in options) for n, place in enumerate(places)))
    await bus.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
