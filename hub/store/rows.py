"""The rows of the heart as mutable values, one class per table. They know columns, not states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["KEEP", "Owed", "Record", "Xref"]


class _Keep:
    """A sealed column that was not loaded and stays as it is."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Any = _Keep()
"""Stands for a sealed column that was not loaded; a flush leaves it alone."""


@dataclass(slots=True, eq=False)
class Record:
    """One CRM entity. ``body`` is flat JSON by field name; ``data_key`` stays sealed until someone needs it."""

    id: bytes
    kind: str
    version: int
    region: str
    entity: str | None
    owner: str | None
    body: dict[str, Any]
    merged_into: bytes | None = None
    deleted: int | None = None
    data_key: bytes | None = None
    act: int = 0
    is_new: bool = False


@dataclass(slots=True, eq=False)
class Xref:
    """Record ↔ vendor id. ``snapshot``: field -> [ours, theirs, flips, before], digests as hex, None = not agreed."""

    connection: str
    object: str
    org: str
    vendor_id: str
    record: bytes
    is_primary: bool = True
    stable_key: str | None = None
    snapshot: dict[str, list[Any]] = field(default_factory=dict)
    stored_version: str | None = None
    seen: int = 0
    rest_until: int = 0
    complete: int | None = None
    stage: str | None = None
    gone: int | None = None
    sent: dict[str, Any] = field(default_factory=dict)
    act: int = 0

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The primary key."""
        return (self.connection, self.object, self.org, self.vendor_id)

    @property
    def usable_key(self) -> str:
        """How the vendor's other objects name it."""
        return self.stable_key or self.vendor_id


@dataclass(slots=True, eq=False)
class Owed:
    """A debt: what one sync still owes one subject. ``source`` and ``payload`` are KEEP unless loaded or set."""

    id: bytes
    sync: str
    subject: str
    connection: str
    target: str | None
    lane: int
    state: str
    due: int
    want: int
    force: int | None = None
    waits_for: str | None = None
    attempts: int = 0
    deaths: int = 0
    cause: dict[str, Any] | None = None
    generation: int | None = None
    operation: str | None = None
    step: int = 0
    key: str | None = None
    key_until: int | None = None
    base: dict[str, Any] | None = None
    version: int | None = None
    revision: int | None = None
    pinned_force: int | None = None
    ref: dict[str, Any] | None = None
    refs: list[Any] | None = None
    absent_after: int | None = None
    fence: int | None = None
    holder: str | None = None
    lease: int | None = None
    act: int = 0
    since: int = 0
    source: Any = KEEP
    payload: Any = KEEP
    is_new: bool = False

    @property
    def open(self) -> bool:
        """Say whether the row has an attempt."""
        return self.generation is not None

    @property
    def is_read(self) -> bool:
        """Say whether the row is an arrival (a read) rather than a delivery."""
        return self.target is None

    @property
    def plan(self) -> tuple[str, ...]:
        """The pinned steps in order."""
        return tuple(self.operation.split(",")) if self.operation else ()
