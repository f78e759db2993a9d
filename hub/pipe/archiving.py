"""Retention of the audit trail: once a day what is old enough leaves the store, after a verifier of its own read it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hub.audit import archive, verify
from hub.audit.archive import Range
from hub.clock import SECOND, Clock
from hub.errors import Cause, IntegrityError
from hub.log import get_logger
from hub.pipe.jobs import lease, positions, release
from hub.pipe.outlet import PUBLISH
from hub.store.engine import Store, Tx

__all__ = ["ARCHIVE", "Archiving", "Verified", "verified"]

ARCHIVE = "archive"
"""Name of the job."""
DAY = 86_400 * SECOND
LOOK = 600.0
"""Seconds between two looks whether something is old enough."""
LEASE = 900.0
"""Seconds one turn may take: a file of 100 MB is written and verified."""

_OK = re.compile(r"OK: acts (\d+) to (\d+), ")

Verified = Callable[[Path], Awaitable[Range]]


def verified(public_key: Path) -> Verified:
    """Return what verifies a file with the program an auditor has, in a process of its own.

    It returns the acts the file holds, and raises IntegrityError (``Cause.SEAL``) if they are not as they were sealed.
    """

    async def check(path: Path) -> Range:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(Path(verify.__file__)), str(path), "--public-key", str(public_key),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await program.communicate()
        match = _OK.match(said.decode(errors="replace"))
        if program.returncode != 0 or match is None:
            raise IntegrityError(
                Cause.SEAL, f"{path.name} does not verify: {said.decode(errors='replace')[:300].strip()}"
            )
        return Range(int(match[1]), int(match[2]))

    return check


@dataclass
class Archiving:
    """Exports, verifies and drops. ``days``: how long acts stay in the store; ``folder``: where they go."""

    store: Store
    clock: Clock
    holder: str
    folder: Path
    days: int
    verified: Verified
    _failed: IntegrityError | None = field(default=None, init=False, repr=False)
    _until: float = field(default=0.0, init=False, repr=False)

    async def turn(self) -> float:
        """Do what is due; return the seconds until the next look.

        Raises:
            IntegrityError: a file does not verify, or the folder holds another history; nothing was dropped.
        """
        if self._failed is not None and self.clock.monotonic() < self._until:
            raise IntegrityError(
                self._failed.cause, str(self._failed)
            )  # a file is not read again every few seconds
        self._failed = None
        held = await self.store.run(lease, ARCHIVE, ARCHIVE, self.holder, LEASE)
        if held is None:
            return LOOK
        try:
            left = await self.store.read(archive.still_here)
            if left is not None:
                await self._drop(left.last)
            return 1.0 if await self._export() else LOOK
        except IntegrityError as error:
            self._failed, self._until = error, self.clock.monotonic() + LOOK
            raise
        finally:
            await self.store.run(release, held)

    async def _export(self) -> bool:
        """Export the next range and drop it; False if nothing is old enough."""
        wanted = await self.store.read(_due, self.days)
        if wanted is None:
            return False
        begun = next((one for one in archive.files(self.folder) if one.first == wanted.first), wanted)
        wanted = min(wanted, begun)  # a process that died here had chosen fewer: its file is taken up
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = self.folder / "acts.unfinished"
        await self.store.read(archive.write_range, wanted, made)
        self.clock.crash_point("archive.written")
        await self._check(made, wanted)
        path = await asyncio.to_thread(archive.keep_file, made, wanted)
        sha256 = await asyncio.to_thread(archive.digest, path)
        await self.store.run(archive.note_export, wanted, sha256)
        self.clock.crash_point("archive.noted")
        await self._delete(wanted.last)
        get_logger("audit").info("audit.archived", first=wanted.first, last=wanted.last, file=str(path))
        return True

    async def _drop(self, last: int) -> None:
        """Go on with what a process that died had begun, if the file is still good."""
        known = next((one for one in archive.files(self.folder) if one.last == last), None)
        if known is None:
            raise IntegrityError(
                Cause.SEAL,
                f"{self.folder}: the file that ends with act {last} is missing; nothing was dropped",
            )
        await self._check(self.folder / known.file, known)
        await self._delete(last)

    async def _check(self, path: Path, wanted: Range) -> None:
        found = await self.verified(path)
        if found != wanted:
            raise IntegrityError(
                Cause.SEAL,
                f"{path.name} holds acts {found.first} to {found.last}, not {wanted.first} to {wanted.last}",
            )

    async def _delete(self, last: int) -> None:
        while await self.store.run(archive.drop_some, last):
            self.clock.crash_point("archive.dropping")


def _due(tx: Tx, days: int) -> Range | None:
    """Return the next acts of whole days (UTC) that are older than ``days`` and known to subscribers."""
    before = (tx.now - days * DAY) // DAY * DAY
    published = positions(tx, [PUBLISH]).get(PUBLISH, {"seq": 0})["seq"]
    return archive.old_range(tx, before, published)
