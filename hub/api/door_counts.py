"""What the doors count and remember, in this process only: read by the metrics, never by a decision."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from hub.pipe.doors import DoorNews
from hub.sdk.inbound import Health

__all__ = ["LATENCY_STEPS", "REMEMBERED_SECONDS", "DoorCounts", "Seen"]

LATENCY_STEPS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper ends (seconds) of the steps of a latency histogram; what took longer lies behind the last."""

REMEMBERED_SECONDS: Final = 600.0
"""How long the id of an event is remembered at least, unless more came in than the memory holds."""

_OTHER: Final = "other"
_MOST_WORDS: Final = 100


@dataclass(slots=True)
class DoorCounts:
    """What happened at one connection's door since the process started.

    ``accepted``: answered with an acknowledgement (``hub_ingest_total``). ``events``: published. ``repeats``: events
    that came before (``hub_ingest_repeats_total``), ``altered`` those of them that say something else. ``errors``:
    cause -> requests turned away (``hub_ingest_errors_total``). ``refusals``: why the connector refused, the newest
    with its sentence and time (µs) in ``refused``. ``ignored``: the vendor's word -> events without effect here.
    ``health``: what the vendor said of the connection since `news` was asked for, with the time (µs). ``latency``: requests per step of `LATENCY_STEPS`, one more
    for the rest; ``seconds``: their sum.
    """

    accepted: int = 0
    events: int = 0
    repeats: int = 0
    altered: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    refused: tuple[str, str, int] | None = None
    ignored: dict[str, int] = field(default_factory=dict)
    health: dict[str, tuple[Health, int]] = field(default_factory=dict)
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_STEPS) + 1))
    seconds: float = 0.0
    _told: int = 0

    def done(self, status: int, cause: str, seconds: float) -> None:
        """Count a request that was answered; ``cause``: why it was turned away, "" if it was not."""
        if cause:
            self.errors[cause] = self.errors.get(cause, 0) + 1
        elif status < 300:
            self.accepted += 1
        self.latency[bisect_left(LATENCY_STEPS, seconds)] += 1
        self.seconds += seconds

    def refuse(self, cause: str, why: str, now: int) -> None:
        """Count why a connector refused; ``why``: what an administrator reads, ``now``: µs."""
        self.refusals[cause] = self.refusals.get(cause, 0) + 1
        self.refused = (cause, why, now)

    def hear(self, health: Health, now: int) -> None:
        """Keep what the vendor says of the connection; ``now``: µs."""
        self.health[health.about] = (health, now)

    def news(self) -> DoorNews | None:
        """Return what is new for people since the last call, None if nothing is."""
        refused, health = sum(self.refusals.values()), self.health
        if refused == self._told and not health:
            return None
        more, self._told, self.health = refused - self._told, refused, {}
        cause, why, at = self.refused or ("", "", 0)
        said = {about: (one.zh, one.en, heard) for about, (one, heard) in health.items()}
        return DoorNews(more, at, at, cause, why, said)

    def ignore(self, word: str) -> None:
        """Count something that has no effect here; words beyond a hundred are counted together."""
        known = word in self.ignored or len(self.ignored) < _MOST_WORDS
        key = word if known else _OTHER
        self.ignored[key] = self.ignored.get(key, 0) + 1


class Seen:
    """Remembers ids for at least ten minutes in bounded memory: two generations, the older one is dropped whole."""

    def __init__(self, size: int) -> None:
        """``size``: ids of one generation."""
        self._size = size
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._since = 0.0

    def before(self, key: Hashable, content: int, now: float) -> int | None:
        """Remember what ``key`` said and return what it said before, None if it is new. ``now``: monotonic seconds."""
        if now - self._since >= REMEMBERED_SECONDS or len(self._young) >= self._size:
            self._old, self._young, self._since = self._young, {}, now
        number = hash(key)  # 64 bits, seeded per process: a chance collision only counts one repeat too many
        found = self._young.get(number, self._old.get(number))
        self._young[number] = content
        return found

    def __len__(self) -> int:
        """Return how many ids are held."""
        return len(self._young) + len(self._old)
