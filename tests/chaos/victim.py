"""The hub as its own process: what `hub up` runs, killed at any moment."""

from __future__ import annotations

import asyncio
import sys

from hub import log as hublog
from hub import wiring
from hub.api.serve import serve
from hub.clock import SystemClock
from hub.settings import load_settings


async def _main() -> None:
    settings = load_settings()
    hublog.configure(SystemClock().now, level="warning")
    hub = wiring.open_hub(settings, start=True)
    if hub.down:
        raise SystemExit(f"connections down: {hub.down}")
    ready = asyncio.Event()
    serving = asyncio.ensure_future(serve(hub, ready=ready))
    await asyncio.wait({asyncio.ensure_future(ready.wait()), serving}, return_when=asyncio.FIRST_COMPLETED)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await serving
    await hub.aclose()


if __name__ == "__main__":
    asyncio.run(_main())
