"""Times as a site writes them: local (UTC+8), without a zone (2.6)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["parse_time", "site_time"]

ZONE = timedelta(hours=8)


def site_time(micros: int) -> str:
    """Write µs since the epoch as the site does: ``2026-01-10T08:00:00``, with milliseconds if any."""
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(tzinfo=None) + ZONE
    millis = micros // 1000 % 1000
    return moment.isoformat() + (f".{millis:03d}" if millis else "")


def parse_time(text: str) -> datetime:
    """Read a date or a date and time without zone.

    Raises:
        ValueError: it is neither, or it names a zone.
    """
    moment = datetime.fromisoformat(text.strip().replace("/", "-"))
    if moment.tzinfo is not None:
        raise ValueError("site times carry no zone")
    return moment
