"""Links to the files of an approval: what is written into its form, and what the door reads out of it again.

A link names an approval, one of its files, and until when it opens, sealed by the vault: nobody makes one up, and
nobody learns from one what it names.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hub.clock import SECOND
from hub.errors import IntegrityError, SettingsError

if TYPE_CHECKING:
    from hub.pipe.world import Vault, World
    from hub.store.view import Sealer

__all__ = ["DAY", "FILES_PATH", "FileLink", "file_digest", "file_link", "read_link"]

FILES_PATH: Final = "/files/"
DAY: Final = 86_400 * SECOND
_SCOPE: Final = "files"
_PLACE: Final = b"link"
_BODY: Final = struct.Struct(">16s8sq")
LONGEST: Final = 256


@dataclass(frozen=True, slots=True)
class FileLink:
    """What a link says. ``approval``: its record (16 bytes); ``file``: :func:`file_digest`; ``until``: µs."""

    approval: bytes
    file: bytes
    until: int


def file_digest(vault: Vault, url: str) -> bytes:
    """Return what a link knows of a file's address (8 bytes): another file in its place is not the one that was shown."""
    return vault.digest(b"file/" + url.encode())


def file_link(world: World, approval: bytes, url: str, now: int) -> str | None:
    """Return the link to one file of an approval, None where the hub shows none: no public address, another host."""
    files = world.project.shown_files
    if not world.public_url or files is None:
        return None
    try:
        files.check(url)
    except SettingsError:
        return None
    plain = _BODY.pack(approval, file_digest(world.vault, url), now + files.days * DAY)
    token = base64.urlsafe_b64encode(world.vault.seal(_SCOPE, plain, _PLACE)).rstrip(b"=").decode()
    return f"{world.public_url}{FILES_PATH}{token}"


def read_link(vault: Sealer, token: str) -> FileLink | None:
    """Return what a link says, None for what this hub never made; until when it opens is for the caller to look at."""
    if not 0 < len(token) <= LONGEST or not token.isascii():
        return None
    try:
        blob = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(blob).rstrip(b"=").decode() != token:
            return None  # one link, one spelling
        return FileLink(*_BODY.unpack(vault.open_(_SCOPE, blob, _PLACE)))
    except (binascii.Error, ValueError, struct.error, IntegrityError):
        return None
