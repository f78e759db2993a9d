"""Files that stay open for long: does their name still mean them?

A file that was removed or replaced under a program goes on taking writes until it is closed, and then all of them are
gone. So whoever promises that something is kept asks before it says so.
"""

from __future__ import annotations

import os
from pathlib import Path

from hub.errors import Cause, IntegrityError

__all__ = ["SqliteFile"]

_Identity = tuple[int, int]


class SqliteFile:
    """A SQLite file in WAL mode that this process keeps open: the file, and its write-ahead log once there is one."""

    def __init__(self, path: Path) -> None:
        """Take the file as it is now, right after it was opened.

        Raises:
            IntegrityError: it is not there.
        """
        self._path = path.absolute()
        self._wal = self._path.with_name(f"{self._path.name}-wal")
        self._known: dict[Path, _Identity] = {}
        self.confirm()

    def confirm(self) -> None:
        """Do nothing if the name still means the file that was opened (two calls of the system, some µs).

        Raises:
            IntegrityError: ``Cause.REPLACED``: it was removed or replaced; what is written now is lost.
        """
        for path in (self._path, self._wal):
            found = _identity(path)
            known = self._known.get(path)
            if known is None and found is not None:
                self._known[path] = found
            elif found != known or (found is None and path is self._path):
                what = "removed" if found is None else "replaced"
                raise IntegrityError(
                    Cause.REPLACED,
                    f"{path} was {what} while it was open: this process stops, for what it writes would be lost",
                )


def _identity(path: Path) -> _Identity | None:
    """Return device and inode of what the name means, None if it means nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before every commit: half the time of Path.stat
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
