"""A write by external id: what the API asks for and what it gets back.

One external system's record is the inbound object (connection, kind, "", external id): the same key that a
polled object would have, so that xrefs, echo and staleness work for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.errors import Cause, HubError
from hub.model.record import Scope

if TYPE_CHECKING:
    from hub.model.record import Json

__all__ = ["ExternalWrite", "VersionMoved", "WriteAnswer", "WriteRefused", "external_key"]


def external_key(system: str, kind: str, external_id: str) -> tuple[str, str, str, str]:
    """Return the xref key of an external system's record: connection, object, organisation, vendor id."""
    return system, kind, "", external_id


@dataclass(frozen=True, slots=True)
class ExternalWrite:
    """One checked write. ``body``: in stored form, references are record ids.

    ``region`` and ``entity`` were decided by the hub, never by the body alone; ``owner`` None: not said.
    ``if_version``: the version the caller has seen, None: any. ``scope``: what the caller may see and write.
    """

    system: str
    kind: str
    external_id: str
    body: dict[str, Json]
    region: str
    entity: str | None = None
    owner: str | None = None
    if_version: int | None = None
    scope: Scope = Scope.ALL


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """The record as the committed transaction left it. ``record_id``: 16 bytes."""

    record_id: bytes
    version: int
    created: bool
    body: dict[str, Json]
    region: str = ""
    entity: str | None = None
    owner: str | None = None


class VersionMoved(HubError):
    """The record is no longer at the version the caller has seen; nothing was written."""

    def __init__(self, version: int | None) -> None:
        """``version``: where the record is now, None: there is none."""
        super().__init__(
            f"the record is at version {version}" if version is not None else "there is no such record"
        )
        self.version = version


class WriteRefused(HubError):
    """The write stopped: it waits, or a person must decide. It is kept as a dead letter, in the same transaction."""

    def __init__(self, cause: Cause, message: str | None = None, *, field: str | None = None) -> None:
        """Take the cause, a sentence for the caller that names the dead letter, and the field it is about."""
        super().__init__(message or cause.en)
        self.cause = cause
        self.field = field
