"""The end of the day: the audit trail is sealed and verified, and a copy of the store with one flipped byte is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
from pathlib import Path

from hub.audit import verify as verify_program
from hub.audit.export import export_whole
from hub.audit.seal import oldest_unsealed
from hub.audit.verify import Damage
from hub.demo.stage import Stage, StoryFailed
from hub.wiring import HEADS, PUBLIC_KEY

__all__ = ["flipped", "verified"]

COPY = "flipped"
"""Name of the copy of the trail in which a byte is flipped; it stays, so that a person can try the verifier on it."""


async def verified(stage: Stage) -> str:
    """Wait until every act is sealed, let the verifier look at the store, and return what it says.

    It is a process of its own: to open and close the store's file in this one would drop SQLite's locks on it.

    Raises:
        StoryFailed: the trail is not as it was sealed.
    """

    async def sealed() -> bool:
        return await stage.hub.store.read(oldest_unsealed) is None

    await stage.until("the seal over the last act", sealed)
    verifier = await asyncio.create_subprocess_exec(
        sys.executable, verify_program.__file__, str(await _trail(stage)),
        "--public-key", str(stage.folder / PUBLIC_KEY), "--heads", str(stage.folder / HEADS),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = (await verifier.communicate())[0].decode().strip()
    if verifier.returncode != 0:
        raise StoryFailed(f"the audit trail does not verify: {said}")
    return said


async def _trail(stage: Stage) -> Path:
    """Return where the trail lies for a verifier: the store's own file, or an export of it."""
    if stage.hub.settings.store_url is None:
        return stage.folder / "hub.db"
    path = stage.folder / "audit.jsonl"
    lines = await stage.hub.store.read(lambda tx: list(export_whole(tx)))
    path.write_text("".join(lines), "utf-8")
    return path


async def flipped(stage: Stage) -> tuple[int, Damage | None, Path]:
    """Flip one byte of an act in a copy of the trail; return the act's number, what the verifier finds, and the copy."""
    trail = await _trail(stage)
    flip = _flip if trail.suffix == ".db" else _flip_exported
    copy = stage.folder / f"{COPY}{trail.suffix}"
    number = await asyncio.to_thread(flip, trail, copy)
    report = await asyncio.to_thread(
        verify_program.verify, copy, stage.folder / PUBLIC_KEY, stage.folder / HEADS
    )
    return number, report.damage, copy


def _flip(store: Path, copy: Path) -> int:
    """Copy the store, and flip the lowest bit of one byte in the middle of an act's body: that file is no SQL's business."""
    copy.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(store)) as original:
        # Not a plain copy: pages of earlier versions are left out, so the body stands there once.
        original.execute("VACUUM INTO ?", (str(copy),))
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


def _flip_exported(export: Path, copy: Path) -> int:
    """Copy an export, and flip the lowest bit of a letter or digit in the middle of an act's body."""
    lines = export.read_text("utf-8").splitlines(keepends=True)
    acts = {place: act for place, line in enumerate(lines) if (act := json.loads(line))["type"] == "act"}
    place = max(
        (place for place, act in acts.items() if len(act["body"]) < 500),
        key=lambda found: len(acts[found]["body"]),
    )
    act = acts[place]
    middle = next(
        at
        for at in range(len(act["body"]) // 2, len(act["body"]))
        if act["body"][at].isascii() and act["body"][at].isalnum()
    )
    act["body"] = act["body"][:middle] + chr(ord(act["body"][middle]) ^ 1) + act["body"][middle + 1 :]
    lines[place] = json.dumps(act, ensure_ascii=False, separators=(",", ":")) + "\n"
    copy.write_text("".join(lines), "utf-8")
    return int(act["seq"])
