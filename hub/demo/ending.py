"""The end of the day: the audit trail is sealed and verified, and a copy of the store with one flipped byte is not."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from hub.audit.seal import oldest_unsealed
from hub.audit.verify import Damage, Report, verify
from hub.demo.stage import Stage, StoryFailed
from hub.wiring import HEADS, PUBLIC_KEY

__all__ = ["COPY", "flipped", "verified"]

COPY = "flipped.db"
"""The copy of the store in which a byte is flipped; it stays, so that a person can try the verifier on it."""


async def verified(stage: Stage) -> Report:
    """Wait until every act is sealed, and verify them.

    Raises:
        StoryFailed: the trail is not as it was sealed.
    """

    async def sealed() -> bool:
        return await stage.hub.store.read(oldest_unsealed) is None

    await stage.until("the seal over the last act", sealed)
    report = await _verified(stage, stage.folder / "hub.db")
    if report.damage is not None or not report.seals:
        raise StoryFailed(f"the audit trail does not verify: {report}")
    return report


async def flipped(stage: Stage) -> tuple[int, Damage | None]:
    """Flip one byte of an act in a copy of the store; return the act's number and what the verifier finds."""
    number = await asyncio.to_thread(_flip, stage.folder / "hub.db", stage.folder / COPY)
    return number, (await _verified(stage, stage.folder / COPY)).damage


async def _verified(stage: Stage, store: Path) -> Report:
    return await asyncio.to_thread(verify, store, stage.folder / PUBLIC_KEY, stage.folder / HEADS)


def _flip(store: Path, copy: Path) -> int:
    """Copy the store, and flip the lowest bit of one byte in the middle of an act's body: that file is no SQL's business."""
    copy.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(store)) as original:
        original.execute("VACUUM INTO ?", (str(copy),))  # without pages of earlier versions: the body is there once
    with contextlib.closing(sqlite3.connect(copy)) as conn:
        number, body = conn.execute(
            "SELECT seq, body FROM acts WHERE seq IS NOT NULL AND length(body) < 500 ORDER BY length(body) DESC, seq LIMIT 1"
        ).fetchone()
    raw = bytearray(copy.read_bytes())
    place = raw.find(body.encode())
    if place < 0:
        raise StoryFailed(f"the body of act number {number} is not in {copy}")
    raw[place + len(body.encode()) // 2] ^= 1
    copy.write_bytes(raw)
    return int(number)
