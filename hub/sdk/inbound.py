"""What crosses the webhook door: the request as it came, and what a connector makes of it.

`Connector.receive` is pure and synchronous: raw bytes and settings in, events and the vendor's exact acknowledgement
out. It verifies before it decrypts and decrypts before it parses (reliability.md 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hub.sdk.connector import SourceRecord, VendorKey

__all__ = ["Health", "InboundEvent", "InboundRequest", "Received"]


@dataclass(frozen=True, slots=True)
class InboundRequest:
    """One request at the door.

    ``query``: decoded once, percent only (a ``+`` stays a ``+``), in the order of the URL, repeats included.
    ``headers``: lower-case names; a header that came twice is joined by ", ". ``now``: µs, when it came in.
    """

    method: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    now: int

    def one(self, name: str) -> str | None:
        """Return the value of a query parameter that must stand once; None if it is absent or repeated."""
        found = [value for key, value in self.query if key == name]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One thing a callback says of one object of a stream.

    ``record`` None: a hint, look again. ``id``: the same for every copy of the same event, of at most 128 characters.
    ``type``: the vendor's own word for it, for the log and the counters.
    """

    stream: str
    key: VendorKey
    id: str
    type: str
    record: SourceRecord | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What the vendor says of the connection itself: shown to people, pauses nothing (calls that fail do that).

    ``about``: one thing of which the newest word counts, such as "app". ``zh``, ``en``: what happened and what to do;
    both empty: it is well again, and nothing is shown any more.
    """

    about: str
    zh: str = ""
    en: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """What a request meant: events to store (none for a handshake) and the exact answer once they are durable.

    ``ignored``: the vendor's word for what was understood and has no effect here; counted. ``health``: what it says of
    the connection.
    """

    events: tuple[InboundEvent, ...] = ()
    status: int = 200
    body: bytes = b""
    media_type: str = "text/plain"
    ignored: str | None = None
    health: Health | None = None
